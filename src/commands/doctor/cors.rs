//! Rules about CORS: which pages may call the backend with a visitor's credentials.

use super::Finding;
use super::backend::Backend;
use super::environment::{Environment, Stage};
use super::python::{self, Kind, Token};

const EXAMPLE: &str = "e.g. CORS_ORIGINS=https://shop.vercel.app,https://shop-*-acme.vercel.app";

/// `CORS_ORIGINS` lists origins as a browser sends them. An entry is told by its place in the list, not by its text.
pub(super) fn origins(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let text = environment.text("CORS_ORIGINS").unwrap_or_default();
    let entries: Vec<&str> = unquoted(&text).split(',').map(unquoted).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() {
        let message = format!("CORS_ORIGINS {}: no page in a browser may call the backend", {
            environment.absence("CORS_ORIGINS")
        });
        return vec![Finding::error(message, format!("name the front end's origins, {EXAMPLE}"))];
    }
    let asked = Asked {
        https: environment.stage() == Stage::Production,
        credentials: backend.is_none_or(allows_credentials),
        patterns: backend.is_none_or(|backend| backend.mentions("allow_origin_regex")),
    };
    let found: Vec<Finding> = entries.iter().enumerate().filter_map(|(i, entry)| asked.of(entry, i + 1)).collect();
    if !found.is_empty() {
        return found;
    }
    let count = if entries.len() == 1 { "one origin".to_owned() } else { format!("{} origins", entries.len()) };
    vec![Finding::ok(format!("CORS_ORIGINS names {count}"))]
}

/// The code itself does not let every page in: Starlette reflects any origin where `*` meets credentials.
pub(super) fn code(_: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let remedy = "read the origins from CORS_ORIGINS and name each one; a pattern has at most [a-z0-9-]+ in one label";
    let files = backend.python.iter().filter(|_| allows_credentials(backend));
    let mut found: Vec<Finding> = files
        .flat_map(|file| {
            let statements = python::statements(&file.text).into_iter().filter(|statement| !statement.commented);
            let open = statements.filter_map(|statement| open_origin(&statement.tokens)).collect::<Vec<_>>();
            open.into_iter().map(|(line, what)| Finding::error(what, remedy).at(&file.name, line))
        })
        .collect();
    if found.is_empty() {
        found.push(Finding::ok("the code lets no page in that CORS_ORIGINS does not name"));
    }
    found
}

/// `allow_origins=["*"]`, `ORIGINS = ["*"]`, and a pattern that begins with anything.
fn open_origin(tokens: &[Token]) -> Option<(u32, &'static str)> {
    let mut strings = tokens.iter().enumerate().filter(|(_, token)| matches!(token.kind, Kind::Text { .. }));
    strings.find_map(|(at, token)| {
        let before = tokens[..at].iter().rfind(|token| token.kind == Kind::Name)?.text.to_lowercase();
        let is_listed = tokens[..at].last().is_some_and(|token| ["[", "(", "{", "="].iter().any(|sign| token.is(sign)));
        let host = token.text.split_once("://").map_or(token.text.as_str(), |(_, host)| host);
        let host = host.trim_start_matches(['^', '(']);
        let fits_all = host.starts_with(".*") || host.starts_with(".+");
        if before.ends_with("origins") && token.text == "*" && is_listed {
            Some((token.line, "the code allows every origin, together with credentials"))
        } else if before.ends_with("origin_regex") && fits_all {
            Some((token.line, "the pattern for origins begins with anything, and so fits hosts that anyone can have"))
        } else {
            None
        }
    })
}

/// A value that is not written out may be true.
fn allows_credentials(backend: &Backend) -> bool {
    backend.mentions("allow_credentials=") && !backend.mentions("allow_credentials=False")
}

/// What an entry has to meet.
struct Asked {
    https: bool,
    credentials: bool,
    patterns: bool,
}

impl Asked {
    fn of(&self, entry: &str, number: usize) -> Option<Finding> {
        let error = |what: &str, remedy: &str| {
            Some(Finding::error(format!("CORS_ORIGINS: entry {number} {what}"), format!("{remedy}, {EXAMPLE}")))
        };
        if entry == "*" {
            if !self.credentials {
                return Some(Finding::warning(
                    format!("CORS_ORIGINS: entry {number} is *, so that every page may call the backend"),
                    format!("name the front end's origins, {EXAMPLE}"),
                ));
            }
            let what = "is *, and requests carry credentials: every page could act as its visitor";
            return error(what, "name the front end's origins");
        }
        let (scheme, rest) = match entry.split_once("://") {
            Some((scheme, rest)) if ["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) => (scheme, rest),
            _ => return error("does not begin with https://", "write scheme and host, separated by commas"),
        };
        if rest.contains('@') {
            return error("holds a user or password", "write scheme and host only");
        }
        match rest.split_once(['/', '?', '#']) {
            Some((_, "")) if rest.ends_with('/') => {
                return error("ends in a slash, which no origin does", "take it off");
            }
            Some(_) => return error("has a path, which no origin has", "write scheme and host only"),
            None => {}
        }
        let Some((host, port)) = host_and_port(rest) else {
            return error("is not an origin", "write scheme and host only, separated by commas");
        };
        if let Some(what) = wildcard_fault(host) {
            return error(what, "write at most one * within the first part of the host's name");
        }
        if host.contains('*') && !self.patterns {
            let what = "has a *, but the backend's code compares origins as they are (no allow_origin_regex)";
            return error(what, "name every origin");
        }
        if self.https && scheme.eq_ignore_ascii_case("http") {
            return error("is not https, in production", "write https://");
        }
        let (default, is_lower) = (if scheme.len() == 5 { "443" } else { "80" }, !entry.contains(char::is_uppercase));
        if port == Some(default) || !is_lower {
            return Some(Finding::warning(
                format!("CORS_ORIGINS: entry {number} is not spelt as a browser sends it"),
                format!("write it in lower case and without :{default}"),
            ));
        }
        if host.ends_with("*.vercel.app") {
            return Some(Finding::warning(
                format!("CORS_ORIGINS: entry {number} fits projects of other people on vercel.app too"),
                "end the pattern with -<your team>, e.g. https://shop-*-acme.vercel.app",
            ));
        }
        None
    }
}

fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, port) = text.split_at(end);
    let is_v6 =
        host.strip_prefix('[').is_some_and(|host| host.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = |host: &str| {
        let fits = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'*');
        host.split('.').all(|label| !label.is_empty() && fits(label))
    };
    let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    ((is_v6 || is_name(host)) && is_port).then_some((host, port))
}

/// The pattern of the contract: one `*` inside a label, and not in the domain that somebody registers.
fn wildcard_fault(host: &str) -> Option<&'static str> {
    let labels: Vec<&str> = host.split('.').collect();
    if host.matches('*').count() > 1 {
        Some("has more than one *")
    } else if labels.iter().rev().take(2).any(|label| label.contains('*')) {
        Some("has a * in the domain itself, which fits domains that anyone can register")
    } else if labels.contains(&"*") {
        Some("has a * for a whole part of the host's name, which fits hosts that anyone can have")
    } else {
        None
    }
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'']).trim()
}
