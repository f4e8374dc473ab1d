//! On a terminal: CMD stays in our group, and Ctrl-C reaches it once.

use std::process::Command;

use crate::support::run_child::search_path;

/// A person at a terminal: waits for each text, types the key that goes with it, and shows the screen and the exit code.
const PERSON: &str = "
import os, pty, select, sys
keys, texts, words = sys.argv[1], sys.argv[2].encode().split(b'|'), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(words[0], words)
screen, typed = b'', 0
def show(code):
    sys.stdout.write(screen.decode(errors='replace').replace('\\r', '') + f'\\nexit code {code}\\n')
    sys.exit()
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
        os.write(terminal, keys[typed].encode())
        typed += 1
show(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// Counts what comes within half a second after the first.
const COUNTER: &str = "
import os, signal, time
got = []
for name in ['SIGINT', 'SIGQUIT', 'SIGTERM']:
    signal.signal(getattr(signal, name), lambda number, _: got.append(signal.Signals(number).name))
print('one group:', os.getpgrp() == os.getpgid(os.getppid()), flush=True)
print('ready', flush=True)
while not got:
    signal.pause()
end = time.monotonic() + 0.5
while time.monotonic() < end:
    time.sleep(max(0, end - time.monotonic()))
print('got', got, flush=True)
";

/// `texts`: one a key, separated by `|`.
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
    let screen = screen("\x03", "ready", &["python3", "-c", COUNTER]);
    assert!(screen.contains("one group: True"), "{screen}");
    assert!(screen.contains("got ['SIGINT']"), "{screen}");
    assert!(screen.ends_with("exit code 0\n"), "{screen}");
    assert!(screen.contains("as SIGINT asked"), "{screen}");
}

#[test]
fn ctrl_backslash_reaches_the_child_once_and_does_not_end_us() {
    let screen = screen("\x1c", "ready", &["python3", "-c", COUNTER]);
    assert!(screen.contains("got ['SIGQUIT']"), "{screen}");
    assert!(screen.contains("nobody asked it to"), "{screen}");
}

#[test]
fn a_second_ctrl_c_kills() {
    let script = "trap '' INT; echo ready; while :; do sleep 1000; done";
    let screen = screen("\x03\x03", "ready|readiness is red", &["sh", "-c", script]);
    assert!(screen.ends_with("exit code 130\n"), "{screen}");
}
