//! An app that no longer answers HTTP, and what does not count as that.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::support::run_app::{App, Mode};
use crate::support::run_child::{Builder, SOON, poll, run, run_script};

/// Checks every 100 ms with a limit of 100 ms; half a second of silence counts.
fn quick(builder: Builder, url: &str, policy: &str) -> Builder {
    builder
        .env("SIDEPULSE_APP_URL", url)
        .env("SIDEPULSE_APP_INTERVAL", "100ms")
        .env("SIDEPULSE_APP_TIMEOUT", "100ms")
        .env("SIDEPULSE_UNRESPONSIVE_AFTER", "500ms")
        .env("SIDEPULSE_STOP_TIMEOUT", "300ms")
        .env("SIDEPULSE_ON_UNRESPONSIVE", policy)
        // It must not apply here.
        .env("SIDEPULSE_DRAIN_DELAY", "1h")
}

/// A server on a Unix socket; on the line `close` it stops listening.
const SERVER: &str = "
import os, socket, sys, threading
path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(64)
def serve():
    while True:
        client, _ = listener.accept()
        client.recv(4096)
        client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
        client.close()
threading.Thread(target=serve, daemon=True).start()
print('serving', flush=True)
for line in sys.stdin:
    os.unlink(path)
    print('closed', flush=True)
";

#[test]
fn a_frozen_app_ends_with_70() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let command = run(&["python3", "-c", SERVER, socket.to_str().unwrap()]);
    let mut run = quick(command, &format!("http://unix:{}:/", socket.display()), "exit").start();
    let child = run.child();
    run.wait_for_status("/readyz", 200);
    let frozen = Instant::now();
    kill_process(Pid::from_raw(child).unwrap(), Signal::STOP).unwrap();
    assert_eq!(run.exit_code(), 70, "{}", run.text());
    assert!(frozen.elapsed() >= Duration::from_secs(10), "the last request has 10 s, not {:?}", frozen.elapsed());
    assert_eq!(run.count("given no HTTP answer"), 1, "{}", run.text());
    assert_eq!(run.wait_for_event("child_exited")["level"], "error");
}

#[test]
fn an_app_that_no_longer_listens_ends_with_70_after_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let command = run(&["python3", "-c", SERVER, socket.to_str().unwrap()]);
    let mut run = quick(command, &format!("http://unix:{}:/", socket.display()), "exit").start();
    run.wait_for_status("/readyz", 200);
    run.say("close");
    assert_eq!(run.exit_code(), 70, "{}", run.text());
    run.wait_for("was ended by SIGTERM");
}

#[test]
fn busy_failing_and_starting_are_not_unresponsive() {
    for mode in [Mode::Slow(Duration::from_millis(400)), Mode::Status(500), Mode::Status(503)] {
        let app = App::start();
        let mut run = quick(run_script("read line; exit 3"), &app.url(), "exit").start();
        run.wait_for_status("/readyz", 200);
        app.behave(mode);
        run.wait_for_status("/readyz", 503);
        // Several times as long as would count.
        let (before, since) = (app.requests(), Instant::now());
        let enough = || (app.requests() > before + 8 && since.elapsed() > Duration::from_secs(3)).then_some(());
        assert!(poll(SOON, enough).is_some(), "{mode:?}: {}", run.text());
        run.say("end");
        assert_eq!(run.exit_code(), 3, "{mode:?}: {}", run.text());
        assert_eq!(run.count("given no HTTP answer"), 0, "{mode:?}: {}", run.text());
    }
    // Never up: refused from the start.
    let mut run = quick(run_script("read line; exit 3"), "http://unix:/nowhere/app.sock:/", "exit").start();
    let since = Instant::now();
    assert!(poll(SOON, || (since.elapsed() > Duration::from_secs(2)).then(|| run.get("/livez"))).is_some());
    run.say("end");
    assert_eq!(run.exit_code(), 3, "{}", run.text());
}

#[test]
fn by_default_each_silence_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("app.sock");
    let url = format!("http://unix:{}:/", socket.display());
    let mut run = quick(run_script("read line; exit 3"), &url, "report").start();
    let serve = || {
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            for mut stream in listener.incoming().flatten() {
                let read = stream.read(&mut [0; 2048]).unwrap_or(0);
                if read == 1 {
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        })
    };
    let told = |times: usize| poll(SOON, || (run.count("given no HTTP answer") == times).then_some(())).is_some();
    for times in 1..=2 {
        let server = serve();
        run.wait_for_status("/readyz", 200);
        assert_eq!(run.count("given no HTTP answer"), times - 1, "{}", run.text());
        // One byte ends it.
        let mut last = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        std::fs::remove_file(&socket).unwrap();
        std::io::Write::write_all(&mut last, b"x").unwrap();
        server.join().unwrap();
        assert!(told(times), "{}", run.text());
        // Still silent: nothing more is reported.
        let since = Instant::now();
        assert!(poll(SOON, || (since.elapsed() > Duration::from_millis(1500)).then_some(())).is_some());
        assert!(told(times), "{}", run.text());
    }
    run.say("end");
    assert_eq!(run.exit_code(), 3);
}
