//! SQL checks: each is judged alone, and turns `/health` and its own series red, never `/readyz`.

use std::time::Duration;

use crate::support::backends::Watch;
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Behaviour, FakePostgres, Fault};
use crate::support::postgres::{Postgres, Stop};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::web_app::WebApp;

/// Name, SQL, and the reason it must have (`-` passes). The last ones show that nothing before affected them.
const CHECKS: &[(&str, &str, &str)] = &[
    ("yes", "SELECT true", "-"),
    ("comment", "SELECT 1 = 1 -- really", "-"),
    ("first_column", "SELECT true, false UNION ALL SELECT false, false", "-"),
    ("no", "SELECT false", "unexpected_result"),
    ("null", "SELECT NULL", "unexpected_result"),
    ("no_row", "SELECT true WHERE false", "unexpected_result"),
    ("number", "SELECT 1", "unexpected_result"),
    ("text", "SELECT 'yes'", "unexpected_result"),
    ("copy", "COPY (SELECT true FROM generate_series(1, 100)) TO STDOUT", "unexpected_result"),
    ("missing", "SELECT true FROM nowhere", "query_failed"),
    ("zero", "SELECT 1/0 = 1", "query_failed"),
    ("write", "CREATE TABLE made ()", "query_failed"),
    ("denied", "SELECT count(*) = 0 FROM secrets", "access_denied"),
    ("locked", "SELECT count(*) = 0 FROM things", "lock_timeout"),
    ("slow", "SELECT pg_sleep(60) IS NULL", "query_timeout"),
    ("last", "SELECT current_setting('transaction_read_only') = 'on'", "-"),
];

fn with_checks(sidecar: Builder, checks: &[(&str, &str, &str)]) -> Builder {
    let lines: Vec<String> = checks.iter().map(|(name, sql, _)| format!("{name}: {sql}")).collect();
    sidecar.set("SIDEPULSE_SQL_CHECKS", lines.join("\n"))
}

#[test]
fn each_check_is_judged_alone_and_none_touches_readiness() {
    let (app, mut postgres) = (WebApp::start(), Postgres::start_plain());
    postgres.admin("CREATE TABLE things (id int); CREATE TABLE secrets (id int); GRANT ALL ON things TO probe");
    let holder = postgres.admin_session().unwrap();
    holder.sql("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").unwrap();
    let watch = Watch::on(&postgres);
    let sidecar = with_checks(Sidecar::on(postgres.url()), CHECKS)
        .app(app.port())
        .set("SIDEPULSE_DATABASE_GATE", "always")
        .set("SIDEPULSE_DATABASE_TIMEOUT", "5s")
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "4s")
        .start();
    for (name, _, reason) in CHECKS {
        let check = sidecar.wait_for_check(&format!("sql:{name}"), |check| {
            if *reason == "-" { check["state"] == "up" } else { check["reason"] == *reason }
        });
        let (label, passes) = (format!("check=\"sql_{name}\""), *reason == "-");
        assert_eq!(check["status"], if passes { "pass" } else { "fail" }, "{name}: {check}");
        assert_eq!(check["attempts"], 1, "{name}: {check}");
        let phases = check["phases"].as_object().expect("phases");
        assert!(phases.keys().eq(["query"]), "{name}: {check}");
        assert_eq!(sidecar.metric(&format!("sidepulse_check_up{{{label}}}")), Some(f64::from(u8::from(passes))));
        if !passes {
            let failures = format!("sidepulse_check_failures_total{{{label},reason=\"{reason}\"}}");
            assert!(sidecar.metric(&failures) >= Some(1.0), "{failures}");
        }
    }
    // What was never up is starting, except after a permanent failure.
    for (name, state) in [("denied", "down"), ("no", "starting"), ("yes", "up")] {
        assert_eq!(sidecar.check(&format!("sql:{name}"))["state"], state, "{name}");
    }
    let deep = sidecar.check("database:query");
    assert_eq!(deep["status"], "pass", "{deep}");
    assert!(deep["observedValue"].as_f64() < Some(1000.0), "their time is not the deep query's: {deep}");
    let answers = ["/readyz", "/health", "/health/deep", "/health/shallow"].map(|path| sidecar.get(path).status);
    assert_eq!(answers, [200, 503, 503, 200]);
    assert_eq!(sidecar.get("/readyz?verbose").body, "[+]app ok\n[+]database ok\nreadyz check passed\n");

    // Once the lock is gone, the next check passes.
    holder.sql("ROLLBACK").unwrap();
    sidecar.wait_for_check("sql:locked", |check| check["state"] == "up");
    drop(holder);
    let log = postgres.log_text();
    assert!(!log.contains("there is no transaction in progress"), "a check that is false has no transaction left");

    // They come after a deep query that fails, and are not run.
    postgres.stop(Stop::Fast);
    for (name, _, _) in CHECKS {
        let check = sidecar.wait_for_check(&format!("sql:{name}"), |check| check["reason"] == "connect_refused");
        assert_eq!(check["phases"], serde_json::json!({}), "{name}: {check}");
    }
    drop(sidecar);
    watch.none_is_left();
}

#[test]
fn a_check_that_turned_false_is_down_at_the_threshold_and_up_again_at_once() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    postgres.admin("CREATE TABLE state (good bool); INSERT INTO state VALUES (true); GRANT SELECT ON state TO PUBLIC");
    let sidecar = with_checks(Sidecar::on(postgres.url()), &[("state", "SELECT good FROM state", "")]);
    let sidecar = sidecar.app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    postgres.admin("UPDATE state SET good = false");
    let down = sidecar.wait_for_check("sql:state", |check| check["state"] == "down");
    assert!(down["consecutiveFailures"].as_u64() >= Some(2), "{down}");
    assert_eq!(sidecar.get("/health").json()["output"], "sql_state: unexpected_result");
    postgres.admin("UPDATE state SET good = true");
    sidecar.wait_for_status("/health", 200);
    let to = || -> Vec<_> {
        let events = sidecar.events("transition").into_iter().filter(|event| event["check"] == "sql_state");
        events.map(|event| event["to"].clone()).collect()
    };
    // The log's writer may be later than the endpoint.
    assert!(eventually(SOON, || to() == ["up", "down", "up"]), "{}", sidecar.log_text());
}

#[test]
fn a_server_that_dies_in_a_check_does_not_take_the_deep_query_with_it() {
    for (what, fault, reason) in [
        ("silent", Fault::Stall, "query_timeout"),
        ("closed", Fault::Close, "connection_lost"),
        ("nonsense", Fault::garbage(), "protocol_error"),
        ("ended", Fault::fatal("57P01", "terminating connection due to administrator command"), "shutting_down"),
    ] {
        let fake = FakePostgres::start([Behaviour::fault(At::SqlCheck, fault)]);
        let sidecar = with_checks(Sidecar::on(fake.url()), &[("a", "SELECT true", ""), ("b", "SELECT true", "")]);
        let sidecar = sidecar.app(1).start();
        let first = sidecar.wait_for_check("sql:a", |check| check["reason"] == reason);
        sidecar.wait_for_check("sql:b", |check| check["status"] == "fail" && check["reason"] != "not_run");
        assert_eq!(sidecar.check("database:query")["state"], "up", "{what}");
        // One attempt, in the time that the deep query left.
        let took = Duration::from_secs_f64(first["observedValue"].as_f64().unwrap_or(f64::MAX) / 1000.0);
        assert!(took < Duration::from_millis(1500), "{what}: {first}");
        assert_eq!(fake.counts().max_concurrent, 1, "{what}");
    }
}
