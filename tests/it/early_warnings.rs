//! Early warnings on real PostgreSQL: trouble to come is reported while the deep check is green.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use sidepulse::without_daemon::DeepCheck;
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use crate::support::eventually::{SOON, eventually};

use crate::support::database_url::DatabaseUrl;
use crate::support::fake_postgres::{At, Behaviour, Dialect, FakePostgres, Fault};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{DATABASE, PASSWORD, Postgres, ROLE};
use crate::support::session::Session;
use crate::support::sidecar::Sidecar;

/// For tests of long transactions and waits.
const SHORT: Duration = Duration::from_millis(200);

/// The daemon's checks and readings, as often as the test wants them.
struct Watcher {
    runtime: Runtime,
    check: DeepCheck,
}

impl Watcher {
    fn on(url: impl ToString) -> Watcher {
        Watcher {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            check: DeepCheck::impatient(&url.to_string(), SHORT).expect("a good URL"),
        }
    }

    /// One check that passes, and the numbers read after it.
    fn read(&mut self) -> Value {
        self.try_to_read().expect("it is time").expect("the numbers")
    }

    /// One check that passes, and the result of reading the numbers after it.
    fn try_to_read(&mut self) -> Option<Result<Value, &'static str>> {
        // Where few sessions are allowed, that of the check before may not have ended on the server yet.
        assert!(eventually(SOON, || self.runtime.block_on(self.check.run()).is_ok()), "no check passes");
        self.runtime.block_on(self.check.vitals())
    }

    /// Whether two readings in a row see it, the first at once or soon.
    fn warns_of(&mut self, warning: &str) -> bool {
        eventually(SOON, || {
            self.read();
            self.check.warnings().contains(&warning)
        })
    }

    fn stays_silent(&mut self) {
        for _ in 0..3 {
            self.read();
        }
        let shown = self.check.warnings();
        assert!(shown.is_empty(), "{shown:?}: {:?}", self.read());
    }
}

/// A statement that waits until the server ends, longer than a session of the tests may.
fn wait_for_long(config: tokio_postgres::Config, sql: &'static str) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.expect("a session");
            tokio::select! {
                _ = connection => {}
                _ = client.simple_query(sql) => {}
            }
        });
    });
}

/// The numbers of sessions by state.
fn sessions_of(active: u64, idle: u64, idle_in_transaction: u64, other: u64) -> Value {
    json!({"active": active, "idle": idle, "idle_in_transaction": idle_in_transaction, "other": other})
}

fn sessions(count: usize, config: &tokio_postgres::Config) -> Vec<Session> {
    (0..count).map(|_| Session::open(config).expect("a session")).collect()
}

#[test]
fn a_server_that_is_nearly_full_causes_a_warning_and_our_own_session_does_not_count() {
    let postgres = Postgres::builder().setting("max_connections = 20").start();
    let mut watcher = Watcher::on(postgres.url());
    let mut crowd = sessions(14, &postgres.url().config());
    let vitals = watcher.read();
    assert_eq!(vitals["room"], "14 of 17 by Server");
    assert_eq!(vitals["sessions"], sessions_of(0, 14, 0, 0));
    watcher.stays_silent();
    crowd.push(Session::open(&postgres.url().config()).expect("a session"));
    assert!(watcher.warns_of("connections_scarce"), "{:?}", watcher.read());
    crowd.truncate(10);
    let calm = || watcher.read()["room"] == "10 of 17 by Server";
    assert!(eventually(SOON, calm));
    watcher.stays_silent();
}

#[test]
fn the_limits_of_the_role_and_of_the_database_count_as_the_servers() {
    let postgres = Postgres::start_plain();
    postgres.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT 6"));
    let mut watcher = Watcher::on(postgres.url());
    let crowd = sessions(4, &postgres.url().config());
    assert_eq!(watcher.read()["room"], "4 of 6 by Role");
    assert!(watcher.warns_of("connections_scarce"));
    postgres.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"));
    watcher.stays_silent();
    postgres.admin("ALTER DATABASE appdb CONNECTION LIMIT 6");
    assert!(watcher.warns_of("connections_scarce"));
    assert!(eventually(SOON, || watcher.read()["room"] == "4 of 6 by Database"));
    drop(crowd);
}

#[test]
fn a_leaked_transaction_causes_a_warning_and_an_active_one_does_not() {
    let postgres = Postgres::start_plain();
    let mut watcher = Watcher::on(postgres.url());
    let leaked = Session::open(&postgres.url().config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(watcher.warns_of("transaction_stuck"));
    let vitals = watcher.read();
    assert_eq!(vitals["sessions"], sessions_of(0, 0, 1, 0));
    assert!(vitals["oldest_transaction"].as_u64() >= Some(200), "{vitals}");
    leaked.sql("ROLLBACK").expect("its end");
    watcher.stays_silent();
}

#[test]
fn another_roles_transaction_is_not_judged() {
    let postgres = Postgres::start_plain();
    let mut watcher = Watcher::on(postgres.url());
    let admin = postgres.admin_session().expect("another role's session");
    admin.sql("BEGIN; SELECT 1").expect("a transaction");
    assert!(eventually(SOON, || {
        let stands = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' \
                      AND clock_timestamp() - state_change > interval '250 ms'";
        postgres.admin_value(stands) == "1"
    }));
    let vitals = watcher.read();
    assert_eq!(vitals["sessions"]["idle_in_transaction"], 0, "{vitals}");
    assert!(vitals["sessions"]["other"].as_u64() >= Some(1), "{vitals}");
    watcher.stays_silent();
}

#[test]
fn a_queue_behind_a_lock_causes_a_warning() {
    let postgres = Postgres::start_plain();
    postgres.admin("CREATE TABLE things (id int); GRANT ALL ON things TO PUBLIC");
    let mut watcher = Watcher::on(postgres.url());
    let holder = postgres.admin_session().expect("a session");
    holder.sql("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").expect("the lock");
    let config = postgres.url().config();
    let waiter = std::thread::spawn(move || Session::open(&config).and_then(|session| session.sql("TABLE things")));
    assert!(watcher.warns_of("lock_wait"));
    assert_eq!(watcher.read()["lock_waiters"], 1);
    holder.sql("ROLLBACK").expect("its end");
    waiter.join().expect("the waiting thread").expect("its answer");
    watcher.stays_silent();
}

#[test]
fn storage_that_is_nearly_used_up_causes_a_warning_where_the_server_has_a_limit() {
    // Neon's setting; elsewhere PostgreSQL accepts any name with a dot.
    let postgres = Postgres::builder().setting("neon.max_cluster_size = '64MB'").start();
    let mut watcher = Watcher::on(postgres.url());
    let vitals = watcher.read();
    assert_eq!(vitals["storage_limit"], 64 << 20);
    assert!(vitals["stored"].as_u64() > Some(4 << 20), "{vitals}");
    watcher.stays_silent();
    postgres.admin("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 32000)");
    assert!(watcher.warns_of("storage_scarce"), "{:?}", watcher.read());

    let vitals = Watcher::on(Postgres::start_plain().url()).read();
    assert!(vitals["storage_limit"].is_null() && vitals["stored"].is_null(), "{vitals}");
}

#[test]
fn a_role_without_privileges_and_a_pooler_show_as_much() {
    let postgres = Postgres::start_plain();
    postgres.admin(
        "CREATE ROLE nobody LOGIN PASSWORD 'nothing'; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         REVOKE ALL ON DATABASE appdb FROM PUBLIC; GRANT CONNECT ON DATABASE appdb TO nobody",
    );
    let url = postgres.url().user("nobody").password("nothing");
    let leaked = Session::open(&url.config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    let mut watcher = Watcher::on(&url);
    assert!(watcher.warns_of("transaction_stuck"));
    assert!(watcher.read()["room"].as_str().is_some_and(|room| room.ends_with("by Server")));

    let pooler = PgBouncer::in_front_of(&postgres).pool_size(3).start();
    let mut watcher = Watcher::on(pooler.url());
    watcher.stays_silent();
    let leaked = Session::open(&pooler.url().config()).expect("a client");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(watcher.warns_of("transaction_stuck"), "the pooler's session is the role's");
}

#[test]
fn a_standby_shows_as_much() {
    let postgres = Postgres::start_plain();
    let standby = postgres.standby();
    let leaked = Session::open(&standby.url().config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(Watcher::on(standby.url()).warns_of("transaction_stuck"));
}

/// A load balancer: each connection to the port that it returns goes to the next of these servers.
fn balanced(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its port").port();
    std::thread::spawn(move || {
        for (client, port) in listener.incoming().flatten().zip(ports.into_iter().cycle()) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    port
}

#[test]
fn two_servers_behind_one_name_are_each_judged_by_their_own_readings() {
    let full = Postgres::builder().setting("max_connections = 20").start();
    let calm = Postgres::builder().setting("max_connections = 50").start();
    let mut crowd = sessions(16, &full.url().config());
    let url = DatabaseUrl::new(ROLE, PASSWORD, balanced([full.port(), calm.port()]), DATABASE);
    let mut watcher = Watcher::on(&url);
    assert!(watcher.warns_of("connections_scarce"));
    for _ in 0..6 {
        let room = watcher.read()["room"].to_string();
        assert!(room.contains(" of 17 ") || room.contains(" of 47 "), "{room}");
        assert!(watcher.check.warnings().contains(&"connections_scarce"), "it does not come and go with the server");
    }
    crowd.truncate(3);
    let gone = || {
        watcher.read();
        !watcher.check.warnings().contains(&"connections_scarce")
    };
    assert!(eventually(SOON, gone));
    watcher.stays_silent();
}

/// The scripted server takes the message for that of a SQL check, since it does not ask for the start time.
#[test]
fn a_server_that_does_not_answer_it_fails_no_check_and_gets_no_second_connection() {
    let fake = FakePostgres::start([Behaviour::fault(At::SqlCheck, Fault::Stall)]);
    let mut watcher = Watcher::on(fake.url());
    for _ in 0..2 {
        assert_eq!(watcher.try_to_read(), Some(Err("query_timeout")), "asked again at the next check");
    }
    let sidecar = Sidecar::on(fake.url()).app(1).start();
    let check = sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    let rounds = || sidecar.metric("sidepulse_checks_total{check=\"database\"}").unwrap_or_default();
    assert!(eventually(SOON, || rounds() >= 6.0), "checking goes on: {}", sidecar.log_text());
    assert_eq!(check["attempts"], 1, "{check}");
    assert_eq!(sidecar.metric("sidepulse_database_sessions_limit"), None);
    let failed = "sidepulse_check_failures_total{check=\"database\",reason=\"query_timeout\"}";
    assert_eq!(sidecar.metric(failed), Some(0.0));
    assert_eq!(fake.counts().max_concurrent, 1);
}

#[test]
fn a_server_without_these_views_is_asked_once() {
    let dialect =
        Dialect::postgres().without("pg_stat_activity", "42P01", "relation \"pg_stat_activity\" does not exist");
    let fake = FakePostgres::start([Behaviour::good().dialect(dialect)]);
    let mut watcher = Watcher::on(fake.url());
    assert_eq!(watcher.try_to_read(), Some(Err("query_failed")));
    assert_eq!(watcher.try_to_read(), None, "it is left alone");

    let sidecar = Sidecar::on(fake.url()).app(1).set("SIDEPULSE_LOG", "debug").start();
    let said = || sidecar.log_text().matches("no early warnings").count();
    assert!(eventually(SOON, || said() == 1), "{}", sidecar.log_text());
    let check = sidecar.check("database:query");
    assert_eq!(check["status"], "pass", "{check}");
}

#[test]
fn thousands_of_sessions_are_one_row() {
    let numbers = ["5000", "4990", "5000", "3", "4980", "7", "86400.5", "86000.25", "900", "300", "4997", "-1", "-1"];
    let columns: Vec<Option<&str>> = numbers.into_iter().map(Some).chain([None, None]).collect();
    let fake = FakePostgres::start([Behaviour::good().sql_check_rows(&[&columns])]);
    let mut watcher = Watcher::on(fake.url());
    assert_eq!(watcher.read()["sessions"], sessions_of(3, 4980, 7, 10));
    watcher.read();
    for warning in ["connections_scarce", "transaction_stuck", "lock_wait"] {
        assert!(watcher.check.warnings().contains(&warning), "{warning}");
    }
}

/// The whole program with its own thresholds: the second reading comes after a minute.
#[test]
fn the_daemon_warns_at_its_second_reading_while_every_check_passes() {
    let postgres =
        Postgres::builder().setting("max_connections = 20").setting("neon.max_cluster_size = '30MB'").start();
    postgres.admin("CREATE TABLE things (id int); GRANT ALL ON things TO PUBLIC");
    let _crowd = sessions(13, &postgres.url().config());
    let holder = postgres.admin_session().expect("a session");
    holder.sql("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").expect("the lock");
    wait_for_long(postgres.url().config(), "TABLE things");
    let waited = "SELECT count(*) FROM pg_locks WHERE clock_timestamp() - waitstart > interval '11 s'";
    assert!(eventually(SOON, || postgres.admin_value(waited) == "1"));

    let sidecar = Sidecar::on(postgres.url()).app(1).start();
    let warns = |reason: &str| {
        sidecar.metric(&format!("sidepulse_check_warning{{check=\"database\",reason=\"{reason}\"}}")) == Some(1.0)
    };
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    let numbers = || sidecar.metric("sidepulse_database_sessions_limit");
    assert!(eventually(SOON, || numbers() == Some(17.0)), "{}", sidecar.log_text());
    let early = ["connections_scarce", "lock_wait", "storage_scarce"];
    assert!(!early.iter().any(|reason| warns(reason)), "not at the first reading");
    let minute = Duration::from_secs(75);
    assert!(eventually(minute, || early.iter().all(|reason| warns(reason))), "{}", sidecar.log_text());
    let check = sidecar.check("database:query");
    assert_eq!((&check["status"], &check["reason"]), (&"warn".into(), &"connections_scarce".into()), "{check}");
    for reason in early {
        let said = format!("\"message\":\"database: {reason}\"");
        assert_eq!(sidecar.log_text().matches(&said).count(), 1, "{reason}: {}", sidecar.log_text());
    }
    let (code, row) = Sidecar::on(postgres.url()).check_database();
    let remedy = row["remedy"].as_str().unwrap_or_default();
    assert!(code == Some(0) && remedy.contains("of 17 sessions"), "{row}");
}
