//! What a value may look like: one function for each kind of value. An error never shows the value.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::statement;

/// What is wrong with a value, and a correct one.
pub(crate) type Wrong = (String, &'static str);

/// Shorter intervals and timeouts would only measure noise.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longer ones are typos, and sums of them must not overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// More checks than this would not fit into the time of one attempt.
const MOST_SQL_CHECKS: usize = 32;
/// So many wrong lines are reported one by one; more would only fill the log.
const MOST_FAULTS: usize = 32;

pub(crate) fn statement(text: &str) -> Result<String, Wrong> {
    statement::statement(text).map_err(|what| (what.into(), "SELECT 1"))
}

/// `250ms`, `5s`, `2m`, `1h`; at least 100 ms.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    const EXAMPLE: &str = "250ms, 5s, 2m or 1h";
    match duration_or_zero(text).map_err(|(what, _)| (what, EXAMPLE))? {
        Duration::ZERO => Err(("must be at least 100ms".into(), EXAMPLE)),
        other => Ok(other),
    }
}

/// The same, and `0s`.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, Wrong> {
    const EXAMPLE: &str = "0s, 250ms, 5s, 2m or 1h";
    let value = humantime::parse_duration(text).map_err(|_| ("is not a duration with a unit".to_owned(), EXAMPLE))?;
    if value > LONGEST {
        return Err(("must be at most 30 days".into(), EXAMPLE));
    }
    if !value.is_zero() && value < SHORTEST {
        return Err(("must be at least 100ms".into(), EXAMPLE));
    }
    Ok(value)
}

/// A whole number from 1 on.
pub(crate) fn threshold(text: &str) -> Result<u32, Wrong> {
    text.parse().ok().filter(|n| *n >= 1).ok_or_else(|| ("must be a whole number, 1 at least".into(), "2"))
}

/// A TCP port, 0 excluded.
pub(crate) fn port(text: &str) -> Result<u16, Wrong> {
    text.parse().ok().filter(|n| *n >= 1).ok_or_else(|| ("is not a port (1 to 65535)".into(), "8000"))
}

/// The port of `PORT`, where 0 asks the system for a free one.
pub(crate) fn listen_port(text: &str) -> Result<u16, Wrong> {
    text.parse().map_err(|_| ("is not a port (0 to 65535)".into(), "8080"))
}

/// An address with a port; `:9900` means `[::]:9900`.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    SocketAddr::from_str(&full)
        .map_err(|_| ("is not an address with a port".into(), "[::]:9900, 127.0.0.1:9900 or :9900"))
}

/// Codes and ranges, comma-separated.
pub(crate) fn statuses(text: &str) -> Result<Vec<RangeInclusive<u16>>, Wrong> {
    let wrong = || ("must be codes and ranges from 100 to 599".to_owned(), "200-499 or 200,204,401");
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    text.split(',')
        .map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (code(from).ok_or_else(wrong)?, code(to).ok_or_else(wrong)?);
            if from <= to { Ok(from..=to) } else { Err(wrong()) }
        })
        .collect()
}

/// One `Name: value` a line. Values may be secrets: they are marked as such, and no error shows one.
pub(crate) fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Wrong> {
    each_line(text, "X-Forwarded-Proto: https", |line| {
        let (name, value) = line.split_once(':').ok_or("has no colon")?;
        let name = HeaderName::from_str(name.trim()).map_err(|_| "what stands before the colon is no header name")?;
        let mut value =
            HeaderValue::from_str(value.trim()).map_err(|_| "the value has a character that headers cannot hold")?;
        value.set_sensitive(true);
        // These decide where a message ends: the client sets them itself.
        if ["content-length", "transfer-encoding", "connection", "upgrade", "expect"].contains(&name.as_str()) {
            return Err(format!("{name} cannot be set"));
        }
        Ok((name, value))
    })
}

/// One `name: SQL` a line, each name `[a-z][a-z0-9_]*` and used once.
pub(crate) fn sql_checks(text: &str) -> Result<Vec<(Arc<str>, String)>, Wrong> {
    const EXAMPLE: &str = "migrations: SELECT version_num = 'abc123' FROM alembic_version";
    let mut known: BTreeSet<String> = BTreeSet::new();
    let checks = each_line(text, EXAMPLE, |line| {
        let (name, sql) = line.split_once(':').ok_or("has no colon after the name")?;
        let name = name.trim();
        let first_ok = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !first_ok
            || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            || name.len() > 40
        {
            return Err("the name must be [a-z][a-z0-9_]*, 40 characters at most".to_owned());
        }
        if !known.insert(name.to_owned()) {
            return Err("the name is used twice".to_owned());
        }
        Ok((name.into(), statement::statement(sql)?))
    });
    if lines(text).count() <= MOST_SQL_CHECKS {
        return checks;
    }
    let too_many = format!("has more than {MOST_SQL_CHECKS} checks");
    match checks {
        Ok(_) => Err((too_many, EXAMPLE)),
        Err((faults, _)) => Err((format!("{too_many}; {faults}"), EXAMPLE)),
    }
}

pub(crate) fn token(text: &str) -> Result<String, Wrong> {
    const EXAMPLE: &str = "the output of `openssl rand -hex 24`";
    if text.chars().count() < 16 {
        return Err(("must have 16 characters at least".into(), EXAMPLE));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(("must be printable ASCII without blanks".into(), EXAMPLE));
    }
    Ok(text.to_owned())
}

/// The lines that are not blank, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty())
}

/// What `read` makes of each line that is not blank; or everything that is wrong, with the numbers of the lines.
fn each_line<T>(
    text: &str,
    example: &'static str,
    mut read: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, Wrong> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in lines(text) {
        match read(line) {
            Ok(value) => good.push(value),
            Err(what) => faults.push(format!("line {number}: {what}")),
        }
    }
    if faults.is_empty() {
        return Ok(good);
    }
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    if more > 0 {
        faults.push(format!("and {more} lines more"));
    }
    Err((faults.join("; "), example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("100ms", 100)] {
            assert_eq!(duration(text).map(|d| d.as_millis()), Ok(ms), "{text}");
        }
        for text in ["", "5", "99ms", "0s", "-1s", "5 apples", "9999999999h", "31d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        assert!(duration_or_zero("50ms").is_err());
    }

    #[test]
    fn status_lists() {
        assert_eq!(statuses("200-499"), Ok(vec![200..=499]));
        assert_eq!(statuses("200, 204,401-403"), Ok(vec![200..=200, 204..=204, 401..=403]));
        for text in ["", "abc", "99", "600", "300-200", "200-", "200,,201"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_are_kept_secret() {
        let parsed = headers("Host: app.example\n\n X-Key:  hunter2 ").unwrap_or_default();
        assert_eq!(parsed.len(), 2);
        assert!(!format!("{parsed:?}").contains("hunter2"));
        for text in ["no colon hunter2", "bad name: hunter2", "X: \u{1}hunter2", "Content-Length: 5"] {
            let wrong = headers(text).err().map(|(what, _)| what);
            assert!(wrong.as_ref().is_some_and(|w| !w.contains("hunter2")), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn sql_checks_by_line() {
        let checks =
            sql_checks("a: SELECT true;\nb_2: SELECT count(*) > 0 FROM t WHERE x = 'a:b'\n").unwrap_or_default();
        assert_eq!(checks[0].1, "SELECT true");
        assert_eq!(checks[1].1, "SELECT count(*) > 0 FROM t WHERE x = 'a:b'");
        for text in ["SELECT 1", "A: SELECT 1", "a:", "a: SELECT 1\na: SELECT 2", "1a: SELECT 1"] {
            assert!(sql_checks(text).is_err(), "{text}");
        }
        let many: String = (0..33).map(|i| format!("c{i}: SELECT true\n")).collect();
        assert!(sql_checks(&many).is_err());
    }

    #[test]
    fn every_line_that_is_wrong_is_reported() {
        let what = |wrong: Option<Wrong>| wrong.map(|(what, _)| what).unwrap_or_default();
        let said = what(
            sql_checks("SELECT 1\nfine: SELECT true\n\nB: SELECT true\nc: SELECT 1; SELECT 2\nfine: SELECT 1").err(),
        );
        let lines: Vec<&str> = said.split("; ").collect();
        assert_eq!(
            lines,
            [
                "line 1: has no colon after the name",
                "line 4: the name must be [a-z][a-z0-9_]*, 40 characters at most",
                "line 5: has more than one statement",
                "line 6: the name is used twice",
            ]
        );
        let said = what(headers("no colon hunter2\nX-Fine: yes\nContent-Length: 5").err());
        assert_eq!(said, "line 1: has no colon; line 3: content-length cannot be set");
        let many: String = (0..1000).map(|i| format!("{i}\n")).collect();
        let said = what(sql_checks(&many).err());
        assert!(said.starts_with("has more than 32 checks; line 1: has no colon"), "{said}");
        assert!(said.ends_with("; and 968 lines more") && said.len() < 2000, "{said}");
    }

    #[test]
    fn tokens_are_long_and_never_shown() {
        assert!(token("0123456789abcdef").is_ok());
        for text in ["short", "0123456789abcde", "0123456789abcdef with blanks"] {
            assert!(token(text).is_err_and(|(what, _)| !what.contains(text)), "{text}");
        }
    }

    #[test]
    fn listen_addresses() {
        for (text, full) in [(":9900", "[::]:9900"), ("[::]:1", "[::]:1"), ("127.0.0.1:0", "127.0.0.1:0")] {
            assert_eq!(listen(text).map(|a| a.to_string()), Ok(full.to_owned()));
        }
        assert!(listen("localhost:9900").is_err());
        assert!(listen("9900").is_err());
    }
}
