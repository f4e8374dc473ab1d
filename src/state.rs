//! What is known: the newest result of each check, and the verdict that follows from the thresholds. The check thread
//! changes it; everything else reads the snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::config::{Config, DatabaseSettings, Thresholds};
use crate::early_warnings::EarlyWarnings;
use crate::probe::{CheckId, Class, Failure, Outcome, Reason, Refusal, ServerFacts};

/// Results kept for the status page. Failures are kept in a list of their own, so that successes never push them out.
pub(crate) const KEPT: usize = 30;
/// A check that still fails this long after the start is down: a restart in the middle of an outage is an outage.
pub(crate) const STARTING_FOR: Duration = Duration::from_secs(5 * 60);

/// What the thresholds make of the results so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Never up, nothing permanent is wrong, and the start is not [`STARTING_FOR`] ago.
    Starting,
    Up,
    Down,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Verdict::Starting => "starting",
            Verdict::Up => "up",
            Verdict::Down => "down",
        }
    }
}

/// One result, as the status page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: Verdict,
    pub(crate) to: Verdict,
}

#[derive(Clone, Debug)]
pub(crate) struct CheckState {
    pub(crate) id: CheckId,
    pub(crate) name: Arc<str>,
    /// Its key in `/health`.
    pub(crate) health_key: Arc<str>,
    pub(crate) verdict: Verdict,
    /// It has been up since the start of the program.
    pub(crate) ever_up: bool,
    pub(crate) newest: Option<Outcome>,
    pub(crate) newest_failure: Option<Reason>,
    /// When it last passed, by both clocks.
    pub(crate) last_success: Option<(Instant, SystemTime)>,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    /// The newest success took more than one attempt.
    pub(crate) retried: bool,
    /// When the next check is to start, as the scheduler planned it.
    pub(crate) due: Instant,
    /// How late the next result may be: timeout + 2 × interval.
    pub(crate) grace: Duration,
    /// Since when it has not run, because the app does not use the database.
    pub(crate) idle_since: Option<Instant>,
    /// The newest results, oldest first.
    pub(crate) recent: VecDeque<Mark>,
    /// The newest failures, oldest first.
    pub(crate) recent_failures: VecDeque<Mark>,
    thresholds: Thresholds,
    /// From this moment on a failure means down, not starting.
    starting_until: Instant,
}

impl CheckState {
    fn new(id: CheckId, thresholds: Thresholds, timeout: Duration, interval: Duration, now: Instant) -> Self {
        CheckState {
            name: id.name().into(),
            health_key: id.health_key().into(),
            id,
            verdict: Verdict::Starting,
            ever_up: false,
            newest: None,
            newest_failure: None,
            last_success: None,
            failures: 0,
            successes: 0,
            retried: false,
            due: now,
            grace: timeout + 2 * interval,
            idle_since: None,
            recent: VecDeque::with_capacity(KEPT),
            recent_failures: VecDeque::with_capacity(KEPT),
            thresholds,
            starting_until: now + STARTING_FOR,
        }
    }

    /// Records a result. Returns the change of the verdict, if there is one.
    pub(crate) fn record(&mut self, outcome: Outcome) -> Option<Transition> {
        let from = self.verdict;
        let mark = Mark { at: outcome.ended.1, duration: outcome.duration, reason: outcome.reason() };
        push(&mut self.recent, mark);
        match &outcome.result {
            Ok(()) => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.last_success = Some(outcome.ended);
                self.retried = outcome.attempts > 1;
                let needed = if self.verdict == Verdict::Starting { 1 } else { self.thresholds.success };
                if self.successes >= needed {
                    self.verdict = Verdict::Up;
                    self.ever_up = true;
                }
            }
            Err(failure) => {
                push(&mut self.recent_failures, mark);
                // A check that fails is not idle.
                self.idle_since = None;
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.newest_failure = Some(failure.reason);
                let permanent = failure.reason.class() == Class::Permanent;
                let enough = match self.verdict {
                    Verdict::Starting => outcome.ended.0 >= self.starting_until,
                    Verdict::Up => self.failures >= self.thresholds.failure,
                    Verdict::Down => false,
                };
                if permanent || enough {
                    self.verdict = Verdict::Down;
                }
            }
        }
        self.newest = Some(outcome);
        (from != self.verdict).then_some(Transition { from, to: self.verdict })
    }

    /// The database was reached without a login (economy): the failures so far are no longer in a row.
    pub(crate) fn reached(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now > self.due + self.grace
    }

    /// Why it does not simply pass: the newest failure, or that there is no result yet.
    pub(crate) fn reason(&self, now: Instant) -> Reason {
        if self.is_stale(now) { Reason::Stale } else { self.newest_failure.unwrap_or(Reason::NotRun) }
    }

    /// What to do about a reason that this check shows: more specific if the newest result has its cause.
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

#[derive(Clone, Debug)]
pub(crate) struct Deep {
    pub(crate) query: CheckState,
    /// The SQL checks, in the order in which they are configured. They run with the deep query.
    pub(crate) sql: Vec<CheckState>,
    /// The newest deep query that passed found a database that takes no writes.
    pub(crate) read_only: bool,
    pub(crate) certificate_expiry: Option<SystemTime>,
    /// The server's version as it announced it.
    pub(crate) server_version: Option<String>,
    pub(crate) early: EarlyWarnings,
    /// What the server refuses of what we send: the checks do without it.
    pub(crate) refused: Vec<Refusal>,
}

impl Deep {
    fn new(database: &DatabaseSettings, thresholds: Thresholds, now: Instant) -> Self {
        let state = |id| CheckState::new(id, thresholds, database.timeout, database.interval, now);
        Deep {
            query: state(CheckId::Database),
            sql: database.sql_checks.iter().map(|(name, _)| state(CheckId::Sql(Arc::clone(name)))).collect(),
            read_only: false,
            certificate_expiry: None,
            server_version: None,
            early: EarlyWarnings::default(),
            refused: Vec::new(),
        }
    }

    /// Notes what a deep query that passed learned about the server.
    pub(crate) fn learn(&mut self, facts: &ServerFacts) {
        self.read_only = facts.read_only == Some(true);
        if facts.version.is_some() {
            self.server_version.clone_from(&facts.version);
        }
        if let Some(started) = &facts.started {
            self.early.of_server(started);
        }
    }

    /// The database check, then the SQL checks.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &CheckState> + Clone {
        std::iter::once(&self.query).chain(&self.sql)
    }

    /// The same, mutable.
    pub(crate) fn checks_mut(&mut self) -> impl Iterator<Item = &mut CheckState> {
        std::iter::once(&mut self.query).chain(&mut self.sql)
    }
}

/// Everything known, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) app: CheckState,
    /// `None` with `SIDEPULSE_DATABASE=off`.
    pub(crate) database: Option<Deep>,
    /// Our own app checks make the app use the database, which keeps it awake (economy).
    pub(crate) app_uses_database: bool,
}

impl Snapshot {
    /// Nothing is known yet; every check is due now.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let (app, thresholds) = (&config.app, config.thresholds);
        Snapshot {
            app: CheckState::new(CheckId::App, thresholds, app.timeout, app.interval, now),
            database: config.database.as_ref().map(|database| Deep::new(database, thresholds, now)),
            app_uses_database: false,
        }
    }

    /// The app check, the database check, then the SQL checks.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &CheckState> + Clone {
        std::iter::once(&self.app).chain(self.database.iter().flat_map(Deep::checks))
    }

    /// The same, mutable.
    pub(crate) fn checks_mut(&mut self) -> impl Iterator<Item = &mut CheckState> {
        std::iter::once(&mut self.app).chain(self.database.iter_mut().flat_map(Deep::checks_mut))
    }

    pub(crate) fn check(&self, id: &CheckId) -> Option<&CheckState> {
        self.checks().find(|check| check.id == *id)
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
