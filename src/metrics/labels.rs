//! Which label values can occur: their series exist from the start, so that `rate()` and alerts see the first event.

use crate::probe::{CheckId, Class, Phase, Reason};

/// The paths that are counted by name.
pub const PATHS: [&str; 10] = [
    "/livez",
    "/startupz",
    "/readyz",
    "/health",
    "/healthz",
    "/health/shallow",
    "/health/deep",
    "/metrics",
    "/",
    "other",
];
/// The statuses that are counted.
pub(super) const CODES: [u16; 5] = [200, 401, 404, 405, 503];

/// The warnings that a check can show.
pub(super) fn warnings(id: &CheckId) -> &'static [Reason] {
    match id {
        CheckId::App => &[],
        CheckId::Database => &Reason::WARNINGS,
        // It is not looked at while the database is not.
        CheckId::Sql(_) => &[Reason::IdleUnverified],
    }
}

/// The phases that a check can have.
pub(super) fn phases(id: &CheckId) -> &'static [Phase] {
    match id {
        CheckId::App => &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Response],
        CheckId::Database => &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Auth, Phase::Query],
        CheckId::Sql(_) => &[Phase::Query],
    }
}

/// The reasons with which a check can fail.
pub(super) fn reasons(id: &CheckId) -> impl Iterator<Item = Reason> + '_ {
    use Reason as R;
    const APP: &[R] = &[
        R::DnsFailure,
        R::ConnectRefused,
        R::ConnectTimeout,
        R::Unreachable,
        R::LoopbackOnly,
        R::TlsUntrusted,
        R::TlsTimeout,
        R::TlsFailed,
        R::ConnectionLost,
        R::ProtocolError,
        R::ResponseTimeout,
        R::BadStatus,
        R::Internal,
    ];
    const APP_ONLY: &[R] = &[R::LoopbackOnly, R::ResponseTimeout, R::BadStatus];
    let is_app = *id == CheckId::App;
    R::ALL.iter().copied().filter(move |reason| {
        let failure = reason.class() != Class::NotAFailure;
        failure && if is_app { APP.contains(reason) } else { !APP_ONLY.contains(reason) }
    })
}

/// Whether a path can be answered with a status at all.
pub(super) fn answers(path: &str, code: u16, has_token: bool, has_database: bool) -> bool {
    match (path, code) {
        ("other", _) => code == 404,
        ("/health/deep", _) if !has_database => code == 404,
        (_, 404) => false,
        ("/" | "/metrics", 401) => has_token,
        (_, 401) | ("/" | "/metrics", 503) => false,
        _ => true,
    }
}
