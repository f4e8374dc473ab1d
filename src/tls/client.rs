//! The client's own certificate, for a server that asks for one, from the files of `sslcert` and `sslkey`.
//!
//! An error names the URL's key and what is wrong, never a path or anything that a file holds.

use native_tls::Identity;

use super::file;
use crate::dsn::ClientCertificate;

/// The certificate with its chain, and its private key.
///
/// # Errors
/// One line for the operator.
pub(super) fn read(files: &ClientCertificate) -> Result<Identity, String> {
    let certificates = file::read(&files.certificate, "sslcert")?;
    let key = file::read(&files.key, "sslkey")?;
    let passphrase = files.passphrase.as_ref().map(|passphrase| passphrase.expose());
    let key = system::as_pkcs8(&key, passphrase, &certificates)?;
    Identity::from_pkcs8(&certificates, &key)
        .map_err(|_| "the files of sslcert and sslkey hold no certificate with its key".to_owned())
}

/// OpenSSL reads every form that libpq reads: PKCS#8 and the older forms of RSA and EC, PEM or DER, encrypted or not.
/// native-tls takes PKCS#8 alone.
#[cfg(not(target_vendor = "apple"))]
mod system {
    use openssl::error::ErrorStack;
    use openssl::pkey::{PKey, Private};
    use openssl::x509::X509;

    pub(super) fn as_pkcs8(key: &[u8], passphrase: Option<&str>, certificates: &[u8]) -> Result<Vec<u8>, String> {
        let chain = X509::stack_from_pem(certificates).unwrap_or_default();
        let first = chain.first().ok_or("the file of sslcert holds no certificate in PEM form")?;
        let key = open(key, passphrase)?;
        if !first.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err("the key of sslkey is not that of the first certificate of sslcert".to_owned());
        }
        key.private_key_to_pem_pkcs8().map_err(|_| "the key of sslkey cannot be used".to_owned())
    }

    fn open(key: &[u8], passphrase: Option<&str>) -> Result<PKey<Private>, String> {
        let mut encrypted = false;
        let write_passphrase = |space: &mut [u8]| {
            encrypted = true;
            let given = passphrase.unwrap_or_default().as_bytes();
            // One that is too long cannot be right.
            let length = if given.len() <= space.len() { given.len() } else { 0 };
            space[..length].copy_from_slice(&given[..length]);
            Ok(length)
        };
        let is_pem = key.windows(10).any(|bytes| bytes == b"-----BEGIN");
        let opened: Result<PKey<Private>, ErrorStack> = match is_pem {
            true => PKey::private_key_from_pem_callback(key, write_passphrase),
            false => PKey::private_key_from_der(key)
                .or_else(|_| PKey::private_key_from_pkcs8_callback(key, write_passphrase)),
        };
        opened.map_err(|_| match (encrypted, passphrase) {
            (true, None) => "the key of sslkey is encrypted: it needs sslpassword".to_owned(),
            (true, Some(_)) => "sslpassword does not open the key of sslkey".to_owned(),
            (false, _) => "the file of sslkey holds no private key in PEM or DER form".to_owned(),
        })
    }
}

/// Apple's library opens no encrypted key.
#[cfg(target_vendor = "apple")]
mod system {
    pub(super) fn as_pkcs8(key: &[u8], passphrase: Option<&str>, _: &[u8]) -> Result<Vec<u8>, String> {
        if passphrase.is_some() {
            return Err(
                "an encrypted key cannot be read on this system: give sslkey one without sslpassword".to_owned()
            );
        }
        Ok(key.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::symm::Cipher;

    use super::*;
    use crate::dsn::Secret;
    use crate::tls::tests::certificate_of;

    const PASSPHRASE: &str = "op3n s3same";

    /// Reads a certificate file and a key file with these contents.
    fn tried(certificate: &[u8], key: &[u8], passphrase: Option<&str>) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| -> PathBuf {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let passphrase = passphrase.map(Secret::new);
        let files = ClientCertificate { certificate: write("c", certificate), key: write("k", key), passphrase };
        read(&files).map(drop)
    }

    #[test]
    fn every_form_of_a_key_is_read() {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let rsa = key.rsa().unwrap();
        let pem = certificate_of(&key, 2).to_pem().unwrap();
        let cipher = Cipher::aes_256_cbc();
        let secret = PASSPHRASE.as_bytes();
        for (form, key, passphrase) in [
            ("PKCS#8", key.private_key_to_pem_pkcs8().unwrap(), None),
            ("PKCS#8 in DER", key.private_key_to_pkcs8().unwrap(), None),
            ("RSA", rsa.private_key_to_pem().unwrap(), None),
            ("RSA in DER", rsa.private_key_to_der().unwrap(), None),
            ("an unneeded passphrase", rsa.private_key_to_pem().unwrap(), Some(PASSPHRASE)),
            ("PKCS#8, encrypted", key.private_key_to_pem_pkcs8_passphrase(cipher, secret).unwrap(), Some(PASSPHRASE)),
            (
                "PKCS#8 in DER, encrypted",
                key.private_key_to_pkcs8_passphrase(cipher, secret).unwrap(),
                Some(PASSPHRASE),
            ),
            ("RSA, encrypted", rsa.private_key_to_pem_passphrase(cipher, secret).unwrap(), Some(PASSPHRASE)),
        ] {
            assert_eq!(tried(&pem, &key, passphrase), Ok(()), "{form}");
        }
        // Certificate and key in one file.
        let both = [pem.clone(), key.private_key_to_pem_pkcs8().unwrap()].concat();
        assert_eq!(tried(&both, &both, None), Ok(()));
    }

    #[test]
    fn a_fault_names_the_key_of_the_url_and_shows_nothing_else() {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let pem = certificate_of(&key, 2).to_pem().unwrap();
        let plain = key.private_key_to_pem_pkcs8().unwrap();
        let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), PASSPHRASE.as_bytes()).unwrap();
        let long = "x".repeat(5000);
        for (certificate, key, passphrase, fault) in [
            (&b"nothing"[..], &plain[..], None, "sslcert holds no certificate"),
            (&plain, &plain, None, "sslcert holds no certificate"),
            (&pem, b"nothing", None, "sslkey holds no private key"),
            (&pem, &pem, None, "sslkey holds no private key"),
            (&pem, &locked, None, "it needs sslpassword"),
            (&pem, &locked, Some("wrong"), "sslpassword does not open"),
            (&pem, &locked, Some(long.as_str()), "sslpassword does not open"),
            (&pem, &other.private_key_to_pem_pkcs8().unwrap(), None, "is not that of the first certificate"),
        ] {
            let told = tried(certificate, key, passphrase).unwrap_err();
            assert!(told.contains(fault) && !told.contains("wrong") && !told.contains('/'), "{fault}: {told}");
        }
        let missing = ClientCertificate { certificate: "/no/such".into(), key: "/no/such".into(), passphrase: None };
        assert_eq!(read(&missing).map(drop).unwrap_err(), "the file of sslcert cannot be read: entity not found");
    }
}
