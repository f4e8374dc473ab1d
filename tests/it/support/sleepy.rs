//! A database that suspends as Neon's do: a proxy in front of a real PostgreSQL, which it stops after a while without
//! use and starts again at the next login. It counts the time awake, which is what Neon bills.
//!
//! As at Neon, neither an open connection over which nothing is sent nor a connection that never logs in counts as use;
//! a login does, and so does every message of a client. On suspend the server ends every connection with 57P01.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::database_url::DatabaseUrl;
use super::eventually::{SOON, poll};
use super::pgbouncer::PgBouncer;
use super::postgres::{DATABASE, PASSWORD, Postgres, ROLE, Stop};

/// How often it checks whether it may suspend; Neon's monitor does so every 500 ms.
const WATCH: Duration = Duration::from_millis(20);
/// Logins of sidepulse that a use by the app explains: one that had begun before, and the one that notices it. On a busy
/// machine both may come late.
const LOOKS: usize = 2;
/// The request codes of a first message (protocol documentation, "SSLRequest" and "StartupMessage").
const SSL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2f];
/// What a client of the other project calls itself.
const OTHER: &str = "other-project";
/// The type byte of Terminate.
const TERMINATE: u8 = b'X';

/// When it suspends and how long it takes to wake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sleep {
    /// Without use for this long it suspends.
    pub(crate) after: Duration,
    /// Waking takes this long, in addition to the server's start.
    pub(crate) waking: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Awake,
    Suspending,
    Asleep,
    Waking,
}

struct State {
    phase: Phase,
    awake_since: Option<Instant>,
    awake: Duration,
    last_use: Instant,
    /// Logins of sidepulse since the app's last use.
    looks: usize,
    /// How long the app, and the looks that it draws, would have kept it awake, and until when.
    explained: Duration,
    explained_until: Instant,
    /// The clients' connections, to be closed on suspend.
    clients: Vec<TcpStream>,
    counts: Counts,
    closed: bool,
    over: bool,
}

impl State {
    /// Notes that it is being used, by the app or by sidepulse.
    fn use_it(&mut self, by_app: bool, sleep: Sleep) {
        self.last_use = Instant::now();
        if by_app {
            self.looks = 0;
        }
        if by_app || self.looks <= LOOKS {
            let until = self.last_use + sleep.after;
            self.explained += until - self.explained_until.max(self.last_use).min(until);
            self.explained_until = until;
        }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections accepted.
    pub(crate) connections: usize,
    /// Logins of sidepulse.
    pub(crate) probes: usize,
    /// Logins of all others.
    pub(crate) logins: usize,
    /// Times it was woken.
    pub(crate) wakes: usize,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    postgres: Mutex<Postgres>,
    _pooler: Option<PgBouncer>,
    other: Option<Postgres>,
    sleep: Sleep,
    backend: u16,
}

/// The database, awake at first for the usual time.
pub(crate) struct Sleepy {
    inner: Arc<Inner>,
    port: u16,
}

impl Sleepy {
    /// In front of a new PostgreSQL.
    pub(crate) fn start(sleep: Sleep) -> Sleepy {
        Sleepy::launch(Postgres::start_plain(), None, None, sleep)
    }

    /// The same, through PgBouncer in transaction mode.
    pub(crate) fn start_pooled(sleep: Sleep) -> Sleepy {
        let postgres = Postgres::start_plain();
        let pooler = PgBouncer::in_front_of(&postgres).server_login_retry(1).start();
        Sleepy::launch(postgres, Some(pooler), None, sleep)
    }

    /// Beside another project's database, which never sleeps, behind the same address: as at Neon, the proxy tells them
    /// apart by what the client sends.
    pub(crate) fn start_beside_another(sleep: Sleep) -> Sleepy {
        Sleepy::launch(Postgres::start_plain(), None, Some(Postgres::start_plain()), sleep)
    }

    fn launch(postgres: Postgres, pooler: Option<PgBouncer>, other: Option<Postgres>, sleep: Sleep) -> Sleepy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let now = Instant::now();
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                phase: Phase::Awake,
                awake_since: Some(now),
                awake: Duration::ZERO,
                last_use: now,
                looks: 0,
                explained: Duration::ZERO,
                explained_until: now,
                clients: Vec::new(),
                counts: Counts::default(),
                closed: false,
                over: false,
            }),
            changed: Condvar::new(),
            backend: pooler.as_ref().map_or(postgres.port(), PgBouncer::port),
            postgres: Mutex::new(postgres),
            _pooler: pooler,
            other,
            sleep,
        });
        let (watching, serving) = (Arc::clone(&inner), Arc::clone(&inner));
        thread::spawn(move || watching.watch());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inner = Arc::clone(&serving);
                if inner.state().over {
                    return;
                }
                thread::spawn(move || inner.serve(client));
            }
        });
        Sleepy { inner, port }
    }

    /// The URL that an app would use.
    pub(crate) fn url(&self) -> DatabaseUrl {
        DatabaseUrl::new(ROLE, PASSWORD, self.port, DATABASE)
    }

    /// The other project's.
    pub(crate) fn other_url(&self) -> DatabaseUrl {
        self.url().param("application_name", OTHER)
    }

    /// How long it has been awake so far.
    pub(crate) fn awake(&self) -> Duration {
        let state = self.inner.state();
        state.awake + state.awake_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long the app's use, and the looks that it draws, would have kept it awake so far.
    pub(crate) fn explained(&self) -> Duration {
        let state = self.inner.state();
        state.explained - state.explained_until.saturating_duration_since(Instant::now())
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.inner.state().counts
    }

    /// Waits until it sleeps.
    pub(crate) fn wait_until_asleep(&self) {
        let asleep = poll(SOON, || (self.inner.state().phase == Phase::Asleep).then_some(()));
        asleep.expect("the database does not fall asleep");
    }

    /// From now on every connection is closed at once, or served again.
    pub(crate) fn close_connections(&self, closed: bool) {
        self.inner.state().closed = closed;
    }
}

impl Drop for Sleepy {
    fn drop(&mut self) {
        self.inner.state().over = true;
        // Wakes the accept.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn postgres(&self) -> MutexGuard<'_, Postgres> {
        self.postgres.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Suspends when it is time.
    fn watch(&self) {
        loop {
            let mut state = self.state();
            if state.over {
                return;
            }
            if state.phase != Phase::Awake || state.last_use.elapsed() < self.sleep.after {
                drop(self.changed.wait_timeout(state, WATCH));
                continue;
            }
            state.phase = Phase::Suspending;
            let since = state.awake_since.take();
            state.awake += since.map_or(Duration::ZERO, |since| since.elapsed());
            let clients = std::mem::take(&mut state.clients);
            drop(state);
            self.postgres().stop(Stop::Fast);
            for client in clients {
                // The server's last message is on its way; PgBouncer is killed without one.
                let _ = client.shutdown(Shutdown::Write);
            }
            self.state().phase = Phase::Asleep;
            self.changed.notify_all();
        }
    }

    /// Wakes it, or waits until another login has. A login is use.
    fn wake(&self) {
        let mut state = self.state();
        while state.phase != Phase::Awake {
            if state.phase == Phase::Asleep {
                state.phase = Phase::Waking;
                state.awake_since = Some(Instant::now());
                state.counts.wakes += 1;
                drop(state);
                let _ = poll(self.sleep.waking, || None::<()>);
                self.postgres().start();
                self.state().phase = Phase::Awake;
                self.changed.notify_all();
                state = self.state();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// One client, to its end.
    fn serve(&self, mut client: TcpStream) {
        {
            let mut state = self.state();
            state.counts.connections += 1;
            if state.closed {
                return;
            }
        }
        let Some(startup) = first_message(&mut client) else { return };
        let says = |name: &str| startup.windows(name.len()).any(|part| part == name.as_bytes());
        if let Some(other) = self.other.as_ref().filter(|_| says(OTHER)) {
            return converse(client, &startup, other.port(), |_| {}, || {});
        }
        let by_app = !says("sidepulse");
        {
            let mut state = self.state();
            if by_app {
                state.counts.logins += 1;
            } else {
                state.counts.probes += 1;
                state.looks += 1;
            }
            state.use_it(by_app, self.sleep);
        }
        self.wake();
        self.state().use_it(by_app, self.sleep);
        let keep = |client| self.state().clients.push(client);
        converse(client, &startup, self.backend, keep, || self.state().use_it(by_app, self.sleep));
    }
}

/// Relays between a client and the server on this port until either ends.
fn converse(client: TcpStream, startup: &[u8], port: u16, keep: impl FnOnce(TcpStream), used: impl FnMut()) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    if server.write_all(startup).is_err() {
        return;
    }
    let (Ok(from_server), Ok(to_client), Ok(kept)) = (server.try_clone(), client.try_clone(), client.try_clone())
    else {
        return;
    };
    keep(kept);
    thread::scope(|scope| {
        scope.spawn(|| pass_on(from_server, to_client, || {}));
        pass_on(client, server, used);
    });
}

/// The startup message; TLS is refused on the way. `None`: the client left before it logged in.
fn first_message(client: &mut TcpStream) -> Option<Vec<u8>> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length).ok()?;
        let mut message = length.to_vec();
        message.resize(usize::try_from(u32::from_be_bytes(length)).ok()?.clamp(8, 10_000), 0);
        client.read_exact(&mut message[4..]).ok()?;
        if message[4..8] != SSL_REQUEST {
            return Some(message);
        }
        client.write_all(b"N").ok()?;
    }
}

/// Passes bytes on until one side ends; any message but Terminate is use.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut used: impl FnMut()) {
    let mut part = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut part) {
        if part[0] != TERMINATE {
            used();
        }
        if to.write_all(&part[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
