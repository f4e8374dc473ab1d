//! SIGTERM, in order: readiness turns red while everything is still served, the delay, the signal to CMD alone, CMD's
//! end, the signal to what is left of its group, our end.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::run_app::App;
use crate::support::run_child::{SOON, poll, run, run_script};

/// Reports that the signal came, and runs until told to exit. (A thread waits for signals: a Python handler does not
/// run while the main thread is in a read that it entered just after the signal.)
pub(super) const PATIENT: &str = "
import os, signal, sys, threading
wanted = [signal.SIGTERM, signal.SIGINT]
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
def tell():
    while True:
        os.write(1, f'{sys.argv[1]} got {signal.sigwait(wanted).name}\\n'.encode())
threading.Thread(target=tell, daemon=True).start()
os.write(1, f'{sys.argv[1]} ready\\n'.encode())
for line in sys.stdin:
    if line.strip() == 'leave':
        os.write(1, f'{sys.argv[1]} leaves\\n'.encode())
        os._exit(7)
";

#[test]
fn the_drain_has_its_order() {
    let delay = Duration::from_millis(1500);
    let app = App::start();
    // A server, and a subprocess that one of its requests may wait for.
    let subprocess =
        "trap 'echo subprocess got SIGTERM; exit' TERM; echo subprocess ready; while :; do sleep 0.1; done";
    let script = format!("sh -c \"{subprocess}\" </dev/null & exec python3 -c \"$APP\" server");
    let mut run = run_script(&script)
        .env("APP", PATIENT)
        .env("SIDEPULSE_APP_URL", app.url())
        .env("SIDEPULSE_DRAIN_DELAY", "1500ms")
        .start();
    run.wait_for("subprocess ready");
    run.wait_for("server ready");
    run.wait_for_status("/readyz", 200);

    let asked = Instant::now();
    run.signal(Signal::TERM);
    run.wait_for_status("/readyz", 503);
    let (_, body) = run.get("/readyz").unwrap();
    assert_eq!(body, "fail: draining");
    assert!(asked.elapsed() < delay, "red only after {:?}", asked.elapsed());
    assert_eq!(run.count("got SIGTERM"), 0, "{}", run.text());
    assert_eq!(run.get("/health/shallow").unwrap().0, 200);

    run.wait_for("server got SIGTERM");
    assert!(asked.elapsed() >= delay, "signalled after {:?}", asked.elapsed());
    assert_eq!(run.get("/livez").unwrap().0, 200, "served until the child is gone");
    assert_eq!(run.get("/readyz").unwrap().0, 503);
    assert_eq!(run.count("child_exited"), 0);
    assert_eq!(run.count("subprocess got SIGTERM"), 0, "it is the server's: {}", run.text());

    run.say("leave");
    assert_eq!(run.exit_code(), 7);
    assert_eq!(run.count("subprocess got SIGTERM"), 1, "{}", run.text());
    let at = |text: &str| run.text().find(text).unwrap_or_else(|| panic!("no {text} in {}", run.text()));
    let events = ["child_started", r#""event":"draining""#, "child_exited", r#""event":"stopped""#].map(at);
    assert!(events.is_sorted(), "{}", run.text());
    assert!(run.get("/livez").is_none());
}

#[test]
fn sigint_is_passed_on_as_sigint() {
    let mut run = run(&["python3", "-c", PATIENT, "app"]).start();
    run.wait_for("ready");
    run.signal(Signal::INT);
    run.wait_for("app got SIGINT");
    run.say("leave");
    assert_eq!(run.exit_code(), 7);
}

#[test]
fn a_clean_stop_is_not_an_error() {
    let mut run = run(&["sleep", "1000"]).start();
    run.child();
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), 143);
    assert_eq!(run.wait_for_event("child_exited")["level"], "info");
    assert_eq!(run.count(r#""level":"error""#) + run.count(r#""level":"warn""#), 0, "{}", run.text());
    // A server that exits with 0 when asked to stop, as older uvicorns do.
    let mut run = run_script("trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done").start();
    run.wait_for("ready");
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), 0);
    assert_eq!(run.wait_for_event("child_exited")["level"], "info");
}

#[test]
fn what_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let mut run = run_script(script).env("SIDEPULSE_STOP_TIMEOUT", "700ms").start();
    run.wait_for("ready");
    let asked = Instant::now();
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), 137, "{}", run.text());
    assert!(asked.elapsed() >= Duration::from_millis(700), "killed after {:?}", asked.elapsed());
    assert!(run.wait_for_event("child_exited")["message"].as_str().unwrap().contains("SIDEPULSE_STOP_TIMEOUT"));
}

#[test]
fn what_a_shell_leaves_behind_may_drain_too() {
    // The shell dies of SIGTERM at once; the server that it started needs time.
    let mut run = run_script("exec 3<&0; python3 -c \"$APP\" app <&3 & wait").env("APP", PATIENT).start();
    run.wait_for("app ready");
    run.signal(Signal::TERM);
    run.wait_for("app got SIGTERM");
    run.wait_for_event("child_exited");
    assert_eq!(run.get("/livez").unwrap().0, 200);
    run.say("leave");
    assert_eq!(run.exit_code(), 143, "{}", run.text());
}

#[test]
fn an_end_during_the_drain_delay_ends_us_at_once() {
    let mut run = run_script("read line; exit 4").env("SIDEPULSE_DRAIN_DELAY", "1h").start();
    run.child();
    run.signal(Signal::TERM);
    run.wait_for_event("draining");
    run.say("go");
    assert_eq!(run.exit_code(), 4);
}

/// A server that stops listening when asked to stop, and takes time to end, as for a lifespan.
const SLOW_END: &str = "
import os, signal, socket, sys, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
def serve():
    while True:
        client, _ = listener.accept()
        client.recv(4096)
        client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
        client.close()
threading.Thread(target=serve, daemon=True).start()
signal.sigwait([signal.SIGTERM])
os.unlink(sys.argv[1])
os.write(1, b'closed\\n')
sys.stdin.readline()
os._exit(0)
";

#[test]
fn an_app_that_ends_as_asked_is_not_an_outage() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let mut run = run(&["python3", "-c", SLOW_END, socket.to_str().unwrap()])
        .env("SIDEPULSE_APP_URL", format!("http://unix:{}:/", socket.display()))
        .env("SIDEPULSE_APP_INTERVAL", "100ms")
        .env("SIDEPULSE_LOG", "debug")
        .start();
    run.wait_for_status("/readyz", 200);
    let counted = || -> Vec<String> {
        let names = ["check_failures_total{", "check_down_seconds_total{", "transitions_total{"];
        let (_, metrics) = run.get("/metrics").unwrap();
        let of_these = |line: &&str| {
            names.iter().any(|name| line.strip_prefix("sidepulse_").is_some_and(|series| series.starts_with(name)))
        };
        metrics.lines().filter(of_these).map(str::to_owned).collect()
    };
    let told = || run.count("app is down") + run.count("check failed");
    let before = (counted(), told());
    assert!(before.0.contains(&"sidepulse_transitions_total{check=\"app\",to=\"up\"} 1".to_owned()), "{before:?}");
    run.signal(Signal::TERM);
    run.wait_for("closed");
    // Each of these is a check that got no answer.
    let closed = Instant::now();
    assert!(poll(SOON, || (closed.elapsed() > Duration::from_secs(1)).then_some(())).is_some());
    assert_eq!((counted(), told()), before, "{}", run.text());
    assert!(run.get("/health/shallow").unwrap().1.contains(r#""state":"up""#));
    run.say("leave");
    assert_eq!(run.exit_code(), 0);
}
