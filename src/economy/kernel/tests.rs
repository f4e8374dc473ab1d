use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Type};
use tokio::time::timeout;

use super::*;

/// A server that stands for the database.
struct Server(TcpListener);

impl Server {
    fn start() -> Server {
        Server(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection to it: the client's end, which is the one examined, and the server's.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.0.local_addr().unwrap()).unwrap();
        (client, self.0.accept().unwrap().0)
    }

    /// The same, after the server has sent something and the client read it.
    fn talk(&self) -> (TcpStream, TcpStream) {
        let (mut client, mut server) = self.connect();
        server.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        (client, server)
    }
}

fn cookie_of(stream: &TcpStream) -> u64 {
    SockRef::from(stream).cookie().unwrap()
}

/// The next end that the kernel reports.
async fn next(endings: &EndedSockets) -> EndedSocket {
    let mut taken = Vec::new();
    while taken.is_empty() {
        let wait = endings.next(|ending| taken.push(ending.unwrap()));
        timeout(Duration::from_secs(10), wait).await.expect("no end was told").unwrap();
    }
    assert_eq!(taken.len(), 1);
    taken[0]
}

#[test]
fn a_dump_shows_only_the_clients_end() {
    let server = Server::start();
    let (client, _served) = server.talk();
    let (elsewhere, _other) = Server::start().talk();
    let found = sockets(server.port()).unwrap();
    assert_eq!(found.iter().map(|socket| socket.cookie).collect::<Vec<_>>(), [cookie_of(&client)]);
    assert!(found[0].established && found[0].peer.is_loopback(), "{found:?}");
    assert!(found[0].quiet_for < Duration::from_secs(5), "{found:?}");
    drop(elsewhere);
}

#[test]
fn a_socket_whose_peer_has_closed_is_not_established() {
    let server = Server::start();
    let (mut client, served) = server.talk();
    drop(served);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let found = sockets(server.port()).unwrap();
    assert!(found.len() == 1 && !found[0].established, "{found:?}");
}

#[test]
fn only_data_renews_a_socket() {
    let server = Server::start();
    let (mut client, mut served) = server.talk();
    let quiet = || sockets(server.port()).unwrap()[0].quiet_for;
    let started = Instant::now();
    while quiet() < Duration::from_millis(50) {
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::park_timeout(Duration::from_millis(10));
    }
    client.write_all(b"what the client sends").unwrap();
    served.read_exact(&mut [0; 21]).unwrap();
    assert!(quiet() >= Duration::from_millis(50), "what goes out is not what comes in");
    let sent = Instant::now();
    served.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let quiet = quiet();
    assert!(quiet <= sent.elapsed() + super::super::activity::JIFFY, "{quiet:?}");
}

/// What a client sends is not counted, and the end of what a server sends as one byte at most.
#[tokio::test]
async fn received_bytes_are_counted_and_reported_at_the_end_too() {
    let server = Server::start();
    let endings = EndedSockets::listen(server.port()).unwrap();
    let (mut client, mut served) = server.connect();
    let received = || sockets(server.port()).unwrap()[0].received;
    assert_eq!(received(), Some(0));
    client.write_all(&[1; 700]).unwrap();
    served.read_exact(&mut [0; 700]).unwrap();
    assert_eq!(received(), Some(0));
    for _ in 0..3 {
        served.write_all(&[1; 100]).unwrap();
        client.read_exact(&mut [0; 100]).unwrap();
    }
    assert_eq!(received(), Some(300));
    drop(served);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!((300..=301).contains(&received().unwrap()));
    drop(client);
    let told = next(&endings).await.received.unwrap();
    assert!((300..=301).contains(&told), "{told}");
}

#[test]
fn a_dual_stack_sockets_peer_is_the_ipv4_address() {
    let server = Server::start();
    let socket = socket2::Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", server.port()).parse().unwrap();
    socket.connect(&mapped.into()).unwrap();
    let found = sockets(server.port()).unwrap();
    assert_eq!(found.iter().map(|socket| socket.peer).collect::<Vec<_>>(), [IpAddr::from([127, 0, 0, 1])]);
}

/// Whoever ends a connection, and however: libpq over TLS is reset where the server's last words were not read, and
/// asyncpg waits for the server's close, which leaves no TIME_WAIT behind.
#[tokio::test]
async fn every_end_is_reported() {
    let server = Server::start();
    let endings = EndedSockets::listen(server.port()).unwrap();
    let reset = |stream: TcpStream| SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    type End<'a> = &'a dyn Fn(TcpStream, TcpStream);
    let ways: [(&str, End<'_>); 4] = [
        ("the client closes", &|client, _served| drop(client)),
        ("the server closes, then the client", &|mut client, served| {
            drop(served);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }),
        ("the client closes with data unread, and resets", &|client, mut served| {
            served.write_all(b"unread").unwrap();
            client.peek(&mut [0]).unwrap();
            drop(client);
            drop(served);
        }),
        ("the server resets", &|mut client, served| {
            reset(served);
            assert!(client.read(&mut [0]).is_err());
        }),
    ];
    for (name, end) in ways {
        let before = Instant::now();
        let (client, served) = server.talk();
        let cookie = cookie_of(&client);
        end(client, served);
        let told = next(&endings).await;
        assert_eq!(told.cookie, cookie, "{name}");
        assert!(told.peer.is_loopback(), "{name}");
        let slack = super::super::activity::JIFFY;
        assert!(told.last_data + slack >= before && told.last_data <= Instant::now(), "{name}");
    }
}

#[tokio::test]
async fn the_ends_of_other_connections_do_not_wake_us() {
    let (server, other) = (Server::start(), Server::start());
    let endings = EndedSockets::listen(server.port()).unwrap();
    for _ in 0..100 {
        drop(other.talk());
    }
    let (client, served) = server.talk();
    let cookie = cookie_of(&client);
    drop((client, served));
    // The first end that is reported at all is the one that matters.
    let mut told = Vec::new();
    endings.next(|ending| told.push(ending.unwrap().cookie)).await.unwrap();
    assert_eq!(told, [cookie]);
}

/// More ends than the buffer holds are not lost in silence.
#[tokio::test]
async fn an_overflow_is_reported() {
    const ENDS: usize = 100;
    let server = Server::start();
    let (endings, witness) =
        (EndedSockets::listen(server.port()).unwrap(), EndedSockets::listen(server.port()).unwrap());
    SockRef::from(endings.socket.socket_ref()).set_recv_buffer_size(1).unwrap();
    for _ in 0..ENDS {
        drop(server.connect());
    }
    // The kernel reports them one by one: all of them must be there before the first is taken.
    let mut told = 0;
    while told < ENDS {
        let wait = witness.next(|ending| told += usize::from(ending.is_some()));
        timeout(Duration::from_secs(10), wait).await.expect("an end was not told").unwrap();
    }
    let mut lost = false;
    endings.take(|ending| lost |= ending.is_none());
    assert!(lost);
}

#[test]
fn a_refusal_of_the_kernel_is_an_error() {
    assert_eq!(end(NLMSG_DONE, &0_i32.to_ne_bytes()).unwrap(), ());
    for kind in [NLMSG_DONE, NLMSG_ERROR] {
        let error = end(kind, &(-2_i32).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2), "ENOENT: no tcp_diag");
    }
}

#[test]
fn bytes_that_are_no_messages_are_an_error_not_a_panic() {
    for bytes in [&b"\x01"[..], &[0; 16], &[255; 64], &[20, 0, 0, 0, 20, 0, 0, 0]] {
        assert!(messages(bytes).take(100).any(|message| message.is_err()), "{bytes:?}");
    }
    assert!(read(&[2; 71]).is_err());
    let info = read(&[2; 72]).unwrap().1;
    assert!(info.quiet_for.is_none() && info.received.is_none());
}

/// The diagnostics are open to every process: a container drops all privileges, and still they are there.
#[test]
fn no_privileges_are_needed() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return; // Then every test here shows it.
    }
    // Another user reaches neither a clone under root's home nor root's own TMPDIR.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let mut tests = std::process::Command::new(copy);
    tests.uid(NOBODY).gid(NOBODY).current_dir("/").args(["--exact", "economy::kernel::tests::every_end_is_reported"]);
    let output = tests.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
