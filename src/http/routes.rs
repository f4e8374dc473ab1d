//! What each path answers. Pure: a request and a view of what is known go in, a reply comes out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;

use super::{health, page};
use crate::config::Gate;
use crate::metrics::PATHS;
use crate::probe::Reason;
use crate::readiness::{self, Now, Readiness, Scope, Status};
use crate::state::Snapshot;

/// What a reply may depend on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the checks found.
    pub snapshot: &'a Snapshot,
    /// What `/readyz` asks of the database.
    pub gate: Gate,
    /// SIGTERM has come.
    pub draining: bool,
    /// Readiness was green once.
    pub ever_ready: bool,
    /// The check thread is alive.
    pub live: bool,
    /// The token that `/` and `/metrics` ask for.
    pub token: Option<&'a str>,
    /// The moment.
    pub now: Now,
}

impl View<'_> {
    /// What `/readyz` would say.
    pub fn readiness(&self) -> Readiness {
        readiness::decide(self.gate, self.snapshot, self.draining, self.now.instant)
    }
}

/// The parts of a request that matter.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// GET and HEAD are answered alike.
    pub method: &'a Method,
    /// Without the query.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: &'a str,
    /// The `Authorization` header.
    pub authorization: Option<&'a HeaderValue>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text/plain; charset=utf-8`
    Text,
    /// `application/health+json`
    Health,
    /// `text/html; charset=utf-8`
    Page,
    /// `text/plain; version=0.0.4; charset=utf-8`; the body is made by the caller.
    Metrics,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Index into [`PATHS`], for the request counter.
    pub path: usize,
    /// The status.
    pub code: u16,
    /// What the body is.
    pub kind: Kind,
    /// The body, empty for [`Kind::Metrics`].
    pub body: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Livez,
    Startupz,
    Readyz,
    Health(Scope),
    Metrics,
    Page,
}

/// The routes of [`PATHS`], in their order.
const ROUTES: [Route; OTHER] = [
    Route::Livez,
    Route::Startupz,
    Route::Readyz,
    Route::Health(Scope::All),
    Route::Health(Scope::All),
    Route::Health(Scope::Shallow),
    Route::Health(Scope::Deep),
    Route::Metrics,
    Route::Page,
];

/// The index of "other" in [`PATHS`].
const OTHER: usize = PATHS.len() - 1;

/// The route of a path, and its index in [`PATHS`]. A trailing slash makes no difference.
fn route(path: &str, has_database: bool) -> (usize, Option<Route>) {
    let trimmed = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(trimmed) => trimmed,
    };
    let index = PATHS[..OTHER].iter().position(|known| *known == trimmed).unwrap_or(OTHER);
    let route = ROUTES.get(index).copied();
    (index, route.filter(|route| has_database || *route != Route::Health(Scope::Deep)))
}

/// Answers a request. Refusals come in this order: unknown path, method, token.
pub fn respond(ask: Ask<'_>, view: View<'_>) -> Reply {
    let (path, route) = route(ask.path, view.snapshot.database().is_some());
    let text =
        |code, body: &'static str| Reply { path, code, kind: Kind::Text, body: Bytes::from_static(body.as_bytes()) };
    let Some(route) = route else { return text(404, "not found\n") };
    if ask.method != Method::GET && ask.method != Method::HEAD {
        return text(405, "method not allowed\n");
    }
    let authorized = view.token.is_none_or(|token| holds(ask.authorization, token));
    match route {
        Route::Page | Route::Metrics if !authorized => text(401, "unauthorized\n"),
        Route::Livez if view.live => text(200, "ok\n"),
        Route::Livez => text(503, "fail: internal\n"),
        Route::Startupz if view.snapshot.app().ever_up => text(200, "ok\n"),
        Route::Startupz => {
            let reason = view.snapshot.app().reason(view.now.instant);
            Reply { path, code: 503, kind: Kind::Text, body: format!("fail: app: {reason}\n").into() }
        }
        Route::Readyz => readyz(path, ask.query, view),
        Route::Health(scope) => {
            let status = readiness::health(scope, view.snapshot, view.draining, view.now);
            let code = if status == Status::Fail { 503 } else { 200 };
            Reply { path, code, kind: Kind::Health, body: health::body(scope, status, view, authorized) }
        }
        Route::Metrics => Reply { path, code: 200, kind: Kind::Metrics, body: Bytes::new() },
        Route::Page => Reply { path, code: 200, kind: Kind::Page, body: page::body(view) },
    }
}

fn readyz(path: usize, query: &str, view: View<'_>) -> Reply {
    let mut readiness = view.readiness();
    if query.is_empty() && readiness.is_ready() {
        return Reply { path, code: 200, kind: Kind::Text, body: Bytes::from_static(b"ok\n") };
    }
    let has = |wanted: &str| query.split('&').any(|part| part == wanted || part.strip_suffix('=') == Some(wanted));
    let (no_app, no_database) = (has("exclude=app"), has("exclude=database"));
    readiness.app = readiness.app.filter(|_| !no_app);
    readiness.database = readiness.database.filter(|_| !no_database);
    let body = if has("verbose") || has("verbose=1") || has("verbose=true") {
        verbose(readiness, no_app, no_database, view)
    } else if readiness.is_ready() {
        "ok\n".to_owned()
    } else {
        format!("fail: {readiness}\n")
    };
    let code = if readiness.is_ready() { 200 } else { 503 };
    Reply { path, code, kind: Kind::Text, body: body.into() }
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
    if let Some(database) = view.snapshot.database() {
        // The gate is satisfied, though the database is not up: say by which gate.
        let down = readiness::judge(database, view.snapshot, view.now).status == Status::Fail;
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
