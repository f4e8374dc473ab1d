//! The decision: what the snapshot means for readiness and health. Pure: no clock, no lock, no await.
//!
//! - If a required check is not up, the result is never ready or healthy.
//! - What cannot be determined (no result, overdue) is never reported as healthy.
//! - Liveness is not decided here: neither the app nor the database may affect it.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::config::Gate;
use crate::probe::{CheckId, Reason};
use crate::state::{CheckState, Deep, Snapshot, Verdict};

/// An idle verdict older than this is shown as a warning.
const IDLE_UNVERIFIED_AFTER: Duration = Duration::from_secs(3600);
/// A certificate that ends this soon is shown as a warning.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// The moment of a decision, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For ages and deadlines.
    pub(crate) instant: Instant,
    /// For dates of certificates.
    pub(crate) wall: SystemTime,
}

impl Now {
    pub(crate) fn read() -> Self {
        Now { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// The parts of `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// SIGTERM has come.
    pub(crate) draining: bool,
    /// Why the app is not ready; `None` = ready.
    pub(crate) app: Option<Reason>,
    /// Why the database prevents readiness; `None` = the gate is satisfied.
    pub(crate) database: Option<Reason>,
}

impl Readiness {
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining && self.app.is_none() && self.database.is_none()
    }
}

/// `draining; app: connect_refused; database: auth_failed`: the failing parts in this order, empty when ready.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.draining {
            f.write_str("draining")?;
            separator = "; ";
        }
        for (name, reason) in [("app", self.app), ("database", self.database)] {
            if let Some(reason) = reason {
                write!(f, "{separator}{name}: {reason}")?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

pub(crate) fn decide(gate: Gate, snapshot: &Snapshot, draining: bool, now: Instant) -> Readiness {
    let app = &snapshot.app;
    let database = snapshot.database.as_ref().and_then(|database| {
        let check = &database.query;
        let satisfied = match gate {
            Gate::Never => true,
            Gate::Startup => check.last_success.is_some(),
            Gate::Always => is_up(check, now),
        };
        (!satisfied).then(|| check.reason(now))
    });
    Readiness { draining, app: (!is_up(app, now)).then(|| app.reason(now)), database }
}

fn is_up(check: &CheckState, now: Instant) -> bool {
    check.verdict == Verdict::Up && !check.is_stale(now)
}

/// `state` of a check: `starting|up|down|idle|stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Never up so far.
    Starting,
    Up,
    Down,
    /// Not checked, because the app does not use the database; the last verdict stands.
    Idle,
    /// The next result is overdue.
    Stale,
}

impl State {
    pub(crate) const ALL: [State; 5] = [State::Up, State::Down, State::Starting, State::Idle, State::Stale];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Up => "up",
            State::Down => "down",
            State::Idle => "idle",
            State::Stale => "stale",
        }
    }
}

/// `pass|warn|fail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Pass,
    /// It works, but something deserves attention.
    Warn,
    Fail,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) state: State,
    pub(crate) status: Status,
    /// Why it does not simply pass.
    pub(crate) reason: Option<Reason>,
}

pub(crate) fn judge(check: &CheckState, snapshot: &Snapshot, now: Now) -> Judgement {
    let state = match check.verdict {
        _ if check.is_stale(now.instant) => State::Stale,
        Verdict::Down => State::Down,
        Verdict::Starting => State::Starting,
        Verdict::Up if check.idle_since.is_some() => State::Idle,
        Verdict::Up => State::Up,
    };
    if !matches!(state, State::Up | State::Idle) {
        return Judgement { state, status: Status::Fail, reason: Some(check.reason(now.instant)) };
    }
    let warning = Reason::WARNINGS.into_iter().find(|warning| applies(*warning, check, snapshot, now));
    let status = if warning.is_some() { Status::Warn } else { Status::Pass };
    Judgement { state, status, reason: warning }
}

/// Whether a warning applies to a check that is up.
pub(crate) fn applies(warning: Reason, check: &CheckState, snapshot: &Snapshot, now: Now) -> bool {
    // What is known of the server itself belongs to the database check only.
    let server = snapshot.database.as_ref().filter(|_| check.id == CheckId::Database);
    match warning {
        Reason::ReadOnly => server.is_some_and(|server| server.read_only),
        Reason::CertificateExpiring => {
            let end = server.and_then(|server| server.certificate_expiry);
            end.is_some_and(|end| end < now.wall + CERTIFICATE_WARNING)
        }
        Reason::ConnectionsScarce | Reason::TransactionStuck | Reason::LockWait | Reason::StorageScarce => {
            server.is_some_and(|server| server.early.shows(warning))
        }
        Reason::IdleUnverified => {
            let age = check.last_success.map(|(at, _)| now.instant.saturating_duration_since(at));
            check.idle_since.is_some() && age.is_none_or(|age| age > IDLE_UNVERIFIED_AFTER)
        }
        Reason::RecoveredAfterRetry => check.retried,
        _ => false,
    }
}

/// Which checks a health endpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `/health`: all of them, and draining.
    All,
    /// `/health/shallow`: the app.
    Shallow,
    /// `/health/deep`: the database and the SQL checks.
    Deep,
}

impl Scope {
    pub(crate) fn checks(self, snapshot: &Snapshot) -> impl Iterator<Item = &CheckState> {
        let app = (self != Scope::Deep).then_some(&snapshot.app);
        let deep = snapshot.database.as_ref().filter(|_| self != Scope::Shallow);
        app.into_iter().chain(deep.into_iter().flat_map(Deep::checks))
    }
}

/// The worst status of the scope's checks; draining only counts for `/health`.
pub(crate) fn health(scope: Scope, snapshot: &Snapshot, draining: bool, now: Now) -> Status {
    let worst = scope.checks(snapshot).map(|check| judge(check, snapshot, now).status).max();
    match worst {
        _ if draining && scope == Scope::All => Status::Fail,
        Some(status) => status,
        None => Status::Pass,
    }
}

/// `state` in `/health`.
pub(crate) fn overall_state(readiness: &Readiness, ever_ready: bool) -> &'static str {
    match readiness {
        _ if readiness.draining => "draining",
        _ if readiness.is_ready() => "ready",
        _ if ever_ready => "unready",
        _ => "starting",
    }
}

#[cfg(test)]
mod tests;
