//! A URL without its scheme → its parts, decoded.

use percent_encoding::percent_decode_str;

use super::{ESCAPED, EXAMPLE, Fault, host};

/// What stands before the `?`, and the query as it is. An empty part is `None`.
pub(super) struct Given<'a> {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Before decoding: the redactor has to know this form too.
    pub(super) password_as_pasted: Option<String>,
    /// Decoded, in brackets if it was.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
    pub(super) query: &'a str,
}

/// Splits `[user[:password]@][host][:port][/dbname][?query]`.
///
/// The only `@` may be the one before the host. So no guess is ever made where a password ends: one that holds an
/// unescaped `@`, `/` or `?` is refused, and cannot end up in the host or the database's name. An unescaped `#` or `:`
/// in it is no riddle (a fragment means nothing in these URLs) and is taken as libpq and SQLAlchemy take it.
pub(super) fn split(text: &str) -> Result<Given<'_>, Fault> {
    let (userinfo, rest) = match text.split_once('@') {
        Some((_, rest)) if rest.contains('@') => {
            return Err(Fault::new("there is more than one `@`: one in the password is written %40", ESCAPED));
        }
        Some((userinfo, _)) if userinfo.contains(['/', '?']) => {
            return Err(Fault::new(
                "a `/` or `?` stands before the `@`: in user name and password they are written %2F and %3F, and an \
                 `@` elsewhere is written %40",
                ESCAPED,
            ));
        }
        Some((userinfo, rest)) => (userinfo, rest),
        None => ("", text),
    };
    if rest.contains('#') {
        return Err(Fault::new("a `#` stands behind the host: it is written %23", ESCAPED));
    }
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before.split_once('/').unwrap_or((before, ""));
    if path.contains('/') {
        return Err(Fault::new(
            "a second `/` stands behind the host: end the URL after the database's name (a `/` in it is written %2F)",
            EXAMPLE,
        ));
    }
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (host, port) = host::split_port(authority)?;
    Ok(Given {
        user: some(decode("user name", user)?),
        password: some(decode("password", password)?),
        password_as_pasted: some(password.to_owned()),
        host: some(decode("host", host)?),
        port,
        database: some(decode("database's name", path)?),
        query,
    })
}

/// Percent-decoding that forgives nothing: `%zz` is a password's own `%`, and a NUL ends a string in the protocol.
pub(super) fn decode(part: &str, text: &str) -> Result<String, Fault> {
    let mut escapes = text.split('%');
    escapes.next();
    if !escapes.all(|escape| escape.len() >= 2 && escape.bytes().take(2).all(|b| b.is_ascii_hexdigit())) {
        return Err(Fault::new(
            format!("a `%` in the {part} is not followed by two hexadecimal digits: a `%` itself is written %25"),
            "postgresql://user:50%25@host/dbname",
        ));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Fault::new(format!("the {part} is not UTF-8 once decoded"), ESCAPED))?;
    if decoded.contains('\0') {
        return Err(Fault::new(format!("there is a NUL (%00) in the {part}"), EXAMPLE));
    }
    Ok(decoded.into_owned())
}

/// libpq: "avoid setting dbname to an empty string"; an empty value counts as not given.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
