//! From what the URL says about TLS to what the probe does.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::config::ChannelBinding;

use super::host::Destination;
use super::{BadUrl, EXAMPLE, Endpoint, Secret, Warning};

/// With a certificate of the client's own.
const WITH_CERTIFICATE: &str =
    "postgresql://user@host/dbname?sslmode=verify-full&sslcert=/certs/client.crt&sslkey=/certs/client.key";

/// How much of the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Nothing: encryption alone, which an active attacker can defeat.
    None,
    /// That one of the roots signed it (libpq's `verify-ca`).
    Chain,
    /// That, and that it is for the host's name (libpq's `verify-full`).
    Full,
}

/// The certificates in which a chain may end. `Debug` does not show the path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The system's.
    System,
    /// Only those of a PEM file. Whether it exists shows when the connector is built.
    File(PathBuf),
}

/// The client's own certificate, for a server that asks for one. `Debug` does not show the paths.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    /// PEM: the certificate, then what signed it.
    pub(crate) certificate: PathBuf,
    /// PEM: its private key. Whether the files exist shows when the connector is built.
    pub(crate) key: PathBuf,
    /// The passphrase, where the key is encrypted.
    pub(crate) passphrase: Option<Secret>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPolicy {
    /// Never: `sslmode=disable`, and every Unix socket.
    Off,
    /// `prefer` and `allow`: TLS if the server offers it; a failed handshake never leads to plaintext.
    IfOffered {
        /// What is verified where TLS is offered.
        verify: Verify,
    },
    /// `require` and above.
    Required {
        /// What is verified.
        verify: Verify,
    },
}

/// How to encrypt.
#[derive(Clone, Debug)]
pub(crate) struct TlsPlan {
    /// Whether to encrypt, and what to verify.
    pub(crate) policy: TlsPolicy,
    /// Which roots to verify against; of no use where nothing is verified.
    pub(crate) roots: Roots,
    /// `sslnegotiation=direct`: the handshake begins at once, without an SSLRequest, and needs ALPN `postgresql`. Only
    /// together with [`TlsPolicy::Required`].
    pub(crate) direct: bool,
    /// The certificate for a server that asks for one; `None` where TLS is off.
    pub(crate) client: Option<ClientCertificate>,
}

/// libpq's modes, the weakest first. `allow` means `prefer` here, since plaintext is never tried first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// What the URL's keys say about TLS.
#[derive(Default)]
pub(super) struct TlsKeys {
    pub(super) mode: Option<SslMode>,
    pub(super) roots: Option<Roots>,
    pub(super) direct: bool,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) passphrase: Option<Secret>,
    /// `sslcertmode=disable`: the server gets no certificate of ours, even if it asks.
    pub(super) without_certificate: bool,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Roots::System => f.write_str("System"),
            Roots::File(_) => f.write_str("File"),
        }
    }
}

/// Combines what the URL asks for with what the destination requires. Where they disagree the stronger one wins, with a
/// warning; a weaker one that was asked for explicitly and is impossible is a fault.
pub(super) fn decide(
    keys: TlsKeys,
    destination: &Destination,
    binding: ChannelBinding,
    warnings: &mut Vec<Warning>,
) -> Result<TlsPlan, BadUrl> {
    let mut warn = |text: &str| warnings.push(Warning(text.to_owned()));
    let mode = match destination.endpoint {
        Endpoint::Tcp { .. } => mode_over_tcp(&keys, destination, &mut warn)?,
        Endpoint::Unix { .. } => {
            if keys.mode.is_some_and(|asked| asked >= SslMode::Require) || keys.roots.is_some() || keys.direct {
                warn("the TLS settings are ignored: a Unix socket has no TLS");
            }
            SslMode::Disable
        }
    };
    if mode == SslMode::Disable && binding == ChannelBinding::Require {
        return Err(BadUrl::new("channel_binding=require needs TLS", EXAMPLE));
    }
    let direct = keys.direct && mode != SslMode::Disable;
    let roots = keys.roots.clone().unwrap_or(Roots::System);
    let client = client_certificate(keys, mode, &mut warn)?;
    let verify = match mode {
        SslMode::VerifyFull => Verify::Full,
        SslMode::VerifyCa => Verify::Chain,
        // libpq: with a root file `require`, and `prefer` too, verify the chain.
        _ if roots != Roots::System => Verify::Chain,
        _ => Verify::None,
    };
    // Channel binding proves the server by the password that both know.
    if mode == SslMode::Require && verify == Verify::None && binding != ChannelBinding::Require {
        warn("the server's certificate is not verified: add sslmode=verify-full");
    }
    if verify == Verify::Chain && roots == Roots::System {
        warn("sslmode=verify-ca without sslrootcert accepts every publicly trusted certificate: use verify-full");
    }
    let policy = match mode {
        SslMode::Disable => TlsPolicy::Off,
        SslMode::Prefer => TlsPolicy::IfOffered { verify },
        _ => TlsPolicy::Required { verify },
    };
    Ok(TlsPlan { policy, roots, direct, client })
}

/// The mode that is used: the URL's, or a stronger one.
fn mode_over_tcp(keys: &TlsKeys, destination: &Destination, warn: &mut impl FnMut(&str)) -> Result<SslMode, BadUrl> {
    let asked = keys.mode;
    let mut mode = asked.unwrap_or(if destination.private { SslMode::Prefer } else { SslMode::Require });
    if keys.roots == Some(Roots::System) && mode < SslMode::VerifyFull {
        if asked.is_some() {
            warn("sslrootcert=system means sslmode=verify-full: the weaker mode is not used");
        }
        mode = SslMode::VerifyFull;
    }
    if destination.neon_certificate && mode < SslMode::VerifyFull {
        if asked.is_some_and(|asked| asked < SslMode::Require) {
            warn("a Neon host is always verified as with sslmode=verify-full: the weaker mode is not used");
        }
        mode = SslMode::VerifyFull;
    }
    if keys.direct && mode < SslMode::Require {
        // libpq: "weak sslmode may not be used with sslnegotiation=direct".
        if asked.is_some() {
            return Err(BadUrl::new("sslnegotiation=direct needs sslmode=require or stronger", EXAMPLE));
        }
        mode = SslMode::Require;
    }
    if mode == SslMode::Disable && keys.roots.is_some() {
        warn("sslrootcert is ignored: sslmode=disable uses no TLS");
    }
    Ok(mode)
}

fn client_certificate(
    keys: TlsKeys,
    mode: SslMode,
    warn: &mut impl FnMut(&str),
) -> Result<Option<ClientCertificate>, BadUrl> {
    let TlsKeys { certificate, key, passphrase, without_certificate, .. } = keys;
    match (certificate, key) {
        (None, None) => {}
        _ if without_certificate => warn("sslcert and sslkey are ignored: sslcertmode=disable"),
        _ if mode == SslMode::Disable => warn("sslcert and sslkey are ignored: without TLS there are no certificates"),
        (Some(certificate), Some(key)) => return Ok(Some(ClientCertificate { certificate, key, passphrase })),
        // libpq would look in the home directory; a container has no key there.
        _ => return Err(BadUrl::new("sslcert and sslkey belong together: one of them is missing", WITH_CERTIFICATE)),
    }
    Ok(None)
}
