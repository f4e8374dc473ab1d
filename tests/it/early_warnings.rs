//! Early warnings on real PostgreSQL: what hurts soon is told while the deep check is green.

use std::sync::Arc;
use std::time::Duration;

use sidepulse::config::{Config, Given, Need, WarnAt};
use sidepulse::early_warnings::EarlyWarnings;
use sidepulse::probe::Reason;
use sidepulse::probe::database::DatabaseProbe;
use sidepulse::probe::vitals::{Limit, Room, Sessions, Vitals};
use tokio::runtime::Runtime;

use crate::support::eventually::{SOON, eventually};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, ROLE};
use crate::support::session::Session;

/// For tests of what takes long.
const SHORT: Duration = Duration::from_millis(200);

/// The daemon's checks and looks, as often as the test wants them.
struct Watcher {
    runtime: Runtime,
    probe: DatabaseProbe,
    warn_at: WarnAt,
    warnings: EarlyWarnings,
}

impl Watcher {
    fn on(url: impl ToString) -> Watcher {
        let url = url.to_string();
        let lookup = |name: &str| {
            (name == "DATABASE_URL").then(|| Given { text: Some(url.clone()), named: "DATABASE_URL".to_owned() })
        };
        let config = Config::load(&lookup, Need::Everything).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut settings = config.database.expect("a database");
        let warn_at = WarnAt {
            stuck_after: SHORT,
            lock_wait_after: SHORT,
            look_every: Duration::ZERO,
            storage_every: Duration::ZERO,
            ..WarnAt::default()
        };
        settings.early_warnings = Some(warn_at.clone());
        Watcher {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            probe: DatabaseProbe::new(settings, Arc::clone(&config.redactor)),
            warn_at,
            warnings: EarlyWarnings::default(),
        }
    }

    /// One check that passes, and the look after it.
    fn look(&mut self) -> Vitals {
        let looked = self.runtime.block_on(async {
            let report = self.probe.check().await;
            assert!(report.query.result.is_ok(), "{:?}", report.query);
            self.probe.vitals().await
        });
        let vitals = looked.expect("a look is due").expect("the numbers");
        self.warnings.take(vitals.clone(), &self.warn_at);
        vitals
    }

    /// Whether two looks in a row see it, the first at once or soon.
    fn warns_of(&mut self, warning: Reason) -> bool {
        eventually(SOON, || {
            self.look();
            self.warnings.shows(warning)
        })
    }

    fn stays_silent(&mut self) {
        for _ in 0..3 {
            self.look();
        }
        let shown: Vec<_> = Reason::ALL.iter().filter(|reason| self.warnings.shows(**reason)).collect();
        assert!(shown.is_empty(), "{shown:?}: {:?}", self.warnings.vitals());
    }
}

fn sessions(count: usize, config: &tokio_postgres::Config) -> Vec<Session> {
    (0..count).map(|_| Session::open(config).expect("a session")).collect()
}

#[test]
fn a_server_that_is_nearly_full_is_told_and_our_own_session_is_in_no_number() {
    let postgres = Postgres::builder().setting("max_connections = 20").start();
    let mut watcher = Watcher::on(postgres.url());
    let mut crowd = sessions(14, &postgres.url().config());
    let vitals = watcher.look();
    assert_eq!(vitals.room, Some(Room { of: Limit::Server, limit: 17, used: 14 }));
    assert_eq!(vitals.sessions, Sessions { idle: 14, ..Sessions::default() });
    watcher.stays_silent();
    crowd.push(Session::open(&postgres.url().config()).expect("a session"));
    assert!(watcher.warns_of(Reason::ConnectionsScarce), "{:?}", watcher.warnings.vitals());
    crowd.truncate(10);
    let calm = || watcher.look().room.is_some_and(|room| room.used == 10);
    assert!(eventually(SOON, calm));
    watcher.stays_silent();
}

#[test]
fn the_limits_of_the_role_and_of_the_database_count_as_the_servers() {
    let postgres = Postgres::start_plain();
    postgres.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT 6"));
    let mut watcher = Watcher::on(postgres.url());
    let crowd = sessions(4, &postgres.url().config());
    assert_eq!(watcher.look().room, Some(Room { of: Limit::Role, limit: 6, used: 4 }));
    assert!(watcher.warns_of(Reason::ConnectionsScarce));
    postgres.admin(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"));
    watcher.stays_silent();
    postgres.admin("ALTER DATABASE appdb CONNECTION LIMIT 6");
    assert!(watcher.warns_of(Reason::ConnectionsScarce));
    assert_eq!(watcher.look().room.map(|room| (room.of, room.limit)), Some((Limit::Database, 6)));
    drop(crowd);
}

#[test]
fn a_leaked_transaction_is_told_and_a_transaction_that_works_is_not() {
    let postgres = Postgres::start_plain();
    let mut watcher = Watcher::on(postgres.url());
    let leaked = Session::open(&postgres.url().config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(watcher.warns_of(Reason::TransactionStuck));
    let vitals = watcher.look();
    assert_eq!(vitals.sessions, Sessions { idle_in_transaction: 1, ..Sessions::default() });
    assert!(vitals.oldest_transaction >= vitals.idle_in_transaction, "{vitals:?}");
    leaked.sql("ROLLBACK").expect("its end");
    watcher.stays_silent();
}

#[test]
fn another_roles_transaction_is_not_ours_to_judge() {
    let postgres = Postgres::start_plain();
    let mut watcher = Watcher::on(postgres.url());
    let admin = postgres.admin_session().expect("another role's session");
    admin.sql("BEGIN; SELECT 1").expect("a transaction");
    assert!(eventually(SOON, || {
        let stands = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' \
                      AND clock_timestamp() - state_change > interval '250 ms'";
        postgres.admin_value(stands) == "1"
    }));
    let vitals = watcher.look();
    assert_eq!(vitals.sessions.idle_in_transaction, 0, "{vitals:?}");
    assert!(vitals.sessions.other >= 1, "{vitals:?}");
    watcher.stays_silent();
}

#[test]
fn a_queue_behind_a_lock_is_told() {
    let postgres = Postgres::start_plain();
    postgres.admin("CREATE TABLE things (id int); GRANT ALL ON things TO PUBLIC");
    let mut watcher = Watcher::on(postgres.url());
    let holder = postgres.admin_session().expect("a session");
    holder.sql("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").expect("the lock");
    let config = postgres.url().config();
    let waiter = std::thread::spawn(move || Session::open(&config).and_then(|session| session.sql("TABLE things")));
    assert!(watcher.warns_of(Reason::LockWait));
    assert_eq!(watcher.look().lock_waiters, 1);
    holder.sql("ROLLBACK").expect("its end");
    waiter.join().expect("the waiting thread").expect("its answer");
    watcher.stays_silent();
}

#[test]
fn storage_that_is_nearly_used_up_is_told_where_the_server_has_a_limit() {
    // Neon's setting; elsewhere PostgreSQL takes any name with a dot.
    let postgres = Postgres::builder().setting("neon.max_cluster_size = '64MB'").start();
    let mut watcher = Watcher::on(postgres.url());
    let vitals = watcher.look();
    assert_eq!(vitals.storage_limit, Some(64 << 20));
    assert!(vitals.stored.is_some_and(|stored| stored > 4 << 20), "{vitals:?}");
    watcher.stays_silent();
    postgres.admin("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 32000)");
    assert!(watcher.warns_of(Reason::StorageScarce), "{:?}", watcher.warnings.vitals());

    let vitals = Watcher::on(Postgres::start_plain().url()).look();
    assert_eq!((vitals.storage_limit, vitals.stored), (None, None));
}

#[test]
fn a_role_without_privileges_and_a_pooler_tell_as_much() {
    let postgres = Postgres::start_plain();
    postgres.admin(
        "CREATE ROLE nobody LOGIN PASSWORD 'nothing'; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         REVOKE ALL ON DATABASE appdb FROM PUBLIC; GRANT CONNECT ON DATABASE appdb TO nobody",
    );
    let url = postgres.url().user("nobody").password("nothing");
    let leaked = Session::open(&url.config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    let mut watcher = Watcher::on(&url);
    assert!(watcher.warns_of(Reason::TransactionStuck));
    assert_eq!(watcher.look().room.map(|room| room.of), Some(Limit::Server));

    let pooler = PgBouncer::in_front_of(&postgres).pool_size(3).start();
    let mut watcher = Watcher::on(pooler.url());
    watcher.stays_silent();
    let leaked = Session::open(&pooler.url().config()).expect("a client");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(watcher.warns_of(Reason::TransactionStuck), "the pooler's session is the role's");
}

#[test]
fn a_standby_tells_as_much() {
    let postgres = Postgres::start_plain();
    let standby = postgres.standby();
    let leaked = Session::open(&standby.url().config()).expect("a session");
    leaked.sql("BEGIN").expect("a transaction");
    assert!(Watcher::on(standby.url()).warns_of(Reason::TransactionStuck));
}
