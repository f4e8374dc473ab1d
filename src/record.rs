//! What becomes of a result: into the snapshot, the metrics and, where something changed, the log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Gate;
use crate::economy::app_url::AppChecks;
use crate::log::{Level as LogLevel, Log};
use crate::metrics::Metrics;
use crate::probe::database::{DatabaseReport, Handshake, ServerFacts};
use crate::probe::{Failure, Outcome, Phase, Reason};
use crate::pulse::Pulse;
use crate::readiness::{self, Now};
use crate::state::{CheckState, Level, Snapshot, Transition};

/// A hostile server must not fill memory with made-up codes.
const MOST_CODES: usize = 32;

/// What both threads share beside the snapshot.
#[derive(Debug)]
pub struct Shared {
    /// Signs of life of the check thread.
    pub pulse: Pulse,
    /// SIGTERM has come.
    pub draining: AtomicBool,
    /// Readiness was green once.
    pub ever_ready: AtomicBool,
}

impl Shared {
    /// At the start of the program.
    pub fn new(now: Instant) -> Self {
        Shared { pulse: Pulse::new(now), draining: AtomicBool::new(false), ever_ready: AtomicBool::new(false) }
    }

    /// SIGTERM has come.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Takes results in; lives on the check thread.
pub struct Recorder {
    board: watch::Sender<Arc<Snapshot>>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    log: Log,
    gate: Gate,
    started: Instant,
    codes: BTreeSet<String>,
    warned: Vec<Option<Reason>>,
    private_database: bool,
    said_plaintext: bool,
    server_started: Option<String>,
    app_checks: AppChecks,
}

impl Recorder {
    /// `private_database`: a login without TLS is nothing to warn of.
    pub fn new(
        board: watch::Sender<Arc<Snapshot>>,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
        log: Log,
        gate: Gate,
        private_database: bool,
    ) -> Self {
        let checks = board.borrow().checks.len();
        Recorder {
            board,
            shared,
            metrics,
            log,
            gate,
            started: Instant::now(),
            codes: BTreeSet::new(),
            warned: vec![None; checks],
            private_database,
            said_plaintext: false,
            server_started: None,
            app_checks: AppChecks::default(),
        }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.board.borrow())
    }

    /// The scheduler's plan: this check, and those that run with it, start next at `due`.
    pub fn plan(&self, first: usize, due: Instant) {
        self.change(|snapshot| checks_of(snapshot, first).iter_mut().for_each(|check| check.due = due));
    }

    /// An app check begins; they follow each other at this interval.
    pub fn app_begins(&mut self, interval: std::time::Duration) {
        self.app_checks.begins(Instant::now(), interval);
    }

    /// When the app was checked lately.
    pub fn app_checks(&self) -> &AppChecks {
        &self.app_checks
    }

    /// A result of the app check.
    pub fn app(&mut self, outcome: Outcome) {
        self.app_checks.ends(outcome.ended.0);
        self.take(0, outcome);
        self.check_ready();
    }

    /// The results of one database check.
    pub fn database(&mut self, report: DatabaseReport) {
        if let Some(facts) = &report.facts {
            self.learn(facts);
        }
        self.take(1, report.query);
        for (i, outcome) in report.sql.into_iter().enumerate() {
            self.take(2 + i, outcome);
        }
        self.check_ready();
    }

    /// The certificate that the server showed.
    pub fn certificate(&self, end: Option<SystemTime>) {
        if end.is_some() {
            self.change(|snapshot| snapshot.certificate_expiry = end);
        }
    }

    /// A handshake without a login: a good result is none of the deep query's.
    pub fn handshake(&mut self, handshake: Handshake) {
        let Handshake { outcome, certificate } = handshake;
        if outcome.result.is_err() {
            self.take(1, outcome);
            return self.check_ready();
        }
        if let Some(check) = self.board.borrow().database() {
            self.metrics.ran(&check.name, outcome.ended.1);
        }
        self.certificate(certificate);
    }

    /// The app does, or does not, use the database (economy): a verdict on an idle one stands.
    pub fn idle(&mut self, idle: bool) {
        let now = Instant::now();
        self.change(|snapshot| {
            let since = |check: &CheckState| idle.then(|| check.idle_since.unwrap_or(now));
            snapshot.deep_mut().iter_mut().for_each(|check| check.idle_since = since(check));
        });
        // No result will say that the verdict has become old; the SQL checks are as old as the database's.
        let snapshot = self.snapshot();
        snapshot.database().into_iter().for_each(|check| self.log_warning(1, check, &snapshot));
    }

    /// The app's open connections to the database (economy).
    pub fn app_connections(&self, count: usize) {
        self.metrics.app_connections(count);
    }

    /// Our own app checks make the app use the database (economy): said once.
    pub fn app_uses_database(&mut self) {
        if !self.board.borrow().app_uses_database {
            self.change(|snapshot| snapshot.app_uses_database = true);
            self.say(crate::economy::app_url::REMEDY);
        }
    }

    /// A warning that is nobody's result.
    pub fn say(&self, text: &str) {
        self.log.warning(text);
    }

    /// Time has passed on the check thread.
    pub fn add_down_time(&self, passed: std::time::Duration) {
        self.metrics.add_down_time(&self.board.borrow(), passed);
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.board.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    fn learn(&mut self, facts: &ServerFacts) {
        self.change(|snapshot| snapshot.checks[1].read_only = facts.read_only == Some(true));
        if facts.plaintext && !self.private_database && !self.said_plaintext {
            self.said_plaintext = true;
            self.log.warning(
                "the database login goes over the network without TLS; set sslmode=require in the database URL",
            );
        }
        if facts.started.is_some() && facts.started != self.server_started {
            if self.server_started.is_some() {
                self.metrics.restarted(facts.ready_after);
            }
            self.server_started.clone_from(&facts.started);
        }
        if facts.version.is_some() && facts.version != self.board.borrow().server_version {
            self.change(|snapshot| snapshot.server_version.clone_from(&facts.version));
        }
    }

    fn take(&mut self, index: usize, outcome: Outcome) {
        let failure = outcome.result.as_ref().err().cloned();
        let mut transition = None;
        self.change(|snapshot| transition = snapshot.checks[index].record(outcome));
        let snapshot = self.snapshot();
        let check = &snapshot.checks[index];
        if let Some(outcome) = &check.newest {
            self.metrics.record(index, &check.name, outcome);
        }
        if let Some(transition) = transition {
            self.metrics.transition(index, transition.to);
            self.log_transition(check, transition, failure.as_ref());
        }
        if let Some(failure) = &failure {
            self.log_failure(check, failure, transition.is_some());
        }
        self.log_warning(index, check, &snapshot);
    }

    fn log_transition(&self, check: &CheckState, transition: Transition, failure: Option<&Failure>) {
        let (level, message) = match (transition.to, failure) {
            (Level::Down, Some(failure)) => (LogLevel::Error, format!("{} is down: {}", check.name, failure.reason)),
            _ => (LogLevel::Info, format!("{} is {}", check.name, transition.to.as_str())),
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
            .maybe("duration_ms", outcome.map(|o| millis(o.duration)))
            .maybe("remedy", failure.map(Failure::remedy))
            .send();
    }

    fn log_failure(&mut self, check: &CheckState, failure: &Failure, said: bool) {
        if let Some(code) = &failure.unclassified
            && self.codes.len() < MOST_CODES
            && self.codes.insert(code.clone())
        {
            self.log.warning(format!("{}: SQLSTATE {code} has no reason of its own: {}", check.name, failure.reason));
        }
        let first = check.level == Level::Up && check.failures == 1;
        let level = if first && !said { LogLevel::Warn } else { LogLevel::Debug };
        if !self.log.wants(level) {
            return;
        }
        // Host and the server's message, already redacted, are for level debug alone.
        let detail = failure.detail.as_deref().filter(|_| self.log.wants(LogLevel::Debug));
        let text = detail.map_or(String::new(), |text| format!(" ({text})"));
        let outcome = check.newest.as_ref();
        self.log
            .line(level, "warning", format!("{} check failed: {}{text}", check.name, failure.reason))
            .field("check", &*check.name)
            .field("reason", failure.reason.as_str())
            .maybe("phase", failure.phase.map(Phase::as_str))
            .maybe("attempts", outcome.map(|o| o.attempts))
            .maybe("duration_ms", outcome.map(|o| millis(o.duration)))
            .send();
    }

    /// A warning is said when it appears, not each time.
    fn log_warning(&mut self, index: usize, check: &CheckState, snapshot: &Snapshot) {
        let judged = readiness::judge(check, snapshot, Now::read());
        let warning = judged.reason.filter(|_| judged.status == readiness::Status::Warn);
        if let Some(reason) = warning.filter(|_| warning != self.warned[index]) {
            self.log
                .line(LogLevel::Warn, "warning", format!("{}: {reason}", check.name))
                .field("check", &*check.name)
                .field("reason", reason.as_str())
                .field("remedy", reason.remedy())
                .send();
        }
        self.warned[index] = warning;
    }

    fn check_ready(&self) {
        let ready = readiness::decide(self.gate, &self.board.borrow(), false, Instant::now()).is_ready();
        if ready && !self.shared.ever_ready.swap(true, Ordering::Relaxed) {
            self.log
                .line(LogLevel::Info, "transition", "ready")
                .field("from", "starting")
                .field("to", "ready")
                .field("duration_ms", millis(self.started.elapsed()))
                .send();
        }
    }
}

/// The app check alone, or the database check with its SQL checks.
fn checks_of(snapshot: &mut Snapshot, first: usize) -> &mut [CheckState] {
    if first == 0 { &mut snapshot.checks[..1] } else { snapshot.deep_mut() }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
