//! Servers that require a client certificate: without it PgBouncer ends the handshake, and PostgreSQL the login.

use std::path::Path;

use crate::support::certificates::{Authority, Claims, ServerCertificate};
use crate::support::database_url::DatabaseUrl;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::scratch::Scratch;
use crate::support::sidecar::Sidecar;

const PASSPHRASE: &str = "op3n/s3same";

/// The URL with these files as client certificate and key.
fn with(url: &DatabaseUrl, (certificate, key): (impl AsRef<Path>, impl AsRef<Path>)) -> DatabaseUrl {
    let text = |path: &Path| path.to_str().expect("a path of our own").to_owned();
    url.clone().param("sslcert", &text(certificate.as_ref())).param("sslkey", &text(key.as_ref()))
}

#[test]
fn a_server_that_requires_a_certificate_gets_it_or_the_remedy_says_how() {
    let authority = Authority::new();
    let server = authority.issue(&Claims::right());
    let (own, foreign) = (authority.issue(&Claims::right()), Authority::new().issue(&Claims::right()));
    let expired = authority.issue(&Claims::expired());

    let plain = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&plain).tls(&server).client_certificates_of(&authority).start();
    let postgres = Postgres::builder().tls(&server).client_certificates_of(&authority).start();
    // In TLS 1.3 the server's alert comes after the handshake. PostgreSQL asks for a certificate without requiring it,
    // so a login without one fails because of pg_hba.conf.
    for (what, url, without) in
        [("PgBouncer", pooler.url(), "tls_failed"), ("PostgreSQL", postgres.url(), "access_denied")]
    {
        let url = url.param("sslmode", "require");
        for (certificate, url, reason) in [
            ("none", url.clone(), Some(without)),
            ("its own authority's", with(&url, own.files()), None),
            ("one with a locked key", with(&url, own.files_locked(PASSPHRASE)).param("sslpassword", PASSPHRASE), None),
            ("another authority's", with(&url, foreign.files()), Some("tls_failed")),
            ("an expired one", with(&url, expired.files()), Some("tls_failed")),
        ] {
            let (code, check) = Sidecar::on(url).check_database();
            assert_eq!(check["reason"].as_str(), reason, "{what}, {certificate}: {check}");
            assert_eq!(code, Some(i32::from(reason.is_some())), "{what}, {certificate}");
            assert_eq!(check["attempts"], 1, "{what}, {certificate}: it will not heal");
            if reason.is_some() {
                let remedy = check["remedy"].as_str().unwrap_or_default();
                assert!(remedy.contains("client certificate"), "{what}, {certificate}: {remedy}");
            }
        }
    }
}

#[test]
fn a_certificate_renewed_in_its_file_is_used_without_a_restart() {
    let authority = Authority::new();
    let server = Postgres::builder().tls(&authority.issue(&Claims::right())).client_certificates_of(&authority).start();
    let directory = Scratch::new("client");
    let write = |certificate: &ServerCertificate| {
        directory.write("client.key", &certificate.key_pem());
        directory.write("client.crt", &certificate.certificate_pem())
    };
    let certificate = write(&authority.issue(&Claims::expired()));
    let url = with(&server.url().param("sslmode", "require"), (&certificate, directory.path().join("client.key")));
    let sidecar = Sidecar::on(url).app(1).start();
    sidecar.wait_for_check("database:query", |check| check["reason"] == "tls_failed");
    write(&authority.issue(&Claims::right()));
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
}

#[test]
fn files_that_cannot_be_used_are_configuration_errors() {
    let own = Authority::new().issue(&Claims::right());
    let (certificate, key) = own.files_locked(PASSPHRASE);
    let url = DatabaseUrl::new("u", "p", 1, "d").param("sslmode", "require");
    for (url, fault) in [
        (with(&url, (Path::new("/no/such"), key.as_path())), "the file of sslcert cannot be read"),
        (with(&url, (certificate.as_path(), Path::new("/no/such"))), "the file of sslkey cannot be read"),
        (with(&url, (&key, &key)), "sslcert holds no certificate"),
        (with(&url, (&certificate, &certificate)), "sslkey holds no private key"),
        (with(&url, (&certificate, &key)), "it needs sslpassword"),
        (with(&url, (&certificate, &key)).param("sslpassword", "h1dden"), "sslpassword does not open"),
    ] {
        let (code, output, log) = Sidecar::on(&url).arg("check").finish();
        assert_eq!((code, output.as_str()), (Some(2), ""), "{log}");
        assert!(log.contains("DATABASE_URL") && log.contains(fault), "{fault}: {log}");
        assert!(!log.contains("h1dden") && !log.contains("no/such") && !log.contains("server.crt"), "{log}");
    }
}
