//! Does the database answer? A fresh connection, a login and a query, retried while that may help, inside one deadline.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempts::{Attempt, AttemptEnd, Attempts, Deadlines, Limits};
use super::dial::{self, Resolver, Socket};
use super::query::{ANSWER_MARGIN, Querier};
use super::refusal::KnownRefusals;
use super::session::{Session, TimedTls};
use super::traffic::Traffic;
use super::vitals::reader::{KeptSession, VitalsReader};
use super::vitals::{OwnSession, Vitals};
use super::wire::{Meter, Opening, Wire};
use super::{Cause, Failure, Outcome, Phase, Phases, Progress, Reason, Refusal, ServerFacts};
use crate::config::DatabaseSettings;
use crate::dsn::{Endpoint, TlsPolicy};
use crate::redact::Redactor;
use crate::tls;

mod handshake;

pub(crate) use handshake::Handshake;

/// The result of one database check.
#[derive(Debug)]
pub(crate) struct DatabaseReport {
    /// The deep query.
    pub(crate) query: Outcome,
    /// What it found out about the server, if it passed.
    pub(crate) facts: Option<ServerFacts>,
    /// The additions to the query that the server is known to refuse: checks do without them.
    pub(crate) refused: Vec<Refusal>,
    /// `SIDEPULSE_SQL_CHECKS`, in their order.
    pub(crate) sql: Vec<Outcome>,
}

/// What came of the session in which the deep query passed.
struct Passed {
    facts: ServerFacts,
    sql: Vec<Outcome>,
}

/// Makes database checks, one connection at a time.
#[derive(Debug)]
pub(crate) struct DatabaseProbe {
    settings: DatabaseSettings,
    redactor: Arc<Redactor>,
    resolver: Resolver,
    connector: Option<native_tls::TlsConnector>,
    traffic: Traffic,
    refusals: KnownRefusals,
    /// The connection of the attempt before ended over several statements in one message.
    after_cut: bool,
    /// The start of the first of the latest checks that all waited for their login in vain.
    waiting_since: Option<Instant>,
    vitals_reader: VitalsReader,
    /// The session of a check that passed, until the vitals are read.
    kept: Option<KeptSession>,
}

impl DatabaseProbe {
    /// A probe that has not connected to anything yet.
    pub(crate) fn new(settings: DatabaseSettings, redactor: Arc<Redactor>) -> Self {
        DatabaseProbe {
            vitals_reader: VitalsReader::new(settings.early_warnings.as_ref()),
            kept: None,
            settings,
            redactor,
            resolver: Resolver::default(),
            connector: None,
            traffic: Traffic::default(),
            refusals: KnownRefusals::default(),
            after_cut: false,
            waiting_since: None,
        }
    }

    /// The same probe, which records here what it resolves and opens.
    #[must_use]
    pub(crate) fn recording(self, traffic: &Traffic) -> Self {
        DatabaseProbe { traffic: traffic.clone(), ..self }
    }

    /// Forgets what earlier checks found out, so that one input of a fuzz target always takes the same course.
    #[cfg(fuzzing)]
    pub(crate) fn forget(&mut self) {
        self.refusals = KnownRefusals::default();
        self.waiting_since = None;
        self.vitals_reader = VitalsReader::new(self.settings.early_warnings.as_ref());
    }

    /// How long the next check may take.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.settings.timeout = timeout;
    }

    /// One whole check.
    pub(crate) async fn check(&mut self) -> DatabaseReport {
        // Loading the roots may take longer than a check has, so it is done before the clock starts. Where it fails, the
        // attempt reports it.
        let _ = self.connector();
        let started = Instant::now();
        self.after_cut = false;
        let attempts = Attempts::make(self.limits(), async |deadlines| self.attempt(started, deadlines).await).await;
        self.waiting_since = if attempts.ended_waiting() { self.waiting_since.or(Some(started)) } else { None };
        let (query, passed) = attempts.finish();
        if query.result.as_ref().is_err_and(|failure| failure.cause == Some(Cause::ClientCertificateRequired)) {
            // Its files may be renewed: the next check reads them again.
            self.connector = None;
        }
        let refused = self.refusals.list();
        match passed {
            Some(Passed { facts, sql }) => DatabaseReport { query, facts: Some(facts), refused, sql },
            None => DatabaseReport { sql: self.not_run(&query), query, facts: None, refused },
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.settings;
        Limits { check: settings.timeout, attempt: settings.attempt_timeout, behind_neon: settings.plan.neon }
    }

    /// SQL checks that were not run take the reason of the deep query that failed.
    fn not_run(&self, query: &Outcome) -> Vec<Outcome> {
        let failure = match &query.result {
            Err(cause) => Failure { phase: None, detail: None, unclassified: None, ..cause.clone() },
            Ok(_) => Failure::internal(),
        };
        let outcome = Outcome { result: Err(failure), ..query.clone() };
        vec![Outcome { attempts: 1, phases: Phases::default(), ..outcome }; self.settings.sql_checks.len()]
    }

    /// One attempt: one connection, one login at most, closed at its end.
    async fn attempt(&mut self, check_started: Instant, deadlines: Deadlines) -> Attempt<Passed> {
        let mut progress = Progress::default();
        let meter = Meter::default();
        let mut deadline = deadlines.usual;
        let logged_in = {
            let mut login = pin!(self.log_in(deadline, &mut progress, &meter));
            match (timeout_at(deadline, &mut login).await, deadlines.while_login_waits) {
                (Err(_), Some(latest)) if meter.seen().awaits_login() => {
                    deadline = latest;
                    timeout_at(latest, login).await
                }
                (logged_in, _) => logged_in,
            }
        };
        let extended = deadline != deadlines.usual;
        let (failure, end) = match logged_in {
            Ok(Ok(session)) => {
                let ready_after = self.waiting_since.unwrap_or(check_started).elapsed();
                let attempt = self.run_queries(session, ready_after, deadline, progress).await;
                return Attempt { extended, ..attempt };
            }
            Ok(Err(failure)) => (failure, AttemptEnd::Answered),
            Err(_) => {
                split_tls_from_auth(&mut progress, &meter);
                let end = if meter.seen().awaits_login() { AttemptEnd::Waiting } else { AttemptEnd::TimeOver };
                (progress.timed_out(), end)
            }
        };
        let began_login = progress.phase() == Some(Phase::Auth);
        let (phases, ended) = (progress.phases(), Instant::now());
        Attempt { result: Err(failure), phases, ended, end, began_login, extended }
    }

    /// The deep query and the SQL checks, in a session that is then closed, or kept for the vitals.
    async fn run_queries(
        &mut self,
        session: Session,
        ready_after: Duration,
        deadline: Instant,
        mut progress: Progress,
    ) -> Attempt<Passed> {
        let mut querier = Querier::new(session, self.refusals.current(Instant::now()), self.after_cut);
        progress.enter(Phase::Query);
        let ready = Instant::now();
        let asked = timeout_at(deadline, querier.deep(&self.settings.query, deadline)).await;
        progress.leave();
        let ended = Instant::now();
        let woken = querier.server_up_for().is_some_and(|up_for| up_for < ready_after + (ended - ready));
        let end = if asked.is_err() { AttemptEnd::TimeOver } else { AttemptEnd::Answered };
        let result = match asked {
            Err(_) if querier.has_passed() => Ok(()),
            Err(_) => Err(Failure::timed_out(Phase::Query)),
            Ok(result) => result,
        };
        let result = match result {
            Ok(()) => {
                let sql = self.sql_checks(&mut querier, deadline).await;
                Ok(Passed { facts: ServerFacts { ready_after, woken, ..querier.facts() }, sql })
            }
            Err(failure) => {
                querier.roll_back(deadline).await;
                Err(failure)
            }
        };
        self.end_session(querier, result.as_ref().ok(), deadline).await;
        Attempt { result, phases: progress.phases(), ended, end, began_login: true, extended: false }
    }

    /// Closes the session, or keeps it where the vitals are due, and remembers what the server refused in it.
    async fn end_session(&mut self, querier: Querier, passed: Option<&Passed>, deadline: Instant) {
        let was_cut = querier.was_cut();
        let refused = querier.refused().to_vec();
        match passed {
            Some(passed) if self.vitals_reader.is_due(passed.facts.started.as_deref(), Instant::now()) => {
                self.kept = Some(KeptSession { querier, deadline });
            }
            _ => querier.close(deadline).await,
        }
        if let Some(Passed { facts, .. }) = passed {
            self.refusals.passed(refused, facts, self.after_cut, Instant::now());
        } else if was_cut {
            self.refusals.was_cut();
        }
        self.after_cut = was_cut;
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
        split_tls_from_auth(progress, meter);
        if opened.is_ok() {
            self.traffic.logged_in(meter.seen().received);
        }
        opened
    }

    /// DNS and TCP, or the Unix socket.
    async fn reach(&mut self, deadline: Instant, progress: &mut Progress) -> Result<Socket, Failure> {
        // If the vitals were never read: there are never two connections at once.
        if let Some(KeptSession { querier, .. }) = self.kept.take() {
            querier.close(deadline).await;
        }
        #[cfg(fuzzing)]
        if let Some(socket) = super::fuzzed::connect() {
            progress.enter(Phase::Connect);
            return Ok(socket);
        }
        let connected = self.connect(deadline, progress).await;
        connected
            .map_err(|failure| Failure { detail: failure.detail.map(|text| self.redactor.clean(&text)), ..failure })
    }

    async fn connect(&mut self, deadline: Instant, progress: &mut Progress) -> Result<Socket, Failure> {
        match &self.settings.plan.endpoint {
            Endpoint::Unix { path } => {
                progress.enter(Phase::Connect);
                Ok(dial::socket(dial::connect_unix(path, deadline).await?))
            }
            Endpoint::Tcp { host, port } => {
                progress.enter(Phase::Resolve);
                let addresses = self.resolver.resolve(host, *port, deadline).await?;
                self.traffic.resolved(&addresses, Instant::now());
                progress.enter(Phase::Connect);
                Ok(dial::socket(dial::connect_on(&self.traffic, &addresses, deadline).await?))
            }
        }
    }

    /// The connector, built once at the first check; a plan without TLS needs none.
    fn connector(&mut self) -> Result<Option<native_tls::TlsConnector>, Failure> {
        if self.connector.is_some() || self.settings.plan.tls.policy == TlsPolicy::Off {
            return Ok(self.connector.clone());
        }
        let built = tls::database_connector(&self.settings.plan.tls)
            .map_err(|text| Failure::new(Reason::Internal, Phase::Tls).with_detail(self.redactor.clean(&text)))?;
        self.connector = Some(built);
        Ok(self.connector.clone())
    }

    /// Each SQL check, in a transaction of its own and with its share of the time that is left.
    async fn sql_checks(&self, querier: &mut Querier, deadline: Instant) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(self.settings.sql_checks.len());
        for (i, (_, sql)) in self.settings.sql_checks.iter().enumerate() {
            let started = Instant::now();
            let remaining = u32::try_from(self.settings.sql_checks.len() - i).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(started).saturating_sub(ANSWER_MARGIN) / remaining;
            // Where the server does not end a statement, we end the check, and with it the session.
            let until = if querier.has_clock() { deadline } else { started + share };
            let result = match outcomes.last().and_then(|before| before.result.as_ref().err()) {
                Some(before) if !querier.is_open() => Err(session_lost(before)),
                _ => timeout_at(until, querier.is_true(sql, share))
                    .await
                    .unwrap_or_else(|_| Err(Failure::timed_out(Phase::Query))),
            };
            if result.is_err() {
                querier.roll_back(deadline).await;
            }
            let mut phases = Phases::default();
            phases.set(Phase::Query, started.elapsed());
            outcomes.push(Outcome::now(result, 1, started, phases));
        }
        outcomes
    }

    /// Reads the vitals in the session of the check that has just passed, and closes it. `None`: they are not due yet.
    /// The check's own result was given before: this can neither delay nor fail it.
    pub(crate) async fn vitals(&mut self) -> Option<Result<Vitals, Failure>> {
        let kept = self.kept.take()?;
        Some(self.vitals_reader.read(kept, Instant::now()).await)
    }

    /// The same, with the sessions of this role that do most harm.
    pub(crate) async fn vitals_and_sessions(&mut self) -> Option<(Result<Vitals, Failure>, Vec<OwnSession>)> {
        let mut kept = self.kept.take()?;
        let sessions = VitalsReader::sessions(&mut kept).await;
        Some((self.vitals_reader.read(kept, Instant::now()).await, sessions))
    }
}

/// The driver's one call is two phases, `tls` and `auth`.
fn split_tls_from_auth(progress: &mut Progress, meter: &Meter) {
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

/// A SQL check could not run because the one before it had ended the session.
fn session_lost(before: &Failure) -> Failure {
    let failure = Failure { phase: None, unclassified: None, ..before.clone() };
    failure.with_detail("the session had ended with the check before")
}
