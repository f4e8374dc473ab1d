//! What a check is and what it can find: the types shared by the probes, the state, the endpoints and the metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(crate) mod app;
mod attempts;
mod cause;
pub(crate) mod database;
pub(crate) mod diagnosis;
pub(crate) mod dial;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
mod listeners;
mod query;
mod query_error;
mod reason;
mod refusal;
mod server_facts;
mod session;
pub(crate) mod traffic;

pub(crate) mod vitals;
mod wire;

pub(crate) use reason::{Class, Reason};
pub(crate) use refusal::{Addition, Refusal};

pub(crate) use cause::Cause;
use cause::Diagnosis;
pub(crate) use server_facts::ServerFacts;

/// Which check. Its [`name`](CheckId::name) is the `check` label of the metrics and the `check` field of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CheckId {
    /// One HTTP request to the app.
    App,
    /// The deep check: one fresh connection and one query.
    Database,
    /// One of `SIDEPULSE_SQL_CHECKS`, by its configured name.
    Sql(Arc<str>),
}

impl CheckId {
    /// `app`, `database` or `sql_<name>`.
    pub(crate) fn name(&self) -> String {
        match self {
            CheckId::App => "app".to_owned(),
            CheckId::Database => "database".to_owned(),
            CheckId::Sql(name) => format!("sql_{name}"),
        }
    }

    /// The key in the `checks` object of `/health`: `app:http`, `database:query` or `sql:<name>`.
    pub(crate) fn health_key(&self) -> String {
        match self {
            CheckId::App => "app:http".to_owned(),
            CheckId::Database => "database:query".to_owned(),
            CheckId::Sql(name) => format!("sql:{name}"),
        }
    }
}

/// A timed part of one attempt. The app check has `resolve`, `connect`, `tls`, `response`; the database check has
/// `resolve`, `connect`, `tls`, `auth`, `query`; a SQL check has only `query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// DNS.
    Resolve,
    /// TCP (or the Unix socket).
    Connect,
    /// The database: SSLRequest to handshake done. The app: the handshake.
    Tls,
    /// The app: request sent to response head received.
    Response,
    /// The database: startup message to ReadyForQuery.
    Auth,
    /// The database: the deep query.
    Query,
}

impl Phase {
    /// Every phase, in the order in which they are passed through.
    pub(crate) const ALL: [Phase; 6] =
        [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Response, Phase::Auth, Phase::Query];

    /// The name in JSON, logs and the `phase` label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Response => "response",
            Phase::Auth => "auth",
            Phase::Query => "query",
        }
    }
}

/// How long each phase of the newest attempt took; a phase that was not reached is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases([Option<Duration>; Phase::ALL.len()]);

impl Phases {
    /// Records the time that a phase took.
    pub(crate) fn set(&mut self, phase: Phase, took: Duration) {
        self.0[phase as usize] = Some(took);
    }

    /// The time a phase took, if it was reached.
    pub(crate) fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// The phases that were reached, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

/// Which phase an attempt is in, and how long the earlier ones took.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    phases: Phases,
    current: Option<(Phase, Instant)>,
}

impl Progress {
    /// The next phase begins; the one before ends.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    /// The same, where the moment was recorded elsewhere.
    pub(crate) fn enter_at(&mut self, phase: Phase, at: Instant) {
        self.leave_at(at);
        self.current = Some((phase, at));
    }

    /// The current phase ends, and none follows.
    pub(crate) fn leave(&mut self) {
        self.leave_at(Instant::now());
    }

    fn leave_at(&mut self, at: Instant) {
        if let Some((phase, since)) = self.current.take() {
            self.phases.set(phase, at.saturating_duration_since(since));
        }
    }

    /// The current phase turns out to be another one.
    pub(crate) fn rename(&mut self, phase: Phase) {
        if let Some((name, _)) = &mut self.current {
            *name = phase;
        }
    }

    /// The phase that has begun and not ended.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.current.map(|(phase, _)| phase)
    }

    /// The failure of an attempt that runs out of time now.
    pub(crate) fn timed_out(&self) -> Failure {
        Failure::timed_out(self.phase().unwrap_or(Phase::Connect))
    }

    /// The times, including that of a phase that has not ended.
    pub(crate) fn phases(mut self) -> Phases {
        self.leave();
        self.phases
    }
}

/// Why one run of a check failed. `detail` may hold the host and the server's message, already redacted and cut:
/// only the log at level debug and `sidepulse check` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The closed reason.
    pub(crate) reason: Reason,
    /// What caused it, where that is known and has a remedy of its own.
    pub(crate) cause: Option<Cause>,
    /// The phase in which it happened, where there was one.
    pub(crate) phase: Option<Phase>,
    /// Redacted text for the person on call.
    pub(crate) detail: Option<String>,
    /// The SQLSTATE of an error that has no reason of its own: five letters or digits, safe to log.
    pub(crate) unclassified: Option<String>,
}

impl Failure {
    /// A failure without further text.
    pub(crate) fn new(reason: Reason, phase: Phase) -> Self {
        Failure { reason, cause: None, phase: Some(phase), detail: None, unclassified: None }
    }

    /// An attempt that ran out of time in this phase.
    pub(crate) fn timed_out(phase: Phase) -> Self {
        Failure::new(diagnosis::timed_out(phase), phase).with_detail("the time ran out")
    }

    /// A failure with what an error was found to mean.
    pub(crate) fn diagnosed(diagnosis: Diagnosis, phase: Phase) -> Self {
        Failure { cause: diagnosis.cause, ..Failure::new(diagnosis.reason, phase) }
    }

    /// The same with text, which must be redacted.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Whether another attempt may help. It cannot where a TLS alert has said what is missing.
    pub(crate) fn may_heal(&self) -> bool {
        let settled = matches!(self.cause, Some(Cause::ClientCertificateRequired | Cause::AlpnRefused));
        self.reason.class() == Class::Retry && !settled
    }

    /// What to do about it: the cause's remedy, where it is known, else [`Reason::remedy`].
    pub(crate) fn remedy(&self) -> &'static str {
        self.cause.map_or(self.reason.remedy(), Cause::remedy)
    }

    /// The prober broke.
    pub(crate) fn internal() -> Self {
        Failure { reason: Reason::Internal, cause: None, phase: None, detail: None, unclassified: None }
    }
}

/// The result of one run of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it passed.
    pub(crate) result: Result<(), Failure>,
    /// How many attempts were made, at least 1 for a check that ran.
    pub(crate) attempts: u32,
    /// The time of the whole run, including the waits between attempts.
    pub(crate) duration: Duration,
    /// The phases of the newest attempt.
    pub(crate) phases: Phases,
    /// When it ended, by the monotonic clock and by the wall clock.
    pub(crate) ended: (Instant, SystemTime),
}

impl Outcome {
    /// An outcome that ends now.
    pub(crate) fn now(result: Result<(), Failure>, attempts: u32, started: Instant, phases: Phases) -> Self {
        let ended = Instant::now();
        Outcome { result, attempts, duration: ended - started, phases, ended: (ended, SystemTime::now()) }
    }

    /// The reason, if it failed.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.result.as_ref().err().map(|failure| failure.reason)
    }
}
