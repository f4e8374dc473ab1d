//! What we know: the newest result of each check and the verdict that the thresholds make of it. The check thread
//! changes it; everyone else reads the snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::config::{Config, Thresholds};
use crate::probe::{CheckId, Class, Failure, Outcome, Reason};

/// Results kept for the status page. Failures are kept in a list of their own, so that successes never push them out.
pub const KEPT: usize = 30;

/// What the thresholds have made of the results so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Never up, and nothing permanent is wrong.
    Starting,
    /// Passing.
    Up,
    /// Failing.
    Down,
}

impl Level {
    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Starting => "starting",
            Level::Up => "up",
            Level::Down => "down",
        }
    }
}

/// One result, as the status page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Level,
    /// After.
    pub to: Level,
}

/// Everything known about one check.
#[derive(Clone, Debug)]
pub struct CheckState {
    /// Which check.
    pub id: CheckId,
    /// Its name, made once.
    pub name: Arc<str>,
    /// Its key in `/health`, made once.
    pub health_key: Arc<str>,
    /// The verdict of the thresholds.
    pub level: Level,
    /// It has been up since the start of the program.
    pub ever_up: bool,
    /// The newest result.
    pub newest: Option<Outcome>,
    /// The reason of the newest failure.
    pub newest_failure: Option<Reason>,
    /// When it last passed, by both clocks.
    pub last_success: Option<(Instant, SystemTime)>,
    /// Failures since the last success.
    pub failures: u32,
    /// Successes since the last failure.
    pub successes: u32,
    /// The newest success took more than one attempt.
    pub retried: bool,
    /// The newest success saw a database that takes no writes.
    pub read_only: bool,
    /// When the next check is to start, as the scheduler planned it.
    pub due: Instant,
    /// How late the next result may be: timeout + 2 × interval.
    pub grace: Duration,
    /// Since when it is not looked at because the app does not use the database.
    pub idle_since: Option<Instant>,
    /// The newest results, oldest first.
    pub recent: VecDeque<Mark>,
    /// The newest failures, oldest first.
    pub recent_failures: VecDeque<Mark>,
    thresholds: Thresholds,
}

impl CheckState {
    fn new(id: CheckId, thresholds: Thresholds, timeout: Duration, interval: Duration, now: Instant) -> Self {
        CheckState {
            name: id.name().into(),
            health_key: id.health_key().into(),
            id,
            level: Level::Starting,
            ever_up: false,
            newest: None,
            newest_failure: None,
            last_success: None,
            failures: 0,
            successes: 0,
            retried: false,
            read_only: false,
            due: now,
            grace: timeout + 2 * interval,
            idle_since: None,
            recent: VecDeque::with_capacity(KEPT),
            recent_failures: VecDeque::with_capacity(KEPT),
            thresholds,
        }
    }

    /// Takes a result in. Gives back the change of level, if there is one.
    pub fn record(&mut self, outcome: Outcome) -> Option<Transition> {
        let from = self.level;
        let mark = Mark { at: outcome.ended.1, duration: outcome.duration, reason: outcome.reason() };
        push(&mut self.recent, mark);
        match &outcome.result {
            Ok(()) => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.last_success = Some(outcome.ended);
                self.retried = outcome.attempts > 1;
                let needed = if self.level == Level::Starting { 1 } else { self.thresholds.success };
                if self.successes >= needed {
                    self.level = Level::Up;
                    self.ever_up = true;
                }
            }
            Err(failure) => {
                push(&mut self.recent_failures, mark);
                // A verdict that no longer stands.
                self.idle_since = None;
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.newest_failure = Some(failure.reason);
                let permanent = failure.reason.class() == Class::Permanent;
                if permanent || (self.level == Level::Up && self.failures >= self.thresholds.failure) {
                    self.level = Level::Down;
                }
            }
        }
        self.newest = Some(outcome);
        (from != self.level).then_some(Transition { from, to: self.level })
    }

    /// Whether the next result is overdue.
    pub fn is_stale(&self, now: Instant) -> bool {
        now > self.due + self.grace
    }

    /// Why it is not simply passing: the newest failure, or that there is no result yet.
    pub fn reason(&self, now: Instant) -> Reason {
        if self.is_stale(now) { Reason::Stale } else { self.newest_failure.unwrap_or(Reason::NotRun) }
    }

    /// What to do about a reason that this check shows: more to the point where the newest result tells the cause.
    pub(crate) fn remedy(&self, reason: Reason) -> &'static str {
        let newest = self.newest.as_ref().and_then(|outcome| outcome.result.as_ref().err());
        newest.filter(|failure| failure.reason == reason).map_or(reason.remedy(), Failure::remedy)
    }
}

fn push(marks: &mut VecDeque<Mark>, mark: Mark) {
    if marks.len() == KEPT {
        marks.pop_front();
    }
    marks.push_back(mark);
}

/// Everything known, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The app, then the database, then the SQL checks in their order.
    pub checks: Vec<CheckState>,
    /// When the database's certificate ends.
    pub certificate_expiry: Option<SystemTime>,
    /// The server's version as it announced it.
    pub server_version: Option<String>,
    /// Our own app checks make the app use the database, which keeps it awake (economy).
    pub app_uses_database: bool,
}

impl Snapshot {
    /// Nothing is known yet; every check is due now.
    pub fn new(config: &Config, now: Instant) -> Self {
        let app = &config.app;
        let mut checks = vec![CheckState::new(CheckId::App, config.thresholds, app.timeout, app.interval, now)];
        if let Some(database) = &config.database {
            let names = database.sql_checks.iter().map(|(name, _)| CheckId::Sql(Arc::clone(name)));
            checks.extend(
                std::iter::once(CheckId::Database)
                    .chain(names)
                    .map(|id| CheckState::new(id, config.thresholds, database.timeout, database.interval, now)),
            );
        }
        Snapshot { checks, certificate_expiry: None, server_version: None, app_uses_database: false }
    }

    /// The app check.
    pub fn app(&self) -> &CheckState {
        &self.checks[0]
    }

    /// The database check; `None` with `SIDEPULSE_DATABASE=off`.
    pub fn database(&self) -> Option<&CheckState> {
        self.checks.get(1)
    }

    /// The database check and the SQL checks.
    pub fn deep(&self) -> &[CheckState] {
        &self.checks[1..]
    }

    /// The checks of the database's scheduler, to be changed.
    pub fn deep_mut(&mut self) -> &mut [CheckState] {
        &mut self.checks[1..]
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
