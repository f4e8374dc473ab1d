//! The commands that run once: what they print, and their exit codes.

use std::fs::OpenOptions;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Behaviour, FakePostgres, Fault};
use crate::support::postgres::Postgres;
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::web_app::{Mode, WebApp};

/// Long and random enough for doctor.
const NEW_SECRET: &str = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab91";

fn check(builder: Builder, arguments: &[&str]) -> (Option<i32>, String, String) {
    arguments.iter().fold(builder.arg("check"), |builder, argument| builder.arg(*argument)).finish()
}

#[test]
fn check_prints_text_for_people() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let (code, text, _) = check(Sidecar::on(postgres.url()).app(app.port()), &[]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["app ", "database ", "✓ pass", "response ", "auth ", "server       PostgreSQL "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\x1b'), "colour is for terminals");
    app.behave(Mode::Answer(500));
    let (code, text, _) = check(Sidecar::on(postgres.url()).app(app.port()), &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("✗ fail: bad_status") && text.contains("what to do") && text.contains("answered 500"),
        "{text}"
    );
}

#[test]
fn check_prints_the_same_as_json() {
    let fake = FakePostgres::start([Behaviour::fault(
        At::Startup,
        Fault::fatal("28P01", "password authentication failed for user \"probe\""),
    )]);
    let (code, text, _) = check(Sidecar::on(fake.url()).app(1), &["--json", "--only", "database"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["status"]), (Some(1), &"fail".into()));
    assert_eq!(fake.counts().accepted, 1, "a server that fails is not asked for its certificate");
    let row = &json["checks"][0];
    for key in [
        "name",
        "status",
        "reason",
        "remedy",
        "attempts",
        "duration_ms",
        "phases_ms",
        "server_version",
        "certificate_expiry",
        "message",
    ] {
        assert!(row.get(key).is_some(), "{key} in {row}");
    }
    assert_eq!(
        (&row["name"], &row["reason"], &row["attempts"]),
        (&"database".into(), &"auth_failed".into(), &1.into())
    );
    assert_eq!(json["checks"].as_array().unwrap().len(), 1, "the app was left out");
}

#[test]
fn check_waits_until_all_pass_whatever_the_reason() {
    let app = WebApp::start();
    let refused = || Behaviour::fault(At::Startup, Fault::fatal("3D000", "database \"d\" does not exist"));
    let fake = FakePostgres::start([refused(), refused(), Behaviour::good()]);
    let (code, text, _) = check(Sidecar::on(fake.url()).app(app.port()), &["--wait", "30s"]);
    assert_eq!(code, Some(0), "{text}");
    fake.follow([refused()]);
    let (code, text, _) = check(Sidecar::on(fake.url()).app(app.port()), &["--wait", "1s"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("database_missing"), "{text}");
}

#[test]
fn check_cuts_its_last_round_short_when_the_time_of_wait_is_over() {
    // The attempts of a check alone take 20 s where nothing listens.
    let builder = Sidecar::on("postgresql://u:p@127.0.0.1:1/d").set("SIDEPULSE_DATABASE_TIMEOUT", "20s");
    let since = Instant::now();
    let (code, text, _) = check(builder, &["--only", "database", "--wait", "2s"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("connect_refused") && since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
}

#[test]
fn check_refuses_a_database_that_is_switched_off() {
    let (code, text, log) = check(Sidecar::without_database(), &["--only", "database"]);
    assert_eq!((code, text.as_str()), (Some(2), ""), "{log}");
    assert!(log.contains("SIDEPULSE_DATABASE=off"), "{log}");
}

#[test]
fn check_says_what_it_waits_for() {
    let builder = Sidecar::without_database().app(1);
    let (code, _, log) = check(builder, &["--wait", "2s"]);
    assert_eq!(code, Some(1), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [waiting] = &lines[..] else { panic!("one line for ten seconds: {log}") };
    assert_eq!(
        (&waiting["event"], &waiting["waiting_for"]),
        (&"waiting".into(), &"app: connect_refused".into()),
        "{log}"
    );
    assert!(waiting["gate_left_s"].as_u64().unwrap() <= 2, "{log}");
}

#[test]
fn only_app_needs_no_database_url_and_unknown_settings_are_reported() {
    let app = WebApp::start();
    let (code, text, log) =
        check(Sidecar::bare().app(app.port()).set("SIDEPULSE_APP_INTERVALL", "5s"), &["--only", "app"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(log.contains("did you mean SIDEPULSE_APP_INTERVAL?"), "{log}");
    let (code, _, log) = check(Sidecar::bare().app(app.port()), &[]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("DATABASE_URL: is not set"), "{log}");
}

#[test]
fn ping_asks_the_daemon_where_it_listens_and_nothing_else() {
    let app = WebApp::start();
    let sidecar = Sidecar::without_database().app(app.port()).set("SIDEPULSE_LISTEN", "[::]:0").start();
    sidecar.wait_for_status("/readyz", 200);
    let port = sidecar.address().port();
    let ping = |more: &[&str]| {
        let builder = Sidecar::bare().set("SIDEPULSE_LISTEN", "").set("PORT", port.to_string()).arg("ping");
        more.iter().fold(builder, |builder, argument| builder.arg(*argument)).finish()
    };
    assert_eq!(ping(&[]), (Some(0), "ok\n".into(), String::new()));
    assert_eq!(ping(&["--path", "/livez"]).0, Some(0));
    assert_eq!(ping(&["--path", "/nothing"]).0, Some(1));
    assert_eq!(ping(&["--listen", &format!("127.0.0.1:{port}")]).0, Some(0));
    drop(app);
    sidecar.wait_for_status("/readyz", 503);
    assert_eq!(ping(&[]), (Some(1), "fail: app: connect_refused\n".into(), String::new()));
    drop(sidecar);
    assert!(eventually(SOON, || ping(&[]).1.contains("connect_refused")));
    let other = WebApp::start();
    let (code, text, _) = ping(&["--listen", &format!("127.0.0.1:{}", other.port())]);
    assert_eq!((code, text.contains("another program")), (Some(1), true), "{text}");
}

#[test]
fn help_and_version_need_nothing_and_bad_usage_is_2() {
    for argument in ["--help", "--version"] {
        let (code, text, _) = Sidecar::bare().set("SIDEPULSE_TOKEN", "hunter2").arg(argument).finish();
        assert_eq!(code, Some(0), "{argument}");
        assert!(text.contains("sidepulse") && !text.contains("hunter2"), "{text}");
    }
    for arguments in
        [&["--nonsense"][..], &["run"], &["check", "--only", "x"], &["check", "--wait", "5"], &["ping", "--path", "x"]]
    {
        let builder = arguments.iter().fold(Sidecar::bare(), |builder, argument| builder.arg(*argument));
        assert_eq!(builder.finish().0, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_not_a_success() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let sidecar = Sidecar::on(postgres.url()).app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    let address = sidecar.address().to_string();
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["ping", "--path", "/health", "--listen", &address],
        &["doctor"],
        &["doctor", "--json"],
        &["doctor", "--explain", "cors-origins"],
        &["--help"],
        &["check", "--help"],
        &["--version"],
    ] {
        let builder = || {
            let builder = Sidecar::on(postgres.url()).app(app.port());
            let builder = builder.set("JWT_SECRET", NEW_SECRET).set("CORS_ORIGINS", "https://app.acme.com");
            arguments.iter().fold(builder, |builder, argument| builder.arg(*argument))
        };
        let (code, text, log) = builder().finish();
        assert_eq!(code, Some(0), "{arguments:?}: {text}{log}");
        // The kernel's own full disk.
        let full = OpenOptions::new().write(true).open("/dev/full").expect("open /dev/full");
        let (code, log) = builder().finish_into(full);
        assert_eq!(code, Some(1), "{arguments:?}: {log}");
        assert!(log.contains("No space left on device"), "{arguments:?}: {log}");
        // A reader that has gone, as with `| head`, is not an error.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, log) = builder().finish_into(writer);
        assert_eq!(code, Some(0), "{arguments:?}: {log}");
        assert!(!log.contains("ipe"), "{arguments:?}: {log}");
    }
    // A worse exit code stays.
    let full = OpenOptions::new().write(true).open("/dev/full").expect("open /dev/full");
    assert_eq!(Sidecar::bare().app(1).arg("check").arg("--only").arg("app").finish_into(full).0, Some(1));
}
