//! Economy: the database sleeps while the app does not use it, and is queried while the app does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, eventually, poll};
use crate::support::postgres::Postgres;
use crate::support::session::Session;
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::sleepy::{Sleep, Sleepy};
use crate::support::web_app::WebApp;

mod app_url;
mod awake;
mod no_use;
mod silence;

const CHECK: &str = "database:query";
const RUNS: &str = r#"sidepulse_checks_total{check="database"}"#;
const FAILURES: &str = "sidepulse_check_failures_total{check=\"database\"";
const LAST_RUN: &str = r#"sidepulse_check_last_run_timestamp_seconds{check="database"}"#;
const CONNECTIONS: &str = "sidepulse_database_app_connections";

/// Far longer than any test needs the database to stay awake without use.
const WAKEFUL: Sleep = Sleep { after: Duration::from_secs(600), waking: Duration::ZERO };
/// Long compared with the interval of 200 ms at which the sidecar reads the app's sockets.
const LOOKS: Duration = Duration::from_millis(1500);

/// A sidecar in economy mode that does nothing while the app is idle, unless told otherwise.
fn economy(url: impl ToString, app: &WebApp) -> Builder {
    Sidecar::on(url)
        .app(app.port())
        .set("SIDEPULSE_DATABASE_MODE", "economy")
        .set("SIDEPULSE_DATABASE_TIMEOUT", "10s")
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "5s")
        .set("SIDEPULSE_IDLE_HANDSHAKE", "0s")
        .set("SIDEPULSE_ECONOMY_MAX_AGE", "0s")
}

fn idle(check: &Value) -> bool {
    check["state"] == "idle"
}

fn session(url: &DatabaseUrl) -> Session {
    Session::open(&url.config()).expect("log in")
}

/// When the last check with a query ended, as opposed to a handshake.
fn newest(sidecar: &Sidecar) -> String {
    sidecar.check(CHECK)["time"].as_str().expect("a time").to_owned()
}

/// All failures of the database check, whatever the reason.
fn failures(sidecar: &Sidecar) -> f64 {
    let text = sidecar.get("/metrics").body;
    let values = text.lines().filter(|line| line.starts_with(FAILURES)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}

/// Whether something stays true for this long.
fn stays(limit: Duration, mut true_: impl FnMut() -> bool) -> bool {
    poll(limit, || (!true_()).then_some(())).is_none()
}

#[test]
fn an_idle_app_lets_the_verdict_stand_and_a_query_of_its_own_renews_it() {
    let (database, app) = (Sleepy::start(WAKEFUL), WebApp::start());
    let pool = [(); 3].map(|()| session(&database.url()));
    // Overdue would be 1 s + 2 × 200 ms: idle is longer than that, and is never stale.
    let sidecar = economy(database.url(), &app).set("SIDEPULSE_DATABASE_TIMEOUT", "1s").start();
    sidecar.wait_for_check(CHECK, idle);
    let (first, connections) = (newest(&sidecar), database.counts().connections);
    let steady = stays(LOOKS, || idle(&sidecar.check(CHECK)) && sidecar.check(CHECK)["status"] == "pass");
    assert!(steady, "{}\n{}", sidecar.check(CHECK), sidecar.log_text());
    assert_eq!(newest(&sidecar), first, "a pool that is held open is no use of it");
    assert_eq!(database.counts().connections, connections);
    assert_eq!(sidecar.metric(CONNECTIONS), Some(3.0));
    assert_eq!(sidecar.metric(r#"sidepulse_check_state{check="database",state="idle"}"#), Some(1.0));
    assert_eq!(sidecar.get("/readyz").status, 200);

    // One query through one of them.
    pool[1].sql("SELECT 1").expect("a query");
    assert!(eventually(SOON, || newest(&sidecar) > first), "{}", sidecar.log_text());
    sidecar.wait_for_check(CHECK, idle);
    let second = newest(&sidecar);
    assert!(stays(LOOKS, || newest(&sidecar) == second), "its own query kept it going");

    // And one over a connection that no reading has ever listed.
    session(&database.url()).sql("SELECT 1").expect("a query");
    assert!(eventually(SOON, || newest(&sidecar) > second), "{}", sidecar.log_text());
    assert_eq!(failures(&sidecar), 0.0);
}

#[test]
fn handshakes_prove_reachability_and_its_loss_turns_the_check_down() {
    let sleep = Sleep { after: Duration::from_millis(500), waking: Duration::ZERO };
    let (database, app) = (Sleepy::start(sleep), WebApp::start());
    let sidecar = economy(database.url(), &app)
        .set("SIDEPULSE_IDLE_HANDSHAKE", "100ms")
        .set("SIDEPULSE_DATABASE_TIMEOUT", "1s")
        .start();
    sidecar.wait_for_check(CHECK, idle);
    database.wait_until_asleep();
    let (first, last_run, before) = (newest(&sidecar), sidecar.metric(LAST_RUN), database.counts());
    let shaken = eventually(SOON, || database.counts().connections >= before.connections + 5);
    assert!(shaken, "{}", sidecar.log_text());
    assert_eq!(database.counts().wakes, before.wakes, "a handshake does not wake it");
    // A scrape may be a second old.
    assert!(eventually(SOON, || sidecar.metric(LAST_RUN) > last_run));
    assert_eq!(newest(&sidecar), first, "nor is it a deep check");

    database.close_connections(true);
    let down = sidecar.wait_for_check(CHECK, |check| check["state"] == "down");
    assert_eq!(down["reason"], "connection_lost");
    assert_eq!(database.counts().wakes, before.wakes);
    // Deep queries resume, and the first that passes ends it.
    database.close_connections(false);
    sidecar.wait_for_check(CHECK, idle);
    assert!(database.counts().wakes > before.wakes);
    assert_eq!(sidecar.metric(r#"sidepulse_transitions_total{check="database",to="up"}"#), Some(2.0));
}

#[test]
fn a_deep_query_by_age_wakes_it_once_and_the_cold_start_is_not_a_failure() {
    let waking = Duration::from_millis(600);
    let sleep = Sleep { after: Duration::from_millis(300), waking };
    let (database, app) = (Sleepy::start(sleep), WebApp::start());
    let sidecar = economy(database.url(), &app).set("SIDEPULSE_ECONOMY_MAX_AGE", "2s").start();
    sidecar.wait_for_check(CHECK, idle);
    assert_eq!(sidecar.metric("sidepulse_database_restarts_total"), Some(0.0));
    let restarted = eventually(SOON, || sidecar.metric("sidepulse_database_restarts_total") >= Some(2.0));
    assert!(restarted, "{}", sidecar.log_text());
    let wakes = sidecar.metric("sidepulse_database_wake_seconds_count").expect("a histogram");
    let took = sidecar.metric("sidepulse_database_wake_seconds_sum").expect("a histogram");
    assert!(wakes >= 2.0 && took >= wakes * waking.as_secs_f64(), "{wakes} in {took} s");
    assert_eq!(failures(&sidecar), 0.0);
    assert_eq!(sidecar.check(CHECK)["state"], "idle", "the app is idle all the while");
}

#[test]
fn where_the_kernel_shows_nothing_it_says_so_once_and_queries_now_and_then() {
    let (database, app) = (Postgres::start_plain(), WebApp::start());
    // The kernel does not show Unix sockets here.
    let sidecar = economy(database.socket_url(), &app).set("SIDEPULSE_ECONOMY_INTERVAL", "500ms").start();
    sidecar.wait_for_check(CHECK, idle);
    let started = Instant::now();
    let asked = eventually(SOON, || sidecar.metric(RUNS) >= Some(5.0));
    assert!(asked && started.elapsed() >= Duration::from_secs(1), "{}", sidecar.log_text());
    let said = sidecar.events("warning");
    let said: Vec<_> = said.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(said.iter().filter(|text| text.starts_with("economy: the kernel does not show")).count(), 1, "{said:?}");
}
