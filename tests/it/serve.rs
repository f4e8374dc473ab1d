//! `sidepulse serve` beside an app and a database: gates, faults, lifecycle, logs.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Behaviour, FakePostgres, Fault};
use crate::support::postgres::Postgres;
use crate::support::sidecar::Sidecar;
use crate::support::web_app::{Mode, WebApp};

#[test]
fn everything_is_green_beside_a_healthy_app_and_database() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let sidecar = Sidecar::on(postgres.url()).app(app.port()).start();
    sidecar.wait_for_status("/readyz", 200);
    for path in
        ["/livez", "/startupz", "/readyz", "/health", "/healthz", "/health/shallow", "/health/deep", "/metrics", "/"]
    {
        assert_eq!(sidecar.get(path).status, 200, "{path}");
    }
    let health = sidecar.get("/health").json();
    assert_eq!(health["status"], "pass", "{health}");
    assert_eq!(health["state"], "ready", "{health}");
    let phases = &health["checks"]["database:query"][0]["phases"];
    for phase in ["resolve", "connect", "auth", "query"] {
        assert!(phases[phase].is_f64(), "{phase} in {phases}");
    }
    assert_eq!(phases["tls"], serde_json::Value::Null, "no TLS was spoken: {phases}");
}

#[test]
fn it_listens_before_the_first_check_and_says_what_it_waits_for() {
    let fake = FakePostgres::start([Behaviour::fault(At::Accept, Fault::Stall)]);
    let sidecar = Sidecar::on(fake.url()).app(1).start();
    assert_eq!(sidecar.get("/livez").body, "ok\n");
    assert_eq!(sidecar.get("/startupz").status, 503);
    let readyz = sidecar.get("/readyz");
    assert_eq!((readyz.status, readyz.header("retry-after")), (503, Some("5")));
    sidecar.wait_for_check("app:http", |check| check["reason"] == "connect_refused");
    assert!(sidecar.get("/readyz").body.starts_with("fail: app: connect_refused; database: "));
    assert!(eventually(SOON, || sidecar.events("waiting").len() == 1), "{}", sidecar.log_text());
    let waiting = &sidecar.events("waiting")[0];
    assert!(waiting["waiting_for"].as_str().is_some_and(|text| text.starts_with("app: connect_refused; database: ")));
    assert!(waiting["gate_left_s"].as_u64().is_some_and(|left| (280..300).contains(&left)), "{waiting}");
}

#[test]
fn the_ways_an_app_fails_are_told_apart() {
    let app = WebApp::start();
    let sidecar = Sidecar::without_database().app(app.port()).set("SIDEPULSE_APP_TIMEOUT", "300ms").start();
    sidecar.wait_for_status("/readyz", 200);
    for (mode, reason) in [
        (Mode::Silent, "response_timeout"),
        (Mode::Answer(500), "bad_status"),
        (Mode::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol_error"),
        (Mode::Bytes(b""), "connection_lost"),
        (Mode::Bytes(b"HTTP/1.1 200 OK\r\nServer: sidepulse\r\n\r\n"), "protocol_error"),
    ] {
        app.behave(mode.clone());
        sidecar.wait_for_check("app:http", |check| check["state"] == "down" && check["reason"] == reason);
        assert_eq!(sidecar.get("/readyz").body, format!("fail: app: {reason}\n"), "{mode:?}");
        assert_eq!((sidecar.get("/livez").status, sidecar.get("/startupz").status), (200, 200), "{mode:?}");
        app.behave(Mode::Answer(200));
        sidecar.wait_for_status("/readyz", 200);
    }
    drop(app);
    sidecar.wait_for_check("app:http", |check| check["reason"] == "connect_refused");
    assert_eq!(
        sidecar.metric("sidepulse_check_failures_total{check=\"app\",reason=\"bad_status\"}").map(|n| n >= 2.0),
        Some(true)
    );
}

#[test]
fn a_frozen_database_turns_health_red_but_neither_readiness_nor_liveness() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let sidecar = Sidecar::on(postgres.url()).app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    postgres.freeze();
    sidecar.wait_for_check("database:query", |check| check["state"] == "down" && check["reason"] == "tls_timeout");
    assert_eq!(sidecar.get("/health").status, 503);
    assert_eq!(sidecar.get("/readyz?verbose").body, "[+]app ok\n[+]database ok (gate=startup)\nreadyz check passed\n");
    assert_eq!(sidecar.get("/livez").status, 200);
    assert!(postgres.connections_now() <= 1, "one connection at the most");
    postgres.thaw();
    sidecar.wait_for_status("/health", 200);
    let to = || -> Vec<_> {
        let events = sidecar.events("transition").into_iter().filter(|event| event["check"] == "database");
        events.map(|event| event["to"].clone()).collect()
    };
    // The log's writer may be later than the endpoint.
    assert!(eventually(SOON, || to() == ["up", "down", "up"]), "{}", sidecar.log_text());
    assert!(eventually(SOON, || postgres.backends_of("sidepulse") <= 1));
}

#[test]
fn the_gate_decides_what_readiness_asks_of_the_database() {
    let app = WebApp::start();
    for (gate, before, after) in [("startup", 503, 200), ("always", 503, 503), ("never", 200, 200)] {
        let fake = FakePostgres::start([Behaviour::fault(
            At::Startup,
            Fault::fatal("57P03", "the database system is starting up"),
        )]);
        let sidecar = Sidecar::on(fake.url()).app(app.port()).set("SIDEPULSE_DATABASE_GATE", gate).start();
        sidecar.wait_for_check("app:http", |check| check["state"] == "up");
        sidecar
            .wait_for_check("database:query", |check| check["reason"] == "starting_up" && check["state"] == "starting");
        assert_eq!(sidecar.get("/readyz").status, before, "{gate}: before the first success");
        fake.follow([Behaviour::good()]);
        sidecar.wait_for_check("database:query", |check| check["state"] == "up");
        sidecar.wait_for_status("/readyz", 200);
        fake.follow([Behaviour::fault(
            At::Startup,
            Fault::fatal("28P01", "password authentication failed for user \"probe\""),
        )]);
        sidecar.wait_for_check("database:query", |check| check["state"] == "down");
        assert_eq!(sidecar.get("/readyz").status, after, "{gate}: after it went down");
        assert_eq!(sidecar.get("/health").status, 503, "{gate}");
    }
}

#[test]
fn sigterm_turns_readiness_red_at_once_and_everything_else_is_served_until_the_delay_is_over() {
    let app = WebApp::start();
    let mut sidecar = Sidecar::without_database().app(app.port()).set("SIDEPULSE_DRAIN_DELAY", "2s").start();
    sidecar.wait_for_status("/readyz", 200);
    sidecar.signal(Signal::TERM);
    sidecar.wait_for_status("/readyz", 503);
    assert_eq!(sidecar.get("/readyz").body, "fail: draining\n");
    assert_eq!(sidecar.get("/livez").status, 200);
    assert_eq!(sidecar.get("/metrics").status, 200);
    assert_eq!(sidecar.get("/health").json()["state"], "draining");
    assert_eq!(sidecar.get("/health/shallow").status, 200, "the app itself is well");
    assert_eq!(sidecar.wait().code(), Some(0));
    assert_eq!(sidecar.events("draining").len(), 1);
    assert_eq!(sidecar.events("stopped").len(), 1);
    assert!(TcpStream::connect(sidecar.address()).is_err(), "the port is closed");
}

#[test]
fn a_second_signal_ends_the_delay() {
    let mut sidecar = Sidecar::without_database().app(1).set("SIDEPULSE_DRAIN_DELAY", "1h").start();
    sidecar.signal(Signal::TERM);
    assert!(eventually(SOON, || sidecar.events("draining").len() == 1));
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.wait().code(), Some(0));
    assert!(sidecar.log_text().contains("SIGINT again"), "{}", sidecar.log_text());
}

#[test]
fn ten_thousand_answers_cost_the_database_nothing() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let sidecar = Sidecar::on(postgres.url()).app(app.port()).set("SIDEPULSE_DATABASE_INTERVAL", "1h").start();
    sidecar.wait_for_status("/health", 200);
    let before = postgres.logins_of("sidepulse");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = sidecar.address();
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut stream = TcpStream::connect(address).unwrap();
                let pipeline = b"GET /health/deep HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
                let mut answered = 0;
                let (mut buffer, mut seen) = (vec![0; 64 * 1024], Vec::new());
                for _ in 0..50 {
                    stream.write_all(&pipeline).unwrap();
                    answered += 50;
                    while seen.windows(12).filter(|w| w == b"HTTP/1.1 200").count() < 50 {
                        let n = stream.read(&mut buffer).unwrap();
                        assert_ne!(n, 0, "closed after {answered}");
                        seen.extend_from_slice(&buffer[..n]);
                    }
                    seen.clear();
                }
                answered
            })
        })
        .collect();
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(answered, 10_000);
    assert_eq!(postgres.logins_of("sidepulse"), before, "requests cause no login");
}

#[test]
fn bad_settings_exit_with_2_and_show_every_fault_but_no_value() {
    let (code, _, log) = Sidecar::bare()
        .set("DATABASE_URL", "postgresql://user:hunter2@pw@host/db")
        .set("SIDEPULSE_APP_TIMEOUT", "soon")
        .set("SIDEPULSE_TOKEN", "hunter2")
        .finish();
    assert_eq!(code, Some(2), "{log}");
    for variable in ["DATABASE_URL", "SIDEPULSE_APP_TIMEOUT", "SIDEPULSE_TOKEN"] {
        assert!(log.lines().any(|line| line.contains(&format!("\"message\":\"{variable}: "))), "{variable} in {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_port_in_use_exits_with_1_and_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, log) = Sidecar::without_database().set("SIDEPULSE_LISTEN", address).finish();
    assert_eq!(code, Some(1));
    assert!(log.contains("the port is in use"), "{log}");
}

#[test]
fn the_default_address_takes_both_families_and_falls_back() {
    let sidecar = Sidecar::without_database().app(1).set("SIDEPULSE_LISTEN", "[::]:0").start();
    let port = sidecar.address().port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        assert!(TcpStream::connect(("::1", port)).is_ok());
    }
}

#[test]
fn unknown_settings_cause_a_warning_with_their_name() {
    let sidecar = Sidecar::without_database().app(1).set("SIDEPULSE_APP_TIMOUT", "hunter2").start();
    let warnings = sidecar.events("warning");
    assert!(
        warnings
            .iter()
            .any(|w| w["message"].as_str().is_some_and(|m| m.ends_with("did you mean SIDEPULSE_APP_TIMEOUT?"))),
        "{warnings:?}"
    );
    assert!(!sidecar.log_text().contains("hunter2"));
}

#[test]
fn a_log_that_nobody_reads_blocks_nothing() {
    let app = WebApp::start();
    let mut child = Sidecar::without_database()
        .app(app.port())
        .set("SIDEPULSE_LOG", "debug")
        .set("SIDEPULSE_APP_INTERVAL", "100ms")
        .set("SIDEPULSE_APP_STATUS", "204")
        .command()
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe is not read, and checking goes on.
    assert!(eventually(SOON, || app.requests() > 20));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_serves_from_two_threads_and_a_writer() {
    let app = WebApp::start();
    let sidecar = Sidecar::without_database().app(app.port()).arg("serve").start();
    sidecar.wait_for_status("/readyz", 200);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap();
    let names: Vec<String> = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap().trim().to_owned())
        .collect();
    for name in ["sidepulse", "checks", "log"] {
        assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{name} in {names:?}");
    }
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn hup_usr1_and_usr2_are_ignored_and_that_is_said_once() {
    let app = WebApp::start();
    let mut sidecar = Sidecar::without_database().app(app.port()).start();
    sidecar.wait_for_status("/readyz", 200);
    let said = || {
        let warnings = sidecar.events("warning");
        warnings.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains("is ignored"))).count()
    };
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::HUP] {
        sidecar.signal(signal);
        assert!(eventually(SOON, || said() == 1), "{}", sidecar.log_text());
    }
    assert_eq!(sidecar.get("/readyz").status, 200);
    assert_eq!(said(), 1, "{}", sidecar.log_text());
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn with_too_few_open_files_it_does_not_start_and_says_so() {
    let app = WebApp::start();
    let mut refused = 0;
    for limit in (5..40).rev() {
        let builder = Sidecar::without_database().app(app.port()).open_files(limit);
        // Every number below the first that is too low is too low as well.
        if refused > 0 || limit < 20 {
            let (code, _, log) = builder.finish();
            assert_eq!(code, Some(1), "{limit}: {log}");
            assert_eq!(log.lines().filter(|line| line.contains("ulimit -n")).count(), 1, "{limit}: {log}");
            refused += 1;
            continue;
        }
        let mut child = builder.command().stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut log, &mut line).unwrap();
        let started = line.contains(r#""event":"started""#);
        if started {
            // It checks: the descriptors that it needs to start also suffice to check.
            let before = app.requests();
            assert!(eventually(SOON, || app.requests() > before + 2), "{limit} open files: no checks");
        } else {
            assert!(line.contains("ulimit -n"), "{limit}: {line}");
            refused += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(refused < 35, "none suffices");
}
