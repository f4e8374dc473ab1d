//! Which pages may call the backend with a visitor's credentials, according to the environment.

use super::super::deployment::{Code, Deployment, Environment};
use super::super::finding::Finding;

const EXAMPLE: &str = "e.g. CORS_ORIGINS=https://shop.vercel.app,https://shop-*-acme.vercel.app";

/// `CORS_ORIGINS` lists origins as a browser sends them. A finding names an entry by its place in the list.
pub(super) fn judge(deployment: &Deployment<'_>) -> Vec<Finding> {
    let text = deployment.text("CORS_ORIGINS").unwrap_or_default();
    let reads = deployment.code(&["CORS_ORIGINS"]);
    let json: Option<Vec<String>> = serde_json::from_str(&text).ok();
    let is_json = json.is_some();
    let entries = json.unwrap_or_else(|| unquoted(&text).split(',').map(|entry| unquoted(entry).to_owned()).collect());
    let entries: Vec<&str> = entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() {
        let message = format!("CORS_ORIGINS {}", deployment.absence("CORS_ORIGINS"));
        return vec![match reads {
            Code::Silent => Finding::unknown(
                format!("{message}, and no file of the app mentions it"),
                "check where the app has its origins from, and that they are not * beside allow_credentials=True",
            ),
            Code::Mentions(_) | Code::Unread => Finding::error(
                format!("{message}: no page in a browser may call the backend"),
                format!("name the front end's origins, {EXAMPLE}"),
            ),
        }];
    }
    let asked = Asked { https: deployment.environment() == Environment::Production, deployment };
    let found: Vec<Finding> = entries.iter().enumerate().filter_map(|(i, entry)| asked.of(entry, i + 1)).collect();
    if found.iter().any(|finding| finding.severity > super::super::finding::Severity::Unknown) {
        return found;
    }
    let by_code = by_code(deployment, &reads, is_json);
    if found.is_empty() && by_code.is_none() {
        let count = if entries.len() == 1 { "one origin".to_owned() } else { format!("{} origins", entries.len()) };
        return vec![Finding::ok(format!("CORS_ORIGINS names {count} as browsers send them"))];
    }
    found.into_iter().chain(by_code).collect()
}

/// What depends on the code that reads the list.
fn by_code(deployment: &Deployment<'_>, reads: &Code, is_json: bool) -> Option<Finding> {
    if matches!(reads, Code::Silent) {
        let message = "CORS_ORIGINS is set, but no file of the app mentions it";
        return Some(Finding::unknown(message, "check where the app has its origins from"));
    }
    match deployment.code(&["BaseSettings"]) {
        Code::Mentions(place) => {
            let message = "with pydantic-settings a list[str] takes JSON ([\"https://…\"]) alone, and commas end the start; a str \
                           takes commas alone";
            let form = if is_json { "JSON" } else { "commas" };
            let look = format!("check how CORS_ORIGINS is declared; it is given with {form}");
            Some(Finding::unknown(message, look).at(&place.file, place.line))
        }
        Code::Silent | Code::Unread if is_json => {
            Some(Finding::unknown("CORS_ORIGINS is JSON, which the code must read as such", "look for json.loads"))
        }
        Code::Silent | Code::Unread => None,
    }
}

/// What entries are judged by.
struct Asked<'a> {
    https: bool,
    deployment: &'a Deployment<'a>,
}

impl Asked<'_> {
    fn of(&self, entry: &str, number: usize) -> Option<Finding> {
        let error = |what: &str, remedy: &str| {
            Some(Finding::error(format!("CORS_ORIGINS: entry {number} {what}"), format!("{remedy}, {EXAMPLE}")))
        };
        if entry == "*" {
            return Some(self.every_page(number));
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
        if host.contains('*') && matches!(self.deployment.code(&["allow_origin_regex"]), Code::Silent) {
            let what = "has a *, but the app's code compares origins as they are (no allow_origin_regex)";
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

    /// `*`: with credentials Starlette reflects any origin.
    fn every_page(&self, number: usize) -> Finding {
        let remedy = format!("name the front end's origins, {EXAMPLE}");
        match self.deployment.code(&["allow_credentials"]) {
            Code::Silent => Finding::warning(
                format!("CORS_ORIGINS: entry {number} is *, so that every page may call the backend, without credentials"),
                remedy,
            ),
            Code::Mentions(place) => Finding::error(
                format!("CORS_ORIGINS: entry {number} is *, and this mentions credentials: every page could act as its visitor"),
                remedy,
            )
            .at(&place.file, place.line),
            Code::Unread => Finding::error(
                format!("CORS_ORIGINS: entry {number} is *: with credentials every page could act as its visitor"),
                remedy,
            ),
        }
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

/// What is wrong with a pattern: it may have one `*` inside a label, and none in the registered domain.
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
