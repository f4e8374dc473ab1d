//! What a check is, and what it can find: the words shared by the probes, the state, the endpoints and the metrics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub mod app;
pub mod database;
pub(crate) mod diagnosis;
pub mod dial;
#[cfg(fuzzing)]
pub mod fuzzed;
mod listeners;
pub mod remedies;
mod session;
pub mod trail;
pub mod wire;

use diagnosis::Diagnosis;
pub use remedies::Cause;

/// Which check. Its [`name`](CheckId::name) is the `check` label of the metrics and the `check` field of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckId {
    /// One HTTP request to the app.
    App,
    /// The deep check: one fresh connection and one query.
    Database,
    /// One of `SIDEPULSE_SQL_CHECKS`, by its configured name.
    Sql(Arc<str>),
}

impl CheckId {
    /// `app`, `database` or `sql_<name>`.
    pub fn name(&self) -> String {
        match self {
            CheckId::App => "app".to_owned(),
            CheckId::Database => "database".to_owned(),
            CheckId::Sql(name) => format!("sql_{name}"),
        }
    }

    /// The key in the `checks` object of `/health`: `app:http`, `database:query` or `sql:<name>`.
    pub fn health_key(&self) -> String {
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
pub enum Phase {
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
    /// Every phase, in the order in which they happen.
    pub const ALL: [Phase; 6] =
        [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Response, Phase::Auth, Phase::Query];

    /// The name in JSON, logs and the `phase` label.
    pub const fn as_str(self) -> &'static str {
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
pub struct Phases([Option<Duration>; Phase::ALL.len()]);

impl Phases {
    /// Notes the time that a phase took.
    pub fn set(&mut self, phase: Phase, took: Duration) {
        self.0[phase as usize] = Some(took);
    }

    /// The time a phase took, if it was reached.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// The phases that were reached, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.get(phase)?)))
    }
}

/// Which phase an attempt is in, and how long the earlier ones took.
#[derive(Debug, Default)]
pub struct Progress {
    phases: Phases,
    current: Option<(Phase, Instant)>,
}

impl Progress {
    /// The next phase begins; the one before ends.
    pub fn enter(&mut self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    /// The same, where the moment was noted elsewhere.
    pub fn enter_at(&mut self, phase: Phase, at: Instant) {
        self.leave_at(at);
        self.current = Some((phase, at));
    }

    /// The current phase ends, and none follows.
    pub fn leave(&mut self) {
        self.leave_at(Instant::now());
    }

    fn leave_at(&mut self, at: Instant) {
        if let Some((phase, since)) = self.current.take() {
            self.phases.set(phase, at.saturating_duration_since(since));
        }
    }

    /// The current phase turns out to be another one.
    pub fn rename(&mut self, phase: Phase) {
        if let Some((name, _)) = &mut self.current {
            *name = phase;
        }
    }

    /// The phase that has begun and not ended.
    pub fn phase(&self) -> Option<Phase> {
        self.current.map(|(phase, _)| phase)
    }

    /// The times, that of a phase which did not end included.
    pub fn phases(mut self) -> Phases {
        self.leave();
        self.phases
    }
}

/// What a failure means for retries and thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// R: may heal by itself within seconds, so the database check tries again inside its deadline.
    Retry,
    /// C: ends the check; the failure threshold decides.
    Count,
    /// P: will not heal without a change; ends the check and turns it down at once.
    Permanent,
    /// Not a failure of a check that ran: `not_run`, `stale` and the warnings.
    NotAFailure,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $class:ident $doc:literal;)*) => {
        /// Why a check is not simply passing. The set is closed: these are the only values of `reason`, everywhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $(#[doc = $doc] $variant,)* }

        impl Reason {
            /// Every reason, in the order of the contract.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The word in bodies, labels and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// What it means for retries and thresholds.
            pub const fn class(self) -> Class {
                match self { $(Reason::$variant => Class::$class,)* }
            }
        }
    };
}

reasons! {
    DnsFailure "dns_failure" Retry "The name does not resolve, or not in time.";
    ConnectRefused "connect_refused" Retry "Nothing listens there.";
    ConnectTimeout "connect_timeout" Retry "TCP was not answered in time.";
    Unreachable "unreachable" Retry "No route, or the network said no.";
    LoopbackOnly "loopback_only" Count "On Railway, the app accepts on loopback alone.";
    TlsUnsupported "tls_unsupported" Permanent "The server does not offer TLS, or insists on it.";
    TlsUntrusted "tls_untrusted" Permanent "Chain, name or validity of the certificate.";
    TlsTimeout "tls_timeout" Retry "TCP accepted, then SSLRequest or the handshake was not answered in time.";
    TlsFailed "tls_failed" Retry "Any other handshake failure.";
    AuthFailed "auth_failed" Permanent "Wrong password or user, or no usable login method.";
    AccessDenied "access_denied" Permanent "The server refuses this user or address.";
    DatabaseMissing "database_missing" Permanent "The database does not exist.";
    EndpointMissing "endpoint_missing" Permanent "Neon does not know the endpoint.";
    EndpointDisabled "endpoint_disabled" Permanent "Neon: the endpoint is disabled.";
    QuotaExceeded "quota_exceeded" Permanent "Neon: a quota is used up.";
    RateLimited "rate_limited" Count "Neon: too many connection attempts.";
    TooManyConnections "too_many_connections" Count "PostgreSQL has no connection left.";
    PoolerSaturated "pooler_saturated" Count "PgBouncer has no connection left.";
    PoolerUnsupported "pooler_unsupported" Permanent "PgBouncer does not accept a startup parameter.";
    StartingUp "starting_up" Retry "The server is starting.";
    ShuttingDown "shutting_down" Retry "The server is stopping or restarting.";
    ControlPlane "control_plane" Retry "Neon's control plane failed without saying more.";
    ComputeUnreachable "compute_unreachable" Retry "The proxy or pooler does not reach the server behind it.";
    LoginFailed "login_failed" Retry "Any other server error before ReadyForQuery.";
    AuthTimeout "auth_timeout" Retry "The attempt's time ended during login.";
    QueryTimeout "query_timeout" Retry "The attempt's time, or the statement timeout, ended during the query.";
    LockTimeout "lock_timeout" Count "A lock was not granted in time.";
    ConnectionLost "connection_lost" Retry "The peer closed or reset the connection.";
    QueryFailed "query_failed" Count "Any other error from the query.";
    UnexpectedResult "unexpected_result" Count "No row, or a SQL check that is not true.";
    ProtocolError "protocol_error" Count "Bytes that are not PostgreSQL's, or not HTTP's.";
    ResponseTimeout "response_timeout" Count "The app accepted but did not answer in time.";
    BadStatus "bad_status" Count "The app answered with another status than it should.";
    Internal "internal" Count "The prober itself broke, not the target.";
    NotRun "not_run" NotAFailure "No result yet.";
    Stale "stale" NotAFailure "The next result is overdue.";
    ReadOnly "read_only" NotAFailure "Warning: the database takes no writes.";
    CertificateExpiring "certificate_expiring" NotAFailure "Warning: the certificate ends within 14 days.";
    IdleUnverified "idle_unverified" NotAFailure "Warning: idle, and the last deep success is old.";
    RecoveredAfterRetry "recovered_after_retry" NotAFailure "Warning: it took more than one attempt.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// Position in [`Reason::ALL`], for tables indexed by reason.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reasons that show as `warn`, in the order in which the first that applies wins.
    pub const WARNINGS: [Reason; 4] =
        [Reason::ReadOnly, Reason::CertificateExpiring, Reason::IdleUnverified, Reason::RecoveredAfterRetry];
}

/// Why one run of a check failed. `detail` may hold the host and the server's message, already redacted and cut:
/// only the log at level debug and `sidepulse check` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The closed reason.
    pub reason: Reason,
    /// What of it is known to be the matter, where that has a cure of its own.
    pub cause: Option<Cause>,
    /// The phase in which it happened, where there was one.
    pub phase: Option<Phase>,
    /// Redacted text for the person on call.
    pub detail: Option<String>,
    /// The SQLSTATE of a complaint that has no reason of its own: five letters or digits, safe to log.
    pub unclassified: Option<String>,
}

impl Failure {
    /// A failure without further text.
    pub fn new(reason: Reason, phase: Phase) -> Self {
        Failure { reason, cause: None, phase: Some(phase), detail: None, unclassified: None }
    }

    /// A failure as an error was understood.
    pub(crate) fn diagnosed(diagnosis: Diagnosis, phase: Phase) -> Self {
        Failure { cause: diagnosis.cause, ..Failure::new(diagnosis.reason, phase) }
    }

    /// The same with redacted text.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What to do about it, as [`Reason::remedy`] or more to the point.
    pub fn remedy(&self) -> &'static str {
        self.cause.map_or(self.reason.remedy(), Cause::remedy)
    }

    /// The prober broke.
    pub fn internal() -> Self {
        Failure { reason: Reason::Internal, cause: None, phase: None, detail: None, unclassified: None }
    }
}

/// What a good run of the database check learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// In recovery, or `default_transaction_read_only`.
    pub read_only: bool,
    /// `pg_postmaster_start_time()` as the server wrote it; a change means a restart.
    pub started: Option<String>,
    /// The `server_version` parameter, e.g. `16.4`.
    pub version: Option<String>,
    /// From the check's start to ReadyForQuery of the attempt that passed.
    pub ready_after: Duration,
    /// The login went over the network without TLS, because the server has none.
    pub plaintext: bool,
}

/// The result of one run of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it found.
    pub result: Result<ServerFacts, Failure>,
    /// How many attempts were made, at least 1 for a check that ran.
    pub attempts: u32,
    /// The whole run, waits between attempts included.
    pub duration: Duration,
    /// The phases of the newest attempt.
    pub phases: Phases,
    /// When it ended, by the monotonic clock and by the wall clock.
    pub ended: (Instant, SystemTime),
}

impl Outcome {
    /// An outcome that ends now.
    pub fn now(result: Result<ServerFacts, Failure>, attempts: u32, started: Instant, phases: Phases) -> Self {
        let ended = Instant::now();
        Outcome { result, attempts, duration: ended - started, phases, ended: (ended, SystemTime::now()) }
    }

    /// The reason, if it failed.
    pub fn reason(&self) -> Option<Reason> {
        self.result.as_ref().err().map(|failure| failure.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct_snake_case_words_in_index_order() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i);
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{reason}");
        }
        let mut words: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
