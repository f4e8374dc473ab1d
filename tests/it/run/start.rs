//! What CMD finds when it starts, and what keeps it from being started.

use crate::support::run_child::{Builder, run, run_script, skip};

#[test]
fn the_environment_is_scrubbed_and_port_is_the_apps() {
    let (_, text) = run(&["env"])
        .env("PORT", "9901")
        .env("SIDEPULSE_APP_PORT", "8123")
        .env("SIDEPULSE_TOKEN", "hunter2hunter2hunter2")
        .env("SIDEPULSE_DATABASE_URL", "postgresql://u:hunter3@h/d")
        .env("DATABASE_URL", "postgresql://u:p@h/the-apps-own")
        .finish();
    let variables: Vec<_> = text.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(variables.contains(&"PORT=8123"), "{text}");
    assert!(variables.contains(&"DATABASE_URL=postgresql://u:p@h/the-apps-own"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
}

#[test]
fn the_port_is_put_into_the_arguments() {
    let (_, text) = run(&["echo", "$PORT", "--port=${PORT}", "$PORTAL"]).env("SIDEPULSE_APP_PORT", "8123").finish();
    assert!(text.lines().any(|line| line == "8123 --port=8123 $PORTAL"), "{text}");
    let (_, text) = run_script("echo a$PORT ${PORT}b").env("SIDEPULSE_APP_PORT", "8123").finish();
    assert!(text.lines().any(|line| line == "a8123 8123b"), "{text}");
}

#[test]
fn the_child_inherits_no_descriptor_of_ours() {
    let script = "import os; print('fds', os.listdir('/proc/self/fd'))";
    // The test runner's parent may leave descriptors open.
    let without = std::process::Command::new("python3").args(["-c", script]).output().unwrap();
    let without = String::from_utf8(without.stdout).unwrap();
    let (status, text) = run(&["python3", "-c", script]).env("SIDEPULSE_ON_CLEAN_EXIT", "pass").finish();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(without.starts_with("fds ['0', '1', '2'") && text.contains(without.trim_end()), "{without}{text}");
}

#[test]
fn stdin_goes_to_the_child() {
    let mut run = run_script("read line; echo got $line; exit 3").start();
    run.say("hello");
    assert_eq!(run.exit_code(), 3);
    assert_eq!(run.count("got hello"), 1);
}

fn refused(builder: Builder) -> String {
    let (status, text) = builder.finish();
    assert_eq!(status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_port_that_both_would_take_is_refused_before_anything_runs() {
    let text =
        refused(run_script("echo ran").env("SIDEPULSE_LISTEN", "127.0.0.1:8123").env("SIDEPULSE_APP_PORT", "8123"));
    assert!(text.contains("SIDEPULSE_APP_PORT"), "{text}");
    let elsewhere = run_script("echo ran")
        .env("SIDEPULSE_LISTEN", "127.0.0.1:8123")
        .env("SIDEPULSE_APP_PORT", "8123")
        .env("SIDEPULSE_APP_URL", "http://127.0.0.1:8124/");
    assert!(refused(elsewhere).contains("both take port 8123"));
    for arguments in [&["echo", "--port", "8123"][..], &["echo", "--bind=0.0.0.0:8123"], &["sh", "-c", "echo -p 8123"]]
    {
        let text = refused(run(arguments).env("SIDEPULSE_LISTEN", "127.0.0.1:8123"));
        assert!(text.contains("'$PORT'"), "{text}");
    }
}

#[test]
fn what_the_server_reads_from_its_environment_is_checked_before_it_runs() {
    // A shell that only mentions it: where uvicorn would look is in its own source (main.py, `auto_envvar_prefix`).
    let uvicorn = || run_script(": uvicorn; exit 3").env("SIDEPULSE_LISTEN", "127.0.0.1:8123");
    let text = refused(uvicorn().env("UVICORN_PORT", "8123"));
    assert!(text.contains("UVICORN_PORT: it names port 8123"), "{text}");
    let listens = || run_script(": uvicorn; exit 3");
    let (status, text) = listens().env("UVICORN_LIMIT_MAX_REQUESTS", "10000").finish();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("UVICORN_LIMIT_MAX_REQUESTS 10000 ends the app"), "{text}");
    let (_, text) = listens().env("UVICORN_LIMIT_MAX_REQUESTS", "10000").env("WEB_CONCURRENCY", "2").finish();
    assert!(!text.contains("ends the app"), "{text}");
}

#[test]
fn a_bad_setting_or_a_taken_port_keeps_the_child_from_being_started() {
    let text = refused(run_script("echo ran").env("SIDEPULSE_STOP_TIMEOUT", "10"));
    assert!(text.contains("SIDEPULSE_STOP_TIMEOUT"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, text) = run_script("echo ran").env("SIDEPULSE_LISTEN", taken.local_addr().unwrap()).finish();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!text.contains("ran\n") && text.contains("the port is in use"), "{text}");
}

#[test]
fn on_railway_a_short_draining_time_causes_a_warning() {
    let warned = |draining: Option<&str>| {
        let mut builder =
            run_script("exit 3").env("RAILWAY_ENVIRONMENT_ID", "x").env("SIDEPULSE_DRAIN_DELAY", "1500ms");
        if let Some(seconds) = draining {
            builder = builder.env("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", seconds);
        }
        builder.finish().1.contains("set RAILWAY_DEPLOYMENT_DRAINING_SECONDS=12")
    };
    assert!(warned(None) && warned(Some("11")));
    assert!(!warned(Some("12")));
    assert!(!run_script("exit 3").finish().1.contains("RAILWAY"));
}

#[test]
fn visitors_of_the_app_that_reach_sidepulse_cause_one_warning() {
    let run = run_script("read line")
        .env("RAILWAY_ENVIRONMENT_ID", "x")
        .env("RAILWAY_PUBLIC_DOMAIN", "app.up.railway.app")
        .env("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "60")
        .start();
    let told = || run.count("RAILWAY_PUBLIC_DOMAIN");
    for (host, path) in [("app.up.railway.app", "/livez"), ("other.example", "/api"), ("healthcheck.railway.app", "/x")]
    {
        run.get_as(host, path).unwrap();
    }
    assert_eq!(told(), 0, "{}", run.text());
    for _ in 0..3 {
        assert_eq!(run.get_as("App.up.railway.app:443", "/api/users/hunter2").unwrap().0, 404);
    }
    run.wait_for("target port");
    assert_eq!(told(), 1, "{}", run.text());
    assert!(!run.text().contains("hunter2"));
}

/// Through a shell that first takes something away.
fn under_shell(script: &str) -> Builder {
    run_script("exit 3").under(&["sh", "-c", script, "sh"])
}

#[test]
fn closed_standard_streams_do_no_harm() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"] {
        assert_eq!(under_shell(&format!("exec \"$@\" {closed}")).exit_code(), Some(3), "{closed}");
    }
}

#[test]
fn without_descriptors_it_runs_or_says_why_not() {
    for limit in 5..=24 {
        let (status, text) = under_shell(&format!("ulimit -n {limit}; exec \"$@\"")).finish();
        match status.code() {
            Some(3) => {}
            Some(1) => assert!(text.contains("open files"), "{limit}: {text}"),
            code => panic!("{limit}: {code:?}: {text}"),
        }
    }
}

#[test]
fn a_read_only_root_is_enough() {
    let script = "mount -o remount,ro,bind / / 2>/dev/null || mount --bind -o ro / / ; exec \"$@\"";
    let ns: &[&str] = &["unshare", "--mount", "--map-root-user", "--user"];
    let ns = if rustix::process::geteuid().is_root() { &ns[..2] } else { ns };
    let run = run_script("touch /sidepulse-test 2>/dev/null && echo writable; exit 3");
    let (status, text) = run.under(&[ns, &["sh", "-c", script, "sh"]].concat()).finish();
    if text.contains("unshare:") {
        skip(&format!("this kernel forbids mount namespaces: {text}"));
        return;
    }
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("child_exited"), "{text}");
}
