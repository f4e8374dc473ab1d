//! The database's faults: the server, the queries, and the network in front of it.

use std::thread;
use std::time::Duration;

use super::door::{Door, Trouble};
use super::lane::{Fault, Stage};
use super::ledger::{Check, Signs};
use crate::support::certificates::{Authority, Claims};
use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, poll};
use crate::support::postgres::{DATABASE, PASSWORD, Postgres, ROLE, Stop};
use crate::support::random::Random;
use crate::support::session::Session;

/// What the sidecar is told to ask.
pub(super) const QUERY: &str = "SELECT beat FROM heartbeat";
pub(super) const SQL_CHECKS: &str = "schema: SELECT version = 1 FROM schema_version";
const TABLES: &str = "CREATE TABLE heartbeat AS SELECT 1 AS beat; CREATE TABLE schema_version AS SELECT 1 AS version;
    GRANT SELECT ON heartbeat, schema_version TO probe";
/// A check that waits for a lock.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'sidepulse' AND wait_event_type = 'Lock'";

/// A PostgreSQL with TLS behind a proxy (see `door.rs`).
pub(super) struct Database {
    postgres: Postgres,
    pub(super) door: Door,
    authority: Authority,
    /// Holds a lock.
    holder: Option<Session>,
    executioner: Option<Executioner>,
    pub(super) restarts: usize,
}

/// What can be done to it.
pub(super) enum Deed {
    Network(Trouble),
    /// Somewhere in the first half of the server's bytes: in the handshake, the login or the query.
    Cut(fn(usize) -> Trouble),
    /// SQL to cause it, and SQL to undo it.
    Sql(&'static str, String),
    /// In the maintenance database, since the other must not be in use.
    SqlElsewhere(&'static str, &'static str),
    Lock,
    TerminateInLock,
    Freeze,
    Stop(Stop),
}

impl Database {
    pub(super) fn start() -> Database {
        let authority = Authority::new();
        let postgres = Postgres::builder().tls(&authority.issue(&Claims::right())).start();
        postgres.admin(TABLES);
        let door = Door::before(postgres.port());
        Database { postgres, door, authority, holder: None, executioner: None, restarts: 0 }
    }

    /// Through the proxy, and verified in full.
    pub(super) fn url(&self) -> String {
        let url = DatabaseUrl::new(ROLE, PASSWORD, self.door.port(), DATABASE);
        url.param("sslmode", "verify-full").param("sslrootcert", self.authority.root_file()).to_string()
    }

    /// How the superuser logs in without hindering anything done to the app's database.
    pub(super) fn maintenance(&self) -> tokio_postgres::Config {
        let mut config = self.postgres.admin_config();
        config.dbname("postgres");
        config
    }

    fn lock(&mut self) {
        let holder = self.postgres.admin_session().expect("a session");
        holder.sql("BEGIN; LOCK TABLE heartbeat IN ACCESS EXCLUSIVE MODE").expect("a lock");
        self.holder = Some(holder);
    }
}

impl Stage for Database {
    type Deed = Deed;
    const CHECKS: &'static [Check] = &[Check::Database, Check::Sql];
    const TIMEOUT: Duration = super::DATABASE_TIMEOUT;

    fn deck() -> Vec<Fault<Deed>> {
        use Deed::{Cut, Freeze, Lock, Network, Sql, SqlElsewhere, TerminateInLock};
        const SILENCE: &[&str] = &["tls_timeout", "auth_timeout", "query_timeout"];
        const LOST: &[&str] = &["connection_lost", "tls_failed"];
        // Where a check retries, its last attempt may begin after the fault is over, with too little time left. The
        // other reasons belong to connections that the fault meets half-way.
        const RUSHED: &[&str] = SILENCE;
        const CUT: &[&str] = &["connection_lost", "tls_failed", "tls_timeout", "auth_timeout", "query_timeout"];
        const CLOSING: &[&str] = &["connection_lost", "shutting_down", "starting_up"];
        // Where the deep query fails, the SQL check takes its reason.
        let one = |fault, proof, edge, deed| {
            let checks = &[Check::Database, Check::Sql];
            Fault { signs: Signs { fault, checks, proof, edge }, deed }
        };
        let sql = |away, back: &str| Sql(away, back.to_owned());
        let password = format!("ALTER ROLE probe PASSWORD '{}'", PASSWORD.replace('\'', "''"));
        let mut deck = vec![
            // A connection that waits to be accepted is reset.
            one("network: refuses", &["connect_refused"], CUT, Network(Trouble::Refuse)),
            one("network: accepts and hangs", &["tls_timeout"], RUSHED, Network(Trouble::Hang)),
            one("network: closes at once", &["connection_lost"], RUSHED, Network(Trouble::Close)),
            one("network: resets at once", &["connection_lost"], RUSHED, Network(Trouble::Reset)),
            one(
                "network: leads to a web server",
                &["protocol_error"],
                &[],
                Network(Trouble::Say(b"HTTP/1.1 400 \r\n")),
            ),
            one("network: takes the TLS away", &["tls_unsupported"], &[], Network(Trouble::Say(b"N"))),
            one("network: is late", &["tls_timeout"], RUSHED, Network(Trouble::Late)),
            one("network: drips", SILENCE, &[], Network(Trouble::Drip)),
            one("network: resets on the way", LOST, RUSHED, Cut(Trouble::ResetAfter)),
            one("network: stalls on the way", SILENCE, &[], Cut(Trouble::StallAfter)),
            one("database: frozen", SILENCE, CUT, Freeze),
            one("database: stopped", CLOSING, CUT, Deed::Stop(Stop::Fast)),
            one("database: crashed", CLOSING, CUT, Deed::Stop(Stop::Immediate)),
            one("database: locked", &["lock_timeout"], &[], Lock),
            one(
                "database: terminates sessions",
                &["shutting_down"],
                &["lock_timeout", "tls_timeout", "auth_timeout", "query_timeout"],
                TerminateInLock,
            ),
            one(
                "database: no connections left",
                &["too_many_connections"],
                &[],
                sql("ALTER ROLE probe CONNECTION LIMIT 0", "ALTER ROLE probe CONNECTION LIMIT -1"),
            ),
            one(
                "database: no row",
                &["unexpected_result"],
                &[],
                sql("DELETE FROM heartbeat", "INSERT INTO heartbeat VALUES (1)"),
            ),
            one(
                "database: no table",
                &["query_failed"],
                &[],
                sql("ALTER TABLE heartbeat RENAME TO away", "ALTER TABLE away RENAME TO heartbeat"),
            ),
            one(
                "database: renamed",
                &["database_missing"],
                &[],
                SqlElsewhere("ALTER DATABASE appdb RENAME TO away", "ALTER DATABASE away RENAME TO appdb"),
            ),
            one(
                "database: another password",
                &["auth_failed"],
                &[],
                Sql("ALTER ROLE probe PASSWORD 'other'", password),
            ),
            one(
                "database: no login",
                &["access_denied"],
                &[],
                sql("ALTER ROLE probe NOLOGIN", "ALTER ROLE probe LOGIN"),
            ),
        ];
        deck.push(Fault {
            signs: Signs {
                fault: "database: another schema",
                checks: &[Check::Sql],
                proof: &["unexpected_result"],
                edge: &[],
            },
            deed: sql("UPDATE schema_version SET version = 2", "UPDATE schema_version SET version = 1"),
        });
        deck
    }

    fn inflict(&mut self, deed: &Deed, random: &mut Random) {
        match deed {
            Deed::Network(trouble) => self.door.behave(*trouble),
            Deed::Cut(trouble) => self.door.behave(trouble(random.below(self.door.usual_bytes() / 2))),
            Deed::Sql(away, _) => drop(self.postgres.admin(away)),
            Deed::SqlElsewhere(away, _) => alone(&self.maintenance(), away),
            Deed::Lock => self.lock(),
            Deed::TerminateInLock => {
                self.lock();
                self.executioner = Some(Executioner::start(self.maintenance()));
            }
            Deed::Freeze => self.postgres.freeze(),
            Deed::Stop(how) => self.postgres.stop(*how),
        }
    }

    fn heal(&mut self, deed: &Deed) {
        match deed {
            Deed::Network(_) | Deed::Cut(_) => self.door.behave(Trouble::None),
            Deed::Sql(_, back) => drop(self.postgres.admin(back)),
            Deed::SqlElsewhere(_, back) => alone(&self.maintenance(), back),
            Deed::Lock => drop(self.holder.take()),
            Deed::TerminateInLock => {
                drop(self.executioner.take());
                drop(self.holder.take());
            }
            Deed::Freeze => self.postgres.thaw(),
            Deed::Stop(_) => {
                self.postgres.start();
                self.restarts += 1;
            }
        }
    }
}

/// Runs SQL that fails while the app's database is in use: a check uses it for an instant at a time.
fn alone(maintenance: &tokio_postgres::Config, sql: &str) {
    let session = Session::open(maintenance).expect("a session");
    let mut last = None;
    let done = poll(SOON, || match session.sql(sql) {
        Ok(_) => Some(()),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    done.unwrap_or_else(|| panic!("{sql}: {last:?}"));
}

/// Ends every session of the sidecar that waits for a lock, until it is dropped.
struct Executioner {
    stop: std::sync::mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Executioner {
    /// Between two tries.
    const PAUSE: Duration = Duration::from_millis(10);

    fn start(maintenance: tokio_postgres::Config) -> Executioner {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let session = Session::open(&maintenance).expect("a session");
            while stopped.recv_timeout(Executioner::PAUSE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                session.sql(TERMINATE).expect("pg_terminate_backend");
            }
        });
        Executioner { stop, thread: Some(thread) }
    }
}

impl Drop for Executioner {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
