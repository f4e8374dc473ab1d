//! The fault log: what was done to which check and when, and how it was seen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A check of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    App,
    Database,
    Sql,
}

impl Check {
    pub(super) const ALL: [Check; 3] = [Check::App, Check::Database, Check::Sql];

    /// Its name in the log, the metrics and the texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Check::App => "app",
            Check::Database => "database",
            Check::Sql => "sql_schema",
        }
    }

    /// Its key in `/health`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Check::App => "app:http",
            Check::Database => "database:query",
            Check::Sql => "sql:schema",
        }
    }
}

/// What a fault must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// What was done.
    pub(super) fault: &'static str,
    /// The checks that it turns down; no other may fail for it.
    pub(super) checks: &'static [Check],
    /// The reasons that show it: it lasts until all of its checks are down for one of these.
    pub(super) proof: &'static [&'static str],
    /// The reasons of a check that was under way when the fault began or ended.
    pub(super) edge: &'static [&'static str],
}

impl Signs {
    /// Whether this fault explains such a failure of the check.
    pub(super) fn explain(&self, check: &str, reason: &str) -> bool {
        self.checks.iter().any(|own| own.name() == check)
            && self.proof.iter().chain(self.edge).any(|own| *own == reason)
    }
}

/// A fault that is over.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) signs: Signs,
    /// From before it was inflicted …
    pub(super) begun: SystemTime,
    /// … until its checks had passed again.
    pub(super) ended: SystemTime,
    /// From the fault to the last of its checks down.
    pub(super) found_after: Duration,
    /// From the end of the fault to the last of its checks passing.
    pub(super) recovered_after: Duration,
}

impl Entry {
    /// Log lines have milliseconds.
    pub(super) fn covers(&self, at: SystemTime) -> bool {
        at + Duration::from_millis(1) > self.begun && at <= self.ended
    }
}

/// How many faults of each check have begun, and how many of them still last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    begun: [usize; 3],
    ended: [usize; 3],
}

/// All faults of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    begun: [AtomicUsize; 3],
    ended: [AtomicUsize; 3],
    entries: Mutex<Vec<Entry>>,
}

impl Ledger {
    /// To be called before the fault begins.
    pub(super) fn begin(&self, signs: &Signs) {
        for check in signs.checks {
            self.begun[*check as usize].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// To be called when its checks pass again.
    pub(super) fn end(&self, entry: Entry) {
        for check in entry.signs.checks {
            self.ended[*check as usize].fetch_add(1, Ordering::SeqCst);
        }
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Now.
    pub(super) fn moment(&self) -> Moment {
        let read = |counts: &[AtomicUsize; 3]| [0, 1, 2].map(|check: usize| counts[check].load(Ordering::SeqCst));
        // A fault that begins between the two reads counts as lasting: the other order would lose one.
        let ended = read(&self.ended);
        Moment { begun: read(&self.begun), ended }
    }

    /// Whether a fault of this check lasted since that moment, if only for an instant.
    pub(super) fn lasted_since(&self, before: Moment, check: Check) -> bool {
        let check = check as usize;
        before.begun[check] > before.ended[check] || self.moment().begun[check] > before.begun[check]
    }

    /// The faults that are over, in the order in which they ended.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
