//! The metrics of each check.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::{
    Counter, CounterVec, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Result,
};
use tokio::time::Instant;

use super::families::Families;
use super::labels::{phases, reasons, warnings};
use super::unix_seconds;
use crate::probe::{CheckId, Outcome, Phase, Reason};
use crate::readiness::{self, Now, State};
use crate::state::{CheckState, Snapshot, Verdict};

/// The series of one check, resolved once.
#[derive(Debug)]
struct CheckSeries {
    name: Arc<str>,
    up: IntGauge,
    states: [IntGauge; State::ALL.len()],
    warnings: Vec<(Reason, IntGauge)>,
    checks: IntCounter,
    failures: HashMap<Reason, IntCounter>,
    attempts: IntCounter,
    duration: Histogram,
    phases: Vec<(Phase, Histogram)>,
    down_seconds: Counter,
    to_up: IntCounter,
    to_down: IntCounter,
}

/// The families that have a series for each check.
struct CheckFamilies {
    up: IntGaugeVec,
    states: IntGaugeVec,
    warnings: IntGaugeVec,
    checks: IntCounterVec,
    failures: IntCounterVec,
    attempts: IntCounterVec,
    duration: HistogramVec,
    phases: HistogramVec,
    down_seconds: CounterVec,
    transitions: IntCounterVec,
}

impl CheckFamilies {
    fn register(families: Families<'_>) -> Result<CheckFamilies> {
        let down = Opts::new("sidepulse_check_down_seconds_total", "Time that the check has been in state down.");
        Ok(CheckFamilies {
            up: families.gauges(
                "sidepulse_check_up",
                "1 if the check is up after thresholds; 0 before its first result.",
                &["check"],
            )?,
            states: families.gauges(
                "sidepulse_check_state",
                "The state of the check; exactly one is 1.",
                &["check", "state"],
            )?,
            warnings: families.gauges(
                "sidepulse_check_warning",
                "1 if the warning applies to the check.",
                &["check", "reason"],
            )?,
            checks: families.counters(
                "sidepulse_checks_total",
                "Checks that ended, whatever the result.",
                &["check"],
            )?,
            failures: families.counters(
                "sidepulse_check_failures_total",
                "Checks that failed, by reason.",
                &["check", "reason"],
            )?,
            attempts: families.counters(
                "sidepulse_check_attempts_total",
                "Attempts made; retries are the excess over checks.",
                &["check"],
            )?,
            duration: families.histograms(
                "sidepulse_check_duration_seconds",
                "Duration of whole checks, waits between attempts included.",
                &["check"],
            )?,
            phases: families.histograms(
                "sidepulse_check_phase_duration_seconds",
                "Duration of each phase of a check's last attempt.",
                &["check", "phase"],
            )?,
            down_seconds: families.add(CounterVec::new(down, &["check"]))?,
            transitions: families.counters(
                "sidepulse_transitions_total",
                "Changes of the check to up or to down.",
                &["check", "to"],
            )?,
        })
    }

    /// Every series that a check can have, at zero.
    fn series(&self, check: &CheckState) -> CheckSeries {
        let (id, name) = (&check.id, &*check.name);
        let warning = |reason: &Reason| (*reason, self.warnings.with_label_values(&[name, reason.as_str()]));
        let phase = |phase: &Phase| (*phase, self.phases.with_label_values(&[name, phase.as_str()]));
        let failure = |reason: Reason| (reason, self.failures.with_label_values(&[name, reason.as_str()]));
        CheckSeries {
            name: Arc::clone(&check.name),
            up: self.up.with_label_values(&[name]),
            states: State::ALL.map(|state| self.states.with_label_values(&[name, state.as_str()])),
            warnings: warnings(id).iter().map(warning).collect(),
            checks: self.checks.with_label_values(&[name]),
            failures: reasons(id).map(failure).collect(),
            attempts: self.attempts.with_label_values(&[name]),
            duration: self.duration.with_label_values(&[name]),
            phases: phases(id).iter().map(phase).collect(),
            down_seconds: self.down_seconds.with_label_values(&[name]),
            to_up: self.transitions.with_label_values(&[name, "up"]),
            to_down: self.transitions.with_label_values(&[name, "down"]),
        }
    }
}

pub(crate) struct CheckMetrics {
    checks: HashMap<CheckId, CheckSeries>,
    last_run: GaugeVec,
    last_success: GaugeVec,
}

impl CheckMetrics {
    /// Every series that can occur, at zero; those of moments come with the first result.
    pub(super) fn register(families: Families<'_>, snapshot: &Snapshot) -> Result<CheckMetrics> {
        let of_checks = CheckFamilies::register(families)?;
        Ok(CheckMetrics {
            checks: snapshot.checks().map(|check| (check.id.clone(), of_checks.series(check))).collect(),
            last_run: families.seconds(
                "sidepulse_check_last_run_timestamp_seconds",
                "When the check last ended.",
                &["check"],
            )?,
            last_success: families.seconds(
                "sidepulse_check_last_success_timestamp_seconds",
                "When the check last passed.",
                &["check"],
            )?,
        })
    }

    pub(crate) fn record(&self, id: &CheckId, outcome: &Outcome) {
        let Some(series) = self.checks.get(id) else { return };
        series.checks.inc();
        series.attempts.inc_by(u64::from(outcome.attempts));
        series.duration.observe(outcome.duration.as_secs_f64());
        for (phase, histogram) in &series.phases {
            if let Some(took) = outcome.phases.get(*phase) {
                histogram.observe(took.as_secs_f64());
            }
        }
        self.ran(id, outcome.ended.1);
        match outcome.reason() {
            None => self.last_success.with_label_values(&[&*series.name]).set(unix_seconds(outcome.ended.1)),
            Some(reason) => {
                if let Some(failures) = series.failures.get(&reason) {
                    failures.inc();
                }
            }
        }
    }

    /// A check ended then, even if it was only a handshake with the database.
    pub(crate) fn ran(&self, id: &CheckId, at: SystemTime) {
        if let Some(series) = self.checks.get(id) {
            self.last_run.with_label_values(&[&*series.name]).set(unix_seconds(at));
        }
    }

    pub(crate) fn transition(&self, id: &CheckId, to: Verdict) {
        match (self.checks.get(id), to) {
            (Some(series), Verdict::Up) => series.to_up.inc(),
            (Some(series), Verdict::Down) => series.to_down.inc(),
            (Some(_), Verdict::Starting) | (None, _) => {}
        }
    }

    /// Time has passed: checks that are down stay down longer. What is overdue is in state `stale`, not `down`.
    /// While this process is stopping, an app that ends as it was asked to is not down.
    pub(crate) fn add_down_time(&self, snapshot: &Snapshot, passed: Duration, stopping: bool) {
        let now = Instant::now();
        for (check, series) in self.of(snapshot) {
            let is_ending = stopping && check.id == CheckId::App;
            if check.verdict == Verdict::Down && !check.is_stale(now) && !is_ending {
                series.down_seconds.inc_by(passed.as_secs_f64());
            }
        }
    }

    /// Sets the gauges to what is known now.
    pub(super) fn refresh(&self, snapshot: &Snapshot) {
        let now = Now::read();
        for (check, series) in self.of(snapshot) {
            let judged = readiness::judge(check, snapshot, now);
            // A check whose result is overdue is not known to be up.
            let up = matches!(judged.state, State::Up | State::Idle);
            series.up.set(up.into());
            for (state, gauge) in State::ALL.iter().zip(&series.states) {
                gauge.set((*state == judged.state).into());
            }
            for (warning, gauge) in &series.warnings {
                gauge.set((up && readiness::applies(*warning, check, snapshot, now)).into());
            }
        }
    }

    fn of<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (&'a CheckState, &'a CheckSeries)> {
        snapshot.checks().filter_map(|check| Some((check, self.checks.get(&check.id)?)))
    }
}

#[cfg(test)]
mod tests;
