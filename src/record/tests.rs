use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::config::Config;
use crate::log::tests::written;
use crate::metrics::scrape::scrape;
use crate::state::samples::{NO_DATABASE, SQL, config, ended, recorder, silent};

const PUBLIC: (&str, &str) = ("DATABASE_URL", "postgresql://alice:hunter2@db.example/shop?sslmode=disable");
const FAILS: Option<Reason> = Some(Reason::QueryFailed);

/// The result of the deep query; the SQL checks all pass.
fn report(recorder: &Recorder, query: Outcome) -> DatabaseReport {
    let sql = recorder.snapshot().checks().skip(2).map(|_| ended(Instant::now(), None)).collect();
    DatabaseReport { query, facts: None, refused: Vec::new(), sql }
}

fn database(recorder: &mut Recorder, reason: Option<Reason>) {
    let report = report(recorder, ended(Instant::now(), reason));
    recorder.database(report);
}

/// A success that learned this.
fn learned(recorder: &mut Recorder, facts: ServerFacts) {
    let report = report(recorder, ended(Instant::now(), None));
    recorder.database(DatabaseReport { facts: Some(facts), ..report });
}

fn app(recorder: &mut Recorder, reason: Option<Reason>) {
    recorder.app(ended(Instant::now(), reason));
}

/// The log lines that a recorder writes meanwhile.
fn lines(level: Level, variables: &[(&str, &str)], record: impl FnOnce(&mut Recorder)) -> Vec<Value> {
    let config: Config = config(variables);
    let text = written(level, true, |log| record(&mut recorder(&config, log.clone()).0));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Level, event and message.
fn told(lines: &[Value]) -> Vec<[&str; 3]> {
    lines.iter().map(|line| ["level", "event", "message"].map(|name| line[name].as_str().unwrap())).collect()
}

const STOPPING: [Option<Reason>; 3] =
    [Some(Reason::ConnectRefused), Some(Reason::ConnectRefused), Some(Reason::ResponseTimeout)];

#[tokio::test(start_paused = true)]
async fn from_the_stop_on_no_failure_transition_or_downtime_is_counted() {
    let (mut recorder, process, metrics) = recorder(&config(&[]), silent());
    app(&mut recorder, None);
    database(&mut recorder, Some(Reason::AuthFailed));
    for lane in [Lane::App, Lane::Database] {
        recorder.plan(lane, Instant::now() + Duration::from_secs(60));
    }
    advance(Duration::from_secs(8)).await;
    recorder.count_down_time();
    let counted = async |recorder: &Recorder| {
        let mut scrape = scrape(&metrics, &recorder.snapshot()).await;
        scrape.samples.retain(|series, _| !series.starts_with("process_"));
        scrape.samples
    };
    let before = counted(&recorder).await;
    process.draining.store(true, Ordering::Relaxed);
    for reason in STOPPING {
        app(&mut recorder, reason);
        advance(Duration::from_secs(8)).await;
        recorder.count_down_time();
    }
    let mut after = counted(&recorder).await;
    let down = "sidepulse_check_down_seconds_total check=database";
    // The database was down before, and nobody asks it to end.
    assert!(after.insert(down.to_owned(), before[down]) > before.get(down).copied());
    assert_eq!(after, before);
    assert_eq!(recorder.snapshot().app.verdict, Verdict::Up);
    database(&mut recorder, FAILS);
    let failed = "sidepulse_check_failures_total check=database reason=query_failed";
    assert_eq!(counted(&recorder).await[failed], before[failed] + 1.0);
    // What passes is a result like any other.
    app(&mut recorder, None);
    assert_eq!(counted(&recorder).await["sidepulse_checks_total check=app"], 2.0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_from_before_the_start_counts_after_five_minutes() {
    let (mut recorder, _, metrics) = recorder(&config(&[SQL]), silent());
    // A scrape takes another second and a bit.
    for (pass, counted) in [(1, [0.0, 0.0, 0.0]), (296, [0.0, 0.0, 0.0]), (1, [1.0, 1.0, 0.0]), (1, [1.0, 1.0, 2.0])] {
        advance(Duration::from_secs(pass)).await;
        let failed = ended(Instant::now(), Some(Reason::ConnectTimeout));
        let due = Instant::now() + Duration::from_secs(60);
        recorder.plan(Lane::App, due);
        recorder.plan(Lane::Database, due);
        recorder.app(failed.clone());
        let report = DatabaseReport { sql: vec![failed.clone()], ..report(&recorder, failed) };
        recorder.database(report);
        recorder.count_down_time();
        let scrape = scrape(&metrics, &recorder.snapshot()).await;
        for check in ["app", "database", "sql_migrations"] {
            let series = [
                format!("sidepulse_check_state check={check} state=down"),
                format!("sidepulse_transitions_total check={check} to=down"),
                format!("sidepulse_check_down_seconds_total check={check}"),
            ];
            assert_eq!(series.map(|series| scrape.samples[series.as_str()].floor()), counted, "{check}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_between_two_ticks_counts() {
    let (mut recorder, _, metrics) = recorder(&config(&[]), silent());
    for (pass, reason) in [(300, None), (400, Some(Reason::AuthFailed)), (250, None), (350, None)] {
        advance(Duration::from_millis(pass)).await;
        database(&mut recorder, reason);
    }
    recorder.count_down_time();
    let down =
        scrape(&metrics, &recorder.snapshot()).await.samples["sidepulse_check_down_seconds_total check=database"];
    assert_eq!(down, 0.25);
}

#[test]
fn a_start_that_ends_in_failure_is_logged() {
    let said = lines(Level::Info, &[], |recorder| {
        let started = Instant::now();
        for seconds in [299, 301, 302] {
            recorder.app(ended(started + Duration::from_secs(seconds), FAILS));
        }
    });
    assert_eq!(told(&said), [["error", "transition", "app is down: query_failed"]]);
    assert_eq!((&said[0]["from"], &said[0]["to"]), (&json!("starting"), &json!("down")));
}

#[test]
fn from_the_stop_on_no_failure_is_logged() {
    let lines = lines(Level::Debug, &[], |recorder| {
        app(recorder, None);
        recorder.process.draining.store(true, Ordering::Relaxed);
        for reason in STOPPING {
            app(recorder, reason);
        }
    });
    assert_eq!(told(&lines), [["info", "transition", "app is up"]]);
}

#[test]
fn changes_are_logged_and_repetitions_are_not() {
    let lines = lines(Level::Info, &[], |recorder| {
        for reason in [FAILS, FAILS, None, None, FAILS, FAILS, FAILS, None, FAILS, None, Some(Reason::AuthFailed)] {
            database(recorder, reason);
        }
    });
    let expected = [
        ["info", "transition", "database is up"],
        ["warn", "warning", "database check failed: query_failed"],
        ["error", "transition", "database is down: query_failed"],
        ["info", "transition", "database is up"],
        ["warn", "warning", "database check failed: query_failed"],
        ["error", "transition", "database is down: auth_failed"],
    ];
    assert_eq!(told(&lines), expected);
    let without_time = |line: &Value| {
        let mut line = line.clone();
        assert!(line.as_object_mut().unwrap().remove("timestamp").is_some());
        line
    };
    let remedy = Reason::QueryFailed.remedy();
    assert_eq!(
        without_time(&lines[2]),
        json!({"level": "error", "event": "transition", "message": "database is down: query_failed",
            "check": "database", "from": "up", "to": "down", "reason": "query_failed", "phase": "connect",
            "attempts": 1, "duration_ms": 2, "remedy": remedy})
    );
    assert_eq!(
        without_time(&lines[0]),
        json!({"level": "info", "event": "transition", "message": "database is up", "check": "database",
            "from": "starting", "to": "up", "attempts": 1, "duration_ms": 2})
    );
}

#[test]
fn the_first_failure_warns_and_those_up_to_the_threshold_do_not() {
    let lines = lines(Level::Info, &[("SIDEPULSE_FAILURE_THRESHOLD", "4")], |recorder| {
        [None, FAILS, FAILS, FAILS].into_iter().for_each(|reason| database(recorder, reason));
    });
    let expected =
        [["info", "transition", "database is up"], ["warn", "warning", "database check failed: query_failed"]];
    assert_eq!(told(&lines), expected);
}

#[test]
fn a_check_that_is_wrong_from_the_start_is_logged_at_once() {
    let lines = lines(Level::Info, &[], |recorder| {
        (0..3).for_each(|_| database(recorder, Some(Reason::AuthFailed)));
    });
    assert_eq!(told(&lines), [["error", "transition", "database is down: auth_failed"]]);
    assert_eq!((&lines[0]["from"], &lines[0]["to"]), (&json!("starting"), &json!("down")));
}

#[test]
fn ready_is_logged_once() {
    for (variables, needs_database) in
        [(&[][..], true), (&[("SIDEPULSE_DATABASE_GATE", "never")], false), (&[NO_DATABASE], false)]
    {
        let lines = lines(Level::Info, variables, |recorder| {
            app(recorder, None);
            assert_eq!(recorder.process.ever_ready.load(Ordering::Relaxed), !needs_database);
            if recorder.snapshot().database.is_some() {
                database(recorder, None);
            }
            assert!(recorder.process.ever_ready.load(Ordering::Relaxed));
            for reason in [FAILS, FAILS, None] {
                app(recorder, reason);
            }
        });
        let ready: Vec<_> = lines.iter().filter(|line| line["message"] == "ready").collect();
        assert_eq!(ready.len(), 1, "{lines:#?}");
        let line = ready[0];
        assert_eq!(
            (&line["event"], &line["from"], &line["to"]),
            (&json!("transition"), &json!("starting"), &json!("ready"))
        );
        assert!(line["duration_ms"].is_u64());
    }
}

#[test]
fn a_warning_is_logged_when_it_appears() {
    let read_only = |yes| ServerFacts { read_only: Some(yes), ..ServerFacts::default() };
    let lines = lines(Level::Warn, &[], |recorder| {
        for yes in [true, true, false, true] {
            learned(recorder, read_only(yes));
        }
        let retried = report(recorder, Outcome { attempts: 2, ..ended(Instant::now(), None) });
        recorder.database(DatabaseReport { facts: Some(read_only(false)), ..retried });
    });
    let warning = |message| ["warn", "warning", message];
    let expected = ["database: read_only", "database: read_only", "database: recovered_after_retry"];
    assert_eq!(told(&lines), expected.map(warning));
    assert_eq!((&lines[0]["check"], &lines[0]["reason"]), (&json!("database"), &json!("read_only")));
    assert_eq!(lines[0]["remedy"], Reason::ReadOnly.remedy());
}

#[test]
fn a_code_without_a_reason_of_its_own_is_logged_once_and_only_so_many_of_them() {
    let fail = |recorder: &mut Recorder, code: &str| {
        let failure = Failure { unclassified: Some(code.into()), ..Failure::new(Reason::QueryFailed, Phase::Query) };
        let report = report(recorder, Outcome { result: Err(failure), ..ended(Instant::now(), None) });
        recorder.database(report);
    };
    let codes = |lines: &[Value]| lines.iter().filter(|line| line["message"].to_string().contains("SQLSTATE")).count();
    let few = lines(Level::Info, &[], |recorder| {
        for code in ["XX001", "XX001", "XX002", "XX001"] {
            fail(recorder, code);
        }
    });
    assert_eq!(codes(&few), 2);
    let text = "database: SQLSTATE XX001 has no reason of its own: query_failed";
    assert_eq!(told(&few)[0], ["warn", "warning", text]);
    let many = lines(Level::Info, &[], |recorder| (0..100).for_each(|i| fail(recorder, &format!("X{i:04}"))));
    assert_eq!(codes(&many), MOST_CODES);
}

#[test]
fn a_plaintext_login_over_the_network_is_warned_of_once() {
    let plaintext = || ServerFacts { plaintext: true, ..ServerFacts::default() };
    for (variables, times) in [(&[PUBLIC][..], 1), (&[], 0)] {
        let lines = lines(Level::Warn, variables, |recorder| {
            learned(recorder, ServerFacts::default());
            (0..3).for_each(|_| learned(recorder, plaintext()));
        });
        let warnings = lines.iter().filter(|line| line["message"].to_string().contains("without TLS")).count();
        assert_eq!((warnings, lines.len()), (times, times), "{lines:#?}");
    }
}

#[test]
fn the_servers_message_is_only_for_level_debug() {
    let record = |recorder: &mut Recorder| {
        database(recorder, None);
        for _ in 0..3 {
            let failure = Failure::new(Reason::QueryFailed, Phase::Query).with_detail("from db.example");
            let report = report(recorder, Outcome { result: Err(failure), ..ended(Instant::now(), None) });
            recorder.database(report);
        }
    };
    for (level, words) in [(Level::Info, 0), (Level::Debug, 3)] {
        let lines = lines(level, &[SQL], record);
        let found = lines.iter().filter(|line| line.to_string().contains("db.example")).count();
        assert_eq!(found, words, "{level:?}: {lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_start_time_of_the_server_is_a_restart() {
    let (mut recorder, _, metrics) = recorder(&config(&[]), silent());
    let started = |at: Option<&str>| ServerFacts {
        started: at.map(str::to_owned),
        ready_after: Duration::from_millis(500),
        ..ServerFacts::default()
    };
    for (at, restarts) in
        [(None, 0.0), (Some("1"), 0.0), (Some("1"), 0.0), (None, 0.0), (Some("2"), 1.0), (Some("1"), 2.0)]
    {
        learned(&mut recorder, started(at));
        let found = scrape(&metrics, &recorder.snapshot()).await;
        assert_eq!(found.get("sidepulse_database_restarts_total"), restarts, "{at:?}");
        assert_eq!(found.get("sidepulse_database_wake_seconds_sum"), restarts * 0.5);
        database(&mut recorder, FAILS);
    }
}

#[test]
fn results_plans_and_facts_reach_the_snapshot() {
    let (mut recorder, _, _) = recorder(&config(&[SQL]), silent());
    let start = Instant::now();
    app(&mut recorder, Some(Reason::BadStatus));
    let sql = vec![ended(start, Some(Reason::UnexpectedResult))];
    recorder.database(DatabaseReport { query: ended(start, None), facts: None, refused: Vec::new(), sql });
    let reasons = |recorder: &Recorder| {
        recorder.snapshot().checks().map(|check| check.newest.as_ref().and_then(Outcome::reason)).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&recorder), [Some(Reason::BadStatus), None, Some(Reason::UnexpectedResult)]);

    let [early, late] = [5, 9].map(|s| start + Duration::from_secs(s));
    recorder.plan(Lane::App, early);
    recorder.plan(Lane::Database, late);
    let due: Vec<_> = recorder.snapshot().checks().map(|check| check.due).collect();
    assert_eq!(due, [early, late, late], "SQL checks run with the deep query");

    let version = |text: &str| ServerFacts { version: Some(text.into()), ..ServerFacts::default() };
    learned(&mut recorder, version("16.4"));
    learned(&mut recorder, ServerFacts::default());
    let known = |recorder: &Recorder| recorder.snapshot().database.clone().unwrap();
    assert_eq!(known(&recorder).server_version.as_deref(), Some("16.4"));
    let end = SystemTime::now();
    recorder.certificate(Some(end));
    recorder.certificate(None);
    assert_eq!(known(&recorder).certificate_expiry, Some(end));
}
