use std::collections::BTreeSet;

use tokio::time::sleep;

use super::scrape::{GAUGES, Scrape, scrape};
use super::*;
use crate::config::WarnAt;
use crate::http::routes;
use crate::probe::vitals::{Limit, Room, Sessions, Vitals};
use crate::probe::{Failure, Outcome, Phase, Reason};
use crate::state::CheckState;
use crate::state::samples::{NO_DATABASE, SQL, TOKEN, config, deep, ended, query, wall};

pub(super) const S: Duration = Duration::from_secs(1);
const ECONOMY: (&str, &str) = ("SIDEPULSE_DATABASE_MODE", "economy");

pub(super) fn start(variables: &[(&str, &str)]) -> (Metrics, Snapshot) {
    let config = config(variables);
    let snapshot = Snapshot::new(&config, Instant::now());
    (Metrics::new(&config, &snapshot, routes::request_labels(&config)).unwrap(), snapshot)
}

/// Records a result as the recorder does.
pub(super) fn record(metrics: &Metrics, check: &mut CheckState, outcome: Outcome) {
    metrics.checks.record(&check.id, &outcome);
    check.due = outcome.ended.0;
    if let Some(transition) = check.record(outcome) {
        metrics.checks.transition(&check.id, transition.to);
    }
}

pub(super) const APP_REASONS: &str = "dns_failure connect_refused connect_timeout unreachable loopback_only tls_untrusted \
    tls_timeout tls_failed connection_lost protocol_error response_timeout bad_status internal";
pub(super) const DATABASE_REASONS: &str = "dns_failure connect_refused connect_timeout unreachable tls_unsupported tls_untrusted \
    tls_timeout tls_failed auth_failed access_denied database_missing endpoint_missing endpoint_disabled \
    quota_exceeded rate_limited too_many_connections pooler_saturated pooler_unsupported starting_up shutting_down \
    control_plane compute_unreachable login_failed auth_timeout query_timeout lock_timeout connection_lost \
    query_failed unexpected_result protocol_error internal";
const WARNINGS: &str = "read_only certificate_expiring connections_scarce transaction_stuck lock_wait storage_scarce \
    idle_unverified recovered_after_retry";
/// Path and statuses. `t` = only with a token; `d` = with a database, `n` = without one.
const ANSWERS: &str = "/livez 200 405 503; /startupz 200 405 503; /readyz 200 405 503; /health 200 405 503; \
    /healthz 200 405 503; /health/shallow 200 405 503; /health/deep 200d 405d 503d 404n; /metrics 200 401t 405; \
    / 200 401t 405; other 404";

/// Every series that docs/reference.md promises from the start.
fn promised(token: bool, checks: &[&str]) -> BTreeSet<String> {
    let has_database = checks.len() > 1;
    let mut all: BTreeSet<String> = "ready live draining scheduler_lag_seconds log_lines_dropped_total"
        .split(' ')
        .map(|name| format!("sidepulse_{name}"))
        .collect();
    if has_database {
        all.insert("sidepulse_database_restarts_total".into());
        all.insert("sidepulse_database_wake_seconds_count".into());
    }
    let revision = option_env!("SIDEPULSE_REVISION").unwrap_or("unknown");
    all.insert(format!("sidepulse_build_info revision={revision} version={}", env!("CARGO_PKG_VERSION")));
    for check in checks {
        let (reasons, phases, warnings) = match *check {
            "app" => (APP_REASONS, "resolve connect tls response", ""),
            "database" => (DATABASE_REASONS, "resolve connect tls auth query", WARNINGS),
            _ => (DATABASE_REASONS, "query", "idle_unverified"),
        };
        let mut each = |name: &str, label: &str, values: &str| {
            for value in values.split_whitespace() {
                let mut labels = [format!("check={check}"), format!("{label}={value}")];
                labels.sort_unstable();
                all.insert(format!("sidepulse_{name} {}", labels.join(" ")));
            }
        };
        each("check_state", "state", "starting up down idle stale");
        each("check_warning", "reason", warnings);
        each("check_failures_total", "reason", reasons);
        each("check_phase_duration_seconds_count", "phase", phases);
        each("transitions_total", "to", "up down");
        let names = "check_up checks_total check_attempts_total check_duration_seconds_count check_down_seconds_total";
        all.extend(names.split(' ').map(|name| format!("sidepulse_{name} check={check}")));
    }
    for row in ANSWERS.split("; ") {
        let (path, codes) = row.split_once(' ').unwrap();
        for code in codes.split(' ') {
            let (code, when) = code.split_at(3);
            if when.is_empty()
                || (when == "t" && token)
                || (when == "d" && has_database)
                || (when == "n" && !has_database)
            {
                all.insert(format!("sidepulse_http_requests_total code={code} path={path}"));
            }
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn every_series_that_can_occur_exists_from_the_start_and_no_other() {
    for (variables, token, checks) in [
        (&[SQL, TOKEN, ECONOMY][..], true, &["app", "database", "sql_migrations"][..]),
        (&[], false, &["app", "database"]),
        (&[NO_DATABASE, SQL, TOKEN], true, &["app"]),
        (&[NO_DATABASE], false, &["app"]),
    ] {
        let (metrics, snapshot) = start(variables);
        let found = scrape(&metrics, &snapshot).await;
        let (series, promised) = (found.series(), promised(token, checks));
        let missing: Vec<_> = promised.difference(&series).collect();
        let unknown: Vec<_> = series.difference(&promised).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:#?}, unknown {unknown:#?}");
        let at_work = ["live", "build_info", "check_state"].map(|name| format!("sidepulse_{name}"));
        let counted = |series: &&String| !at_work.iter().any(|name| series.starts_with(name.as_str()));
        assert!(series.iter().filter(counted).all(|series| found.get(series) == 0.0), "{found:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn types_and_buckets_are_those_of_the_reference() {
    let (metrics, mut snapshot) = start(&[SQL, ECONOMY]);
    deep(&mut snapshot).certificate_expiry = Some(wall());
    metrics.database.as_ref().unwrap().app_connections(3);
    deep(&mut snapshot).early.take(vitals(), &WarnAt::default());
    record(&metrics, &mut snapshot.app, ended(Instant::now(), None));
    let found = scrape(&metrics, &snapshot).await;
    for row in [
        "gauge build_info ready live draining check_up check_state check_warning check_last_run_timestamp_seconds \
         check_last_success_timestamp_seconds database_tls_certificate_expiry_timestamp_seconds \
         database_app_connections database_sessions database_sessions_limit database_oldest_transaction_seconds \
         database_lock_waiters database_size_bytes database_size_limit_bytes scheduler_lag_seconds",
        "counter checks_total check_failures_total check_attempts_total check_down_seconds_total transitions_total \
         database_restarts_total http_requests_total log_lines_dropped_total",
        "histogram check_duration_seconds check_phase_duration_seconds database_wake_seconds",
    ] {
        let (kind, names) = row.split_once(' ').unwrap();
        for name in names.split_whitespace() {
            assert_eq!(found.types.get(&format!("sidepulse_{name}")).map(String::as_str), Some(kind), "{name}");
        }
    }
    assert_eq!(found.types.keys().filter(|name| name.starts_with("sidepulse_")).count(), 29);
    assert_eq!(found.get("sidepulse_database_app_connections"), 3.0);
    assert_eq!(found.get("sidepulse_database_tls_certificate_expiry_timestamp_seconds"), 1_800_000_000.0);

    let bucket = |le: &str| found.get(&format!("sidepulse_check_duration_seconds_bucket check=app le={le}"));
    let bounds = "0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 +Inf";
    let counts: Vec<f64> = bounds.split(' ').map(bucket).collect();
    assert_eq!((counts[0], &counts[1..]), (0.0, &[1.0; 14][..]), "a check of 2 ms");
    let buckets = found.samples.keys().filter(|s| s.starts_with("sidepulse_check_duration_seconds_bucket check=app "));
    assert_eq!(buckets.count(), counts.len());
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn the_process_is_sampled_by_the_check_thread_and_a_hung_one_holds_no_scrape() {
    let (metrics, snapshot) = start(&[]);
    let begin = Instant::now();
    let hung = scrape(&metrics, &snapshot).await;
    assert!(begin.elapsed() < FRESH + S / 5, "{:?}", begin.elapsed());
    let names =
        "cpu_seconds_total open_fds max_fds virtual_memory_bytes resident_memory_bytes start_time_seconds threads";
    for name in names.split(' ') {
        let kind = if name == "cpu_seconds_total" { "counter" } else { "gauge" };
        assert_eq!(hung.types[&format!("process_{name}")], kind);
    }
    metrics.process.wanted().await;
    let begin = Instant::now();
    let sampled = async {
        tokio::time::timeout(2 * S, metrics.process.wanted()).await.unwrap();
        metrics.process.take();
    };
    let (renewed, ()) = tokio::join!(scrape(&metrics, &snapshot), sampled);
    assert_eq!(begin.elapsed(), FRESH, "it waits for the sample and no longer");
    assert!(renewed.get("process_open_fds") > 0.0);
}

#[tokio::test(start_paused = true)]
async fn without_a_database_nothing_speaks_of_one() {
    let (metrics, snapshot) = start(&[NO_DATABASE, SQL, ECONOMY]);
    sleep(FRESH).await;
    let text = metrics.text(&snapshot, || GAUGES).await;
    let text = std::str::from_utf8(&text).unwrap();
    let words = ["sidepulse_database", "=\"database\"", "sql_", "auth_failed"];
    assert!(words.iter().all(|word| !text.contains(word)), "{text}");
}

#[tokio::test(start_paused = true)]
async fn with_a_replica_every_series_carries_it() {
    let (metrics, mut snapshot) = start(&[SQL, ("RAILWAY_REPLICA_ID", "r-1\\\"\n")]);
    record(&metrics, query(&mut snapshot), ended(Instant::now(), None));
    sleep(FRESH).await;
    let text = metrics.text(&snapshot, || GAUGES).await;
    let samples = std::str::from_utf8(&text).unwrap().lines().filter(|line| !line.starts_with('#'));
    let without: Vec<_> = samples.filter(|line| !line.contains(r#"railway_replica="r-1\\\"\n""#)).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_daemon_reports_about_itself() {
    let (metrics, snapshot) = start(&[]);
    for gauges in [
        Gauges { ready: true, live: false, draining: true, dropped: 5, lag: S / 4 },
        Gauges { ready: false, live: true, draining: false, dropped: 7, lag: S / 2 },
    ] {
        sleep(FRESH).await;
        let text = metrics.text(&snapshot, || gauges).await;
        let found = Scrape::parse(std::str::from_utf8(&text).unwrap());
        let names = ["ready", "live", "draining", "log_lines_dropped_total", "scheduler_lag_seconds"];
        let as_number = |yes| if yes { 1.0 } else { 0.0 };
        let dropped = if gauges.dropped == 5 { 5.0 } else { 7.0 };
        let expected = [
            as_number(gauges.ready),
            as_number(gauges.live),
            as_number(gauges.draining),
            dropped,
            gauges.lag.as_secs_f64(),
        ];
        assert_eq!(names.map(|name| found.get(&format!("sidepulse_{name}"))), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn scrapers_within_a_second_share_an_encoding() {
    let (metrics, mut snapshot) = start(&[]);
    let first = metrics.text(&snapshot, || GAUGES).await;
    record(&metrics, &mut snapshot.app, ended(Instant::now(), None));
    sleep(FRESH - S / 100).await;
    let second = metrics.text(&snapshot, || unreachable!("encoded anew")).await;
    assert_eq!(first, second);
    sleep(S / 100).await;
    let third = metrics.text(&snapshot, || GAUGES).await;
    assert_ne!(first, third);
    sleep(S).await;
    let encoded = std::cell::Cell::new(0);
    let count = || {
        encoded.set(encoded.get() + 1);
        GAUGES
    };
    let together = tokio::join!(metrics.text(&snapshot, count), metrics.text(&snapshot, count));
    assert_eq!((together.0 == together.1, encoded.get()), (true, 1), "two that come together make one encoding");
}

#[tokio::test(start_paused = true)]
async fn no_label_holds_anything_but_fixed_words() {
    let (metrics, mut snapshot) = start(&[SQL, TOKEN, ECONOMY]);
    deep(&mut snapshot).server_version = Some("hunter2".into());
    let outcome = ended(Instant::now(), Some(Reason::AuthFailed));
    let told = Failure::new(Reason::AuthFailed, Phase::Auth).with_detail("hunter2 at db:5433");
    record(&metrics, query(&mut snapshot), Outcome { result: Err(told), ..outcome });
    sleep(FRESH).await;
    let text = metrics.text(&snapshot, || GAUGES).await;
    let text = std::str::from_utf8(&text).unwrap();
    for hidden in ["alice", "hunter2", "db:5433", "shop", "alembic", TOKEN.1] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}

/// Of a database with a leaked transaction and a limit of storage.
pub(super) fn vitals() -> Vitals {
    Vitals {
        sessions: Sessions { active: 1, idle: 2, idle_in_transaction: 3, other: 4 },
        room: Some(Room { of: Limit::Server, limit: 17, used: 10 }),
        oldest_transaction: Some(Duration::from_millis(75_500)),
        lock_waiters: 5,
        storage_limit: Some(1000),
        stored: Some(950),
        ..Vitals::default()
    }
}
