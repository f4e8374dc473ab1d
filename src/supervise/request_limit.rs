//! A start command that makes the server end after so many requests, ours among them: uvicorn's
//! `--limit-max-requests`. gunicorn, hypercorn and `uvicorn --workers 2` replace the worker; a single uvicorn exits with 0,
//! and below `--reload` nothing starts it again until a file changes.

use std::ffi::OsString;
use std::time::Duration;

use super::server_options::{ServerOptions, Variable};

const OPTIONS: [&str; 2] = ["--limit-max-requests", "--max-requests"];
/// uvicorn's variable for it.
const VARIABLE: &str = "UVICORN_LIMIT_MAX_REQUESTS";
/// These replace a worker that has reached its limit.
const SUPERVISORS: [&str; 2] = ["gunicorn", "hypercorn"];

/// The warning for such a command; `interval` is the one of the app check.
pub(super) fn warning(command: &[OsString], interval: Duration, environment: Variable<'_>) -> Option<String> {
    let options = ServerOptions::new(command, environment);
    let of_uvicorn = |name| options.variable(name).filter(|_| options.starts("uvicorn"));
    let by_option = OPTIONS.iter().find_map(|option| Some((*option, options.option(option)?.to_owned())));
    let (named, limit) = by_option.or_else(|| Some((VARIABLE, of_uvicorn(VARIABLE)?)))?;
    let limit = limit.parse::<u64>().ok().filter(|limit| *limit > 0)?;
    let is_true = |text: String| ["1", "true", "t", "yes", "y", "on"].contains(&text.to_lowercase().as_str());
    let reload = options.has("--reload") || of_uvicorn("UVICORN_RELOAD").is_some_and(is_true);
    let by_variable = || of_uvicorn("UVICORN_WORKERS").or_else(|| options.variable("WEB_CONCURRENCY"));
    let workers = options.option("--workers").map(str::to_owned).or_else(by_variable);
    let replaced = !reload && workers.is_some_and(|workers| workers.parse().is_ok_and(|workers: u64| workers > 1));
    if replaced || SUPERVISORS.iter().any(|program| options.starts(program)) {
        return None;
    }
    let time = interval.saturating_mul(u32::try_from(limit).unwrap_or(u32::MAX));
    let time = humantime::format_duration(Duration::from_secs(time.as_secs()));
    let and_then = match reload {
        true => "with --reload nothing starts it anew until a file changes. Leave one of them out",
        false => "nothing starts it anew but a restart of the container. Leave it out, or add --workers 2",
    };
    Some(format!(
        "{named} {limit} ends the app after so many requests, and sidepulse's own checks alone use them up in {time}; \
         {and_then}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &[&str]) -> Option<String> {
        said_in(command, &[])
    }

    fn said_in(command: &[&str], environment: &[(&str, &str)]) -> Option<String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let find =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        warning(&command, Duration::from_secs(5), &find)
    }

    #[test]
    fn a_server_that_ends_after_so_many_requests_is_warned_of_with_the_time() {
        for command in [
            &["uvicorn", "main:app", "--limit-max-requests", "10000"][..],
            &["python", "-m", "uvicorn", "main:app", "--limit-max-requests=10000", "--workers", "1"],
            &["sh", "-c", "cd app && exec uvicorn main:app --limit-max-requests 10000 --port $PORT"],
        ] {
            let said = said(command).unwrap_or_default();
            assert!(said.contains("--limit-max-requests 10000") && said.contains("13h 53m 20s"), "{command:?}: {said}");
        }
    }

    #[test]
    fn a_server_that_replaces_its_workers_is_not() {
        for command in [
            &["uvicorn", "main:app"][..],
            &["uvicorn", "main:app", "--limit-max-requests", "10000", "--workers", "2"],
            &["/venv/bin/gunicorn", "main:app", "--max-requests", "1000"],
            &["sh", "-c", "exec gunicorn main:app --max-requests=1000"],
            &["hypercorn", "main:app", "--max-requests", "1000"],
            &["uvicorn", "main:app", "--limit-max-requests"],
            &["uvicorn", "main:app", "--limit-max-requests-jitter", "100"],
            &["uvicorn", "main:app", "--limit-max-requests", "0"],
        ] {
            assert_eq!(said(command), None, "{command:?}");
        }
    }

    #[test]
    fn what_uvicorn_reads_of_its_environment_counts() {
        let uvicorn = &["uvicorn", "main:app"][..];
        let limit = (VARIABLE, "10000");
        for (command, environment) in [
            (uvicorn, &[limit][..]),
            (uvicorn, &[limit, ("WEB_CONCURRENCY", "1")]),
            (uvicorn, &[limit, ("UVICORN_WORKERS", "1"), ("WEB_CONCURRENCY", "4")]),
            (&["python3", "-m", "uvicorn", "main:app", "--workers", "1"], &[limit, ("WEB_CONCURRENCY", "4")]),
            (&["sh", "-c", "UVICORN_LIMIT_MAX_REQUESTS='10000' exec uvicorn main:app"], &[]),
        ] {
            let said = said_in(command, environment).unwrap_or_default();
            assert!(
                said.starts_with("UVICORN_LIMIT_MAX_REQUESTS 10000 ") && said.contains("13h"),
                "{command:?}: {said}"
            );
        }
        let with_option = &["uvicorn", "main:app", "--limit-max-requests", "10000"][..];
        for (command, environment) in [
            (uvicorn, &[limit, ("WEB_CONCURRENCY", "2")][..]),
            (uvicorn, &[limit, ("UVICORN_WORKERS", "2")]),
            (with_option, &[("WEB_CONCURRENCY", "2")]),
            (&["gunicorn", "main:app", "-k", "uvicorn.workers.UvicornWorker"], &[limit]),
            // They call uvicorn from Python, where it does not read these.
            (&["fastapi", "run"], &[limit]),
            (&["python", "main.py"], &[limit]),
        ] {
            assert_eq!(said_in(command, environment), None, "{command:?}");
        }
    }

    #[test]
    fn a_reloader_starts_nothing_again() {
        for (command, environment) in [
            (&["uvicorn", "main:app", "--limit-max-requests", "9", "--workers", "2", "--reload"][..], &[][..]),
            (
                &["uvicorn", "main:app", "--limit-max-requests", "9"],
                &[("UVICORN_RELOAD", "True"), ("WEB_CONCURRENCY", "2")],
            ),
        ] {
            let said = said_in(command, environment).unwrap_or_default();
            assert!(said.contains("until a file changes"), "{command:?}: {said}");
        }
    }
}
