//! A scripted PostgreSQL server that fails on cue, for what no real server can be made to do at will.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use native_tls::Identity;
use openssl::sha::sha256;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket};
use tokio::sync::oneshot;
use tokio_native_tls::TlsAcceptor;

use super::certificates::ServerCertificate;
use super::database_url::DatabaseUrl;

mod answers;
mod behaviour;
mod conversation;
mod dialect;
mod messages;
mod scram;

pub(crate) use behaviour::{At, Auth, Behaviour, Fault};
use conversation::converse;
pub(crate) use dialect::Dialect;

/// The one password it accepts, from any user.
pub(crate) const PASSWORD: &str = "fake p@ssword";
/// The user that [`FakePostgres::url`] logs in as.
pub(crate) const USER: &str = "probe";

/// What the clients have done so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// TCP connections accepted.
    pub(crate) accepted: usize,
    /// The most connections that clients held at one moment, as the kernel says at every accept.
    pub(crate) max_concurrent: usize,
    /// SSLRequests received.
    pub(crate) ssl_requests: usize,
    /// TLS handshakes finished, direct ones included.
    pub(crate) handshakes: usize,
    /// TLS handshakes begun without an SSLRequest.
    pub(crate) direct_tls: usize,
    /// StartupMessages received, each as its parameters in their order.
    pub(crate) startups: Vec<Vec<(String, String)>>,
    /// Logins that got their ReadyForQuery.
    pub(crate) logins: usize,
    /// Passwords received in clear.
    pub(crate) clear_passwords: Vec<String>,
    /// SASL mechanisms chosen.
    pub(crate) mechanisms: Vec<String>,
    /// Simple queries, as received.
    pub(crate) queries: Vec<String>,
    /// The same by login, in the order of the logins.
    pub(crate) sessions: Vec<Vec<String>>,
    /// CancelRequests.
    pub(crate) cancels: usize,
    /// Terminate messages: sessions ended politely.
    pub(crate) terminates: usize,
}

/// What all connections share.
struct House {
    counts: Mutex<Counts>,
    script: Mutex<Script>,
    tls: Option<Tls>,
    /// A handle to each connection while its conversation goes on.
    open: Mutex<Vec<Weak<Socket>>>,
}

impl House {
    /// Connections whose client has not closed its end. The kernel is asked, not our tasks, which learn of a close
    /// later than of the client's next connection. (`/proc/net/tcp` would be as good, but takes 20 ms to read.)
    fn connections_now(&self) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|socket| socket.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).filter(|socket| !client_has_left(socket)).count()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Tls {
    acceptor: TlsAcceptor,
    /// What `tls-server-end-point` binds to: the hash of a certificate that is signed with SHA-256.
    end_point: [u8; 32],
}

impl Tls {
    fn new(certificate: &ServerCertificate) -> Tls {
        let (pem, key) = (certificate.certificate_pem(), certificate.key_pem());
        let identity = Identity::from_pkcs8(pem.as_bytes(), key.as_bytes()).expect("a certificate and its key");
        let acceptor = native_tls::TlsAcceptor::builder(identity).accept_alpn(&["postgresql"]).build();
        Tls { acceptor: acceptor.expect("a TLS acceptor").into(), end_point: sha256(&certificate.der()) }
    }
}

/// One behaviour for each connection; the last one stays.
struct Script {
    behaviours: Vec<Arc<Behaviour>>,
    next: usize,
}

impl Script {
    fn new(behaviours: impl IntoIterator<Item = Behaviour>) -> Script {
        let behaviours: Vec<_> = behaviours.into_iter().map(Arc::new).collect();
        assert!(!behaviours.is_empty(), "a script needs a behaviour");
        Script { behaviours, next: 0 }
    }

    fn take(&mut self) -> Arc<Behaviour> {
        let now = self.next.min(self.behaviours.len() - 1);
        self.next += 1;
        Arc::clone(&self.behaviours[now])
    }
}

/// The fake server, on its own thread until dropped; then every connection to it is closed.
///
/// ```ignore
/// let fake = FakePostgres::start([Behaviour::fault(At::Login, Fault::Close), Behaviour::good()]);
/// run_sidepulse(fake.url().to_string());
/// assert!(eventually(SOON, || fake.counts().logins == 1));
/// ```
pub(crate) struct FakePostgres {
    house: Arc<House>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakePostgres {
    /// A server without TLS: it answers `N`.
    pub(crate) fn start(script: impl IntoIterator<Item = Behaviour>) -> FakePostgres {
        FakePostgres::launch(script, None)
    }

    /// A server with TLS, by SSLRequest or direct; plaintext works as well.
    pub(crate) fn start_tls(
        certificate: &ServerCertificate,
        script: impl IntoIterator<Item = Behaviour>,
    ) -> FakePostgres {
        FakePostgres::launch(script, Some(Tls::new(certificate)))
    }

    fn launch(script: impl IntoIterator<Item = Behaviour>, tls: Option<Tls>) -> FakePostgres {
        let script = Mutex::new(Script::new(script));
        let house = Arc::new(House { counts: Mutex::default(), script, tls, open: Mutex::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on a port of the kernel's choice");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let port = listener.local_addr().expect("an address").port();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&house);
        let thread = thread::Builder::new().name("fake-postgres".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, &serving) => {}
                    _ = stopped => {}
                }
            });
        });
        FakePostgres { house, port, stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a login that it accepts.
    pub(crate) fn url(&self) -> DatabaseUrl {
        DatabaseUrl::new(USER, PASSWORD, self.port, "appdb")
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.house.counts().clone()
    }

    /// Connections that clients hold now, as the kernel sees them.
    pub(crate) fn connections_now(&self) -> usize {
        self.house.connections_now()
    }

    /// A new script, for the connections from now on.
    pub(crate) fn follow(&self, script: impl IntoIterator<Item = Behaviour>) {
        *self.house.script() = Script::new(script);
    }
}

impl Drop for FakePostgres {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, house: &Arc<House>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    loop {
        let (stream, _) = listener.accept().await.expect("accept a connection");
        let behaviour = house.script().take();
        let socket = Arc::new(SockRef::from(&stream).try_clone().expect("a second handle of a socket"));
        house.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&socket));
        let open = house.connections_now();
        {
            let mut counts = house.counts();
            counts.accepted += 1;
            counts.max_concurrent = counts.max_concurrent.max(open);
        }
        tokio::spawn(converse(stream, socket, behaviour, Arc::clone(house)));
    }
}

fn client_has_left(socket: &Socket) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    let _ = poll(&mut asked, Some(&Timespec::default()));
    asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}
