//! No zombie and no orphan is left, whatever PID 1 is.

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use super::stopping::PATIENT;
use crate::support::run_child::{Run, SOON, poll, run, run_script, skip};
use crate::support::sidecar::Sidecar;

const AS_ROOT: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const AS_USER: [&str; 7] = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// A command prefix that makes what follows PID 1 of a namespace. The network stays this machine's, so that the test
/// can ask for `/livez`. `None`, with the reason printed, where the kernel forbids it.
fn namespace() -> Option<&'static [&'static str]> {
    let before: &[&str] = if geteuid().is_root() { &AS_ROOT } else { &AS_USER };
    let tried = std::process::Command::new(before[0]).args(&before[1..]).arg("true").output();
    if tried.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(before);
    }
    skip(&format!("this kernel forbids PID namespaces: {tried:?}"));
    None
}

fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// sidepulse's process ID as seen from here, where it runs under `unshare`.
fn inner(run: &Run) -> i32 {
    let outer = i32::try_from(run.pid()).expect("a number of a process");
    poll(SOON, || children(outer).first().copied()).expect("a child of unshare")
}

/// 50 processes that lose their parent and end later.
const ORPHANS: &str =
    "i=0; while [ $i -lt 50 ]; do sh -c 'sleep 0.1 & exit 0'; i=$((i+1)); done; echo forked; read line; exit 3";

fn leaves_no_zombie(mut run: Run, pid: i32) {
    run.wait_for("forked");
    // Only CMD is left: the orphans came to us, ended, and were reaped.
    let only_cmd = || (children(pid).len() == 1).then_some(());
    assert!(poll(SOON, only_cmd).is_some(), "{:?}\n{}", children(pid), run.text());
    run.wait_for_status("/livez", 200);
    run.say("end");
    assert_eq!(run.exit_code(), 3, "{}", run.text());
}

#[test]
fn orphans_are_reaped_where_pid_1_does_not() {
    let Some(before) = namespace() else { return };
    // It waits only for its own child, as a shell may.
    let careless = ["python3", "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"];
    let run = run_script(ORPHANS).under(&[before, &careless].concat()).start();
    run.wait_for("forked");
    let pid_1 = inner(&run);
    let pid = children(pid_1)[0];
    let only_us = || (children(pid_1).len() == 1).then_some(());
    assert!(poll(SOON, only_us).is_some(), "{:?}\n{}", children(pid_1), run.text());
    leaves_no_zombie(run, pid);
}

#[test]
fn orphans_are_reaped_as_pid_1() {
    let Some(before) = namespace() else { return };
    let run = run_script(ORPHANS).under(before).start();
    run.wait_for("forked");
    let pid = inner(&run);
    leaves_no_zombie(run, pid);
}

#[test]
fn as_pid_1_it_stops_on_sigterm_and_passes_codes_on() {
    let Some(before) = namespace() else { return };
    for (script, stop, code) in
        [("exit 3", false, 3), ("kill -KILL $$", false, 137), ("echo ready; exec sleep 1000", true, 143)]
    {
        let mut run = run_script(script).under(before).start();
        if stop {
            run.wait_for("ready");
            kill_process(Pid::from_raw(inner(&run)).unwrap(), Signal::TERM).unwrap();
        }
        assert_eq!(run.exit_code(), code, "{script}: {}", run.text());
    }
}

fn is_gone(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[test]
fn what_cmd_leaves_in_its_group_is_ended() {
    for (script, code) in [
        ("sleep 1000 & echo left $! end; exit 3", 3),
        ("trap '' TERM; sleep 1000 & echo left $! end; exit 4", 4),
        ("sh -c 'sleep 1000 & echo left $! end; exit 0'; kill -KILL $$", 137),
        ("sh -c 'trap \"\" TERM; sleep 1000 & echo left $! end'; read line", 143),
    ] {
        let mut run = run_script(script).env("SIDEPULSE_STOP_TIMEOUT", "500ms").start();
        let left = run.wait_for("left ");
        let left: i32 = left.split(' ').nth(1).unwrap().parse().unwrap();
        if code == 143 {
            run.signal(Signal::TERM);
        }
        assert_eq!(run.exit_code(), code, "{script}: {}", run.text());
        assert!(is_gone(left), "{script}: {left} is left behind");
    }
}

/// A server with an idle worker that it forked: the worker inherited the server's handler, which does not end it.
const POOL: &str = "
import os, signal
def handle(signal, frame):
    if os.getpid() == server:
        os._exit(7)
server = os.getpid()
signal.signal(signal.SIGTERM, handle)
worker = os.fork()
if worker:
    print('left', worker, 'end', flush=True)
while True:
    signal.pause()
";

#[test]
fn what_a_server_left_behind_does_not_cost_the_stop_timeout() {
    let through_a_shell = "python3 -c \"$POOL\"; exit 9";
    for (command, code) in [(vec!["python3", "-c", POOL], 7), (vec!["sh", "-c", through_a_shell], 143)] {
        let mut run = run(&command).env("POOL", POOL).env("SIDEPULSE_STOP_TIMEOUT", "1h").start();
        let left = run.wait_for("left ");
        let left: i32 = left.split(' ').nth(1).unwrap().parse().unwrap();
        run.signal(Signal::TERM);
        assert_eq!(run.exit_code(), code, "{}", run.text());
        assert!(is_gone(left), "{left} is left behind");
    }
}

#[test]
fn each_of_several_shells_ends_and_the_server_behind_them_is_signalled_once() {
    let script = "sh -c 'python3 -c \"$APP\" app <&3; exit 8' 3<&0; exit 9";
    let mut run = run_script(script).env("APP", PATIENT).start();
    run.wait_for("app ready");
    run.signal(Signal::TERM);
    run.wait_for("app got SIGTERM");
    run.say("leave");
    assert_eq!(run.exit_code(), 143, "{}", run.text());
    assert_eq!((run.count("app got"), run.count("app leaves")), (1, 1), "{}", run.text());
}

#[test]
fn a_shell_that_waits_for_its_command_does_not_keep_the_signal_from_it() {
    // A shell with a trap, and dash at any SIGINT, go on only when the command has ended.
    let trapped = "trap 'echo trapped' TERM; python3 -c \"$APP\" app; exit 9";
    let nested = "sh -c 'python3 -c \"$APP\" app; exit 8'; exit 9";
    for (script, signal, code) in [(trapped, Signal::TERM, 9), (nested, Signal::INT, 130)] {
        let mut run = run_script(script).env("APP", PATIENT).start();
        run.wait_for("app ready");
        run.signal(signal);
        run.wait_for("app got SIGTERM");
        run.say("leave");
        assert_eq!(run.exit_code(), code, "{script}: {}", run.text());
        assert_eq!(run.count("app got"), 1, "{}", run.text());
    }
}

#[test]
fn a_shell_that_handles_the_signal_decides_when_to_pass_it_on() {
    // `wait` ends at the signal, and the trap runs: its own command goes on, and sidepulse signals nothing behind it.
    let script = |trap: &str| {
        format!(
            "exec 3<&0; python3 -c \"$APP\" app <&3 & c=$!; trap 'echo trapped; {trap}; wait $c; exit 9' TERM; wait $c"
        )
    };
    let late = script("sleep 1 && echo slept; kill -TERM $c");
    // The second is time enough for sidepulse to signal once more, if it did.
    let at_once = script("kill -TERM $c; sleep 1 && echo slept");
    // At SIGINT dash waits for its command: the script, which then gets the signal.
    let nested = "sh -c \"$SCRIPT\"; exit 8";
    for (script, signal, code) in
        [(late.as_str(), Signal::TERM, 9), (at_once.as_str(), Signal::TERM, 9), (nested, Signal::INT, 130)]
    {
        let mut run = run_script(script).env("SCRIPT", &late).env("APP", PATIENT).start();
        run.wait_for("app ready");
        run.signal(signal);
        run.wait_for("slept");
        run.wait_for("app got SIGTERM");
        let text = run.text();
        assert_eq!(text.find("slept") < text.find("app got"), script != at_once, "{script}: {text}");
        run.say("leave");
        assert_eq!(run.exit_code(), code, "{script}: {}", run.text());
        assert_eq!(run.count("app got"), 1, "{script}: {}", run.text());
    }
}

#[test]
fn serve_as_pid_1_reaps_what_exec_probes_leave_behind() {
    let Some(before) = namespace() else { return };
    let mut sidecar = Sidecar::without_database().app(1).under(before).start();
    let outer = i32::try_from(sidecar.pid()).expect("a number of a process");
    let pid = children(outer)[0];
    // As a probe that `kubectl exec` or a kubelet starts, and that ends before its child does.
    let orphans = "for n in 1 2 3; do sh -c 'sleep 0.1 & exit 0'; done";
    let enter = ["--target", &pid.to_string(), "--pid", "--mount", "--user", "--preserve-credentials"];
    let enter = if geteuid().is_root() { &enter[..4] } else { &enter[..] };
    let entered = std::process::Command::new("nsenter").args(enter).args(["sh", "-c", orphans]).status();
    assert!(entered.expect("nsenter").success());
    let none = || children(pid).is_empty().then_some(());
    assert!(poll(SOON, none).is_some(), "{:?}\n{}", children(pid), sidecar.log_text());
    assert_eq!(sidecar.get("/livez").status, 200);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert_eq!(sidecar.wait().code(), Some(0), "{}", sidecar.log_text());
}
