//! From the host as given to where to connect, under which name, and what its text alone shows about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::provider::{self, Provider, ScaleToZero};
use super::{BadUrl, EXAMPLE, Endpoint, SOCKET};

/// Names that only a private network resolves: Railway's and GCP's, mDNS's, and Kubernetes' (`.cluster.local` is within
/// `.local`).
const PRIVATE_SUFFIXES: [&str; 3] = [".internal", ".local", ".svc"];

/// `sun_path` of Linux holds 108 bytes with the closing NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// RFC 1035: a name and each label of it.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

const IPV6: &str = "postgresql://user:password@[::1]:5432/dbname";

/// Where to connect, and what follows from the host's text.
pub(super) struct Destination {
    pub(super) endpoint: Endpoint,
    /// For SNI and the certificate; `None` for a Unix socket.
    pub(super) name: Option<String>,
    pub(super) neon: bool,
    /// The certificate is Neon's own, and always verified in full.
    pub(super) neon_certificate: bool,
    pub(super) pooled: bool,
    pub(super) scale_to_zero: ScaleToZero,
    pub(super) private: bool,
}

/// A host's two spellings: one to resolve, one to compare and verify.
struct Host {
    dial: String,
    name: String,
    private: bool,
}

pub(super) fn several() -> BadUrl {
    BadUrl::new("there are several hosts: name one", EXAMPLE)
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port` into the host (brackets kept, nothing decoded) and the port.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), BadUrl> {
    if authority.contains(',') {
        return Err(several());
    }
    let (host, after) = match authority.strip_prefix('[') {
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        Some(inner) => match inner.find(']') {
            Some(end) if inner[..end].contains('%') => {
                return Err(BadUrl::new("an IPv6 address with a zone (`%`) is not accepted", IPV6));
            }
            Some(end) => authority.split_at(end + 2),
            None => return Err(BadUrl::new("the `[` before the IPv6 address is not closed", IPV6)),
        },
    };
    match after.strip_prefix(':') {
        // As in libpq, `host:` without a number is the default port.
        Some("") => Ok((host, None)),
        Some(_) if authority.parse::<Ipv6Addr>().is_ok() => {
            Err(BadUrl::new("an IPv6 address stands in brackets before the port", IPV6))
        }
        Some(digits) => Ok((host, Some(port(digits)?))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(BadUrl::new("only `:` and the port may follow the `]` of an IPv6 address", IPV6)),
    }
}

/// The decoded host, which as a query key may contain its port (SQLAlchemy's `host=name:5433`) or be a bare IPv6 address
/// (libpq's `host=::1`).
pub(super) fn with_port(host: &str, is_key: bool) -> Result<(String, Option<u16>), BadUrl> {
    if !is_key || host.starts_with('/') || host.parse::<Ipv6Addr>().is_ok() {
        return Ok((host.to_owned(), None));
    }
    split_port(host).map(|(host, port)| (host.to_owned(), port))
}

/// A port from 1 to 65535.
pub(super) fn port(text: &str) -> Result<u16, BadUrl> {
    if text.contains(',') {
        return Err(several());
    }
    // Digits alone: `parse` would also take a `+`.
    let number = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
    number.filter(|&port| port != 0).ok_or_else(|| {
        BadUrl::new(
            "the port is not a number from 1 to 65535 (if this is the password: an `@` and the host must follow it)",
            EXAMPLE,
        )
    })
}

/// Where the host and, if given, `hostaddr` lead. `hostaddr` says where to connect and `host` what to verify, as in libpq.
pub(super) fn destination(host: &str, hostaddr: Option<&str>, port: u16) -> Result<Destination, BadUrl> {
    if host.contains(',') || hostaddr.is_some_and(|addr| addr.contains(',')) {
        return Err(several());
    }
    if host.starts_with('/') {
        return match hostaddr {
            None => socket(host, port),
            Some(_) => Err(BadUrl::new("hostaddr and a socket directory exclude each other", SOCKET)),
        };
    }
    let addr = match hostaddr.map(|addr| addr.parse::<IpAddr>()) {
        None => None,
        Some(Ok(addr)) => Some(address(addr)),
        Some(Err(_)) => return Err(BadUrl::new("hostaddr is not an IP address", EXAMPLE)),
    };
    let named = match (host, &addr) {
        ("", None) => {
            let fault = "the host is missing (a socket directory is given as host=/directory in the query)";
            return Err(BadUrl::new(fault, EXAMPLE));
        }
        ("", Some(addr)) => Host { dial: addr.dial.clone(), name: addr.name.clone(), private: addr.private },
        _ => read(host)?,
    };
    let Provider { neon, neon_certificate, scale_to_zero } = provider::of(&named.name);
    let label = named.name.split('.').next().unwrap_or_default();
    Ok(Destination {
        neon,
        neon_certificate,
        scale_to_zero,
        pooled: neon && label.ends_with("-pooler"),
        // Both must be: a tunnel's end on loopback still leads to where the name says.
        private: named.private && addr.as_ref().is_none_or(|addr| addr.private),
        endpoint: Endpoint::Tcp { host: addr.map_or(named.dial, |addr| addr.dial), port },
        name: Some(named.name),
    })
}

/// libpq's socket file in a directory; asyncpg also takes the file itself.
fn socket(host: &str, port: u16) -> Result<Destination, BadUrl> {
    let given = Path::new(host);
    let is_file = given.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".s.PGSQL."));
    let path = if is_file { given.to_owned() } else { given.join(format!(".s.PGSQL.{port}")) };
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        let fault = format!("the path of the Unix socket is longer than {LONGEST_SOCKET_PATH} bytes");
        return Err(BadUrl::new(fault, SOCKET));
    }
    Ok(Destination {
        endpoint: Endpoint::Unix { path },
        name: None,
        neon: false,
        neon_certificate: false,
        pooled: false,
        scale_to_zero: ScaleToZero::No,
        private: true,
    })
}

fn read(text: &str) -> Result<Host, BadUrl> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(addr) => Ok(address(IpAddr::V6(addr))),
            Err(_) => Err(BadUrl::new("what stands in brackets is not an IPv6 address", IPV6)),
        };
    }
    let dial = text.to_ascii_lowercase();
    let name = dial.strip_suffix('.').unwrap_or(&dial);
    if let Ok(addr) = name.parse::<IpAddr>() {
        return Ok(address(addr));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(BadUrl::new(
            "the host has a character that no host name has (`@` in a password is written %40, an international name \
             as xn--…)",
            EXAMPLE,
        ));
    }
    if name.len() > LONGEST_NAME || name.split('.').any(|label| label.is_empty() || label.len() > LONGEST_LABEL) {
        return Err(BadUrl::new("the host is not a host name: a part of it is empty or too long", EXAMPLE));
    }
    // `getaddrinfo` reads 134744072 and 0x8080808 as 8.8.8.8; without a dot they would pass for a private name.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hex = last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_hex || last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadUrl::new("the host ends in a number but is not an IPv4 address", EXAMPLE));
    }
    let private = !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    Ok(Host { name: name.to_owned(), dial, private })
}

fn address(addr: IpAddr) -> Host {
    let text = addr.to_string();
    Host { dial: text.clone(), name: text, private: is_private(addr) }
}

/// Loopback, RFC 1918 and RFC 4193, but not link-local and carrier-grade NAT, since others share those networks.
fn is_private(addr: IpAddr) -> bool {
    let v4 = |addr: Ipv4Addr| addr.is_loopback() || addr.is_private();
    match addr {
        IpAddr::V4(addr) => v4(addr),
        IpAddr::V6(addr) => addr.is_loopback() || addr.is_unique_local() || addr.to_ipv4_mapped().is_some_and(v4),
    }
}
