//! What happens to a result: it goes into the snapshot, the metrics and, if something changed, the log.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Gate, WarnAt};
use crate::early_warnings;
use crate::log::{Level, Log};
use crate::metrics::Metrics;
use crate::millis;
use crate::probe::database::{DatabaseReport, Handshake};
use crate::probe::vitals::Vitals;
use crate::probe::{CheckId, Failure, Outcome, Phase, Reason, Refusal, ServerFacts};
use crate::process_state::ProcessState;
use crate::pulse::Lane;
use crate::readiness::{self, Now, Status};
use crate::state::{CheckState, Deep, Snapshot, Transition, Verdict};

/// Bounds memory if a hostile server makes up codes.
const MOST_CODES: usize = 32;

/// Records results; lives on the check thread.
pub(crate) struct Recorder {
    board: watch::Sender<Arc<Snapshot>>,
    process: Arc<ProcessState>,
    metrics: Arc<Metrics>,
    log: Log,
    gate: Gate,
    started: Instant,
    codes: BTreeSet<String>,
    /// What was logged as refused by the database.
    logged_refusals: Vec<Refusal>,
    /// The warning last logged for each check, while it applies.
    logged_warnings: HashMap<CheckId, Reason>,
    private_database: bool,
    logged_plaintext: bool,
    server_started: Option<String>,
    logged_no_vitals: bool,
    /// The time that checks were down is counted up to here.
    down_time_counted: Instant,
}

impl Recorder {
    /// `private_database`: a login without TLS is not worth a warning.
    pub(crate) fn new(
        board: watch::Sender<Arc<Snapshot>>,
        process: Arc<ProcessState>,
        metrics: Arc<Metrics>,
        log: Log,
        gate: Gate,
        private_database: bool,
    ) -> Self {
        Recorder {
            board,
            process,
            metrics,
            log,
            gate,
            started: Instant::now(),
            codes: BTreeSet::new(),
            logged_refusals: Vec::new(),
            logged_warnings: HashMap::new(),
            private_database,
            logged_plaintext: false,
            server_started: None,
            logged_no_vitals: false,
            down_time_counted: Instant::now(),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.board.borrow())
    }

    /// The scheduler's plan: the checks of this lane start next at `due`.
    pub(crate) fn plan(&self, lane: Lane, due: Instant) {
        self.change(|snapshot| match (lane, &mut snapshot.database) {
            (Lane::App, _) => snapshot.app.due = due,
            (Lane::Database, Some(database)) => {
                for check in database.checks_mut() {
                    check.due = due;
                }
            }
            (Lane::Database, None) => {}
        });
    }

    pub(crate) fn app(&mut self, outcome: Outcome) {
        self.take(&CheckId::App, outcome);
        self.log_first_ready();
    }

    pub(crate) fn database(&mut self, report: DatabaseReport) {
        if let Some(facts) = &report.facts {
            self.learn(facts);
        }
        self.log_refused(&report.refused);
        self.change_database(|database| database.refused = report.refused);
        self.take(&CheckId::Database, report.query);
        let names: Vec<CheckId> =
            self.snapshot().database.iter().flat_map(|database| &database.sql).map(|check| check.id.clone()).collect();
        for (id, outcome) in names.iter().zip(report.sql) {
            self.take(id, outcome);
        }
        self.log_first_ready();
    }

    pub(crate) fn certificate(&self, end: Option<SystemTime>) {
        if end.is_some() {
            self.change_database(|database| database.certificate_expiry = end);
        }
    }

    /// The database's vitals, or why they could not be read. They are not the result of a check.
    pub(crate) fn vitals(&mut self, read: Result<Vitals, Failure>, warn_at: &WarnAt) {
        let vitals = match read {
            Ok(vitals) => vitals,
            Err(failure) => {
                self.change_database(|database| database.early.miss());
                return self.log_no_vitals(&failure);
            }
        };
        let shown_before = self.snapshot();
        self.change_database(|database| database.early.take(vitals, warn_at));
        let snapshot = self.snapshot();
        let shows = |snapshot: &Snapshot, warning| snapshot.database.as_ref().is_some_and(|d| d.early.shows(warning));
        for warning in early_warnings::ALL {
            if shows(&snapshot, warning) && !shows(&shown_before, warning) {
                self.log_warning_of(&CheckId::Database.name(), warning);
            }
        }
    }

    /// The server does not show its vitals. That has no consequences and is logged once.
    fn log_no_vitals(&mut self, failure: &Failure) {
        if self.logged_no_vitals || !self.log.wants(Level::Debug) {
            return;
        }
        self.logged_no_vitals = true;
        let detail = failure.detail.as_ref().map_or(String::new(), |text| format!(" ({text})"));
        let text = format!("no early warnings: the server does not tell its numbers: {}{detail}", failure.reason);
        self.log.line(Level::Debug, "warning", text).field("check", "database").send();
    }

    /// The result of a handshake without a login: one that passed is not a result of the deep query.
    pub(crate) fn handshake(&mut self, handshake: Handshake) {
        let Handshake { outcome, certificate } = handshake;
        if outcome.result.is_err() {
            self.take(&CheckId::Database, outcome);
            return self.log_first_ready();
        }
        self.metrics.checks.ran(&CheckId::Database, outcome.ended.1);
        self.change_database(|database| database.query.reached());
        self.certificate(certificate);
    }

    /// Whether the app leaves the database idle (economy); then its verdict stands.
    pub(crate) fn idle(&mut self, idle: bool) {
        let now = Instant::now();
        self.change_database(|database| {
            for check in database.checks_mut() {
                check.idle_since = idle.then(|| check.idle_since.unwrap_or(now));
            }
        });
        // No result follows that could log that the verdict has become old; the SQL checks are as old as the database's.
        let snapshot = self.snapshot();
        if let Some(database) = &snapshot.database {
            self.log_warning(&database.query, &snapshot);
        }
    }

    /// The app's open connections to the database (economy).
    pub(crate) fn app_connections(&self, count: usize) {
        if let Some(metrics) = &self.metrics.database {
            metrics.app_connections(count);
        }
    }

    /// Our own app checks make the app use the database (economy). Logged once, with this text.
    pub(crate) fn app_uses_database(&mut self, warning: &str) {
        if !self.board.borrow().app_uses_database {
            self.change(|snapshot| snapshot.app_uses_database = true);
            self.warn(warning);
        }
    }

    pub(crate) fn warn(&self, text: &str) {
        self.log.warning(text);
    }

    /// Adds the time since the last call to the down time of the checks that are down. It is called each second, and
    /// before a result changes which they are: a shorter outage counts too.
    pub(crate) fn count_down_time(&mut self) {
        let now = Instant::now();
        let passed = now - self.down_time_counted;
        self.down_time_counted = now;
        self.metrics.checks.add_down_time(&self.board.borrow(), passed, self.process.is_draining());
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.board.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    fn change_database(&self, change: impl FnOnce(&mut Deep)) {
        self.change(|snapshot| {
            if let Some(database) = &mut snapshot.database {
                change(database);
            }
        });
    }

    fn learn(&mut self, facts: &ServerFacts) {
        if facts.plaintext && !self.private_database && !self.logged_plaintext {
            self.logged_plaintext = true;
            self.log.warning(
                "the database login goes over the network without TLS; set sslmode=require in the database URL",
            );
        }
        if facts.started.is_some() && facts.started != self.server_started {
            if let Some(metrics) = &self.metrics.database
                && self.server_started.is_some()
            {
                metrics.restarted(facts.ready_after);
            }
            self.server_started.clone_from(&facts.started);
        }
        self.change_database(|database| database.learn(facts));
    }

    /// Logs what the database refuses of what we send, each once.
    fn log_refused(&mut self, refused: &[Refusal]) {
        for refusal in refused {
            if !self.logged_refusals.contains(refusal) && self.logged_refusals.len() < MOST_CODES {
                self.log.warning(format!("the database refuses {refusal}: its checks do without"));
                self.logged_refusals.push(refusal.clone());
            }
        }
    }

    /// Records the result of a check in the snapshot, the metrics and the log.
    fn take(&mut self, id: &CheckId, outcome: Outcome) {
        let failure = outcome.result.as_ref().err().cloned();
        if *id == CheckId::App && failure.is_some() && self.process.is_draining() {
            // An app that ends because it was asked to is not an outage: from then on its failures are neither counted
            // nor logged. Nobody asks the database to end.
            return;
        }
        self.count_down_time();
        self.metrics.checks.record(id, &outcome);
        let mut transition = None;
        self.change(|snapshot| {
            if let Some(check) = snapshot.checks_mut().find(|check| check.id == *id) {
                transition = check.record(outcome);
            }
        });
        let snapshot = self.snapshot();
        let Some(check) = snapshot.check(id) else { return };
        if let Some(transition) = transition {
            self.metrics.checks.transition(id, transition.to);
            if *id == CheckId::Database && transition.to == Verdict::Down {
                self.change_database(|database| database.early.forget());
            }
            self.log_transition(check, transition, failure.as_ref());
        }
        if let Some(failure) = &failure {
            self.log_failure(check, failure, transition.is_some());
        }
        self.log_warning(check, &snapshot);
    }

    fn log_transition(&self, check: &CheckState, transition: Transition, failure: Option<&Failure>) {
        let (level, message) = match (transition.to, failure) {
            (Verdict::Down, Some(failure)) => (Level::Error, format!("{} is down: {}", check.name, failure.reason)),
            _ => (Level::Info, format!("{} is {}", check.name, transition.to.as_str())),
        };
        let outcome = check.newest.as_ref();
        self.log
            .line(level, "transition", message)
            .field("check", &*check.name)
            .field("from", transition.from.as_str())
            .field("to", transition.to.as_str())
            .maybe("reason", failure.map(|f| f.reason.as_str()))
            .maybe("phase", failure.and_then(|f| f.phase).map(Phase::as_str))
            .maybe("attempts", outcome.map(|o| o.attempts))
            .maybe("duration_ms", outcome.map(|o| millis::whole(o.duration)))
            .maybe("remedy", failure.map(Failure::remedy))
            .send();
    }

    fn log_failure(&mut self, check: &CheckState, failure: &Failure, logged: bool) {
        if let Some(code) = &failure.unclassified
            && self.codes.len() < MOST_CODES
            && self.codes.insert(code.clone())
        {
            self.log.warning(format!("{}: SQLSTATE {code} has no reason of its own: {}", check.name, failure.reason));
        }
        let first = check.verdict == Verdict::Up && check.failures == 1;
        let level = if first && !logged { Level::Warn } else { Level::Debug };
        if !self.log.wants(level) {
            return;
        }
        // Host and server message, although redacted, are only for level debug.
        let detail = failure.detail.as_deref().filter(|_| self.log.wants(Level::Debug));
        let text = detail.map_or(String::new(), |text| format!(" ({text})"));
        let outcome = check.newest.as_ref();
        self.log
            .line(level, "warning", format!("{} check failed: {}{text}", check.name, failure.reason))
            .field("check", &*check.name)
            .field("reason", failure.reason.as_str())
            .maybe("phase", failure.phase.map(Phase::as_str))
            .maybe("attempts", outcome.map(|o| o.attempts))
            .maybe("duration_ms", outcome.map(|o| millis::whole(o.duration)))
            .send();
    }

    /// Logs the check's warning when it appears, not each time.
    fn log_warning(&mut self, check: &CheckState, snapshot: &Snapshot) {
        let judged = readiness::judge(check, snapshot, Now::read());
        let Some(reason) = judged.reason.filter(|_| judged.status == Status::Warn) else {
            self.logged_warnings.remove(&check.id);
            return;
        };
        // An early warning was logged when the vitals were recorded.
        let known = self.logged_warnings.insert(check.id.clone(), reason) == Some(reason);
        if !known && !early_warnings::ALL.contains(&reason) {
            self.log_warning_of(&check.name, reason);
        }
    }

    fn log_warning_of(&self, check: &str, reason: Reason) {
        self.log
            .line(Level::Warn, "warning", format!("{check}: {reason}"))
            .field("check", check)
            .field("reason", reason.as_str())
            .field("remedy", reason.remedy())
            .send();
    }

    /// Logs that readiness is green for the first time.
    fn log_first_ready(&self) {
        let ready = readiness::decide(self.gate, &self.board.borrow(), false, Instant::now()).is_ready();
        if ready && !self.process.ever_ready.swap(true, Ordering::Relaxed) {
            self.log
                .line(Level::Info, "transition", "ready")
                .field("from", "starting")
                .field("to", "ready")
                .field("duration_ms", millis::whole(self.started.elapsed()))
                .send();
        }
    }
}

#[cfg(test)]
mod tests;
