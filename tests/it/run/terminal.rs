//! On a terminal: CMD stays in our process group, and Ctrl-C reaches it once.

use std::process::Command;

use super::stopping::PATIENT;
use crate::support::run_child::search_path;

/// A user at a terminal: waits for each text, types the key that goes with it, and shows the screen and the exit code.
/// Instead of typing, the keys `stop` and `go` freeze and thaw sidepulse, and `term`, `int` and `quit` send it a signal
/// from elsewhere, as `docker stop` does.
const PERSON: &str = "
import os, pty, select, signal, sys
keys, texts, words = sys.argv[1].split(','), sys.argv[2].encode().split(b','), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(words[0], words)
screen, typed = b'', 0
def show(code):
    sys.stdout.write(screen.decode(errors='replace').replace('\\r', '') + f'\\nexit code {code}\\n')
    sys.exit()
def press(key):
    signals = {'stop': signal.SIGSTOP, 'go': signal.SIGCONT, 'term': signal.SIGTERM,
        'int': signal.SIGINT, 'quit': signal.SIGQUIT}
    if key in signals:
        os.kill(pid, signals[key])
    else:
        os.write(terminal, key.encode())
while True:
    readable, _, _ = select.select([terminal], [], [], 30)
    if not readable:
        os.kill(pid, 9)
        show('none: it hangs')
    try:
        read = os.read(terminal, 65536)
    except OSError:
        read = b''
    if not read:
        break
    screen += read
    while typed < len(keys) and texts[typed] in screen:
        press(keys[typed])
        typed += 1
show(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// Reports each signal at once; exits when half a second has passed since the last.
const COUNTER: &str = "
import os, signal
blocked = [line for line in open('/proc/self/status') if line.startswith('SigBlk')]
print('held:', int(blocked[0].split()[1], 16), flush=True)
wanted = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print('one group:', os.getpgrp() == os.getpgid(os.getppid()), flush=True)
print('ready', flush=True)
got = signal.sigwaitinfo(wanted)
while got:
    print('got', signal.Signals(got.si_signo).name, flush=True)
    got = signal.sigtimedwait(wanted, 0.5)
";

/// Freezes sidepulse while the key is typed: a second signal from it would come later, and not merge with the first.
fn pressed_once(key: &str) -> String {
    screen(&format!("stop,{key},go"), "ready,ready,got", &["python3", "-c", COUNTER])
}

/// `texts`: one for each key, separated by commas like the keys.
fn screen(keys: &str, texts: &str, command: &[&str]) -> String {
    let output = Command::new("python3")
        .args(["-c", PERSON, keys, texts, env!("CARGO_BIN_EXE_sidepulse"), "run", "--"])
        .args(command)
        .env_clear()
        .envs([("SIDEPULSE_DATABASE", "off"), ("SIDEPULSE_LISTEN", "127.0.0.1:0"), ("PATH", &search_path())])
        .output()
        .expect("python3");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn ctrl_c_reaches_the_child_once() {
    let screen = pressed_once("\x03");
    assert!(screen.contains("one group: True"), "{screen}");
    assert_eq!(screen.matches("got SIG").count(), 1, "{screen}");
    assert!(screen.contains("got SIGINT") && screen.contains("as SIGINT asked"), "{screen}");
    assert!(screen.ends_with("exit code 0\n"), "{screen}");
}

#[test]
fn ctrl_backslash_reaches_the_child_once_and_does_not_end_us() {
    let screen = pressed_once("\x1c");
    assert_eq!(screen.matches("got SIG").count(), 1, "{screen}");
    assert!(screen.contains("got SIGQUIT") && screen.contains("as SIGQUIT asked"), "{screen}");
}

#[test]
fn a_signal_to_us_alone_is_passed_on_there_too() {
    for (key, name) in [("int", "SIGINT"), ("quit", "SIGQUIT")] {
        let screen = screen(key, "ready", &["python3", "-c", COUNTER]);
        assert!(screen.contains("held: 0\n"), "{screen}");
        assert_eq!(screen.matches("got SIG").count(), 1, "{screen}");
        assert!(screen.contains(&format!("got {name}")) && screen.contains(&format!("as {name} asked")), "{screen}");
        assert!(screen.ends_with("exit code 0\n"), "{screen}");
    }
}

#[test]
fn a_second_ctrl_c_kills() {
    // The second comes after the time in which it would be an echo of the first.
    let script = "trap 'sleep 0.4; echo still here' INT; echo ready; while :; do sleep 0.1; done";
    let screen = screen("\x03,\x03", "ready,still here", &["sh", "-c", script]);
    assert!(screen.ends_with("exit code 130\n"), "{screen}");
}

#[test]
fn what_a_shell_leaves_behind_is_waited_for_there_too() {
    // The shell ends at once; then what it started gets the signal, and time to end.
    let script = format!("cd / && python3 -c \"{PATIENT}\" app; exit 9");
    let screen = screen("term,leave\r", "app ready,app got SIGTERM", &["sh", "-c", &script]);
    let at = |text: &str| screen.find(text).unwrap_or_else(|| panic!("no {text:?} in {screen}"));
    assert!(at("sh was ended by SIGTERM") < at("app got SIGTERM"), "{screen}");
    assert!(at("app leaves") < at("stopped with exit code 143"), "{screen}");
    assert_eq!(screen.matches("got SIG").count(), 1, "{screen}");
    assert!(screen.ends_with("exit code 143\n"), "{screen}");
}
