//! What must be the same with every supported version of PostgreSQL; `tests/versions` runs this against 14 to 18.

use crate::support::backends::Watch;
use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::postgres::{Postgres, Stop};
use crate::support::session::Session;
use crate::support::sidecar::Sidecar;

/// The first version that accepts a TLS handshake without an SSLRequest.
const DIRECT_TLS: u32 = 17;

fn version_of(postgres: &Postgres) -> u32 {
    let number: u32 = postgres.admin_value("SHOW server_version_num").parse().expect("a number");
    number / 10_000
}

#[test]
fn the_deep_check_and_the_sql_checks_pass_in_every_mode_of_tls() {
    let authority = Authority::new();
    let certificate = authority.issue(&Claims::right());
    let postgres = Postgres::builder().tls(&certificate).start();
    let watch = Watch::on(&postgres);
    let url = postgres.url().host("localhost");
    let verified = url.clone().param("sslmode", "verify-full").param("sslrootcert", authority.root_file());
    let urls = [
        url.clone().param("sslmode", "disable"),
        url.clone(),
        verified.clone().param("channel_binding", "require"),
        postgres.socket_url(),
    ];
    for url in urls {
        let run = Sidecar::on(&url).set("SIDEPULSE_SQL_CHECKS", "a: SELECT true\nb: SELECT count(*) > 0 FROM pg_class");
        let sidecar = run.app(1).start();
        sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
        sidecar.wait_for_check("sql:b", |check| check["status"] == "pass");
        assert_eq!(
            sidecar.metric("sidepulse_check_failures_total{check=\"database\",reason=\"query_failed\"}"),
            Some(0.0)
        );
        // A killed daemon's session is gone once the server notices; the next daemon must not be blamed for it.
        drop(sidecar);
        assert!(eventually(SOON, || postgres.backends_of("sidepulse") == 0));
    }
    let direct = verified.param("sslnegotiation", "direct");
    let (code, check) = Sidecar::on(direct).check_database();
    let version = version_of(&postgres);
    if version >= DIRECT_TLS {
        assert_eq!((code, check["status"].as_str()), (Some(0), Some("pass")), "{check}");
        println!("direct TLS: yes");
    } else {
        assert_eq!((code, check["reason"].as_str()), (Some(1), Some("connection_lost")), "{check}");
        println!("direct TLS: not before {DIRECT_TLS}");
    }
    let announced = Sidecar::on(url).check_database().1["server_version"].as_str().unwrap_or_default().to_owned();
    assert!(announced.starts_with(&format!("{version}.")), "{announced}");
    watch.none_is_left();
}

#[test]
fn its_errors_have_their_reasons() {
    let postgres = Postgres::builder().setting("max_connections = 12").hba("host all guest all reject").start();
    postgres.admin("CREATE TABLE things (id int); CREATE TABLE secrets (id int); GRANT SELECT ON things TO PUBLIC");
    let url = postgres.url();
    let holder = postgres.admin_session().expect("an admin's session");
    holder.sql("BEGIN; LOCK TABLE things").expect("a lock");
    for (url, query, reason) in [
        (url.clone(), "SELECT 1", None),
        (url.clone().password("wrong"), "SELECT 1", Some("auth_failed")),
        (url.clone().user("guest"), "SELECT 1", Some("access_denied")),
        (url.clone().database("nowhere"), "SELECT 1", Some("database_missing")),
        (url.clone().param("sslmode", "require"), "SELECT 1", Some("tls_unsupported")),
        (url.clone(), "SELECT 1 WHERE false", Some("unexpected_result")),
        (url.clone(), "SELECT * FROM nowhere", Some("query_failed")),
        (url.clone(), "SELECT * FROM secrets", Some("access_denied")),
        (url.clone(), "SELECT * FROM things", Some("lock_timeout")),
        (url.clone(), "SELECT pg_sleep(60)", Some("query_timeout")),
        (url.clone(), "SELECT pg_terminate_backend(pg_backend_pid())", Some("shutting_down")),
    ] {
        let (code, check) = Sidecar::on(&url).set("SIDEPULSE_DATABASE_QUERY", query).check_database();
        assert_eq!((check["reason"].as_str(), code), (reason, Some(i32::from(reason.is_some()))), "{query}: {check}");
    }
    assert!(eventually(SOON, || postgres.backends_of("sidepulse") == 0));
    // A session that has ended keeps its place for a moment.
    let mut crowd = Vec::new();
    let full = eventually(SOON, || {
        crowd.extend(std::iter::from_fn(|| Session::open(&url.config()).ok()));
        Sidecar::on(&url).check_database().1["reason"] == "too_many_connections"
    });
    assert!(full, "{} sessions", crowd.len());
}

#[test]
fn restarts_read_only_and_shutdown_are_seen() {
    let mut postgres = Postgres::start_plain();
    let sidecar = Sidecar::on(postgres.url()).app(1).start();
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    postgres.restart();
    assert!(eventually(SOON, || sidecar.metric("sidepulse_database_restarts_total") == Some(1.0)));
    postgres.admin("ALTER DATABASE appdb SET default_transaction_read_only = on");
    sidecar.wait_for_check("database:query", |check| check["reason"] == "read_only");
    let last = Session::open(&postgres.url().config()).expect("log in");
    postgres.begin_stop(Stop::Smart);
    sidecar.wait_for_check("database:query", |check| check["state"] == "down" && check["reason"] == "shutting_down");
    drop(last);
    postgres.wait_for_end();
}
