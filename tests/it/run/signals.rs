//! Signals at any moment, from the first millisecond on.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::run_child::{SOON, poll, run, run_script};

/// Prints each signal that it gets, and keeps running.
const LISTENER: &str = "
import signal
wanted = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH]
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print('ready', flush=True)
while True:
    print('got', signal.sigwait(wanted).name, flush=True)
";

#[test]
fn hup_usr1_usr2_quit_and_winch_are_passed_on() {
    let mut run = run(&["python3", "-c", LISTENER]).start();
    run.wait_for("ready");
    for (signal, name) in [
        (Signal::HUP, "got SIGHUP"),
        (Signal::USR1, "got SIGUSR1"),
        (Signal::USR2, "got SIGUSR2"),
        (Signal::QUIT, "got SIGQUIT"),
        (Signal::WINCH, "got SIGWINCH"),
    ] {
        run.signal(signal);
        run.wait_for(name);
    }
    run.wait_for_status("/livez", 200);
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), 143);
    assert_eq!(run.count("got "), 5, "{}", run.text());
}

#[test]
fn nohup_still_means_what_it_says() {
    let mut run = run_script("read line; exit 3").under(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]).start();
    run.child();
    run.signal(Signal::HUP);
    run.wait_for_status("/livez", 200);
    run.say("go on");
    assert_eq!(run.exit_code(), 3);
}

/// Whether there is a process with this word among its arguments.
fn is_running(word: &str) -> bool {
    let wanted = format!("\0{word}\0");
    std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    })
}

#[test]
fn a_stop_in_the_first_milliseconds_is_not_lost_and_leaves_no_process() {
    // From before the first instruction to after CMD's start, in steps of a third of a millisecond.
    for step in 0..40 {
        let marker = format!("99{}.{step}", std::process::id());
        let mut run = run(&["sleep", &marker]).start();
        std::thread::park_timeout(step * Duration::from_micros(333));
        run.signal(Signal::TERM);
        let status = run.end();
        // Ended by the kernel before there was a handler, else by our own code.
        let as_expected = status.signal() == Some(15) || status.code() == Some(143);
        assert!(as_expected, "step {step}: {status:?}\n{}", run.text());
        assert!(poll(SOON, || (!is_running(&marker)).then_some(())).is_some(), "step {step}: CMD was left behind");
    }
}

#[test]
fn a_stop_while_cmd_is_being_started_reaches_it() {
    for event in ["started", "child_started"] {
        let mut run = run(&["sleep", "1000"]).start();
        run.wait_for_event(event);
        run.signal(Signal::TERM);
        assert_eq!(run.exit_code(), 143, "{event}: {}", run.text());
    }
}

/// The same signal within a quarter of a second is an echo of the first.
fn outlast_the_echo() {
    let since = Instant::now();
    assert!(poll(SOON, || (since.elapsed() > Duration::from_millis(300)).then_some(())).is_some());
}

#[test]
fn the_same_signal_to_the_process_and_to_its_group_is_one() {
    let mut run = run_script("trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.1; done")
        .env("SIDEPULSE_DRAIN_DELAY", "500ms")
        .start();
    run.wait_for("ready");
    run.signal(Signal::TERM);
    run.wait_for_event("draining");
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), 7, "{}", run.text());
    assert!(run.text().contains("asked"), "{}", run.text());
}

#[test]
fn a_second_signal_kills_at_once() {
    for (first, second, code) in
        [(Signal::TERM, Signal::TERM, 143), (Signal::INT, Signal::INT, 130), (Signal::TERM, Signal::INT, 130)]
    {
        // During the stop timeout …
        let mut run = run_script("trap '' TERM INT; echo ready; while :; do sleep 1000; done").start();
        run.wait_for("ready");
        run.signal(first);
        run.wait_for_event("draining");
        outlast_the_echo();
        run.signal(second);
        assert_eq!(run.exit_code(), code, "{}", run.text());
        // … and during the drain delay.
        let mut run = run_script("echo ready; exec sleep 1000").env("SIDEPULSE_DRAIN_DELAY", "1h").start();
        run.wait_for("ready");
        run.signal(first);
        run.wait_for_event("draining");
        outlast_the_echo();
        run.signal(second);
        assert_eq!(run.exit_code(), code, "{}", run.text());
    }
}
