//! PostgreSQL's messages as a server writes them, and its TLS.

use std::sync::LazyLock;

use native_tls::Identity;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509NameBuilder};
use tokio_native_tls::TlsAcceptor;

/// A message from its type and body; the length is written here.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let Some((kind, body)) = bytes.split_first() else { return Vec::new() };
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[*kind], &length.to_be_bytes()[..], body].concat()
}

/// From AuthenticationOk to ReadyForQuery.
pub fn login() -> Vec<u8> {
    [message(b"R\0\0\0\0"), announcements(), message(b"ZI")].concat()
}

fn announcements() -> Vec<u8> {
    let version = message(b"Sserver_version\x0015.18 (Debian 15.18-0+deb12u1)\0");
    let others = [message(b"Sclient_encoding\0UTF8\0"), message(b"Sdefault_transaction_read_only\0off\0")];
    [version, others.concat(), message(b"K\0\0\x12\x34\x56\x78\x9a\xbc")].concat()
}

/// Responses that no fuzzer should have to find byte by byte.
pub fn answers() -> Vec<Vec<u8>> {
    let done = |what: &str| message(&[b"C", what.as_bytes(), b"\0"].concat());
    let begun = [done("BEGIN"), done("SET"), done("SET")].concat();
    let facts = row(&[Some("1790000000.123456"), Some("f"), Some("off")]);
    let table = |rows: Vec<u8>| [described(), rows, done("SELECT 1")].concat();
    let (one, truth) = (table(row(&[Some("1")])), table(row(&[Some("t")])));
    let ended = [done("ROLLBACK"), message(b"ZI")].concat();
    let error = |fields: &str| message(&[b"E", fields.as_bytes(), b"\0\0"].concat());
    vec![
        message(b"R\0\0\0\0"),
        announcements(),
        message(b"ZI"),
        [&begun[..], &one, &table(facts.clone()), &ended].concat(),
        [&begun[..], &truth, &ended].concat(),
        begun,
        one,
        table(facts),
        ended,
        done("SELECT 1"),
        row(&[None, Some("t")]),
        described(),
        message(b"R\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
        message(b"R\0\0\0\x05salt"),
        message(b"R\0\0\0\x03"),
        [error("SERROR\0VERROR\0C57014\0Mcanceling statement due to statement timeout"), message(b"ZE")].concat(),
        error("SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"probe\""),
        error("SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up"),
        message(b"NSNOTICE\0VNOTICE\0C00000\0Mso far so good\0\0"),
        b"D\x40\0\0\0".to_vec(),
    ]
}

/// One column of text.
fn described() -> Vec<u8> {
    message(b"T\0\x01?column?\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = vec![b'D', 0, u8::try_from(values.len()).expect("a few columns")];
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("a short value"));
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default().as_bytes());
    }
    message(&body)
}

/// A server's TLS with a self-signed certificate.
pub fn tls() -> &'static TlsAcceptor {
    static ACCEPTOR: LazyLock<TlsAcceptor> = LazyLock::new(|| {
        let (certificate, key) = certificate().expect("a certificate");
        let identity = Identity::from_pkcs8(&certificate, &key).expect("a certificate and its key");
        native_tls::TlsAcceptor::new(identity).expect("a TLS acceptor").into()
    });
    &ACCEPTOR
}

/// A certificate and its key, both as PEM.
fn certificate() -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "fuzz")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(3650)?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build().to_pem()?, key.private_key_to_pem_pkcs8()?))
}
