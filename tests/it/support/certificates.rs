//! Certificates made at test time: an authority, and server certificates with every fault that a client should notice.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

use super::scratch::Scratch;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a server's certificate claims.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    dns: Vec<String>,
    ip: Vec<IpAddr>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Claims {
    /// No names; valid for a year, since an hour ago.
    fn nameless() -> Claims {
        let now = SystemTime::now();
        Claims { dns: Vec::new(), ip: Vec::new(), not_before: now - HOUR, not_after: now + 365 * DAY }
    }

    /// The names of a good server: `localhost`, 127.0.0.1 and ::1.
    pub(crate) fn right() -> Claims {
        Claims::nameless().dns("localhost").ip(Ipv4Addr::LOCALHOST).ip(Ipv6Addr::LOCALHOST)
    }

    /// Only a name that leads elsewhere.
    pub(crate) fn wrong_name() -> Claims {
        Claims::nameless().dns("db.elsewhere.example")
    }

    /// Only 127.0.0.1: right for the address, wrong for `localhost`.
    pub(crate) fn ip_only() -> Claims {
        Claims::nameless().ip(Ipv4Addr::LOCALHOST)
    }

    /// Right, but expired since yesterday.
    pub(crate) fn expired() -> Claims {
        let now = SystemTime::now();
        Claims::right().valid(now - 30 * DAY, now - DAY)
    }

    /// Right, but valid only from tomorrow.
    pub(crate) fn not_yet_valid() -> Claims {
        let now = SystemTime::now();
        Claims::right().valid(now + DAY, now + 30 * DAY)
    }

    /// Valid for this many days and an hour, so that the whole days left are `days`.
    pub(crate) fn expiring_in_days(days: u32) -> Claims {
        let now = SystemTime::now();
        Claims::right().valid(now - HOUR, now + days * DAY + HOUR)
    }

    /// One more DNS name.
    pub(crate) fn dns(mut self, name: &str) -> Claims {
        self.dns.push(name.to_owned());
        self
    }

    /// One more address.
    pub(crate) fn ip(mut self, address: impl Into<IpAddr>) -> Claims {
        self.ip.push(address.into());
        self
    }

    /// Another validity.
    pub(crate) fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Claims {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }
}

/// A certificate authority for the tests. A second one is an unknown authority.
///
/// ```ignore
/// let authority = Authority::new();
/// let postgres = Postgres::builder().tls(&authority.issue(&Claims::expired())).start();
/// let url = postgres.url().param("sslmode", "verify-full").param("sslrootcert", authority.root_file());
/// ```
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
    file: PathBuf,
    _directory: Scratch,
}

impl Authority {
    /// Makes a root and writes its PEM file.
    pub(crate) fn new() -> Authority {
        let now = SystemTime::now();
        let claims = Claims::nameless().valid(now - 60 * DAY, now + 3650 * DAY);
        let key = new_key().expect("make a key");
        let directory = Scratch::new("authority");
        // A unique name: with two authorities of the same name a client would say that the signature is wrong.
        let number = directory.path().file_name().expect("a directory's name").to_string_lossy();
        let name = format!("sidepulse test {number}");
        let certificate = make(&claims, &name, &key, None, true).expect("make a root certificate");
        let file = directory.path().join("root.pem");
        fs::write(&file, certificate.to_pem().expect("a certificate as PEM")).expect("write the root's file");
        Authority { certificate, key, file, _directory: directory }
    }

    /// A server's certificate, signed by this authority.
    pub(crate) fn issue(&self, claims: &Claims) -> ServerCertificate {
        ServerCertificate::new(claims, Some((&self.certificate, &self.key)))
    }

    /// The root's PEM file, for `sslrootcert=` or `SSL_CERT_FILE`; removed with the authority.
    pub(crate) fn root_file(&self) -> &str {
        self.file.to_str().expect("a path of our own")
    }

    /// The root as PEM.
    pub(crate) fn root_pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("a certificate as PEM")
    }
}

/// A server's certificate with its key, in memory and as PEM files that are removed with it.
pub(crate) struct ServerCertificate {
    certificate: X509,
    key: PKey<Private>,
    not_after: SystemTime,
    directory: Scratch,
}

impl ServerCertificate {
    /// A self-signed certificate.
    pub(crate) fn self_signed(claims: &Claims) -> ServerCertificate {
        ServerCertificate::new(claims, None)
    }

    /// The same, signed with Ed25519: like RSA-PSS an algorithm without a named digest, so channel binding is
    /// impossible.
    pub(crate) fn ed25519(claims: &Claims) -> ServerCertificate {
        ServerCertificate::with_key(claims, PKey::generate_ed25519().expect("make a key"), None)
    }

    fn new(claims: &Claims, issuer: Option<(&X509, &PKey<Private>)>) -> ServerCertificate {
        ServerCertificate::with_key(claims, new_key().expect("make a key"), issuer)
    }

    fn with_key(claims: &Claims, key: PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> ServerCertificate {
        let certificate = make(claims, "sidepulse test server", &key, issuer, false).expect("make a certificate");
        let directory = Scratch::new("certificate");
        let made = ServerCertificate { certificate, key, not_after: claims.not_after, directory };
        made.directory.write("server.crt", &made.certificate_pem());
        made.directory.write("server.key", &made.key_pem());
        made
    }

    /// The certificate as PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        text(self.certificate.to_pem())
    }

    /// The key as unencrypted PKCS#8 PEM.
    pub(crate) fn key_pem(&self) -> String {
        text(self.key.private_key_to_pem_pkcs8())
    }

    /// The certificate as DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.certificate.to_der().expect("a certificate as DER")
    }

    /// `server.crt` and `server.key` on disk, for `uvicorn --ssl-certfile` and the like.
    pub(crate) fn files(&self) -> (PathBuf, PathBuf) {
        let file = |name: &str| Path::new(self.directory.path()).join(name);
        (file("server.crt"), file("server.key"))
    }

    /// The same with the key encrypted by this passphrase.
    pub(crate) fn files_locked(&self, passphrase: &str) -> (PathBuf, PathBuf) {
        let locked = self.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase.as_bytes());
        let key = self.directory.write("locked.key", &text(locked));
        (self.files().0, key)
    }

    /// When it expires, in seconds since 1970, as `/metrics` should show it.
    pub(crate) fn not_after_unix(&self) -> u64 {
        unix(self.not_after)
    }
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)
}

/// Signed with SHA-256 (Ed25519 has its own digest) by `issuer`, or without one by its own key.
fn make(
    claims: &Claims,
    name: &str,
    key: &PKey<Private>,
    issuer: Option<(&X509, &PKey<Private>)>,
    is_authority: bool,
) -> Result<X509, ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(120, MsbOption::ONE, false)?;

    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&*subject, |(certificate, _)| certificate.subject_name()))?;
    builder.set_not_before(&*asn1(claims.not_before)?)?;
    builder.set_not_after(&*asn1(claims.not_after)?)?;
    builder.set_pubkey(key)?;
    if is_authority {
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    } else {
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
        let mut names = SubjectAlternativeName::new();
        for dns in &claims.dns {
            names.dns(dns);
        }
        for ip in &claims.ip {
            names.ip(&ip.to_string());
        }
        let names = names.build(&builder.x509v3_context(issuer.map(|(certificate, _)| &**certificate), None))?;
        builder.append_extension(names)?;
    }
    let signer = issuer.map_or(key, |(_, key)| key);
    let digest = if signer.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
    builder.sign(signer, digest)?;
    Ok(builder.build())
}

fn asn1(time: SystemTime) -> Result<Asn1Time, ErrorStack> {
    Asn1Time::from_unix(i64::try_from(unix(time)).expect("a date of our time"))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("a date of our time").as_secs()
}

fn text(pem: Result<Vec<u8>, ErrorStack>) -> String {
    String::from_utf8(pem.expect("PEM")).expect("PEM is ASCII")
}
