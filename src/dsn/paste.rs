//! Finds the URL in what was pasted, and takes off its scheme.

use super::{BadUrl, EXAMPLE, template};

/// The schemes of libpq and of SQLAlchemy's drivers; which driver the app uses makes no difference.
const SCHEMES: [&str; 8] = [
    "postgres",
    "postgresql",
    "postgresql+asyncpg",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "postgresql+psycopg_async",
    "postgresql+psycopg2cffi",
    "postgresql+pg8000",
];

/// Other databases' schemes up to a `+driver`, and their names. A scheme that is not in one of these lists is never shown.
const OTHERS: [(&str, &str); 13] = [
    ("mysql", "MySQL"),
    ("mariadb", "MariaDB"),
    ("sqlite", "SQLite"),
    ("file", "SQLite"),
    ("mongodb", "MongoDB"),
    ("redis", "Redis"),
    ("rediss", "Redis"),
    ("mssql", "SQL Server"),
    ("sqlserver", "SQL Server"),
    ("oracle", "Oracle"),
    ("cockroachdb", "CockroachDB"),
    ("http", "a web server"),
    ("https", "a web server"),
];

/// Opening and closing quotes: a shell's, and those into which a word processor turns them.
const QUOTES: [(char, char); 9] =
    [('\'', '\''), ('"', '"'), ('`', '`'), ('‘', '’'), ('“', '”'), ('„', '“'), ('”', '”'), ('’', '’'), ('«', '»')];

/// Strips blanks, quotes, a `psql` command and the scheme; the rest begins with `user:password@` or the host.
pub(super) fn after_scheme(text: &str) -> Result<&str, BadUrl> {
    let mut url = unquote(text);
    if let Some(arguments) = psql_arguments(url) {
        url = psql_url(arguments)?;
    }
    if url.is_empty() {
        return Err(BadUrl::new("the value is empty", EXAMPLE));
    }
    if template::has_reference(url) || starts_with_reference(url) {
        return Err(BadUrl::new("a reference to a variable stands in the value, which nothing has expanded", EXAMPLE));
    }
    if url.starts_with(is_quote) {
        return Err(BadUrl::new("a quote stands at one end only", EXAMPLE));
    }
    let rest = without_scheme(url)?;
    if rest.ends_with(is_quote) {
        return Err(BadUrl::new("a quote stands at one end only", EXAMPLE));
    }
    if rest.contains(is_invisible) {
        return Err(BadUrl::new("an invisible character stands inside the URL: type it anew around there", EXAMPLE));
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(BadUrl::new("a blank or a line break stands inside the URL (a blank is written %20)", EXAMPLE));
    }
    Ok(rest)
}

/// Strips blanks and invisible characters, then pairs of quotes, as often as there are any.
fn unquote(text: &str) -> &str {
    let mut text = trim(text);
    loop {
        let inner = QUOTES.iter().find_map(|&(open, close)| Some(trim(text.strip_prefix(open)?.strip_suffix(close)?)));
        match inner {
            Some(inner) => text = inner,
            None => return text,
        }
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// What web pages, word processors and files saved on Windows leave at the ends: soft hyphens, zero-width spaces,
/// direction marks, the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_quote(c: char) -> bool {
    QUOTES.iter().any(|&(open, close)| c == open || c == close)
}

/// `$NAME` or `$(…)`: no URL begins like that.
fn starts_with_reference(text: &str) -> bool {
    text.strip_prefix('$')
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '('))
}

fn psql_arguments(text: &str) -> Option<&str> {
    let (command, arguments) = text.split_once(char::is_whitespace)?;
    command.eq_ignore_ascii_case("psql").then(|| trim(arguments))
}

/// The only argument of a `psql` command as Neon's console shows it, with or without `-d` before it.
fn psql_url(arguments: &str) -> Result<&str, BadUrl> {
    let argument = ["--dbname=", "--dbname ", "-d "].iter().find_map(|option| arguments.strip_prefix(option));
    let argument = trim(argument.unwrap_or(arguments));
    if argument.starts_with('-') {
        return Err(BadUrl::new("the psql command holds no URL", EXAMPLE));
    }
    let quoted = QUOTES.iter().find_map(|&(open, close)| argument.strip_prefix(open)?.split_once(close));
    let (url, more) = quoted.or_else(|| argument.split_once(char::is_whitespace)).unwrap_or((argument, ""));
    // An unclosed leading quote is left for the caller to refuse.
    if trim(more).trim_matches(';').is_empty() {
        Ok(trim(url))
    } else {
        Err(BadUrl::new("the psql command holds more than the URL: leave only the URL", EXAMPLE))
    }
}

fn without_scheme(url: &str) -> Result<&str, BadUrl> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(BadUrl::new(
            if is_key_value(url) {
                "this is libpq's key=value form: a URL is wanted"
            } else {
                "this is not a URL: it must begin with postgresql://"
            },
            EXAMPLE,
        ));
    };
    let scheme = scheme.to_ascii_lowercase();
    if SCHEMES.contains(&scheme.as_str()) {
        return Ok(rest);
    }
    let dialect = scheme.split_once('+').map_or(scheme.as_str(), |(dialect, _)| dialect);
    let fault = if is_assignment(url) {
        "the value begins with the name of a variable and `=`: leave only the URL".to_owned()
    } else if is_key_value(url) {
        "this is libpq's key=value form: a URL is wanted".to_owned()
    } else if scheme == "jdbc:postgresql" {
        "this is a JDBC URL: write postgresql:// instead, with user and password before the host".to_owned()
    } else if let Some((_, name)) = OTHERS.iter().find(|(other, _)| *other == dialect) {
        format!("this is a URL for {name}: only PostgreSQL is checked")
    } else if dialect == "postgresql" || dialect == "postgres" {
        format!("the `+driver` in the scheme is not a known one: write one of {}", SCHEMES.join(", "))
    } else {
        "the scheme is not postgresql".to_owned()
    };
    Err(BadUrl::new(fault, EXAMPLE))
}

/// `host=…`, `host = …`, as `psql "host=… user=…"` takes it.
fn is_key_value(text: &str) -> bool {
    let key = text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
    key.len() < text.len() && key.trim_start().starts_with('=')
}

/// `DATABASE_URL=postgresql://…`, with or without `export` and quotes.
fn is_assignment(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else { return false };
    let name = name.strip_prefix("export ").unwrap_or(name);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let scheme = value.trim_start_matches(is_quote).to_ascii_lowercase();
    is_name && SCHEMES.iter().any(|known| scheme.strip_prefix(known).is_some_and(|rest| rest.starts_with("://")))
}
