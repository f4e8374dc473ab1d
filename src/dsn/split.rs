//! Splits a URL without its scheme into its parts, and decodes them.

use percent_encoding::percent_decode_str;

use super::{BadUrl, ESCAPED, EXAMPLE, Warning, host, template};

/// Shown where the query does not begin with `?`.
const WITH_QUERY: &str = "postgresql://user:password@host/dbname?sslmode=require";

/// What stands before the `?`, decoded, and the query as it is. An empty part is `None`.
pub(super) struct Parts<'a> {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Before decoding, since the redactor must know this form too.
    pub(super) password_as_pasted: Option<String>,
    /// In brackets if it was given so.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
    pub(super) query: &'a str,
}

/// Splits `[user[:password]@][host][:port][/dbname][?query]`.
///
/// Where a password ends is never guessed: it ends at the first `@`, as in libpq and SQLAlchemy, and a second `@` is
/// allowed only in the value of a known key. So a password with an unescaped `@` is refused, and cannot end up in the
/// host or the database's name. Other unescaped characters are accepted where SQLAlchemy accepts them, so that an app
/// which can log in is checked; where psql (libpq) does not, a warning says so.
pub(super) fn split<'a>(text: &'a str, warnings: &mut Vec<Warning>) -> Result<Parts<'a>, BadUrl> {
    let (userinfo, rest) = userinfo(text)?;
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    if before.contains('@') {
        return Err(more_than_one_at());
    }
    let (authority, path) = before.split_once('/').unwrap_or((before, ""));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    for (part, text) in [("user name", user), ("password", password), ("host", host), ("database's name", path)] {
        if template::is_placeholder(text) {
            return Err(BadUrl::new(format!("a placeholder stands where the {part} belongs"), EXAMPLE));
        }
    }
    check_path(path)?;
    if password.contains('/') {
        warnings.push(Warning("the password holds a `/`, which psql needs as %2F".to_owned()));
    }
    let (host, port) = host::split_port(authority)?;
    Ok(Parts {
        user: some(decode("user name", user, warnings)?),
        password: some(decode("password", password, warnings)?),
        password_as_pasted: some(password.to_owned()),
        host: some(decode_strictly("host", host)?),
        port,
        database: some(decode("database's name", path, warnings)?),
        query,
    })
}

/// What stands before the first `@`, if that is the user name and password, and the rest.
fn userinfo(text: &str) -> Result<(&str, &str), BadUrl> {
    let Some((before, rest)) = text.split_once('@') else { return Ok(("", text)) };
    let Some(end) = before.find(['/', '?']) else { return Ok((before, rest)) };
    match before[..end].split_once(':') {
        // `host/…?user=a@b`: for libpq and SQLAlchemy a `/` before any `:` ends the host.
        None if before[end..].starts_with('/') => Ok(("", text)),
        // Not `host:5432/…` and not `[::1]:5432/…`: it is a password.
        Some((user, password)) if !user.starts_with('[') && password.bytes().any(|b| !b.is_ascii_digit()) => {
            Ok((before, rest))
        }
        _ => Err(BadUrl::new(
            "a `/` or `?` stands before the `@`: in user name and password they are written %2F and %3F, and an `@` \
             elsewhere is written %40",
            ESCAPED,
        )),
    }
}

pub(super) fn more_than_one_at() -> BadUrl {
    BadUrl::new("there is more than one `@`: one in the password is written %40", ESCAPED)
}

fn check_path(path: &str) -> Result<(), BadUrl> {
    if path.contains('/') {
        return Err(BadUrl::new(
            "a second `/` stands behind the host: end the URL after the database's name (a `/` in it is written %2F)",
            EXAMPLE,
        ));
    }
    let is_key = |text: &str| text.split_once('=').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase()));
    if path.split('&').skip(1).any(is_key) {
        return Err(BadUrl::new("a `&` stands where the query begins: there it is a `?`", WITH_QUERY));
    }
    Ok(())
}

/// Percent-decoding as Python's `unquote`, and thus SQLAlchemy, does it: a `%` without two hexadecimal digits stands for
/// itself. libpq refuses it, so a warning says how to write it.
pub(super) fn decode(part: &str, text: &str, warnings: &mut Vec<Warning>) -> Result<String, BadUrl> {
    if !is_well_encoded(text) {
        warnings.push(Warning(format!("the {part} holds a `%` that is taken as it is, and which psql needs as %25")));
    }
    decoded(part, text)
}

/// Strict percent-decoding, for what may be shown: a stray `%` there belongs to a password.
pub(super) fn decode_strictly(part: &str, text: &str) -> Result<String, BadUrl> {
    if is_well_encoded(text) {
        decoded(part, text)
    } else {
        Err(BadUrl::new(
            format!("a `%` in the {part} is not followed by two hexadecimal digits: a `%` itself is written %25"),
            "postgresql://user:50%25@host/dbname",
        ))
    }
}

fn is_well_encoded(text: &str) -> bool {
    let mut escapes = text.split('%');
    escapes.next();
    escapes.all(|escape| escape.len() >= 2 && escape.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

fn decoded(part: &str, text: &str) -> Result<String, BadUrl> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| BadUrl::new(format!("the {part} is not UTF-8 once decoded"), ESCAPED))?;
    // A NUL ends a string in the protocol.
    if decoded.contains('\0') {
        return Err(BadUrl::new(format!("there is a NUL (%00) in the {part}"), EXAMPLE));
    }
    Ok(decoded.into_owned())
}

/// libpq: "avoid setting dbname to an empty string"; an empty value counts as not given.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
