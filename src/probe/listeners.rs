//! Where this machine listens, as the kernel shows it: does a port accept connections on loopback alone?

use std::fs;

/// The state LISTEN in `/proc/net/tcp` (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";

/// `Some(true)` where every listener on the port is bound to a loopback address, so that nobody outside the container
/// reaches it; `None` where the kernel does not show it.
pub(super) fn on_loopback_alone(port: u16) -> Option<bool> {
    let tables: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    all_loopback(tables.iter().flat_map(|table| table.lines()), port)
}

fn all_loopback<'a>(lines: impl Iterator<Item = &'a str>, port: u16) -> Option<bool> {
    let port = format!("{port:04X}");
    let mut found = None;
    for line in lines {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(_), Some(state)) = (columns.next(), columns.next(), columns.next()) else { continue };
        let Some((address, local_port)) = local.split_once(':') else { continue };
        if state == LISTEN && local_port == port {
            found = Some(found.unwrap_or(true) && is_loopback(address));
        }
    }
    found
}

/// Addresses are printed as 32-bit words in the machine's byte order: on the little-endian machines that Railway has,
/// 127.0.0.1 is `0100007F`.
fn is_loopback(address: &str) -> bool {
    let v4 = address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address);
    (v4.len() == 8 && v4.ends_with("7F")) || address == "00000000000000000000000001000000"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";

    fn judge(locals: &[&str]) -> Option<bool> {
        let lines: Vec<String> = std::iter::once(HEAD.to_owned())
            .chain(locals.iter().map(|local| format!("   0: {local} 00000000:0000 0A 00000000:00000000 00:00000000")))
            .collect();
        all_loopback(lines.iter().map(String::as_str), 8000)
    }

    #[test]
    fn listeners_by_address() {
        assert_eq!(judge(&["0100007F:1F40"]), Some(true));
        assert_eq!(judge(&["00000000:1F40"]), Some(false));
        assert_eq!(judge(&["00000000000000000000000001000000:1F40"]), Some(true));
        assert_eq!(judge(&["00000000000000000000000000000000:1F40"]), Some(false));
        assert_eq!(judge(&["0000000000000000FFFF00000100007F:1F40"]), Some(true));
        assert_eq!(judge(&["0100007F:1F40", "0A00000A:1F40"]), Some(false), "one outside address is enough");
        assert_eq!(judge(&["0100007F:1F41"]), None, "another port");
        assert_eq!(judge(&[]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_tells() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(on_loopback_alone(own.local_addr().unwrap().port()), Some(true));
    }
}
