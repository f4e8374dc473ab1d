//! What an error of the PostgreSQL driver means.

use std::io;

use super::server::{self, ErrorResponse, Stage};
use crate::probe::Diagnosis;
use crate::probe::wire::{Meter, Rejection, Seen};
use crate::probe::{Cause, Failure, Phase, Reason};
use crate::redact::Redactor;
use crate::tls;

/// What an error of the driver means. Its kind is private, so its `Display`, which is fixed, is matched. What was seen on
/// the wire comes first, since the driver only knows that the stream ended.
pub(crate) fn diagnose(error: &tokio_postgres::Error, stage: Stage, meter: &Meter, redactor: &Redactor) -> Failure {
    let phase = match stage {
        Stage::Query => Phase::Query,
        Stage::Login if meter.seen().logging_in() => Phase::Auth,
        Stage::Login => Phase::Tls,
    };
    let tell = |diagnosis: Diagnosis, phase: Phase, text: &str| {
        Failure::diagnosed(diagnosis, phase).with_detail(redactor.clean(text))
    };
    if let Some(db) = error.as_db_error() {
        // The server translates `severity`, but not the parsed one, which old servers do not send.
        let severity = db.parsed_severity().map_or(db.severity().to_owned(), |severity| severity.to_string());
        let (code, message) = (db.code().code(), db.message());
        let diagnosis = server::classify(stage, &ErrorResponse { severity: &severity, sqlstate: code, message });
        let mut failure = tell(diagnosis, phase, &format!("{severity} {code}: {message}"));
        if server::is_catch_all(diagnosis.reason) {
            failure.unclassified = Some(server::harmless_sqlstate(code));
        }
        return failure;
    }
    let mut seen = meter.seen();
    if let Some((mut diagnosis, text)) = seen.tls_failure.take() {
        if seen.direct && diagnosis.reason == Reason::ConnectionLost {
            diagnosis.cause = Some(Cause::DirectTlsRefused);
        }
        return tell(diagnosis, Phase::Tls, &text);
    }
    // The driver knows no COPY in a simple query.
    if stage == Stage::Query && seen.copies() {
        let diagnosis = Diagnosis { reason: Reason::UnexpectedResult, cause: Some(Cause::CopyStatement) };
        return tell(diagnosis, phase, "the query is a COPY");
    }
    if let Some(rejection) = seen.rejection {
        let (diagnosis, text) = match rejection {
            Rejection::NoTls => (Reason::TlsUnsupported.into(), "the server does not offer TLS"),
            Rejection::NotPostgres => (Reason::ProtocolError.into(), "the server does not speak PostgreSQL's protocol"),
            Rejection::ResultTooLarge => (
                Diagnosis { reason: Reason::ProtocolError, cause: Some(Cause::ResultTooLarge) },
                "the result is larger than 256 KiB",
            ),
            Rejection::CleartextPassword => (
                Diagnosis { reason: Reason::AuthFailed, cause: Some(Cause::CleartextWithoutTls) },
                "the server asked for a cleartext password without TLS",
            ),
        };
        return tell(diagnosis, phase, text);
    }
    let text = tls::chain(error);
    // TLS 1.3: an alert about our certificate comes in place of the first message.
    if let Some(alert) = super::tls::alert(&text) {
        return tell(alert, Phase::Tls, &text);
    }
    let reason = match error.to_string().as_str() {
        "authentication error" | "invalid configuration" => {
            return tell(Diagnosis { reason: Reason::AuthFailed, cause: refused_login(&text, &seen) }, phase, &text);
        }
        "error parsing response from server" | "unexpected message from server" => Reason::ProtocolError,
        "error performing TLS handshake" => Reason::TlsFailed,
        // A login method that is newer than the driver.
        _ if text.contains("unknown authentication tag") => {
            let cause = Some(Cause::LoginMethodUnknown);
            return tell(Diagnosis { reason: Reason::AuthFailed, cause }, phase, &text);
        }
        _ if phase != Phase::Tls && is_nonsense(error) => Reason::ProtocolError,
        _ => Reason::ConnectionLost,
    };
    tell(reason.into(), phase, &text)
}

/// Why the driver ended the login (tokio-postgres: `src/connect_raw.rs`).
fn refused_login(text: &str, seen: &Seen) -> Option<Cause> {
    // Where the server offers channel binding and the driver does not use it, the server's certificate does not allow it.
    let unbound = if seen.offers_binding() { Cause::ChannelBindingImpossible } else { Cause::ChannelBindingNotOffered };
    let causes = [
        ("server did not use channel binding", unbound),
        ("unsupported authentication method", Cause::LoginMethodUnknown),
        ("unsupported SASL mechanism", Cause::LoginMethodUnknown),
        ("password missing", Cause::PasswordMissing),
    ];
    causes.into_iter().find(|(said, _)| text.contains(said)).map(|(_, cause)| cause)
}

/// Whether the driver's parser found bytes that are not a message, after the handshake: a real end of the stream has
/// another kind.
fn is_nonsense(error: &tokio_postgres::Error) -> bool {
    use io::ErrorKind as Kind;
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), Kind::InvalidInput | Kind::InvalidData | Kind::UnexpectedEof))
}
