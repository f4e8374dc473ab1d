//! The server's side of SCRAM-SHA-256 (RFC 5802, 7677) and of the md5 method.

use openssl::base64::{decode_block, encode_block};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;
use openssl::sign::Signer;

/// PostgreSQL's own default.
pub(super) const ITERATIONS: u32 = 4096;

/// An exchange whose first two messages are known.
pub(super) struct Scram {
    password: String,
    salt: [u8; 16],
    iterations: u32,
    nonce: String,
    gs2_header: String,
    client_first_bare: String,
    server_first: String,
}

impl Scram {
    /// Reads the client's first message, such as `n,,n=,r=abc`; None if it is something else.
    pub(super) fn begin(client_first: &str, password: &str, iterations: u32) -> Option<Scram> {
        let bare = client_first.splitn(3, ',').nth(2)?;
        let gs2_header = client_first[..client_first.len() - bare.len()].to_owned();
        let client_nonce = bare.split(',').find_map(|attribute| attribute.strip_prefix("r="))?;
        let (mut salt, mut random) = ([0; 16], [0; 18]);
        rand_bytes(&mut salt).ok()?;
        rand_bytes(&mut random).ok()?;
        let nonce = format!("{client_nonce}{}", encode_block(&random));
        let server_first = format!("r={nonce},s={},i={iterations}", encode_block(&salt));
        let (password, client_first_bare) = (password.to_owned(), bare.to_owned());
        Some(Scram { password, salt, iterations, nonce, gs2_header, client_first_bare, server_first })
    }

    /// The answer to the client's first message.
    pub(super) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Reads the client's final message; the answer to it, or None if the password, the nonce or the channel binding
    /// is wrong. `end_point` is what the channel binds to.
    pub(super) fn finish(&self, client_final: &str, end_point: Option<&[u8]>) -> Option<String> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let mut bound = self.gs2_header.clone().into_bytes();
        if self.gs2_header.starts_with("p=") {
            bound.extend(end_point?);
        }
        if without_proof != format!("c={},r={}", encode_block(&bound), self.nonce) {
            return None;
        }
        let transcript = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let mut salted = [0; 32];
        let (password, iterations) = (self.password.as_bytes(), usize::try_from(self.iterations).ok()?);
        pbkdf2_hmac(password, &self.salt, iterations, MessageDigest::sha256(), &mut salted).ok()?;

        let stored_key = sha256(&hmac(&salted, b"Client Key").ok()?);
        let signature = hmac(&stored_key, transcript.as_bytes()).ok()?;
        let client_key: Vec<u8> = decode_block(proof).ok()?.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = hmac(&salted, b"Server Key").ok()?;
        let answer = format!("v={}", encode_block(&hmac(&server_key, transcript.as_bytes()).ok()?));
        (sha256(&client_key) == stored_key).then_some(answer)
    }
}

/// What a client sends after an md5 request.
pub(super) fn md5_response(user: &str, password: &str, salt: [u8; 4]) -> Result<String, ErrorStack> {
    let inner = hex(&hash(MessageDigest::md5(), format!("{password}{user}").as_bytes())?);
    let salted = [inner.as_bytes(), &salt].concat();
    Ok(format!("md5{}", hex(&hash(MessageDigest::md5(), &salted)?)))
}

fn hmac(key: &[u8], data: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    Signer::new(MessageDigest::sha256(), &*PKey::hmac(key)?)?.sign_oneshot_to_vec(data)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
