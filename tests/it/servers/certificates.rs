//! The certificates are what they claim to be, to a client that verifies them.

use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{ask_tls, trusting};
use crate::support::certificates::{Authority, Claims, ServerCertificate};
use crate::support::fake_postgres::{Behaviour, FakePostgres};

/// How a login with sslmode=verify-full to this host ends.
fn login(authority: &Authority, certificate: &ServerCertificate, host: &str) -> Result<(), String> {
    let fake = FakePostgres::start_tls(certificate, [Behaviour::good()]);
    let url = fake.url().host(host).param("hostaddr", "127.0.0.1").param("sslmode", "require");
    ask_tls(&url.config(), trusting(authority), "SELECT 1").map(drop)
}

#[test]
fn a_client_finds_each_fault() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let verdict = |claims: Claims, host| login(&authority, &authority.issue(&claims), host);
    assert_eq!(verdict(Claims::right(), "localhost"), Ok(()));
    assert_eq!(verdict(Claims::right(), "127.0.0.1"), Ok(()));
    assert_eq!(verdict(Claims::expiring_in_days(3), "localhost"), Ok(()));
    assert_eq!(verdict(Claims::ip_only(), "127.0.0.1"), Ok(()));
    let faults = [
        (verdict(Claims::ip_only(), "localhost"), "hostname mismatch"),
        (verdict(Claims::wrong_name(), "localhost"), "hostname mismatch"),
        (verdict(Claims::wrong_name(), "127.0.0.1"), "IP address mismatch"),
        (verdict(Claims::expired(), "localhost"), "certificate has expired"),
        (verdict(Claims::not_yet_valid(), "localhost"), "certificate is not yet valid"),
        (login(&authority, &stranger.issue(&Claims::right()), "localhost"), "unable to get local issuer certificate"),
        (login(&authority, &ServerCertificate::self_signed(&Claims::right()), "localhost"), "self-signed certificate"),
    ];
    for (verdict, fault) in faults {
        let error = verdict.expect_err(fault);
        assert!(error.contains(fault), "{fault}: {error}");
    }
}

#[test]
fn the_end_of_validity_is_known() {
    let authority = Authority::new();
    let certificate = authority.issue(&Claims::expiring_in_days(3));
    let read = Certificate::from_der(&certificate.der()).expect("a certificate");
    assert_eq!(read.tbs_certificate.validity.not_after.to_unix_duration().as_secs(), certificate.not_after_unix());
}

#[test]
fn files_hold_what_memory_holds() {
    let authority = Authority::new();
    let certificate = authority.issue(&Claims::right());
    let (pem, key) = certificate.files();
    assert_eq!(std::fs::read_to_string(pem).expect("a file"), certificate.certificate_pem());
    assert_eq!(std::fs::read_to_string(key).expect("a file"), certificate.key_pem());
    assert_eq!(std::fs::read(authority.root_file()).expect("a file"), authority.root_pem());
}
