//! When CMD ends, sidepulse ends at once, with CMD's code.

use crate::support::run_child::{run, run_script};

#[test]
fn its_code_is_ours() {
    for (script, code) in [
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
        ("kill -HUP $$", 129),
    ] {
        let (status, text) = run_script(script).finish();
        assert_eq!(status.code(), Some(code), "{script}: {text}");
        assert!(text.contains(r#""event":"child_exited""#), "{script}: {text}");
    }
}

#[test]
fn a_zero_that_nobody_asked_for_is_a_failure_with_one_error_line_unless_it_may_pass() {
    for (setting, code, said) in
        [(None, 1, "leaves with 1"), (Some("fail"), 1, "leaves with 1"), (Some("pass"), 0, "Railway restarts nothing")]
    {
        let run = run_script("exit 0");
        let run = if let Some(setting) = setting { run.env("SIDEPULSE_ON_CLEAN_EXIT", setting) } else { run };
        let (status, text) = run.finish();
        assert_eq!(status.code(), Some(code), "{setting:?}: {text}");
        let errors: Vec<_> = text.lines().filter(|line| line.contains(r#""level":"error""#)).collect();
        assert!(matches!(errors[..], [error] if error.contains(said)), "{setting:?}: {text}");
    }
}

#[test]
fn a_command_that_ends_after_so_many_requests_causes_a_warning() {
    let text = run(&["sh", "-c", "exit 3", "uvicorn", "--limit-max-requests", "10000"]).finish().1;
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("--limit-max-requests")).collect();
    assert!(matches!(warnings[..], [warning] if warning.contains("13h 53m 20s")), "{text}");
}

#[test]
fn a_kill_from_outside_hints_at_memory() {
    let (_, text) = run_script("kill -KILL $$").finish();
    assert!(text.contains("out of memory?"), "{text}");
}

#[test]
fn a_command_that_does_not_exist_is_127() {
    let (status, text) = run(&["sidepulse-test-no-such-program", "--token", "hunter2"]).finish();
    assert_eq!(status.code(), Some(127), "{text}");
    assert!(text.contains("no such program") && !text.contains("hunter2"), "{text}");
    assert_eq!(run(&["/nowhere/uvicorn"]).exit_code(), Some(127));
    assert_eq!(run(&[""]).exit_code(), Some(127));
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (command, hint) in [
        (write("plain", "exit 0\n", 0o644), "Permission denied"),
        (dir.path().to_str().unwrap().to_owned(), "Permission denied"),
        (write("no-interpreter", "exit 0\n", 0o755), "#!"),
        // As in a virtual environment that was moved.
        (write("moved", "#!/nowhere/.venv/bin/python\n", 0o755), "interpreter"),
        (write("foreign", "\x7fELF\x01", 0o755), "no program of this machine"),
    ] {
        let (status, text) = run(&[&command]).finish();
        assert_eq!(status.code(), Some(126), "{text}");
        assert!(text.contains(hint), "{hint}: {text}");
    }
}

#[test]
fn a_child_that_floods_stdout_loses_nothing() {
    let mut run =
        run_script("head -c 30000000 /dev/zero | tr '\\0' 'x' | fold -w 99999; echo; echo end; exit 3").start();
    assert_eq!(run.exit_code(), 3);
    assert_eq!(run.text().matches('x').count() - run.text().matches("exit").count(), 30_000_000);
    assert_eq!(run.count("end"), 2, "the child's, and that it ended");
}

#[test]
fn output_that_nobody_reads_blocks_only_the_child() {
    let mut run =
        run_script("while :; do echo flood; echo flood >&2; done").env("SIDEPULSE_LOG", "debug").deaf().start();
    run.child();
    // The child is stuck in its write; sidepulse serves.
    for _ in 0..20 {
        run.wait_for_status("/livez", 200);
    }
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.exit_code(), 143);
}
