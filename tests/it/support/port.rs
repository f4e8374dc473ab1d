//! TCP ports of this machine: free ones for the test servers, and the connections that a port has according to the
//! kernel.

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// How many ports below the ephemeral range are used.
const SPAN: u16 = 10_000;

/// A port of 127.0.0.1 without a listener, used only once in this process.
///
/// It is below the ephemeral range: a server that is stopped and started again finds its port free, because no outgoing
/// connection and no `bind` to port 0 can have taken it meanwhile.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_with(HashSet::new);
    let top = ephemeral_start().max(2 * SPAN);
    let offset = (RandomState::new().build_hasher().finish() % u64::from(SPAN)) as u16;
    (0..SPAN)
        .map(|step| top - 1 - (offset + step) % SPAN)
        .find(|&port| !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .inspect(|&port| {
            given.insert(port);
        })
        .expect("no free port below the ephemeral range")
}

/// Connections that clients hold to `port` of this machine: ESTABLISHED as the kernel sees them, accepted or not.
///
/// A client's close counts at once, even if the server has not noticed it yet, so this is the figure for "never more
/// than one connection at a time".
pub(crate) fn connections_to(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let local = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).map(|row| row.split_ascii_whitespace().skip(1));
    // The kernel returns a long table in pieces, and after a change between two of them a row may appear twice.
    let peers: HashSet<&str> = rows
        .filter_map(|mut fields| Some((fields.next()?, fields.next()?, fields.next()?)))
        .filter(|(here, _, state)| here.ends_with(&local) && *state == ESTABLISHED)
        .map(|(_, peer, _)| peer)
        .collect();
    peers.len()
}

/// The first port that the kernel itself assigns.
fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}
