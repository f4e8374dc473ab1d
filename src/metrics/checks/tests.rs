use std::collections::BTreeSet;

use tokio::time::sleep;

use super::super::scrape::scrape;
use super::super::tests::{APP_REASONS, DATABASE_REASONS, S, record, start};
use super::*;
use crate::state::samples::{SQL, deep, ended, query};

#[tokio::test(start_paused = true)]
async fn exactly_one_state_is_one_and_only_what_is_known_to_be_up_is_up() {
    let (metrics, mut snapshot) = start(&[]);
    let fails = Some(Reason::AuthFailed);
    let mut seen = BTreeSet::new();
    for (results, idle, late, state, up) in [
        (&[][..], false, false, "starting", 0.0),
        (&[None], false, false, "up", 1.0),
        (&[], true, false, "idle", 1.0),
        (&[], true, true, "stale", 0.0),
        (&[None], false, true, "stale", 0.0),
        (&[fails], false, false, "down", 0.0),
        (&[fails], false, true, "stale", 0.0),
        (&[None], false, false, "up", 1.0),
    ] {
        for reason in results {
            record(&metrics, query(&mut snapshot), ended(Instant::now(), *reason));
        }
        let check = query(&mut snapshot);
        check.idle_since = idle.then(Instant::now);
        // The scrape comes a second later.
        check.due = if late { Instant::now() - check.grace } else { Instant::now() + S };
        let found = scrape(&metrics, &snapshot).await;
        for other in ["starting", "up", "down", "idle", "stale"] {
            let value = found.get(&format!("sidepulse_check_state check=database state={other}"));
            assert_eq!(value == 1.0, other == state, "{other} in {state}");
        }
        assert_eq!(found.get("sidepulse_check_up check=database"), up, "{state}");
        seen.insert(state);
    }
    assert_eq!(seen.len(), State::ALL.len());
}

#[tokio::test(start_paused = true)]
async fn warnings_show_while_the_check_is_up() {
    let (metrics, mut snapshot) = start(&[SQL]);
    let names = ["database", "sql_migrations"];
    for (index, name) in names.into_iter().enumerate() {
        let check = deep(&mut snapshot).checks_mut().nth(index).unwrap();
        record(&metrics, check, ended(Instant::now(), None));
        check.idle_since = Some(Instant::now());
        check.due = Instant::now() + 7200 * S;
        let unverified = format!("sidepulse_check_warning check={name} reason=idle_unverified");
        assert_eq!(scrape(&metrics, &snapshot).await.get(&unverified), 0.0);
        sleep(3600 * S).await;
        let judged = readiness::judge(snapshot.checks().nth(1 + index).unwrap(), &snapshot, Now::read());
        assert_eq!(judged.reason, Some(Reason::IdleUnverified));
        assert_eq!(scrape(&metrics, &snapshot).await.get(&unverified), 1.0);
    }
    let check = query(&mut snapshot);
    (check.retried, check.idle_since) = (true, None);
    deep(&mut snapshot).read_only = true;
    deep(&mut snapshot).certificate_expiry = Some(SystemTime::now());
    for (reason, set) in [(None, 1.0), (Some(Reason::AuthFailed), 0.0)] {
        if reason.is_some() {
            record(&metrics, query(&mut snapshot), ended(Instant::now(), reason));
        }
        let found = scrape(&metrics, &snapshot).await;
        for warning in ["read_only", "certificate_expiring", "recovered_after_retry"] {
            let value = found.get(&format!("sidepulse_check_warning check=database reason={warning}"));
            assert_eq!(value, set, "{warning}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counters_rise_as_results_come() {
    let (metrics, mut snapshot) = start(&[SQL]);
    let fails = Some(Reason::QueryTimeout);
    for (attempts, reason) in [(1, None), (3, fails), (2, fails), (1, None)] {
        let outcome = Outcome { attempts, duration: S, ..ended(Instant::now(), reason) };
        record(&metrics, query(&mut snapshot), outcome);
        metrics.checks.add_down_time(&snapshot, S / 2, false);
    }
    record(&metrics, &mut deep(&mut snapshot).sql[0], ended(Instant::now(), Some(Reason::AuthFailed)));
    metrics.checks.add_down_time(&snapshot, S, false);
    metrics.database.as_ref().unwrap().restarted(3 * S);
    metrics.answered(("/readyz", 503));
    metrics.answered(("other", 404));
    let found = scrape(&metrics, &snapshot).await;
    for (sample, value) in [
        ("checks_total check=database", 4.0),
        ("checks_total check=sql_migrations", 1.0),
        ("checks_total check=app", 0.0),
        ("check_failures_total check=database reason=query_timeout", 2.0),
        ("check_failures_total check=database reason=auth_failed", 0.0),
        ("check_failures_total check=sql_migrations reason=auth_failed", 1.0),
        ("check_attempts_total check=database", 7.0),
        ("check_duration_seconds_count check=database", 4.0),
        ("check_duration_seconds_sum check=database", 4.0),
        ("check_phase_duration_seconds_count check=database phase=connect", 4.0),
        ("check_phase_duration_seconds_sum check=database phase=connect", 0.005),
        ("check_phase_duration_seconds_count check=database phase=query", 0.0),
        ("check_last_run_timestamp_seconds check=database", 1_800_000_000.0),
        ("check_last_success_timestamp_seconds check=database", 1_800_000_000.0),
        ("check_last_run_timestamp_seconds check=sql_migrations", 1_800_000_000.0),
        ("check_down_seconds_total check=database", 0.5),
        ("check_down_seconds_total check=sql_migrations", 1.0),
        ("check_down_seconds_total check=app", 0.0),
        ("transitions_total check=database to=up", 2.0),
        ("transitions_total check=database to=down", 1.0),
        ("transitions_total check=sql_migrations to=down", 1.0),
        ("database_restarts_total", 1.0),
        ("database_wake_seconds_count", 1.0),
        ("database_wake_seconds_sum", 3.0),
        ("http_requests_total code=503 path=/readyz", 1.0),
        ("http_requests_total code=200 path=/readyz", 0.0),
        ("http_requests_total code=404 path=other", 1.0),
    ] {
        assert_eq!(found.get(&format!("sidepulse_{sample}")), value, "{sample}");
    }
    let never = "sidepulse_check_last_success_timestamp_seconds check=sql_migrations";
    assert!(!found.samples.contains_key(never), "it never passed");
}

#[tokio::test(start_paused = true)]
async fn down_time_grows_only_in_state_down() {
    let (metrics, mut snapshot) = start(&[]);
    let down = "sidepulse_check_down_seconds_total check=database";
    for (reason, late, total) in [
        (Some(Reason::ConnectRefused), false, 0.0),
        (Some(Reason::AuthFailed), false, 1.0),
        (Some(Reason::AuthFailed), true, 1.0),
        (None, false, 1.0),
    ] {
        record(&metrics, query(&mut snapshot), ended(Instant::now(), reason));
        if late {
            sleep(query(&mut snapshot).grace + S).await;
        }
        metrics.checks.add_down_time(&snapshot, S, false);
        assert_eq!(scrape(&metrics, &snapshot).await.get(down), total, "{reason:?}, overdue: {late}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_failure_goes_uncounted() {
    let (metrics, mut snapshot) = start(&[SQL]);
    for (index, reasons) in [APP_REASONS, DATABASE_REASONS, DATABASE_REASONS].into_iter().enumerate() {
        let named = |reason: &&Reason| reasons.split_whitespace().any(|word| word == reason.as_str());
        let reasons: Vec<Reason> = Reason::ALL.iter().filter(named).copied().collect();
        for reason in &reasons {
            let check = snapshot.checks_mut().nth(index).unwrap();
            record(&metrics, check, ended(Instant::now(), Some(*reason)));
        }
        let found = scrape(&metrics, &snapshot).await;
        for reason in reasons {
            let name = &snapshot.checks().nth(index).unwrap().name;
            assert_eq!(found.get(&format!("sidepulse_check_failures_total check={name} reason={reason}")), 1.0);
        }
    }
}
