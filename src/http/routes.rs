//! What each path answers. Pure: a request and a view of what is known go in, a reply comes out.

use std::iter::once;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Method;
use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;

use super::reply::{Body, Reply};
use super::view::View;
use super::{health, page};
use crate::config::Config;
use crate::metrics::RequestLabels;
use crate::probe::Reason;
use crate::readiness::{self, Readiness, Scope, Status};

/// The parts of a request on which an answer may depend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    /// Without the query.
    pub(crate) path: &'a str,
    /// What follows the `?`.
    pub(crate) query: &'a str,
    pub(crate) authorization: Option<&'a HeaderValue>,
}

/// Answers GET and HEAD: status and body.
type Handler = fn(&Ask<'_>, View<'_>) -> (u16, Body);

/// A path, the statuses that it can be answered with, and what is answered to GET and HEAD.
struct Route {
    path: &'static str,
    codes: &'static [u16],
    /// The answer without the token is 401, if a token is set.
    asks_for_token: bool,
    /// Without a database the path is unknown.
    needs_database: bool,
    answer: Handler,
}

/// All routes. `/metrics` and `/` never answer 503: a scraper and a person get their answer whatever the verdict.
const ROUTES: [Route; 9] = [
    open("/livez", |_, view| livez(view)),
    open("/startupz", |_, view| startupz(view)),
    open("/readyz", |ask, view| readyz(ask.query, view)),
    open("/health", |ask, view| health(Scope::All, ask, view)),
    open("/healthz", |ask, view| health(Scope::All, ask, view)),
    open("/health/shallow", |ask, view| health(Scope::Shallow, ask, view)),
    Route { needs_database: true, ..open("/health/deep", |ask, view| health(Scope::Deep, ask, view)) },
    guarded("/metrics", |_, _| (200, Body::Metrics)),
    guarded("/", |_, view| (200, Body::Page(page::body(view)))),
];

/// A verdict, for everyone.
const fn open(path: &'static str, answer: Handler) -> Route {
    Route { path, codes: &[200, 405, 503], asks_for_token: false, needs_database: false, answer }
}

/// Details, which may need the token.
const fn guarded(path: &'static str, answer: Handler) -> Route {
    Route { path, codes: &[200, 405], asks_for_token: true, needs_database: false, answer }
}

/// The label of unknown paths in the request counter.
pub(crate) const OTHER: &str = "other";

/// The labels of every answer that can occur with these settings.
pub(crate) fn request_labels(config: &Config) -> impl Iterator<Item = RequestLabels> {
    let (has_token, has_database) = (config.token.is_some(), config.database.is_some());
    let of_route = move |route: &'static Route| {
        let known = has_database || !route.needs_database;
        let codes = if known { route.codes } else { &[404] };
        let refusal = (known && has_token && route.asks_for_token).then_some(401);
        codes.iter().copied().chain(refusal).map(|code| (route.path, code))
    };
    ROUTES.iter().flat_map(of_route).chain(once((OTHER, 404)))
}

/// The route of a path. A trailing slash makes no difference.
fn route(path: &str) -> Option<&'static Route> {
    let trimmed = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(trimmed) => trimmed,
    };
    ROUTES.iter().find(|route| route.path == trimmed)
}

/// Answers a request. Refusals come in this order: unknown path, method, token.
pub(crate) fn respond(ask: Ask<'_>, view: View<'_>) -> Reply {
    let Some(route) = route(ask.path) else {
        return Reply { path: OTHER, code: 404, body: Body::fixed("not found\n") };
    };
    let (code, body) = if route.needs_database && view.snapshot.database.is_none() {
        (404, Body::fixed("not found\n"))
    } else if ask.method != Method::GET && ask.method != Method::HEAD {
        (405, Body::fixed("method not allowed\n"))
    } else if route.asks_for_token && !may_see_all(&ask, view) {
        (401, Body::fixed("unauthorized\n"))
    } else {
        (route.answer)(&ask, view)
    };
    Reply { path: route.path, code, body }
}

/// Whether the request has the token, or needs none.
fn may_see_all(ask: &Ask<'_>, view: View<'_>) -> bool {
    view.token.is_none_or(|token| holds(ask.authorization, token))
}

fn livez(view: View<'_>) -> (u16, Body) {
    if view.live { (200, Body::fixed("ok\n")) } else { (503, Body::fixed("fail: internal\n")) }
}

fn startupz(view: View<'_>) -> (u16, Body) {
    let app = &view.snapshot.app;
    if app.ever_up {
        return (200, Body::fixed("ok\n"));
    }
    (503, Body::text(format!("fail: app: {}\n", app.reason(view.now.instant))))
}

fn health(scope: Scope, ask: &Ask<'_>, view: View<'_>) -> (u16, Body) {
    let status = readiness::health(scope, view.snapshot, view.draining, view.now);
    let code = if status == Status::Fail { 503 } else { 200 };
    (code, Body::Health(health::body(scope, status, view, may_see_all(ask, view))))
}

fn readyz(query: &str, view: View<'_>) -> (u16, Body) {
    let mut readiness = view.readiness();
    if query.is_empty() && readiness.is_ready() {
        return (200, Body::fixed("ok\n"));
    }
    let has = |wanted: &str| query.split('&').any(|part| part == wanted || part.strip_suffix('=') == Some(wanted));
    let (no_app, no_database) = (has("exclude=app"), has("exclude=database"));
    readiness.app = readiness.app.filter(|_| !no_app);
    readiness.database = readiness.database.filter(|_| !no_database);
    let text = if has("verbose") || has("verbose=1") || has("verbose=true") {
        verbose(readiness, no_app, no_database, view)
    } else if readiness.is_ready() {
        "ok\n".to_owned()
    } else {
        format!("fail: {readiness}\n")
    };
    (if readiness.is_ready() { 200 } else { 503 }, Body::text(text))
}

fn verbose(readiness: Readiness, no_app: bool, no_database: bool, view: View<'_>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, excluded: bool, failure: Option<Reason>, note: &str| {
        text.push_str(&match failure {
            _ if excluded => format!("[+]{name} excluded: ok\n"),
            Some(reason) => format!("[-]{name} failed: {reason}\n"),
            None => format!("[+]{name} ok{note}\n"),
        });
    };
    line("app", no_app, readiness.app, "");
    if let Some(database) = &view.snapshot.database {
        // If the gate is satisfied although the database is not up, say which gate that is.
        let down = readiness::judge(&database.query, view.snapshot, view.now).status == Status::Fail;
        let note = if down { format!(" (gate={})", view.gate.as_str()) } else { String::new() };
        line("database", no_database, readiness.database, &note);
    }
    if readiness.draining {
        text.push_str("[-]draining\n");
    }
    text.push_str(if readiness.is_ready() { "readyz check passed\n" } else { "readyz check failed\n" });
    text
}

/// Whether the header holds the token, as Bearer or as the password of Basic.
fn holds(authorization: Option<&HeaderValue>, token: &str) -> bool {
    let Some((scheme, rest)) = authorization.and_then(|value| value.to_str().ok()?.split_once(' ')) else {
        return false;
    };
    let rest = rest.trim();
    let same = |given: &[u8]| bool::from(given.ct_eq(token.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") {
        return same(rest.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(pair) = BASE64.decode(rest) else { return false };
    let colon = pair.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| same(&pair[colon + 1..]))
}

#[cfg(test)]
pub(crate) mod tests;
