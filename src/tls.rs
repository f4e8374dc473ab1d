//! Whom to trust and which certificate to show: TLS connectors from the plan, and when a server's certificate expires.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use native_tls::{Certificate, Protocol, TlsConnector};
use x509_cert::der::{Decode, Header, Reader, SliceReader};
use x509_cert::time::Validity;

use crate::dsn::{Roots, TlsPlan, TlsPolicy, Verify};

mod client;
mod file;

/// Loads the roots, which takes 40 to 75 ms of CPU: the connector is built once and cloned.
///
/// native-tls loads the system's bundle in any case. Disabling it afterwards frees the memory without returning a page to
/// the system: 1.5 MB, which only `SSL_CERT_FILE=/dev/null` saves.
///
/// # Errors
/// Text for the log at level debug; [`check_files`] has already reported what an operator can fix.
pub(crate) fn database_connector(plan: &TlsPlan) -> Result<TlsConnector, String> {
    let verify = match plan.policy {
        TlsPolicy::Off => Verify::None,
        TlsPolicy::IfOffered { verify } | TlsPolicy::Required { verify } => verify,
    };
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    builder.danger_accept_invalid_certs(verify == Verify::None);
    builder.danger_accept_invalid_hostnames(verify != Verify::Full);
    if let (Roots::File(path), true) = (&plan.roots, verify != Verify::None) {
        builder.disable_built_in_roots(true);
        for root in read_roots(path)? {
            builder.add_root_certificate(root);
        }
    }
    if let Some(files) = &plan.client {
        builder.identity(client::read(files)?);
    }
    // Direct negotiation needs it. Elsewhere a TLS proxy in Go (Traefik, Caddy) would end the handshake: crypto/tls does
    // so where no protocol fits, although PostgreSQL's own negotiation needs none.
    if plan.direct {
        postgres_native_tls::set_postgresql_alpn(&mut builder);
    }
    builder.build().map_err(|error| chain(&error))
}

/// The connector of an https app check. A loopback host has no name that a certificate could prove.
///
/// # Errors
/// Text for the log at level debug.
pub(crate) fn app_connector(loopback: bool) -> Result<TlsConnector, String> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    builder.danger_accept_invalid_certs(loopback);
    builder.danger_accept_invalid_hostnames(loopback);
    builder.build().map_err(|error| chain(&error))
}

/// What would make every handshake fail, found at the start: a root file that is missing or holds no certificate, a system
/// without roots where they are needed, a client certificate or key that cannot be used. One line each, without the path,
/// which is part of the URL.
pub(crate) fn check_files(plan: &TlsPlan) -> Vec<String> {
    let client = plan.client.as_ref().filter(|_| plan.policy != TlsPolicy::Off);
    let client = client.map_or(Ok(()), |files| client::read(files).map(drop));
    [check_roots(plan), client].into_iter().filter_map(Result::err).collect()
}

fn check_roots(plan: &TlsPlan) -> Result<(), String> {
    let verify = match plan.policy {
        TlsPolicy::Off => return Ok(()),
        TlsPolicy::IfOffered { verify } | TlsPolicy::Required { verify } => verify,
    };
    match &plan.roots {
        _ if verify == Verify::None => Ok(()),
        Roots::File(path) => read_roots(path).map(drop),
        Roots::System if system_has_roots() => Ok(()),
        Roots::System => {
            Err("the server's certificate is to be verified, but this system has no root certificates".into())
        }
    }
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = file::read(path, "sslrootcert")?;
    match Certificate::stack_from_pem(&pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err("the file of sslrootcert holds no certificate in PEM form".into()),
    }
}

#[cfg(target_vendor = "apple")]
fn system_has_roots() -> bool {
    true
}

#[cfg(not(target_vendor = "apple"))]
fn system_has_roots() -> bool {
    // The same places as native-tls, including SSL_CERT_FILE and SSL_CERT_DIR.
    let found = openssl_probe::probe();
    found.cert_file.is_some_and(|file| fs::metadata(file).is_ok_and(|m| m.len() > 0))
        || found.cert_dir.iter().any(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()))
}

/// When a certificate expires; `None` where it cannot be read.
pub(crate) fn expiry(certificate: &Certificate) -> Option<SystemTime> {
    let not_after = validity(&certificate.to_der().ok()?).ok()?.not_after;
    Some(SystemTime::UNIX_EPOCH + not_after.to_unix_duration())
}

/// The only field of a certificate (RFC 5280, 4.1) that is parsed, so that an odd name or extension does not hide it.
fn validity(der: &[u8]) -> x509_cert::der::Result<Validity> {
    let header = |reader: &mut SliceReader<'_>| Header::decode(reader).map(drop);
    let mut reader = SliceReader::new(der)?;
    header(&mut reader)?; // Certificate
    header(&mut reader)?; // TBSCertificate
    if reader.peek_tag()?.is_context_specific() {
        reader.tlv_bytes()?; // version
    }
    for _serial_number_signature_issuer in 0..3 {
        reader.tlv_bytes()?;
    }
    reader.decode()
}

/// An error and its causes in one line, each text once (OpenSSL's come twice).
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests;
