//! What a failed TLS handshake means.

use super::Diagnosis;
use crate::probe::Reason;
use crate::tls;

/// Why a handshake failed: the certificate (chain, name, dates), a closed or reset connection, or anything else.
pub(crate) fn diagnose(error: &native_tls::Error) -> Diagnosis {
    // OpenSSL's words, then those of Apple's Security framework. The error types differ, their texts are stable.
    const UNTRUSTED: [&str; 4] =
        ["certificate verify failed", "not trusted", "certificate has expired", "invalid certificate chain"];
    const LOST: [&str; 3] = ["unexpected eof", "connection reset", "broken pipe"];
    let text = tls::chain(error).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&UNTRUSTED) {
        Reason::TlsUntrusted.into()
    } else if says(&LOST) {
        Reason::ConnectionLost.into()
    } else {
        Reason::TlsFailed.into()
    }
}
