//! A start command that makes the server end after so many requests, ours among them: uvicorn's
//! `--limit-max-requests`. gunicorn, hypercorn and `uvicorn --workers 2` replace the worker; a single uvicorn exits with 0.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

const OPTIONS: [&str; 2] = ["--limit-max-requests", "--max-requests"];
/// These replace a worker that has reached its limit.
const SUPERVISORS: [&str; 2] = ["gunicorn", "hypercorn"];

/// The warning for such a command; `interval` is the one of the app check.
pub(super) fn warning(command: &[OsString], interval: Duration) -> Option<String> {
    // A shell's script is one argument.
    let text: Vec<_> = command.iter().map(|argument| argument.to_string_lossy()).collect();
    let words: Vec<&str> = text.iter().flat_map(|argument| argument.split_whitespace()).collect();
    let (option, limit) = OPTIONS.iter().find_map(|option| Some((option, value_of(&words, option)?)))?;
    let workers = value_of(&words, "--workers").unwrap_or(1);
    let supervised = words.iter().any(|word| is_supervisor(word)) || workers > 1;
    if limit == 0 || supervised {
        return None;
    }
    let time = interval.saturating_mul(u32::try_from(limit).unwrap_or(u32::MAX));
    let time = humantime::format_duration(Duration::from_secs(time.as_secs()));
    Some(format!(
        "{option} {limit} ends the app after so many requests, and sidepulse's own checks alone use them up in {time}; \
         nothing starts it anew but a restart of the container. Leave it out, or add --workers 2"
    ))
}

/// The number behind an option, as `--option 5` or `--option=5`.
fn value_of(words: &[&str], option: &str) -> Option<u64> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option)? {
        "" => words.get(at + 1)?.parse().ok(),
        rest => rest.strip_prefix('=')?.parse().ok(),
    })
}

fn is_supervisor(word: &str) -> bool {
    Path::new(word).file_name().and_then(|name| name.to_str()).is_some_and(|name| SUPERVISORS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &[&str]) -> Option<String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        warning(&command, Duration::from_secs(5))
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
}
