//! What a TLS error means, in the handshake or after it.
//!
//! The libraries' error types differ and say little, but their texts are stable. These are OpenSSL's (`ssl/ssl_stat.c`,
//! `crypto/x509/x509_txt.c`, `ssl/ssl_err.c`), and those of Apple's Security framework.

use crate::probe::Diagnosis;
use crate::probe::{Cause, Reason};
use crate::tls;

/// OpenSSL ended the handshake because it does not trust the server's certificate.
const VERIFY_FAILED: &str = "certificate verify failed";
/// Its verdict on the certificate, in parentheses after the error. It is there even where nothing was to be verified and
/// something else failed.
const VERDICTS: [(&str, Cause); 7] = [
    ("certificate has expired", Cause::CertificateExpired),
    ("certificate is not yet valid", Cause::CertificateExpired),
    ("hostname mismatch", Cause::CertificateName),
    ("ip address mismatch", Cause::CertificateName),
    ("unable to get local issuer certificate", Cause::CertificateIssuer),
    ("self-signed certificate", Cause::CertificateIssuer),
    ("self signed certificate", Cause::CertificateIssuer),
];
/// The same from Apple's framework, which has no verdict.
const UNTRUSTED: [&str; 2] = ["not trusted", "invalid certificate chain"];
/// Alerts of the server: TLS 1.3 sends those about our certificate only after the handshake (RFC 8446, 4.4.2.4 and 6).
const ALERTS: [(&str, Cause); 8] = [
    ("alert certificate required", Cause::ClientCertificateRequired),
    ("alert bad certificate", Cause::ClientCertificateRequired),
    ("alert unsupported certificate", Cause::ClientCertificateRequired),
    ("alert certificate revoked", Cause::ClientCertificateRequired),
    ("alert certificate expired", Cause::ClientCertificateRequired),
    ("alert certificate unknown", Cause::ClientCertificateRequired),
    ("alert unknown ca", Cause::ClientCertificateRequired),
    ("alert no application protocol", Cause::AlpnRefused),
];
/// OpenSSL adds it to the text of every alert (`ssl/record/rec_layer_s3.c`).
const ANY_ALERT: &str = "ssl alert number";
const LOST: [&str; 3] = ["unexpected eof", "connection reset", "broken pipe"];
/// The first bytes were another protocol's.
const NO_TLS: &str = "wrong version number";

/// Why a handshake failed: the certificate (chain, name, dates), an alert, a closed or reset connection, or anything else.
pub(crate) fn diagnose(error: &native_tls::Error) -> Diagnosis {
    of_text(&tls::chain(error))
}

/// The same for the app, which may speak plain HTTP on its port.
pub(crate) fn diagnose_app(error: &native_tls::Error) -> Diagnosis {
    of_the_apps_text(&tls::chain(error))
}

fn of_the_apps_text(text: &str) -> Diagnosis {
    let diagnosis = of_text(text);
    if diagnosis.cause.is_none() && text.contains(NO_TLS) {
        return Diagnosis { cause: Some(Cause::PlainExpected), ..diagnosis };
    }
    of_the_app(diagnosis)
}

/// What an error's text means if it names an alert of the server.
pub(crate) fn alert(text: &str) -> Option<Diagnosis> {
    let text = text.to_ascii_lowercase();
    let named = ALERTS.iter().find(|(alert, _)| text.contains(alert));
    let diagnosis = Diagnosis { reason: Reason::TlsFailed, cause: named.map(|(_, cause)| *cause) };
    (named.is_some() || text.contains(ANY_ALERT)).then_some(diagnosis)
}

/// The same for the app.
pub(crate) fn alert_of_the_app(text: &str) -> Option<Diagnosis> {
    alert(text).map(of_the_app)
}

/// Causes whose remedies differ from the database's: no setting gives the app check a certificate or a CA of its own.
fn of_the_app(diagnosis: Diagnosis) -> Diagnosis {
    let cause = match (diagnosis.reason, diagnosis.cause) {
        (_, Some(Cause::ClientCertificateRequired)) => Some(Cause::ClientCertificateForApp),
        (_, Some(Cause::CertificateName)) => Some(Cause::CertificateNameOfApp),
        (_, Some(Cause::CertificateIssuer)) | (Reason::TlsUntrusted, None) => Some(Cause::CertificateOfApp),
        (Reason::TlsFailed, None | Some(Cause::AlpnRefused)) => Some(Cause::HandshakeOfApp),
        (_, cause) => cause,
    };
    Diagnosis { cause, ..diagnosis }
}

fn of_text(text: &str) -> Diagnosis {
    if let Some(diagnosis) = alert(text) {
        return diagnosis;
    }
    let text = text.to_ascii_lowercase();
    if text.contains(VERIFY_FAILED) {
        let verdict = VERDICTS.iter().find(|(verdict, _)| text.contains(verdict));
        return Diagnosis { reason: Reason::TlsUntrusted, cause: verdict.map(|(_, cause)| *cause) };
    }
    if UNTRUSTED.iter().any(|words| text.contains(words)) {
        return Reason::TlsUntrusted.into();
    }
    if LOST.iter().any(|word| text.contains(word)) { Reason::ConnectionLost.into() } else { Reason::TlsFailed.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_has_its_cause() {
        const VERIFY: &str = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1890:";
        for (verdict, cause) in [
            ("certificate has expired", Some(Cause::CertificateExpired)),
            ("certificate is not yet valid", Some(Cause::CertificateExpired)),
            ("hostname mismatch", Some(Cause::CertificateName)),
            ("Hostname mismatch", Some(Cause::CertificateName)),
            ("IP address mismatch", Some(Cause::CertificateName)),
            ("self-signed certificate", Some(Cause::CertificateIssuer)),
            ("self-signed certificate in certificate chain", Some(Cause::CertificateIssuer)),
            ("unable to get local issuer certificate", Some(Cause::CertificateIssuer)),
            ("unsuitable certificate purpose", None),
        ] {
            let expected = Diagnosis { reason: Reason::TlsUntrusted, cause };
            assert_eq!(of_text(&format!("{VERIFY} ({verdict})")), expected, "{verdict}");
        }
        assert_eq!(of_text("The certificate was not trusted.").reason, Reason::TlsUntrusted);
    }

    #[test]
    fn what_the_app_lacks_is_not_to_be_set_in_the_databases_url() {
        let verify = |verdict: &str| {
            format!(
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed ({verdict})"
            )
        };
        for (text, cause) in [
            (verify("self-signed certificate"), Cause::CertificateOfApp),
            (verify("unsuitable certificate purpose"), Cause::CertificateOfApp),
            (verify("hostname mismatch"), Cause::CertificateNameOfApp),
            (verify("certificate has expired"), Cause::CertificateExpired),
            ("tlsv1 alert protocol version".to_owned(), Cause::HandshakeOfApp),
            ("tlsv1 alert no application protocol".to_owned(), Cause::HandshakeOfApp),
            ("tlsv13 alert certificate required".to_owned(), Cause::ClientCertificateForApp),
            (NO_TLS.to_owned(), Cause::PlainExpected),
        ] {
            let found = of_the_apps_text(&text).cause;
            assert_eq!(found, Some(cause), "{text}");
            let remedy = cause.remedy();
            assert!(
                !["DATABASE_URL", "PostgreSQL", "sslrootcert"].iter().any(|word| remedy.contains(word)),
                "{remedy}"
            );
        }
    }

    /// Seen from `openssl s_server -tls1_2 -Verify 1 -verify_return_error` where a loopback app's certificate is not
    /// verified.
    #[test]
    fn a_verdict_that_was_not_asked_for_is_not_why_a_handshake_failed() {
        const REFUSED: &str = "error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:../ssl/record/rec_layer_s3.c:1601:SSL alert number 40";
        for verdict in ["self-signed certificate", "certificate has expired", "unable to get local issuer certificate"]
        {
            assert_eq!(of_text(&format!("{REFUSED} ({verdict})")), Reason::TlsFailed.into(), "{verdict}");
            assert_eq!(of_text(&format!("unexpected EOF ({verdict})")), Reason::ConnectionLost.into(), "{verdict}");
        }
    }

    /// As OpenSSL 3.0 and 1.1.1 write them.
    #[test]
    fn an_alert_says_what_the_server_wants() {
        for (text, cause) in [
            (
                "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../ssl/record/rec_layer_s3.c:1601:SSL alert number 116",
                Some(Cause::ClientCertificateRequired),
            ),
            (
                "error:14094418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:ssl/record/rec_layer_s3.c:1544:SSL alert number 48",
                Some(Cause::ClientCertificateRequired),
            ),
            (
                "error:0A000415:SSL routines:ssl3_read_bytes:sslv3 alert certificate expired:../ssl/record/rec_layer_s3.c:1601:SSL alert number 45",
                Some(Cause::ClientCertificateRequired),
            ),
            (
                "error:0A000460:SSL routines:ssl3_read_bytes:tlsv1 alert no application protocol:../ssl/record/rec_layer_s3.c:1601:SSL alert number 120",
                Some(Cause::AlpnRefused),
            ),
            (
                "error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:../ssl/record/rec_layer_s3.c:1601:SSL alert number 40",
                None,
            ),
        ] {
            assert_eq!(alert(text), Some(Diagnosis { reason: Reason::TlsFailed, cause }), "{text}");
            assert_eq!(of_text(text), Diagnosis { reason: Reason::TlsFailed, cause }, "{text}");
        }
        assert_eq!(alert("error communicating with the server"), None);
    }

    #[test]
    fn a_connection_that_is_lost_is_not_a_failure_of_tls() {
        for text in ["unexpected EOF", "Connection reset by peer (os error 104)", "Broken pipe (os error 32)"] {
            assert_eq!(of_text(text), Reason::ConnectionLost.into(), "{text}");
        }
    }
}
