//! What a prober leaves behind: the addresses that its host had, and the sockets that it opened. Whoever looks at the
//! machine's sockets tells by it which of them lead to the database, and which of those are our own.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::Instant;

/// The app may go on using an address that the name has no more.
const ADDRESSES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A check opens a few sockets at most, and the end of each is known within minutes.
const SOCKETS_KEPT: usize = 256;

#[derive(Debug, Default)]
struct Steps {
    /// When each address was last the answer to a look-up.
    addresses: HashMap<IpAddr, Instant>,
    newest: Option<Instant>,
    sockets: VecDeque<u64>,
    unmarked: bool,
}

/// A shared handle to what a prober left behind.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Steps>>);

impl Trail {
    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host has these addresses now.
    pub fn resolved(&self, addresses: &[SocketAddr], now: Instant) {
        let mut steps = self.steps();
        steps.newest = Some(now);
        steps.addresses.extend(addresses.iter().map(|address| (address.ip().to_canonical(), now)));
        steps.addresses.retain(|_, last| now.saturating_duration_since(*last) <= ADDRESSES_KEPT);
    }

    /// Whether the host's addresses were ever known.
    pub fn has_addresses(&self) -> bool {
        self.steps().newest.is_some()
    }

    /// Whether an address was the host's within the last 24 h. The newest answer counts for ever: where nothing is
    /// looked up any more, for the sake of silence, it is all there is.
    pub fn leads_to(&self, address: IpAddr, now: Instant) -> bool {
        let steps = self.steps();
        let last = steps.addresses.get(&address.to_canonical());
        last.is_some_and(|last| Some(*last) == steps.newest || now.saturating_duration_since(*last) <= ADDRESSES_KEPT)
    }

    /// The prober is about to connect this socket.
    pub(super) fn opened(&self, socket: &TcpSocket) {
        let mut steps = self.steps();
        match cookie(socket) {
            Ok(cookie) => {
                if steps.sockets.len() == SOCKETS_KEPT {
                    steps.sockets.pop_front();
                }
                steps.sockets.push_back(cookie);
            }
            Err(_) => steps.unmarked = true,
        }
    }

    /// Whether the prober opened the socket with this cookie.
    pub fn is_ours(&self, cookie: u64) -> bool {
        self.steps().sockets.contains(&cookie)
    }

    /// Whether every socket that the prober opened can be told from others.
    pub fn is_complete(&self) -> bool {
        !self.steps().unmarked
    }
}

/// The number that the kernel gives to one socket of this network namespace and to no other one after it
/// (`SO_COOKIE`, socket(7), since Linux 4.6). Unlike the local port it is known before the connection is, and never
/// used again.
#[cfg(target_os = "linux")]
fn cookie(socket: &TcpSocket) -> std::io::Result<u64> {
    socket2::SockRef::from(socket).cookie()
}

/// Other systems have none.
#[cfg(not(target_os = "linux"))]
fn cookie(_: &TcpSocket) -> std::io::Result<u64> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 5432)
    }

    #[test]
    fn addresses_are_remembered_for_a_day_after_they_last_resolved() {
        let (trail, start) = (Trail::default(), Instant::now());
        let (old, new) = (at("192.0.2.1"), at("2001:db8::1"));
        assert!(!trail.has_addresses() && !trail.leads_to(old.ip(), start));
        trail.resolved(&[old], start);
        trail.resolved(&[new], start + HOUR);
        assert!(trail.has_addresses() && trail.leads_to(old.ip(), start + 24 * HOUR));
        assert!(!trail.leads_to(old.ip(), start + 25 * HOUR));
        assert!(trail.leads_to(new.ip(), start + 1000 * HOUR), "the newest answer is all there is");
        trail.resolved(&[old], start + 1001 * HOUR);
        assert!(trail.leads_to(old.ip(), start + 1001 * HOUR));
        assert!(!trail.leads_to(new.ip(), start + 1001 * HOUR));
    }

    #[test]
    fn a_mapped_address_is_the_same_address() {
        let (trail, now) = (Trail::default(), Instant::now());
        trail.resolved(&[at("::ffff:192.0.2.1")], now);
        assert!(trail.leads_to("192.0.2.1".parse().unwrap(), now));
        assert!(trail.leads_to("::ffff:192.0.2.1".parse().unwrap(), now));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn our_sockets_are_known_and_the_oldest_forgotten_last() {
        let trail = Trail::default();
        let first = TcpSocket::new_v4().unwrap();
        trail.opened(&first);
        assert!(trail.is_complete() && trail.is_ours(cookie(&first).unwrap()));
        for _ in 1..SOCKETS_KEPT {
            trail.opened(&TcpSocket::new_v6().unwrap());
        }
        assert!(trail.is_ours(cookie(&first).unwrap()));
        trail.opened(&TcpSocket::new_v4().unwrap());
        assert!(!trail.is_ours(cookie(&first).unwrap()), "memory is bounded");
    }
}
