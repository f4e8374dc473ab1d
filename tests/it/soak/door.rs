//! A proxy in front of a server, called a door: it passes bytes on until it is told to act as a bad network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::support::port::{connections_to, free_port};

/// Between two bytes of a dripping answer: the shortest answer (an HTTP head of 60 bytes) takes over 2 s.
const DRIP: Duration = Duration::from_millis(40);
/// How long `Late` waits: longer than the timeouts of the checks.
const LATE: Duration = Duration::from_secs(3);
/// How often the runtime polls for events before a new connection counts; once would do.
const TURNS: usize = 3;
/// Before a port that another program has taken meanwhile is tried again.
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// What the network does to connections from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing: it passes bytes on.
    None,
    /// There is no listener.
    Refuse,
    /// Accepts, and stays silent.
    Hang,
    /// Accepts and closes at once.
    Close,
    /// Accepts and resets at once.
    Reset,
    /// Answers the first bytes with these and closes, as if another program had the port.
    Say(&'static [u8]),
    /// Resets after this many bytes from the server.
    ResetAfter(usize),
    /// Falls silent after this many bytes from the server.
    StallAfter(usize),
    /// Passes the server's bytes on one by one.
    Drip,
    /// Passes the server's bytes on long after they arrived.
    Late,
}

/// What the door has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Connections that neither side has closed.
    held: AtomicUsize,
    /// The most of them at one moment.
    most: AtomicUsize,
    /// The server's bytes in the newest connection without a fault.
    bytes: AtomicUsize,
}

/// An open door. Dropping it closes the port and every connection.
#[derive(Debug)]
pub(super) struct Door {
    port: u16,
    trouble: Option<watch::Sender<Trouble>>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// In front of a server on this machine.
    pub(super) fn before(server: u16) -> Door {
        // Not a port of the kernel's choice: the door must find its port free when it opens again.
        let port = free_port();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener for a runtime");
        let (trouble, told) = watch::channel(Trouble::None);
        let seen = Arc::<Seen>::default();
        let noting = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                stand(listener, server, told, noting).await;
            });
        });
        Door { port, trouble: Some(trouble), seen, thread: Some(thread) }
    }

    /// Its port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From the next connection on.
    pub(super) fn behave(&self, trouble: Trouble) {
        if let Some(told) = &self.trouble {
            told.send_replace(trouble);
        }
    }

    /// Most connections that its client ever held at once.
    pub(super) fn most_at_once(&self) -> usize {
        self.seen.most.load(Ordering::Relaxed)
    }

    /// How many bytes the server sent in the newest connection without a fault.
    pub(super) fn usual_bytes(&self) -> usize {
        self.seen.bytes.load(Ordering::Relaxed)
    }

    /// Connections that clients hold now.
    pub(super) fn connections_now(&self) -> usize {
        connections_to(self.port)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.trouble.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Accepts while it is told to; ends with the door.
async fn stand(listener: TcpListener, server: u16, mut told: watch::Receiver<Trouble>, seen: Arc<Seen>) {
    let address = listener.local_addr().expect("its address");
    let mut listener = Some(listener);
    loop {
        let trouble = *told.borrow_and_update();
        if trouble == Trouble::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(bind(address).await);
        }
        tokio::select! {
            biased;
            changed = told.changed() => if changed.is_err() { return },
            Some(client) = accept(listener.as_ref()) => {
                tokio::spawn(count(serve(client, server, trouble, Arc::clone(&seen)), Arc::clone(&seen)));
            }
            else => if told.changed().await.is_err() { return },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    Some(listener?.accept().await.ok()?.0)
}

async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        sleep(REBIND_PAUSE).await;
    }
}

/// Counts a connection while it is served, which is until one side closes it. (Reading the kernel's table each time
/// would be slow where other tests have left thousands of connections in it.)
async fn count(served: impl Future<Output = ()>, seen: Arc<Seen>) {
    // The previous connection ended before this one began, but maybe in the same batch of events.
    for _ in 0..TURNS {
        yield_now().await;
    }
    let held = seen.held.fetch_add(1, Ordering::Relaxed) + 1;
    seen.most.fetch_max(held, Ordering::Relaxed);
    served.await;
    seen.held.fetch_sub(1, Ordering::Relaxed);
}

/// One connection to its end. Dropping a stream closes it.
async fn serve(mut client: TcpStream, server: u16, trouble: Trouble, seen: Arc<Seen>) {
    match trouble {
        Trouble::Hang => until_it_leaves(&mut client).await,
        Trouble::Close => {}
        Trouble::Reset => reset_when_dropped(&client),
        Trouble::Say(words) => {
            // Unread bytes turn the close of a socket into a reset.
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(words).await;
            let _ = client.shutdown().await;
            until_it_leaves(&mut client).await;
        }
        _ => {
            // The server is down: the client sees a connection that ends.
            let Ok(mut upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
            let _ = upstream.set_nodelay(true);
            let _ = client.set_nodelay(true);
            if matches!(trouble, Trouble::ResetAfter(_)) {
                reset_when_dropped(&client);
            }
            converse(&mut client, &mut upstream, trouble, &seen).await;
        }
    }
}

async fn converse(client: &mut TcpStream, upstream: &mut TcpStream, trouble: Trouble, seen: &Seen) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.split();
    let passed = AtomicUsize::new(0);
    let down = async {
        let whole = pass_down(&mut from_server, &mut to_client, trouble, &passed).await;
        if matches!(trouble, Trouble::ResetAfter(_)) && !whole {
            return;
        }
        if whole {
            let _ = to_client.shutdown().await;
        }
        // The client has not ended yet.
        std::future::pending::<()>().await;
    };
    let up = async {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = from_client.read(&mut part).await {
            // A server may have sent something before it ended, and the client must be able to read it.
            let _ = to_server.write_all(&part[..length]).await;
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
    }
    if trouble == Trouble::None {
        seen.bytes.store(passed.into_inner(), Ordering::Relaxed);
    }
}

/// Passes the server's bytes on to the client. False if it stopped before the server's end.
async fn pass_down(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    trouble: Trouble,
    passed: &AtomicUsize,
) -> bool {
    let mut part = [0; 4096];
    loop {
        let length = from.read(&mut part).await.unwrap_or(0);
        if length == 0 {
            return true;
        }
        let bytes = &part[..length];
        let left = match trouble {
            Trouble::ResetAfter(limit) | Trouble::StallAfter(limit) => limit - passed.load(Ordering::Relaxed),
            _ => usize::MAX,
        };
        if trouble == Trouble::Late {
            sleep(LATE).await;
        }
        let pieces = if trouble == Trouble::Drip { 1 } else { length };
        for piece in bytes[..length.min(left)].chunks(pieces) {
            if to.write_all(piece).await.is_err() {
                return false;
            }
            if trouble == Trouble::Drip {
                sleep(DRIP).await;
            }
        }
        passed.fetch_add(length.min(left), Ordering::Relaxed);
        if length >= left {
            return false;
        }
    }
}

async fn until_it_leaves(client: &mut TcpStream) {
    let mut part = [0; 4096];
    while matches!(client.read(&mut part).await, Ok(1..)) {}
}

fn reset_when_dropped(client: &TcpStream) {
    let _ = SockRef::from(client).set_linger(Some(Duration::ZERO));
}
