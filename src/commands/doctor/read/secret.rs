//! Which lines of a file contain a secret? Each line is read once, whatever the language: a name that suggests a secret,
//! with a value; a URL with a password; a token by its vendor's prefix.

use super::placeholder::{is_marked, is_placeholder, is_word, looks_random};

mod assigned;

use assigned::{SHORTEST_PASSWORD, assigned, is_bare, left_open};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretKind {
    /// One of this environment's secrets.
    Known,
    /// A URL with its password.
    Url,
    /// An access token or a private key.
    Token,
    /// The key that signs tokens, with any value.
    SigningKey,
    /// What looks random, with a name that suggests a secret.
    Assigned,
}

/// Parts of hosts in examples.
const NO_HOSTS: [&str; 6] = ["example", "xxx", "...", "<", "{", "$"];
/// Prefixes by which vendors mark their tokens, and how many characters follow at least.
const TOKENS: [(&str, usize); 13] = [
    ("npg_", 10),
    ("napi_", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-", 32),
    ("xoxb-", 20),
    ("AKIA", 16),
    ("AIza", 30),
];
/// `npg_` and ten characters.
const SHORTEST_TOKEN: usize = 14;
/// A random password of this length is a secret even for hosts where passwords for development are usual.
const SHORTEST_RANDOM_PASSWORD: usize = 12;

/// The lines that contain a secret, each once, and which kind. `python`: values are quoted, and anything else is code.
/// `known` are the environment's secrets.
pub(crate) fn lines(text: &str, python: bool, known: &[String]) -> Vec<(u32, SecretKind)> {
    let mut found = Vec::new();
    // Open brackets of an example: what an API's documentation shows is not a secret.
    let mut example = 0;
    let mut before = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let is_example = example > 0 || line.as_bytes().windows(7).any(|part| part.eq_ignore_ascii_case(b"example"));
        example = if is_example { open_brackets(line, example) } else { 0 };
        let kind = if known.iter().any(|secret| line.contains(secret)) {
            Some(SecretKind::Known)
        } else if has_url_password(line) {
            Some(SecretKind::Url)
        } else if has_keyword_password(line) {
            Some(SecretKind::Assigned)
        } else if has_token(line) {
            Some(SecretKind::Token)
        } else if is_example {
            None
        } else {
            assigned(&before, line, python)
        };
        found.extend(kind.map(|kind| (number, kind)));
        if python {
            before = left_open(&before, line);
        }
    }
    found
}

/// Brackets that are open at the line's end.
fn open_brackets(line: &str, before: usize) -> usize {
    let opened = line.matches(['{', '[', '(']).count();
    (before + opened).saturating_sub(line.matches(['}', ']', ')']).count())
}

/// Whether a URL in the text contains a password, or a token in place of one, that looks real.
pub(crate) fn has_url_password(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || "\"'`".contains(c)).filter(|word| word.contains('@'));
    words.any(|word| {
        // Up to the next URL, so that a line full of `://` is read only once.
        let mut pieces = word.split("://");
        let mut before = pieces.next().unwrap_or_default();
        pieces.any(|rest| {
            let has_scheme = before.ends_with(|c: char| c.is_ascii_alphanumeric());
            before = rest;
            has_scheme && rest.contains('@') && is_password_before_host(rest)
        })
    })
}

fn is_password_before_host(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    // The password may contain an unescaped slash: it is a secret all the same.
    let Some((credentials, host)) = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')) else { return false };
    let Some((user, password)) = credentials.split_once(':') else { return looks_random(credentials, 20) };
    if is_placeholder(password) || password == user {
        return false;
    }
    let host = host.split(['/', ':', '?']).next().unwrap_or(host).to_lowercase();
    let is_far = host.contains('.') && !host.starts_with("127.") && !host.ends_with(".internal");
    let is_real = is_far && !NO_HOSTS.iter().any(|mark| host.contains(mark));
    is_real || looks_random(password, SHORTEST_RANDOM_PASSWORD)
}

/// Whether libpq's other form, `host=… user=… password=…`, contains a password that looks real.
fn has_keyword_password(line: &str) -> bool {
    let mut pieces = line.split("password=");
    let mut before = pieces.next().unwrap_or_default();
    let is_dsn = ["host=", "dbname=", "user="].iter().any(|key| line.contains(key));
    is_dsn
        && pieces.any(|rest| {
            let begins = before.ends_with(|c: char| c.is_whitespace() || "\"'".contains(c));
            before = rest;
            let value = rest.trim_start_matches('\'').split(|c: char| c.is_whitespace() || "\"'".contains(c)).next();
            // An argument of a call ends with a comma.
            let is_value = |value: &str| is_bare(value) && !value.ends_with(',');
            begins && value.is_some_and(|value| is_value(value) && looks_random(value, SHORTEST_PASSWORD))
        })
}

/// Whether the text contains an access token with its vendor's prefix, a JWT, or a private key in PEM form.
pub(crate) fn has_token(text: &str) -> bool {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return true;
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
    words.filter(|word| word.len() >= SHORTEST_TOKEN).any(|word| {
        let known = |(prefix, more): &(&str, usize)| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *more && !rest.split(['-', '_', '.']).all(is_word))
        };
        let is_jwt = word.starts_with("eyJ") && word.split('.').count() == 3 && word.len() >= 60;
        (TOKENS.iter().any(known) || is_jwt) && !is_marked(word)
    })
}

#[cfg(test)]
mod tests;
