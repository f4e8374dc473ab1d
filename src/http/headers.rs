//! The headers of an answer. They are made once and copied for each answer, which costs a third of making them.

use std::sync::LazyLock;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, SERVER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};

use super::page;
use super::reply::Body;

struct Headers {
    text: HeaderMap,
    health: HeaderMap,
    page: HeaderMap,
    metrics: HeaderMap,
}

static HEADERS: LazyLock<Headers> = LazyLock::new(|| {
    let mut page = with("text/html; charset=utf-8");
    page.insert(CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY.clone());
    Headers {
        text: with("text/plain; charset=utf-8"),
        health: with("application/health+json"),
        page,
        metrics: with("text/plain; version=0.0.4; charset=utf-8"),
    }
});

fn with(content_type: &'static str) -> HeaderMap {
    let fixed = HeaderValue::from_static;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, fixed(content_type));
    headers.insert(CACHE_CONTROL, fixed("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(SERVER, fixed("sidepulse"));
    headers
}

/// The headers for this body under this status.
pub(super) fn of(body: &Body, code: u16) -> HeaderMap {
    let fixed = HeaderValue::from_static;
    let mut headers = match body {
        Body::Text(_) => &HEADERS.text,
        Body::Health(_) => &HEADERS.health,
        Body::Page(_) => &HEADERS.page,
        Body::Metrics => &HEADERS.metrics,
    }
    .clone();
    match code {
        503 => drop(headers.insert(RETRY_AFTER, fixed("5"))),
        405 => drop(headers.insert(ALLOW, fixed("GET, HEAD"))),
        401 => {
            headers.insert(WWW_AUTHENTICATE, fixed("Bearer"));
            headers.append(WWW_AUTHENTICATE, fixed("Basic realm=\"sidepulse\""));
        }
        _ => {}
    }
    headers
}
