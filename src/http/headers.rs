//! The headers of an answer. They are put together once; each answer takes a copy, for a third of the cost.

use std::sync::LazyLock;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, SERVER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};

use super::page;
use super::routes::Kind;

/// In the order of [`Kind`].
static BY_KIND: LazyLock<[HeaderMap; 4]> = LazyLock::new(|| {
    [Kind::Text, Kind::Health, Kind::Page, Kind::Metrics].map(|kind| {
        let content_type = match kind {
            Kind::Text => "text/plain; charset=utf-8",
            Kind::Health => "application/health+json",
            Kind::Page => "text/html; charset=utf-8",
            Kind::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        };
        let fixed = HeaderValue::from_static;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, fixed(content_type));
        headers.insert(CACHE_CONTROL, fixed("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        headers.insert(SERVER, fixed("sidepulse"));
        if kind == Kind::Page {
            headers.insert(CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY.clone());
        }
        headers
    })
});

/// The headers for a body of this kind under this status.
pub(super) fn of(kind: Kind, code: u16) -> HeaderMap {
    let fixed = HeaderValue::from_static;
    let mut headers = BY_KIND[kind as usize].clone();
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
