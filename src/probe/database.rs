//! Does the database answer? A fresh connection, a login and a query, retried while that may help, inside one deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::dial::{self, Resolver, Socket};
use super::session::{ANSWER_MARGIN, Session, TimedTls};
use super::trail::Trail;
use super::wire::{Meter, Opening, Wire};
use super::{Class, Failure, Outcome, Phase, Phases, Progress, Reason, ServerFacts, diagnosis};
use crate::config::DatabaseSettings;
use crate::dsn::{Endpoint, TlsPolicy};
use crate::redact::Redactor;
use crate::retry::Waits;
use crate::tls;

/// The 8 bytes that ask a PostgreSQL server for TLS (protocol documentation, "SSLRequest").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// No attempt starts with less than this part of the check's timeout left: it could only fail.
const LEAST_PART: u32 = 10;

/// The result of one database check: the deep query's, and that of each SQL check in their order.
#[derive(Debug)]
pub struct Report {
    /// The deep query.
    pub deep: Outcome,
    /// `SIDEPULSE_SQL_CHECKS`.
    pub sql: Vec<Outcome>,
}

/// What came of one connection.
struct Attempt {
    result: Result<ServerFacts, Failure>,
    phases: Phases,
    /// The end of the deep query: what the SQL checks take is their own.
    ended: Instant,
    /// Empty where the deep query failed.
    sql: Vec<Outcome>,
}

/// The result of a handshake without login.
#[derive(Debug)]
pub struct Greeting {
    /// When the server's certificate ends, where there is one and it can be read.
    pub result: Result<Option<SystemTime>, Failure>,
    /// `resolve`, `connect`, `tls`.
    pub phases: Phases,
    /// The whole of it.
    pub duration: Duration,
}

/// Makes database checks, one connection at a time.
#[derive(Debug)]
pub struct DatabaseProbe {
    settings: DatabaseSettings,
    redactor: Arc<Redactor>,
    resolver: Resolver,
    connector: Option<native_tls::TlsConnector>,
    trail: Trail,
}

impl DatabaseProbe {
    /// A prober that has not connected to anything yet.
    pub fn new(settings: DatabaseSettings, redactor: Arc<Redactor>) -> Self {
        DatabaseProbe { settings, redactor, resolver: Resolver::default(), connector: None, trail: Trail::default() }
    }

    /// The same prober, whose addresses and sockets shall be known through this trail.
    #[must_use]
    pub fn leaving(self, trail: &Trail) -> Self {
        DatabaseProbe { trail: trail.clone(), ..self }
    }

    /// One whole check.
    pub async fn check(&mut self) -> Report {
        // Loading the roots takes longer than a whole check: it is done before the clock starts. Where it fails, the
        // attempt says so.
        let _ = self.connector();
        let started = Instant::now();
        let deadline = started + self.settings.timeout;
        let mut waits = Waits::between_attempts();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let until = deadline.min(Instant::now() + self.settings.attempt_timeout);
            let Attempt { result, phases, ended, sql } = self.attempt(started, until).await;
            if let Err(failure) = &result {
                let next = Instant::now() + waits.draw();
                let latest = deadline - self.settings.timeout / LEAST_PART;
                if failure.reason.class() == Class::Retry && next <= latest {
                    sleep(next - Instant::now()).await;
                    continue;
                }
            }
            let deep = Outcome { duration: ended - started, ..Outcome::now(result, attempts, started, phases) };
            let sql = if sql.is_empty() { self.not_run(&deep) } else { sql };
            return Report { deep, sql };
        }
    }

    /// SQL checks take the reason of a deep query that failed.
    fn not_run(&self, deep: &Outcome) -> Vec<Outcome> {
        let failure = match &deep.result {
            Err(deep) => Failure { phase: None, detail: None, unclassified: None, ..deep.clone() },
            Ok(_) => Failure::internal(),
        };
        let outcome = Outcome { result: Err(failure), ..deep.clone() };
        vec![Outcome { attempts: 1, phases: Phases::default(), ..outcome }; self.settings.sql_checks.len()]
    }

    /// One attempt: one connection, one login at most, closed at its end.
    async fn attempt(&mut self, check_started: Instant, deadline: Instant) -> Attempt {
        let mut progress = Progress::default();
        let meter = Meter::default();
        let conversed = timeout_at(deadline, async {
            let mut session = self.log_in(deadline, &mut progress, &meter).await?;
            let ready_after = check_started.elapsed();
            progress.enter(Phase::Query);
            let deep = session.deep(&self.settings.query, deadline).await;
            progress.leave();
            Ok((session, deep.map(|facts| ServerFacts { ready_after, ..facts })))
        })
        .await;
        let ended = Instant::now();
        let failure = match conversed {
            Ok(Ok((mut session, deep))) => {
                let sql = match &deep {
                    Ok(_) => self.sql_checks(&mut session, deadline).await,
                    Err(_) => Vec::new(),
                };
                if deep.is_err() {
                    session.roll_back(deadline).await;
                }
                session.close(deadline).await;
                return Attempt { result: deep, phases: progress.phases(), ended, sql };
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                settle(&mut progress, &meter);
                timed_out(progress.phase())
            }
        };
        Attempt { result: Err(failure), phases: progress.phases(), ended, sql: Vec::new() }
    }

    /// DNS, TCP, TLS and authentication.
    async fn log_in(&mut self, deadline: Instant, progress: &mut Progress, meter: &Meter) -> Result<Session, Failure> {
        let socket = self.reach(deadline, progress).await?;
        let plan = &self.settings.plan;
        let opening = match plan.tls.policy {
            TlsPolicy::Off => Opening::Plain,
            TlsPolicy::Required { .. } if plan.tls.direct => Opening::DirectTls,
            TlsPolicy::Required { .. } => Opening::SslRequest { must: true },
            TlsPolicy::IfOffered { .. } => Opening::SslRequest { must: false },
        };
        progress.enter(if opening == Opening::Plain { Phase::Auth } else { Phase::Tls });
        let wire = Wire::new(socket, opening, meter.clone());
        let name = plan.server_name().unwrap_or_default().to_owned();
        let tls = self.connector()?.map(|connector| TimedTls {
            connector: postgres_native_tls::TlsConnector::new(connector, &name),
            meter: meter.clone(),
        });
        let config = self.settings.plan.config();
        let opened = Session::open(&config, wire, tls, meter.clone(), Arc::clone(&self.redactor)).await;
        settle(progress, meter);
        opened
    }

    /// DNS and TCP, or the Unix socket.
    async fn reach(&mut self, deadline: Instant, progress: &mut Progress) -> Result<Socket, Failure> {
        #[cfg(fuzzing)]
        if let Some(socket) = super::fuzzed::connect() {
            progress.enter(Phase::Connect);
            return Ok(socket);
        }
        let reached: Result<Socket, Failure> = match &self.settings.plan.endpoint {
            Endpoint::Unix { path } => {
                progress.enter(Phase::Connect);
                dial::connect_unix(path, deadline).await.map(|stream| Box::new(stream) as Socket)
            }
            Endpoint::Tcp { host, port } => {
                progress.enter(Phase::Resolve);
                match self.resolver.resolve(host, *port, deadline).await {
                    Ok(addresses) => {
                        self.trail.resolved(&addresses, Instant::now());
                        progress.enter(Phase::Connect);
                        dial::connect_on(&self.trail, &addresses, deadline)
                            .await
                            .map(|stream| Box::new(stream) as Socket)
                    }
                    Err(failure) => Err(failure),
                }
            }
        };
        reached.map_err(|failure| Failure { detail: failure.detail.map(|text| self.redactor.clean(&text)), ..failure })
    }

    /// Built once, at the first check; a plan without TLS needs none.
    fn connector(&mut self) -> Result<Option<native_tls::TlsConnector>, Failure> {
        if self.connector.is_some() || self.settings.plan.tls.policy == TlsPolicy::Off {
            return Ok(self.connector.clone());
        }
        let built = tls::database_connector(&self.settings.plan.tls)
            .map_err(|text| Failure::new(Reason::Internal, Phase::Tls).with_detail(self.redactor.clean(&text)))?;
        self.connector = Some(built);
        Ok(self.connector.clone())
    }

    /// Each SQL check in a transaction of its own, with its share of the time that is left.
    async fn sql_checks(&self, session: &mut Session, deadline: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(self.settings.sql_checks.len());
        for (i, (_, sql)) in self.settings.sql_checks.iter().enumerate() {
            let started = Instant::now();
            let remaining = u32::try_from(self.settings.sql_checks.len() - i).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(started).saturating_sub(ANSWER_MARGIN) / remaining;
            let result = timeout_at(deadline, session.is_true(sql, share)).await;
            let result = result.unwrap_or_else(|_| Err(timed_out(Some(Phase::Query))));
            if result.is_err() {
                session.roll_back(deadline).await;
            }
            let mut phases = Phases::default();
            phases.set(Phase::Query, started.elapsed());
            outcomes.push(Outcome::now(result.map(|()| ServerFacts::default()), 1, started, phases));
        }
        outcomes
    }

    /// Proves DNS, TCP, TLS and the certificate without logging in: no password is needed, and a suspended Neon
    /// compute stays asleep (its proxy wakes it only after authentication).
    pub async fn greet(&mut self, deadline: Instant) -> Greeting {
        let started = Instant::now();
        let mut progress = Progress::default();
        let result = timeout_at(deadline, self.shake_hands(deadline, &mut progress)).await;
        let result = result.unwrap_or_else(|_| Err(timed_out(progress.phase())));
        Greeting { result, phases: progress.phases(), duration: started.elapsed() }
    }

    /// Checks the way alone, as [`check`](Self::check) checks everything: tried again while that may help, inside the
    /// check's timeout. Gives back the certificate's end as well.
    pub async fn check_way(&mut self) -> (Outcome, Option<SystemTime>) {
        let started = Instant::now();
        let deadline = started + self.settings.timeout;
        let mut waits = Waits::between_attempts();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let greeting = self.greet(deadline.min(Instant::now() + self.settings.attempt_timeout)).await;
            let next = Instant::now() + waits.draw();
            let latest = deadline - self.settings.timeout / LEAST_PART;
            if next <= latest && greeting.result.as_ref().is_err_and(|f| f.reason.class() == Class::Retry) {
                sleep(next - Instant::now()).await;
                continue;
            }
            let certificate = greeting.result.as_ref().ok().copied().flatten();
            let result = greeting.result.map(|_| ServerFacts::default());
            return (Outcome::now(result, attempts, started, greeting.phases), certificate);
        }
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

/// Splits what the driver does in one call into `tls` and `auth`.
fn settle(progress: &mut Progress, meter: &Meter) {
    let seen = meter.seen();
    if progress.phase() != Some(Phase::Tls) {
        return;
    }
    if let Some(done) = seen.tls_done {
        progress.enter_at(Phase::Auth, done);
    } else if seen.plaintext {
        progress.rename(Phase::Auth);
    }
}

fn timed_out(phase: Option<Phase>) -> Failure {
    let phase = phase.unwrap_or(Phase::Query);
    Failure::new(diagnosis::timed_out(phase), phase).with_detail("the time of the attempt was over")
}
