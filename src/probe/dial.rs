//! How a probe reaches a host: the name look-up, then TCP, each inside a deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::diagnosis;
use super::traffic::Traffic;
use super::{Failure, Phase, Reason};

/// One address that swallows packets must not use up the time of the others.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// Any two-way byte stream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connected socket, TCP or Unix, perhaps with TLS on it.
pub(crate) type Socket = Box<dyn Duplex>;

/// A connection as the probe uses it.
///
/// A peer that has closed it may have said why: TLS 1.3 sends its alert about a client's certificate after the handshake,
/// and some poolers refuse a client before it has said a word. So a write that comes too late is not an error; what the
/// peer said is read next, or the end of the stream.
pub(super) fn socket(stream: impl Duplex + 'static) -> Socket {
    Box::new(LateWrites(stream))
}

struct LateWrites<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for LateWrites<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LateWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match Pin::new(&mut self.0).poll_write(cx, buf) {
            Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                Poll::Ready(Ok(buf.len()))
            }
            other => other,
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Looks names up, one at a time: `getaddrinfo` cannot be cancelled, so a look-up that hangs keeps its thread, and the
/// next caller waits for that same one instead of starting another.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    pending: Option<(String, JoinHandle<io::Result<Vec<SocketAddr>>>)>,
}

impl Resolver {
    /// The addresses of a host, without duplicates, in the system's order. Literals and `localhost` need no look-up;
    /// `localhost` is 127.0.0.1, then ::1 (uvicorn listens on one of them only).
    ///
    /// # Errors
    /// `dns_failure`, also where the deadline passes first. Dropping the future is safe.
    pub(crate) async fn resolve(
        &mut self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let failed = |what: String| Failure::new(Reason::DnsFailure, Phase::Resolve).with_detail(what);
        let found = timeout_at(deadline, self.look_up(host, port)).await;
        let mut addresses = match found {
            Err(_) => return Err(failed(format!("the look-up of {host} gave no answer in time"))),
            Ok(Err(error)) => return Err(failed(format!("{host}: {error}"))),
            Ok(Ok(addresses)) => addresses,
        };
        addresses.dedup();
        if addresses.is_empty() {
            return Err(failed(format!("{host} has no address")));
        }
        Ok(addresses)
    }

    async fn look_up(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // The result of a look-up whose caller has gone is out of date.
        if self.pending.as_ref().is_some_and(|(_, task)| task.is_finished()) {
            self.pending = None;
        }
        let key = format!("{host}:{port}");
        if let Some((other, task)) = self.pending.as_mut().filter(|(pending, _)| *pending != key) {
            let _ = task.await;
            debug_assert_ne!(*other, key);
            self.pending = None;
        }
        let (_, task) = self.pending.get_or_insert_with(|| {
            let name = host.to_owned();
            let task = tokio::task::spawn_blocking(move || Ok((name.as_str(), port).to_socket_addrs()?.collect()));
            (key, task)
        });
        let found = task.await;
        self.pending = None;
        found.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Connects to a Unix socket.
///
/// # Errors
/// `connect_refused` where nobody listens or the file does not exist, else as for TCP.
pub(crate) async fn connect_unix(path: &Path, deadline: Instant) -> Result<UnixStream, Failure> {
    match timeout_at(deadline, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Failure::diagnosed(diagnosis::of_unix_socket(&error), Phase::Connect)
            .with_detail(format!("Unix socket: {error}"))),
        Err(_) => Err(Failure::new(Reason::ConnectTimeout, Phase::Connect)),
    }
}

/// Connects to the first address that answers. Each has at most min(2 s, time left ÷ addresses left).
///
/// # Errors
/// Of the failures of all addresses the one that says most: a refusal says more than silence, and silence more than
/// "no route" (an IPv6 address on a host without IPv6).
pub(crate) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    connect_on(&Traffic::default(), addresses, deadline).await
}

/// The same; the sockets are recorded as ours.
///
/// # Errors
/// As for [`connect`].
pub(crate) async fn connect_on(
    traffic: &Traffic,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let mut clearest: Option<Failure> = None;
    for (i, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
        let until = Instant::now() + share.min(LONGEST_CONNECT);
        let failure = match timeout_at(until, open(traffic, *address)).await {
            Ok(Ok(stream)) => {
                // Requests and answers are single small messages.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Failure::new(diagnosis::from_io(&error, Phase::Connect), Phase::Connect)
                .with_detail(format!("{address}: {error}")),
            Err(_) => Failure::new(Reason::ConnectTimeout, Phase::Connect)
                .with_detail(format!("{address}: no answer within {} ms", share.min(LONGEST_CONNECT).as_millis())),
        };
        if clearest.as_ref().is_none_or(|known| clarity(failure.reason) > clarity(known.reason)) {
            clearest = Some(failure);
        }
    }
    Err(clearest.unwrap_or_else(|| Failure::new(Reason::DnsFailure, Phase::Resolve)))
}

async fn open(traffic: &Traffic, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Before it connects: one that fails must be recorded as well.
    traffic.opened(&socket);
    socket.connect(address).await
}

fn clarity(reason: Reason) -> u8 {
    match reason {
        Reason::Internal => 3,
        Reason::ConnectRefused => 2,
        Reason::ConnectTimeout => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// A socket that is closed with bytes it has not read is reset: here before the client writes its last message.
    #[tokio::test]
    async fn what_was_said_before_a_reset_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut client = LateWrites(client);
        client.write_all(b"not read").await.unwrap();
        server.write_all(b"refused").await.unwrap();
        server.readable().await.unwrap();
        drop(server);
        client.0.ready(tokio::io::Interest::ERROR).await.unwrap();
        client.write_all(b"too late").await.unwrap();
        let mut said = [0; 7];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"refused");
        assert!(!matches!(client.read(&mut said).await, Ok(1..)), "and then the end");
    }

    #[tokio::test]
    async fn literals_and_localhost_need_no_look_up() {
        let mut resolver = Resolver::default();
        let found = resolver.resolve("LocalHost", 80, soon()).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]);
        assert_eq!(resolver.resolve("::1", 5, soon()).await.unwrap(), ["[::1]:5".parse().unwrap()]);
        assert!(resolver.pending.is_none());
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_dns_failure() {
        let failure = Resolver::default().resolve("nothing.invalid", 80, soon()).await.unwrap_err();
        assert_eq!(failure.reason, Reason::DnsFailure);
    }

    #[tokio::test]
    async fn a_hanging_look_up_is_waited_for_and_never_started_twice() {
        let (release, hung) = std::sync::mpsc::channel::<()>();
        let task = tokio::task::spawn_blocking(move || {
            let _ = hung.recv();
            Ok(vec!["192.0.2.1:80".parse().unwrap()])
        });
        let mut resolver = Resolver { pending: Some(("db.example:80".into(), task)) };
        for _ in 0..3 {
            let failure =
                resolver.resolve("db.example", 80, Instant::now() + Duration::from_millis(20)).await.unwrap_err();
            assert_eq!(failure.reason, Reason::DnsFailure);
            assert!(resolver.pending.is_some(), "the hung look-up is kept");
        }
        // Another name waits as well: one thread at the most.
        assert!(resolver.resolve("other.example", 80, Instant::now() + Duration::from_millis(20)).await.is_err());
        drop(release);
        let found = resolver.resolve("db.example", 80, soon()).await;
        assert!(found.is_ok() || found.is_err_and(|f| f.reason == Reason::DnsFailure));
    }

    #[tokio::test]
    async fn a_dead_first_address_is_followed_by_a_live_one() {
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let stream = connect(&[dead, live.local_addr().unwrap()], soon()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_refusal_says_more_than_no_route() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        // 255.255.255.255 is never a TCP peer: the kernel answers at once with "unreachable".
        let none: SocketAddr = "255.255.255.255:1".parse().unwrap();
        for order in [[dead, none], [none, dead]] {
            assert_eq!(connect(&order, soon()).await.unwrap_err().reason, Reason::ConnectRefused);
        }
    }
}
