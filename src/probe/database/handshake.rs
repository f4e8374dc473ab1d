//! A handshake without a login: what can be proven of a database without a password, and without waking it up.

use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::super::attempts::{Attempt, AttemptEnd, Attempts};
use super::super::{Failure, Outcome, Phase, Progress, Reason, diagnosis};
use super::DatabaseProbe;
use crate::dsn::TlsPolicy;
use crate::tls;

/// The 8 bytes that ask a PostgreSQL server for TLS (protocol documentation, "SSLRequest").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The result of a handshake without a login.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// Whether it passed; its phases are `resolve`, `connect` and `tls`.
    pub(crate) outcome: Outcome,
    /// When the server's certificate expires, where there is one and it can be read.
    pub(crate) certificate: Option<SystemTime>,
}

impl DatabaseProbe {
    /// Proves DNS, TCP, TLS and the certificate without logging in: no password is needed, and a suspended Neon compute
    /// stays asleep (its proxy wakes it only after authentication).
    pub(crate) async fn handshake(&mut self) -> Handshake {
        let attempts = Attempts::make(self.limits(), async |deadlines| {
            let mut progress = Progress::default();
            let result = timeout_at(deadlines.usual, self.shake_hands(deadlines.usual, &mut progress)).await;
            let end = if result.is_err() { AttemptEnd::TimeOver } else { AttemptEnd::Answered };
            let result = result.unwrap_or_else(|_| Err(progress.timed_out()));
            let (phases, ended) = (progress.phases(), Instant::now());
            Attempt { result, phases, ended, end, began_login: false, extended: false }
        });
        let (outcome, certificate) = attempts.await.finish();
        Handshake { outcome, certificate: certificate.flatten() }
    }

    /// When the server's certificate expires, by one handshake without a login; `Ok(None)` where there is no certificate,
    /// or none that can be read.
    pub(crate) async fn certificate(&mut self, deadline: Instant) -> Result<Option<SystemTime>, Failure> {
        let mut progress = Progress::default();
        let result = timeout_at(deadline, self.shake_hands(deadline, &mut progress)).await;
        result.unwrap_or_else(|_| Err(progress.timed_out()))
    }

    async fn shake_hands(&mut self, deadline: Instant, progress: &mut Progress) -> Result<Option<SystemTime>, Failure> {
        let mut socket = self.reach(deadline, progress).await?;
        let plan = &self.settings.plan;
        let must = matches!(plan.tls.policy, TlsPolicy::Required { .. });
        let (direct, name) = (plan.tls.direct, plan.server_name().unwrap_or_default().to_owned());
        let Some(connector) = self.connector()? else { return Ok(None) };
        progress.enter(Phase::Tls);
        if !direct {
            let lost = |error: std::io::Error| {
                Failure::new(Reason::ConnectionLost, Phase::Tls).with_detail(error.kind().to_string())
            };
            socket.write_all(&SSL_REQUEST).await.map_err(lost)?;
            match socket.read_u8().await.map_err(lost)? {
                b'S' => {}
                b'N' if must => return Err(Failure::new(Reason::TlsUnsupported, Phase::Tls)),
                b'N' => return Ok(None),
                _ => return Err(Failure::new(Reason::ProtocolError, Phase::Tls)),
            }
        }
        let connector = tokio_native_tls::TlsConnector::from(connector);
        let mut stream = connector.connect(&name, socket).await.map_err(|error| {
            Failure::diagnosed(diagnosis::tls::diagnose(&error), Phase::Tls)
                .with_detail(self.redactor.clean(&tls::chain(&error)))
        })?;
        progress.leave();
        let certificate = stream.get_ref().peer_certificate().ok().flatten();
        let _ = timeout_at(deadline, stream.shutdown()).await;
        Ok(certificate.as_ref().and_then(tls::expiry))
    }
}
