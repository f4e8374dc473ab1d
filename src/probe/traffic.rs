//! What tells the probe's traffic from the app's: the addresses that the database's host has had, and the sockets that
//! the probe has opened. Economy reads it when it goes through the machine's sockets.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::Instant;

/// The app may go on using an address that the name no longer has.
const ADDRESSES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A check opens a few sockets at most, and economy has seen the end of each within minutes.
const SOCKETS_KEPT: usize = 256;

/// The app's login may receive this many bytes less than the probe's: its driver may send no application name, or take
/// fewer messages for the handshake. A failed login receives at least twice as many less, since the server sends its
/// settings only after a success: measured with PostgreSQL 15, 277 bytes where a success receives 586, and over TLS 1,850
/// where it receives 2,160.
const LOGINS_DIFFER: u64 = 150;

#[derive(Debug, Default)]
struct Known {
    /// When each address was last in a DNS answer.
    addresses: HashMap<IpAddr, Instant>,
    newest: Option<Instant>,
    sockets: VecDeque<u64>,
    unmarked: bool,
    /// How many bytes the newest login received, including TLS.
    login: u64,
}

/// A shared handle to what a probe has recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Mutex<Known>>);

impl Traffic {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host has these addresses now.
    pub(crate) fn resolved(&self, addresses: &[SocketAddr], now: Instant) {
        let mut known = self.known();
        known.newest = Some(now);
        known.addresses.extend(addresses.iter().map(|address| (address.ip().to_canonical(), now)));
        known.addresses.retain(|_, last| now.saturating_duration_since(*last) <= ADDRESSES_KEPT);
    }

    /// Whether the host's addresses were ever known.
    pub(crate) fn has_addresses(&self) -> bool {
        self.known().newest.is_some()
    }

    /// Whether an address was the host's within the last 24 h. The newest answer counts for ever: where no names are looked
    /// up any more, so that nothing is sent, it is all there is.
    pub(crate) fn reaches_database(&self, address: IpAddr, now: Instant) -> bool {
        let known = self.known();
        let last = known.addresses.get(&address.to_canonical());
        last.is_some_and(|last| Some(*last) == known.newest || now.saturating_duration_since(*last) <= ADDRESSES_KEPT)
    }

    /// The probe is about to connect this socket.
    pub(super) fn opened(&self, socket: &TcpSocket) {
        let mut known = self.known();
        match cookie(socket) {
            Ok(cookie) => {
                if known.sockets.len() == SOCKETS_KEPT {
                    known.sockets.pop_front();
                }
                known.sockets.push_back(cookie);
            }
            Err(_) => known.unmarked = true,
        }
    }

    /// A login received so many bytes, up to ReadyForQuery and including TLS.
    pub(super) fn logged_in(&self, received: usize) {
        self.known().login = u64::try_from(received).unwrap_or(u64::MAX);
    }

    /// A socket that has received less than this has not logged in. 0 before the first login. Servers, certificates and
    /// login methods differ by more than a login does from no login, so only our own login can tell. Where the app has no
    /// TLS and the probe has, the app's login is recognised later than it could be.
    pub(crate) fn least_login(&self) -> u64 {
        self.known().login.saturating_sub(LOGINS_DIFFER)
    }

    /// Whether the probe opened the socket with this cookie.
    pub(crate) fn is_ours(&self, cookie: u64) -> bool {
        self.known().sockets.contains(&cookie)
    }

    /// Whether every socket that the probe opened can be told from others.
    pub(crate) fn is_complete(&self) -> bool {
        !self.known().unmarked
    }
}

/// The number that the kernel gives to this socket and to no other of the network namespace, now or later (`SO_COOKIE`,
/// socket(7), since Linux 4.6). Unlike the local port it is known before the connection is made, and never reused.
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
        let (traffic, start) = (Traffic::default(), Instant::now());
        let (old, new) = (at("192.0.2.1"), at("2001:db8::1"));
        assert!(!traffic.has_addresses() && !traffic.reaches_database(old.ip(), start));
        traffic.resolved(&[old], start);
        traffic.resolved(&[new], start + HOUR);
        assert!(traffic.has_addresses() && traffic.reaches_database(old.ip(), start + 24 * HOUR));
        assert!(!traffic.reaches_database(old.ip(), start + 25 * HOUR));
        assert!(traffic.reaches_database(new.ip(), start + 1000 * HOUR), "the newest answer is all there is");
        traffic.resolved(&[old], start + 1001 * HOUR);
        assert!(traffic.reaches_database(old.ip(), start + 1001 * HOUR));
        assert!(!traffic.reaches_database(new.ip(), start + 1001 * HOUR));
    }

    #[test]
    fn a_mapped_address_is_the_same_address() {
        let (traffic, now) = (Traffic::default(), Instant::now());
        traffic.resolved(&[at("::ffff:192.0.2.1")], now);
        assert!(traffic.reaches_database("192.0.2.1".parse().unwrap(), now));
        assert!(traffic.reaches_database("::ffff:192.0.2.1".parse().unwrap(), now));
    }

    #[test]
    fn a_login_receives_nearly_as_much_as_ours() {
        let traffic = Traffic::default();
        assert_eq!(traffic.least_login(), 0, "nothing is known yet");
        for (ours, theirs, failed) in [(601, 586, 277), (2185, 2160, 1850), (430, 410, 120)] {
            traffic.logged_in(ours);
            assert!((failed + 1..=theirs).contains(&traffic.least_login()), "{ours}: {}", traffic.least_login());
        }
        traffic.logged_in(20);
        assert_eq!(traffic.least_login(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn our_sockets_are_known_and_the_oldest_forgotten_last() {
        let traffic = Traffic::default();
        let first = TcpSocket::new_v4().unwrap();
        traffic.opened(&first);
        assert!(traffic.is_complete() && traffic.is_ours(cookie(&first).unwrap()));
        for _ in 1..SOCKETS_KEPT {
            traffic.opened(&TcpSocket::new_v6().unwrap());
        }
        assert!(traffic.is_ours(cookie(&first).unwrap()));
        traffic.opened(&TcpSocket::new_v4().unwrap());
        assert!(!traffic.is_ours(cookie(&first).unwrap()), "memory is bounded");
    }
}
