//! A real PgBouncer in transaction mode: healthy, without its server, full, and what it does not pass on.

use crate::support::backends::Watch;
use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, Stop};
use crate::support::session::Session;
use crate::support::sidecar::{Builder, Sidecar};

/// Longer than any wait inside PgBouncer that these tests set.
fn patient(url: impl ToString) -> Builder {
    Sidecar::on(url).app(1).set("SIDEPULSE_DATABASE_TIMEOUT", "6s").set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "5s")
}

fn no_client_is_left(pooler: &PgBouncer) {
    assert!(eventually(SOON, || pooler.connections_now() == 0), "{}", pooler.log_text());
}

#[test]
fn every_check_works_through_a_pool_of_one_and_leaves_no_trace_in_it() {
    let authority = Authority::new();
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).tls(&authority.issue(&Claims::right())).start();
    let url =
        pooler.url().host("localhost").param("sslmode", "verify-full").param("sslrootcert", authority.root_file());
    let sidecar = patient(url).set("SIDEPULSE_SQL_CHECKS", "fine: SELECT true\nbroken: SELECT * FROM nowhere").start();
    let watch = Watch::on(&postgres);
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    sidecar.wait_for_check("sql:fine", |check| check["status"] == "pass");
    sidecar.wait_for_check("sql:broken", |check| check["reason"] == "query_failed");
    let rounds = || sidecar.metric("sidepulse_checks_total{check=\"database\"}").unwrap_or_default();
    assert!(eventually(SOON, || rounds() >= 5.0));
    // The next client of the same server connection finds neither timeouts nor a transaction.
    let next = Session::open(&pooler.url().config()).unwrap();
    for (setting, value) in [("statement_timeout", "0"), ("lock_timeout", "0"), ("transaction_read_only", "off")] {
        assert_eq!(next.sql(&format!("SHOW {setting}")).unwrap()[0][0].as_deref(), Some(value), "{setting}");
    }
    drop((next, sidecar));
    no_client_is_left(&pooler);
    assert!(!postgres.log_text().contains("there is no transaction in progress"), "one ROLLBACK is enough");
    drop(pooler);
    watch.none_is_left();
}

#[test]
fn what_the_pooler_refuses_has_its_reason() {
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).start();
    let statements = PgBouncer::in_front_of(&postgres).setting("pool_mode", "statement").start();
    let url = pooler.url();
    for (what, url, reason) in [
        ("all is well", url.clone(), None),
        ("a wrong password", url.clone().password("wrong"), Some("auth_failed")),
        ("an unknown user", url.clone().user("nobody"), Some("auth_failed")),
        ("a missing database", url.clone().database("nowhere"), Some("database_missing")),
        ("options", url.clone().param("options", "-c statement_timeout=1000"), Some("pooler_unsupported")),
        ("TLS from a pooler without", url.clone().param("sslmode", "require"), Some("tls_unsupported")),
        // To PgBouncer one message is one statement, and the transaction in it is over at its end.
        ("statement mode", statements.url(), None),
    ] {
        let (code, check) = patient(url).check_database();
        assert_eq!((check["reason"].as_str(), check["attempts"].as_u64()), (reason, Some(1)), "{what}: {check}");
        assert_eq!(code, Some(i32::from(reason.is_some())), "{what}");
        no_client_is_left(&pooler);
    }
}

#[test]
fn a_full_pooler_is_saturated_and_a_check_does_not_wait_in_it_for_ever() {
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).max_client_conn(2).query_wait_timeout(1).start();
    let holder = Session::open(&pooler.url().config()).unwrap();
    holder.sql("BEGIN").unwrap();
    let (_, check) = patient(pooler.url()).check_database();
    assert_eq!((check["reason"].as_str(), check["attempts"].as_u64()), (Some("pooler_saturated"), Some(1)), "{check}");
    assert!(eventually(SOON, || pooler.connections_now() == 1));

    let second = Session::open(&pooler.url().config()).unwrap();
    let (_, check) = patient(pooler.url()).check_database();
    assert_eq!((check["reason"].as_str(), check["attempts"].as_u64()), (Some("pooler_saturated"), Some(1)), "{check}");
    assert!(check["phases_ms"]["query"].is_null(), "max_client_conn is met at login: {check}");
    drop((holder, second));
    no_client_is_left(&pooler);
}

#[test]
fn a_check_that_gives_up_before_the_pooler_closes_its_connection() {
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).start();
    let holder = Session::open(&pooler.url().config()).unwrap();
    holder.sql("BEGIN").unwrap();
    let (_, check) = Sidecar::on(pooler.url()).set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "500ms").check_database();
    assert_eq!(check["reason"], "query_timeout", "{check}");
    assert!(check["attempts"].as_u64() > Some(1), "{check}");
    assert!(eventually(SOON, || pooler.connections_now() == 1));
    // PgBouncer notices only when their turn comes, and then does not run their queries.
    holder.sql("COMMIT").unwrap();
    assert!(eventually(SOON, || pooler
        .console("SHOW CLIENTS")
        .iter()
        .filter(|row| row[1].as_deref() == Some("probe"))
        .count()
        == 1));
}

#[test]
fn a_pooler_without_its_server_is_down_and_recovers_with_it() {
    let mut postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).server_login_retry(1).query_wait_timeout(2).start();
    let sidecar = patient(pooler.url()).start();
    sidecar.wait_for_check("database:query", |check| check["state"] == "up");
    postgres.stop(Stop::Immediate);
    // At first the query waits for a server until the pooler gives up; from then on the pooler knows.
    let down = sidecar.wait_for_check("database:query", |check| check["state"] == "down");
    let reason = down["reason"].as_str().unwrap_or_default().to_owned();
    assert!(["compute_unreachable", "pooler_saturated"].contains(&reason.as_str()), "{down}\n{}", pooler.log_text());
    assert!(pooler.connections_now() <= 1);
    postgres.start();
    sidecar.wait_for_check("database:query", |check| check["state"] == "up");
    assert_eq!(sidecar.metric("sidepulse_database_restarts_total"), Some(1.0));
    drop(sidecar);
    no_client_is_left(&pooler);
}

#[test]
fn a_frozen_pooler_is_told_apart_from_a_killed_one() {
    let postgres = Postgres::start_plain();
    let mut pooler = PgBouncer::in_front_of(&postgres).start();
    let sidecar = Sidecar::on(pooler.url()).app(1).start();
    let down = |reason: &str| {
        sidecar.wait_for_check("database:query", |check| check["state"] == "down" && check["reason"] == reason);
    };
    sidecar.wait_for_check("database:query", |check| check["state"] == "up");
    pooler.freeze();
    down("tls_timeout");
    assert!(pooler.connections_now() <= 1);
    pooler.thaw();
    sidecar.wait_for_check("database:query", |check| check["state"] == "up");
    pooler.kill();
    down("connect_refused");
}
