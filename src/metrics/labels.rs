//! Which label values can occur: their series exist from the start, so that `rate()` and alerts see the first event.

use crate::probe::{CheckId, Class, Phase, Reason};

/// The warnings that a check can show.
pub(super) fn warnings(id: &CheckId) -> &'static [Reason] {
    match id {
        CheckId::App => &[],
        CheckId::Database => &Reason::WARNINGS,
        // It does not run while the deep query does not.
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
