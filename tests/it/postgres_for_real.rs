//! A real PostgreSQL in every state that a sidecar may find it in; it never sees two of our sessions, and none stays.

use rustix::process::Signal;

use crate::support::backends::Watch;
use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, eventually, poll};
use crate::support::postgres::{Postgres, Stop};
use crate::support::session::Session;
use crate::support::sidecar::Sidecar;

/// One run of `sidepulse check`: what is asked, the reason that must come of it (`-` passes), and the number of
/// attempts (0 = several).
struct Ask {
    what: &'static str,
    url: DatabaseUrl,
    query: &'static str,
    reason: &'static str,
    attempts: u64,
}

fn judge(postgres: &Postgres, asks: Vec<Ask>) {
    let watch = Watch::on(postgres);
    for Ask { what, url, query, reason, attempts } in asks {
        let run =
            Sidecar::on(url).set("SIDEPULSE_DATABASE_TIMEOUT", "3s").set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "2s");
        let (code, check) = run.set("SIDEPULSE_DATABASE_QUERY", query).check_database();
        assert_eq!(
            (check["reason"].as_str().unwrap_or("-"), code),
            (reason, Some(i32::from(reason != "-"))),
            "{what}: {check}"
        );
        let made = check["attempts"].as_u64().unwrap_or(0);
        assert!(if attempts == 0 { made > 1 } else { made == attempts }, "{what}: {check}");
        // The server is rid of a session a moment after its client is: the next one is not to be counted beside it.
        let is_over = || postgres.connections_now() == 0 && postgres.backends_of("sidepulse") == 0;
        assert!(eventually(SOON, is_over), "{what}: a connection stays");
    }
    watch.none_is_left();
}

#[test]
fn each_refusal_of_a_login_has_its_reason() {
    let postgres =
        Postgres::builder().hba("host all guest all reject").hba("host locked all 127.0.0.2/32 trust").start();
    for sql in [
        "CREATE ROLE guest LOGIN PASSWORD 'x'",
        "CREATE ROLE nologin PASSWORD 'x'",
        "CREATE ROLE crowded LOGIN PASSWORD 'x' CONNECTION LIMIT 0",
        "CREATE DATABASE closed ALLOW_CONNECTIONS false",
        "CREATE DATABASE private",
        "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
    ] {
        postgres.admin(sql);
    }
    let ask = |what, url, reason| Ask { what, url, query: "SELECT 1", reason, attempts: 1 };
    let url = postgres.url();
    let nowhere = url.clone().host("").param("host", "/nonexistent");
    judge(
        &postgres,
        vec![
            ask("all is well", url.clone(), "-"),
            ask("by Unix socket", postgres.socket_url(), "-"),
            ask("SQLAlchemy's scheme", url.clone().scheme("postgresql+asyncpg").param("ssl", "prefer"), "-"),
            ask("a wrong password", url.clone().password("wrong"), "auth_failed"),
            ask("a wrong password by Unix socket", postgres.socket_url().password("wrong"), "auth_failed"),
            ask("an unknown user", url.clone().user("nobody"), "auth_failed"),
            ask("a role that may not log in", url.clone().user("nologin").password("x"), "access_denied"),
            ask("pg_hba.conf rejects", url.clone().user("guest"), "access_denied"),
            ask("no CONNECT", url.clone().database("private"), "access_denied"),
            ask("a closed database", url.clone().database("closed"), "access_denied"),
            ask("a missing database", url.clone().database("nowhere"), "database_missing"),
            ask("a role with its limit reached", url.clone().user("crowded").password("x"), "too_many_connections"),
            ask("TLS from a server without", url.clone().param("sslmode", "require"), "tls_unsupported"),
            ask("an option that does not exist", url.clone().param("options", "-c nonsense=1"), "login_failed"),
            Ask { attempts: 0, ..ask("no socket", nowhere, "connect_refused") },
        ]
        .into_iter()
        // Any other error may be temporary.
        .map(|ask| Ask { attempts: if ask.reason == "login_failed" { 0 } else { ask.attempts }, ..ask })
        .collect(),
    );
}

#[test]
fn each_failure_of_the_query_has_its_reason() {
    let postgres = Postgres::start_plain();
    postgres.admin("CREATE TABLE things (id int); CREATE TABLE secrets (id int); GRANT SELECT ON things TO probe");
    postgres.admin("CREATE TABLE filled (id int); GRANT ALL ON filled TO probe");
    let holder = postgres.admin_session().unwrap();
    holder.sql("BEGIN; LOCK TABLE things").unwrap();
    let ask = |query, reason| Ask { what: query, url: postgres.url(), query, reason, attempts: 1 };
    judge(
        &postgres,
        vec![
            ask("SELECT 1", "-"),
            ask("SELECT 'a;b' -- with a comment", "-"),
            ask("TABLE pg_settings", "-"),
            ask("SHOW server_version", "-"),
            ask("SELECT 1 WHERE false", "unexpected_result"),
            ask("SELECT * FROM nowhere", "query_failed"),
            ask("SELECT 1/0", "query_failed"),
            ask("CREATE TABLE made (id int)", "query_failed"),
            ask("SELECT * FROM secrets", "access_denied"),
            ask("SELECT * FROM things", "lock_timeout"),
            ask("COPY (SELECT 1) TO STDOUT", "unexpected_result"),
            ask("COPY (SELECT repeat('x', 300000)) TO STDOUT", "unexpected_result"),
            ask("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000)) TO STDOUT", "unexpected_result"),
            // Not in a read-only transaction.
            ask("COPY filled FROM STDIN", "query_failed"),
            ask("SELECT repeat('x', 300000)", "protocol_error"),
            ask("SELECT repeat('x', 1000) FROM generate_series(1, 1000)", "protocol_error"),
            ask("SELECT pg_terminate_backend(pg_backend_pid())", "shutting_down"),
            ask("SELECT pg_sleep(60)", "query_timeout"),
        ]
        .into_iter()
        .map(|ask| Ask { attempts: u64::from(!["shutting_down", "query_timeout"].contains(&ask.reason)), ..ask })
        .collect(),
    );
    // The server itself ended the query that slept.
    assert!(postgres.log_text().contains("canceling statement due to statement timeout"));
}

#[test]
fn a_query_ends_on_the_server_even_when_the_sidecar_is_killed() {
    let postgres = Postgres::start_plain();
    let sidecar = Sidecar::on(postgres.url()).app(1).set("SIDEPULSE_DATABASE_QUERY", "SELECT pg_sleep(3600)");
    let sidecar = sidecar.set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "2s").start();
    assert!(eventually(SOON, || postgres.backends_of("sidepulse") == 1));
    sidecar.signal(Signal::KILL);
    assert!(eventually(SOON, || postgres.backends_of("sidepulse") == 0), "{}", postgres.log_text());
}

#[test]
fn the_verdict_follows_a_server_that_is_stopped_started_frozen_and_crowded() {
    let mut postgres = Postgres::builder().setting("max_connections = 6").start();
    let sidecar = Sidecar::on(postgres.url()).app(1).start();
    let up = || drop(sidecar.wait_for_check("database:query", |check| check["state"] == "up"));
    let down = |reason: &str| {
        sidecar.wait_for_check("database:query", |check| check["state"] == "down" && check["reason"] == reason);
    };
    up();

    // A restart that waits for a session which does not end.
    let last = Session::open(&postgres.url().config()).unwrap();
    postgres.begin_stop(Stop::Smart);
    down("shutting_down");
    drop(last);
    postgres.wait_for_end();
    down("connect_refused");
    postgres.start();
    up();
    assert_eq!(sidecar.metric("sidepulse_database_restarts_total"), Some(1.0));
    assert_eq!(sidecar.metric("sidepulse_database_wake_seconds_count"), Some(1.0));
    let watch = Watch::on(&postgres);

    postgres.freeze();
    down("tls_timeout");
    assert!(postgres.connections_now() <= 2, "the watcher's is another one");
    postgres.thaw();
    up();

    // Three of the six connections are reserved for the superuser, and the watcher has one.
    // The sidecar may hold one of the others at this moment.
    let place = || poll(SOON, || Session::open(&postgres.url().config()).ok()).expect("a place");
    let crowd = [place(), place()];
    down("too_many_connections");
    drop(crowd);
    up();

    postgres.stop(Stop::Immediate);
    down("connect_refused");
    postgres.start();
    up();
    drop(sidecar);
    watch.none_is_left();
}

#[test]
fn a_server_that_accepts_no_writes_is_a_warning() {
    let postgres = Postgres::start_plain();
    let standby = postgres.standby();
    let sidecar = Sidecar::on(standby.url()).app(1).start();
    let warned = |sidecar: &Sidecar, warning: &str| {
        let series = "sidepulse_check_warning{check=\"database\",reason=\"read_only\"}";
        sidecar.wait_for_check("database:query", |check| {
            check["status"] == "warn" && check["reason"] == warning && sidecar.metric(series) == Some(1.0)
        });
        assert_eq!(sidecar.get("/health/deep").status, 200);
    };
    warned(&sidecar, "read_only");
    standby.admin("SELECT pg_promote()");
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    assert_eq!(sidecar.metric("sidepulse_database_restarts_total"), Some(0.0), "a promotion is no restart");

    postgres.admin("ALTER DATABASE appdb SET default_transaction_read_only = on");
    warned(&Sidecar::on(postgres.url()).app(1).start(), "read_only");
    let (code, check) = Sidecar::on(postgres.url()).check_database();
    assert_eq!((code, check["reason"].as_str(), check["status"].as_str()), (Some(0), Some("read_only"), Some("warn")));
}

#[test]
fn a_server_that_accepts_no_login_yet_is_starting_up() {
    let postgres = Postgres::start_plain();
    let closed = postgres.standby_with("hot_standby = off");
    let sidecar = Sidecar::on(closed.url()).app(1).start();
    sidecar.wait_for_check("database:query", |check| {
        check["state"] == "starting" && check["reason"] == "starting_up" && check["attempts"].as_u64() > Some(1)
    });
    assert_eq!(sidecar.get("/health/deep").status, 503);
}
