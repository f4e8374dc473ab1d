use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};

use super::*;

const END: i64 = 1_800_000_000;

/// A certificate that ends at [`END`]; version 0 has no field for its version.
fn certificate(version: i32) -> X509 {
    certificate_of(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(), version)
}

/// The same with this key, signed by itself.
pub(super) fn certificate_of(key: &PKey<Private>, version: i32) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(version).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(END).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

#[test]
fn it_finds_the_end_with_and_without_a_version() {
    for version in [0, 2] {
        let certificate = Certificate::from_der(&certificate(version).to_der().unwrap()).unwrap();
        let since = expiry(&certificate).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), END as u64, "version {version}");
    }
}

#[test]
fn a_certificate_that_is_cut_or_garbled_anywhere_has_no_end_or_a_readable_one() {
    let der = certificate(2).to_der().unwrap();
    let after_validity = (0..der.len()).find(|length| validity(&der[..*length]).is_ok()).unwrap();
    assert!(after_validity > 50 && after_validity < der.len() / 2, "{after_validity} of {}", der.len());
    for at in 0..after_validity {
        for byte in [0x00, 0x7f, 0x80, 0x84, 0xff] {
            let mut garbled = der.clone();
            garbled[at] = byte;
            let _ = validity(&garbled);
        }
    }
}
