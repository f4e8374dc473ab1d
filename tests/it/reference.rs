//! The JSON forms in `docs/reference.md` are those of the program; `src/reference.rs` compares the other tables.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::fake_postgres::{At, Behaviour, FakePostgres, Fault};
use crate::support::port::free_port;
use crate::support::run_child::{run, run_script};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::web_app::{Mode, WebApp};

const REFERENCE: &str = include_str!("../../docs/reference.md");

/// The first column of the first table below this heading whose header begins like this.
fn keys(heading: &str, first: &str) -> BTreeSet<String> {
    let (_, section) = REFERENCE.split_once(&format!("\n{heading}\n")).expect("the heading");
    let (_, table) = section.split_once(&format!("\n| {first} |")).expect("the table");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

fn keys_of(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_body_of_health_has_these_keys() {
    let app = WebApp::start();
    let sidecar = Sidecar::without_database().app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    app.behave(Mode::Answer(500));
    sidecar.wait_for_status("/health", 503);
    let body = sidecar.get("/health").json();
    assert_eq!(keys_of(&body), keys("### The body of /health", "key"));
    assert_eq!(keys_of(&body["checks"]["app:http"][0]), keys("### The body of /health", "key of a check"));
}

#[test]
fn the_json_of_check_has_these_keys() {
    let app = WebApp::start();
    let (_, text, _) = Sidecar::without_database().app(app.port()).arg("check").arg("--json").finish();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys_of(&json), BTreeSet::from(["status", "checks"].map(str::to_owned)));
    assert_eq!(keys_of(&json["checks"][0]), keys("### JSON of check", "key"));
}

#[test]
fn the_json_of_doctor_has_these_keys() {
    let (_, text, _) = Sidecar::bare().arg("doctor").arg("--json").finish();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys_of(&json), BTreeSet::from(["status", "rules"].map(str::to_owned)));
    assert_eq!(keys_of(&json["rules"][0]), keys("### JSON of doctor", "key"));
}

#[test]
fn every_rule_of_doctor_is_there() {
    let (_, table) = REFERENCE.split_once("\n| subject | rules |\n").expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let told: BTreeSet<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let (_, _, said) = Sidecar::bare().arg("doctor").arg("--explain").arg("none").finish();
    let (_, all) = said.trim().split_once("there are ").expect("every rule, where there is none of that name");
    assert_eq!(told, all.split(", ").collect());
}

/// The exit codes that the table of commands tells of one: its numbers, but for the 0 that CMD ends with, and `128+N`.
fn told_codes(command: &str) -> BTreeSet<i32> {
    let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `sidepulse {command}"))).expect("its row");
    let cell = row.trim_end_matches(" |").rsplit(" | ").next().expect("its codes");
    let cell = cell.replace("for a 0 ", "");
    let words = cell.split(|c: char| !(c.is_ascii_alphanumeric() || c == '+'));
    words.filter_map(|word| word.trim_end_matches("+N").parse().ok()).collect()
}

#[test]
fn the_exit_codes_of_what_runs_once_are_those_of_the_table() {
    let app = WebApp::start();
    let fine = || Sidecar::without_database().app(app.port());
    let code = |builder: Builder, arguments: &[&str]| {
        let builder = arguments.iter().fold(builder, |builder, argument| builder.arg(*argument));
        builder.finish().0.expect("it ends by itself")
    };
    let check = [
        (code(fine(), &["check"]), 0),
        (code(Sidecar::without_database().app(free_port()), &["check"]), 1),
        (code(fine().set("SIDEPULSE_APP_TIMEOUT", "2"), &["check"]), 2),
        (code(fine(), &["check", "--nonsense"]), 2),
    ];
    let daemon = fine().start();
    daemon.wait_for_status("/readyz", 200);
    let listen = daemon.address().to_string();
    let ping = [
        (code(Sidecar::bare(), &["ping", "--listen", &listen]), 0),
        (code(Sidecar::bare(), &["ping", "--listen", &listen, "--path", "/nothing"]), 1),
        (code(Sidecar::bare(), &["ping", "--listen", "here"]), 2),
    ];
    let good = || {
        let secret = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab91";
        Sidecar::on("postgresql+asyncpg://app:hunter2@db.acme.com/app?ssl=require")
            .set("JWT_SECRET", secret)
            .set("CORS_ORIGINS", "https://app.acme.com")
    };
    let doctor = [
        (code(good(), &["doctor"]), 0),
        (code(good().set("CORS_ORIGINS", "app.acme.com/"), &["doctor"]), 1),
        (code(good(), &["doctor", "--backend", "/nowhere"]), 2),
        (code(good(), &["doctor", "--explain", "nothing"]), 2),
    ];
    for (command, seen) in [("check", &check[..]), ("ping", &ping), ("doctor", &doctor)] {
        assert!(seen.iter().all(|(code, expected)| code == expected), "{command}: {seen:?}");
        assert_eq!(told_codes(command), seen.iter().map(|(code, _)| *code).collect(), "{command}");
    }
}

#[test]
fn a_failing_and_a_warning_check_end_as_the_table_says() {
    let app = WebApp::start();
    let code = |behaviour| {
        let fake = FakePostgres::start([behaviour]);
        Sidecar::on(fake.url()).app(app.port()).arg("check").finish()
    };
    let (failed, text, _) = code(Behaviour::fault(At::Startup, Fault::fatal("3D000", "database \"d\" does not exist")));
    assert_eq!(failed, Some(1), "{text}");
    let again = || Behaviour::fault(At::Startup, Fault::fatal("57P03", "the database system is starting up"));
    let fake = FakePostgres::start([again(), Behaviour::good()]);
    let (warned, text, _) = Sidecar::on(fake.url()).app(app.port()).arg("check").finish();
    assert!(warned == Some(0) && text.contains("warn: recovered_after_retry"), "{text}");
}

#[test]
fn the_exit_codes_of_the_daemon_are_those_of_the_table() {
    let mut daemon = Sidecar::without_database().start();
    daemon.signal(Signal::TERM);
    let ended = daemon.wait().code();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let no_place = Sidecar::without_database().set("SIDEPULSE_LISTEN", &taken).finish().0;
    let bad = Sidecar::bare().finish().0;
    assert_eq!([ended, no_place, bad], [Some(0), Some(1), Some(2)]);
    // The row is that of both spellings, `sidepulse` and `sidepulse serve`.
    let told = REFERENCE.lines().find(|line| line.starts_with("| `sidepulse`, `sidepulse serve`")).expect("its row");
    let told = told.trim_end_matches(" |").rsplit(" | ").next().expect("its codes");
    let told: BTreeSet<&str> = told.split("; ").filter_map(|part| part.split(' ').next()).collect();
    assert_eq!(told, BTreeSet::from(["0", "1", "2"]), "{told:?}");
}

#[test]
fn the_exit_codes_of_run_are_those_of_the_table() {
    let refused = run_script("exit 5").env("SIDEPULSE_STOP_TIMEOUT", "10").exit_code();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let no_place = run_script("exit 5").env("SIDEPULSE_LISTEN", taken.local_addr().unwrap()).exit_code();
    let not_found = run(&["/nowhere/uvicorn"]).exit_code();
    let not_executable = run(&["/etc/passwd"]).exit_code();
    let killed = run_script("kill -KILL $$").exit_code().map(|code| code - 9);
    let clean = run_script("exit 0").exit_code();
    // Up once, and then no HTTP any more.
    let app = WebApp::start();
    let mut silent = run_script("read line")
        .env("SIDEPULSE_APP_URL", format!("http://127.0.0.1:{}/", app.port()))
        .env("SIDEPULSE_APP_INTERVAL", "100ms")
        .env("SIDEPULSE_UNRESPONSIVE_AFTER", "200ms")
        .env("SIDEPULSE_ON_UNRESPONSIVE", "exit")
        .start();
    silent.wait_for_status("/readyz", 200);
    drop(app);
    let silent = Some(silent.exit_code());
    let seen = [refused, no_place, not_found, not_executable, killed, clean, silent];
    assert_eq!(seen, [2, 1, 127, 126, 128, 1, 70].map(Some));
    assert_eq!(told_codes("run"), seen.into_iter().flatten().collect());
    assert_eq!(run_script("exit 7").exit_code(), Some(7), "CMD's own");
}
