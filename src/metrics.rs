//! Every metric: name, help, labels, buckets. All series exist from the start; scraping never makes a check run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tokio::time::Instant;

use crate::config::{Config, DatabaseMode};
use crate::probe::{CheckId, Outcome, Phase, Reason};
use crate::readiness::{self, Now, State};
use crate::state::{CheckState, Snapshot, Verdict};

mod labels;
mod process;
mod vitals;

use labels::{phases, reasons, warnings};
use process::ProcessSample;
use vitals::VitalsSeries;

/// From a warm query on the same machine to the longest sensible check.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Several scrapers share one encoding.
const FRESH: Duration = Duration::from_secs(1);

/// The path and the status of an answer, as the request counter tells them apart.
pub(crate) type RequestLabels = (&'static str, u16);

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

/// The program's registry and the handles to its series.
pub(crate) struct Metrics {
    registry: Registry,
    checks: HashMap<CheckId, CheckSeries>,
    last_run: GaugeVec,
    last_success: GaugeVec,
    ready: IntGauge,
    live: IntGauge,
    draining: IntGauge,
    restarts: Option<IntCounter>,
    wakes: Option<Histogram>,
    certificate: Option<GaugeVec>,
    app_connections: Option<IntGaugeVec>,
    vitals: Option<VitalsSeries>,
    requests: HashMap<RequestLabels, IntCounter>,
    lag: Gauge,
    dropped: IntCounter,
    encoded: Mutex<Option<(Instant, Bytes)>>,
    /// The process metrics, sampled on the check thread.
    pub(crate) process: ProcessSample,
}

/// What an encoding needs to know beside the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    /// Readiness as `/readyz` would answer.
    pub(crate) ready: bool,
    /// Liveness as `/livez` would answer.
    pub(crate) live: bool,
    /// SIGTERM has come.
    pub(crate) draining: bool,
    /// Lines that the log dropped so far.
    pub(crate) dropped: u64,
    /// How late the last tick of the check thread was.
    pub(crate) lag: Duration,
}

/// Registers a family.
fn family<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> prometheus::Result<C> {
    let made = made?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

impl Metrics {
    /// Every series that can occur, at zero; `requests` are the labels that an answered request can have.
    ///
    /// # Errors
    /// Only a mistake in this file: two families of one name, or a bad label.
    pub(crate) fn new(
        config: &Config,
        snapshot: &Snapshot,
        requests: impl IntoIterator<Item = RequestLabels>,
    ) -> prometheus::Result<Metrics> {
        let labels = config.railway.replica.iter().map(|id| ("railway_replica".to_owned(), id.clone())).collect();
        let registry = Registry::new_custom(None, Some(labels).filter(|l: &HashMap<_, _>| !l.is_empty()))?;
        let r = &registry;
        let gauge = |name: &str, help: &str| family(r, IntGauge::new(name, help));
        let gauges =
            |name: &str, help: &str, labels: &[&str]| family(r, IntGaugeVec::new(Opts::new(name, help), labels));
        let times = |name: &str, help: &str, labels: &[&str]| family(r, GaugeVec::new(Opts::new(name, help), labels));
        let counter = |name: &str, help: &str| family(r, IntCounter::new(name, help));
        let counters =
            |name: &str, help: &str, labels: &[&str]| family(r, IntCounterVec::new(Opts::new(name, help), labels));
        let buckets = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());

        let build =
            gauges("sidepulse_build_info", "Version and revision of this binary; always 1.", &["version", "revision"])?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("SIDEPULSE_REVISION").unwrap_or("unknown")])
            .set(1);

        let up = gauges(
            "sidepulse_check_up",
            "1 if the check is up after thresholds; 0 before its first result.",
            &["check"],
        )?;
        let states = gauges("sidepulse_check_state", "The state of the check; exactly one is 1.", &["check", "state"])?;
        let warning =
            gauges("sidepulse_check_warning", "1 if the warning applies to the check.", &["check", "reason"])?;
        let runs = counters("sidepulse_checks_total", "Checks that ended, whatever the result.", &["check"])?;
        let failures =
            counters("sidepulse_check_failures_total", "Checks that failed, by reason.", &["check", "reason"])?;
        let attempts = counters(
            "sidepulse_check_attempts_total",
            "Attempts made; retries are the excess over checks.",
            &["check"],
        )?;
        let duration = family(
            r,
            HistogramVec::new(
                buckets(
                    "sidepulse_check_duration_seconds",
                    "Duration of whole checks, waits between attempts included.",
                ),
                &["check"],
            ),
        )?;
        let phase = family(
            r,
            HistogramVec::new(
                buckets("sidepulse_check_phase_duration_seconds", "Duration of each phase of a check's last attempt."),
                &["check", "phase"],
            ),
        )?;
        let down = family(
            r,
            CounterVec::new(
                Opts::new("sidepulse_check_down_seconds_total", "Time that the check has been in state down."),
                &["check"],
            ),
        )?;
        let transitions =
            counters("sidepulse_transitions_total", "Changes of the check to up or to down.", &["check", "to"])?;

        let checks = snapshot
            .checks()
            .map(|check| {
                let (id, name) = (&check.id, &*check.name);
                let series = CheckSeries {
                    name: Arc::clone(&check.name),
                    up: up.with_label_values(&[name]),
                    states: State::ALL.map(|state| states.with_label_values(&[name, state.as_str()])),
                    warnings: warnings(id)
                        .iter()
                        .map(|w| (*w, warning.with_label_values(&[name, w.as_str()])))
                        .collect(),
                    checks: runs.with_label_values(&[name]),
                    failures: reasons(id).map(|r| (r, failures.with_label_values(&[name, r.as_str()]))).collect(),
                    attempts: attempts.with_label_values(&[name]),
                    duration: duration.with_label_values(&[name]),
                    phases: phases(id).iter().map(|p| (*p, phase.with_label_values(&[name, p.as_str()]))).collect(),
                    down_seconds: down.with_label_values(&[name]),
                    to_up: transitions.with_label_values(&[name, "up"]),
                    to_down: transitions.with_label_values(&[name, "down"]),
                };
                (id.clone(), series)
            })
            .collect();

        let has_database = snapshot.database.is_some();
        let early_warnings = config.database.as_ref().is_some_and(|d| d.early_warnings.is_some());
        let economy = config.database.as_ref().is_some_and(|database| database.mode == DatabaseMode::Economy);
        let only = |wanted: bool| wanted.then_some(());
        let answered =
            counters("sidepulse_http_requests_total", "Requests answered, by path and status.", &["path", "code"])?;
        let requests = requests
            .into_iter()
            .map(|(path, code)| ((path, code), answered.with_label_values(&[path, &code.to_string()])))
            .collect();
        Ok(Metrics {
            checks,
            last_run: times("sidepulse_check_last_run_timestamp_seconds", "When the check last ended.", &["check"])?,
            last_success: times(
                "sidepulse_check_last_success_timestamp_seconds",
                "When the check last passed.",
                &["check"],
            )?,
            ready: gauge("sidepulse_ready", "1 if /readyz answers 200.")?,
            live: gauge("sidepulse_live", "1 if /livez answers 200.")?,
            draining: gauge("sidepulse_draining", "1 from SIGTERM on.")?,
            restarts: only(has_database)
                .map(|()| {
                    counter(
                        "sidepulse_database_restarts_total",
                        "Times the database's start time had changed, suspends included.",
                    )
                })
                .transpose()?,
            wakes: only(has_database)
                .map(|()| {
                    family(
                        r,
                        Histogram::with_opts(buckets(
                            "sidepulse_database_wake_seconds",
                            "From a check's start to a usable session, where the database had been restarted.",
                        )),
                    )
                })
                .transpose()?,
            certificate: only(has_database)
                .map(|()| {
                    times(
                        "sidepulse_database_tls_certificate_expiry_timestamp_seconds",
                        "When the database's TLS certificate ends.",
                        &[],
                    )
                })
                .transpose()?,
            vitals: only(early_warnings).map(|()| VitalsSeries::register(r)).transpose()?,
            app_connections: only(economy)
                .map(|()| gauges("sidepulse_database_app_connections", "The app's open sockets to the database.", &[]))
                .transpose()?,
            requests,
            lag: family(
                r,
                Gauge::new("sidepulse_scheduler_lag_seconds", "How late the last tick of the check thread was."),
            )?,
            dropped: counter("sidepulse_log_lines_dropped_total", "Log lines dropped because nobody read them.")?,
            encoded: Mutex::new(None),
            process: ProcessSample::register(r)?,
            registry,
        })
    }

    /// Counts a result.
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
            None => self.last_success.with_label_values(&[&*series.name]).set(seconds(outcome.ended.1)),
            Some(reason) => {
                if let Some(failures) = series.failures.get(&reason) {
                    failures.inc();
                }
            }
        }
    }

    /// A check ended then, be it only a handshake with the database.
    pub(crate) fn ran(&self, id: &CheckId, at: SystemTime) {
        if let Some(series) = self.checks.get(id) {
            self.last_run.with_label_values(&[&*series.name]).set(seconds(at));
        }
    }

    /// Counts a change of the verdict.
    pub(crate) fn transition(&self, id: &CheckId, to: Verdict) {
        match (self.checks.get(id), to) {
            (Some(series), Verdict::Up) => series.to_up.inc(),
            (Some(series), Verdict::Down) => series.to_down.inc(),
            (Some(_), Verdict::Starting) | (None, _) => {}
        }
    }

    /// The database was restarted since the last success, and was ready this long after the check's start.
    pub(crate) fn restarted(&self, ready_after: Duration) {
        if let (Some(restarts), Some(wakes)) = (&self.restarts, &self.wakes) {
            restarts.inc();
            wakes.observe(ready_after.as_secs_f64());
        }
    }

    /// Time has passed: checks that are down stay down longer. What is overdue is in state `stale`, not `down`.
    /// While this process is stopping, an app that ends as it was asked to is not down.
    pub(crate) fn add_down_time(&self, snapshot: &Snapshot, passed: Duration, stopping: bool) {
        let now = Instant::now();
        for (check, series) in self.checks_of(snapshot) {
            if stopping && check.id == CheckId::App {
                continue;
            }
            if check.verdict == Verdict::Down && !check.is_stale(now) {
                series.down_seconds.inc_by(passed.as_secs_f64());
            }
        }
    }

    /// The app's open sockets to the database (economy).
    pub(crate) fn app_connections(&self, count: usize) {
        if let Some(gauge) = &self.app_connections {
            gauge.with_label_values(&[] as &[&str]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, answer: RequestLabels) {
        if let Some(requests) = self.requests.get(&answer) {
            requests.inc();
        }
    }

    fn checks_of<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (&'a CheckState, &'a CheckSeries)> {
        snapshot.checks().filter_map(|check| Some((check, self.checks.get(&check.id)?)))
    }

    /// The text of `/metrics`, at most a second old.
    pub(crate) async fn text(&self, snapshot: &Snapshot, now: impl FnOnce() -> Gauges) -> Bytes {
        if let Some(fresh) = self.fresh() {
            return fresh;
        }
        self.process.renew().await;
        if let Some(fresh) = self.fresh() {
            return fresh;
        }
        self.refresh(snapshot, now());
        let mut text = Vec::with_capacity(32 * 1024);
        // Writing to memory cannot fail, and `gather` leaves out empty families, the only other error.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        let text = Bytes::from(text);
        *self.encoded.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text.clone()));
        text
    }

    fn fresh(&self) -> Option<Bytes> {
        let encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        encoded.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, text)| text.clone())
    }

    fn refresh(&self, snapshot: &Snapshot, now: Gauges) {
        let moment = Now::read();
        self.ready.set(now.ready.into());
        self.live.set(now.live.into());
        self.draining.set(now.draining.into());
        self.lag.set(now.lag.as_secs_f64());
        self.dropped.inc_by(now.dropped.saturating_sub(self.dropped.get()));
        for (check, series) in self.checks_of(snapshot) {
            series.refresh(check, snapshot, moment);
        }
        if let Some(series) = &self.vitals {
            series.show(snapshot.database.as_ref().and_then(|database| database.early.vitals()));
        }
        let end = snapshot.database.as_ref().and_then(|database| database.certificate_expiry);
        if let (Some(end), Some(gauge)) = (end, &self.certificate) {
            gauge.with_label_values(&[] as &[&str]).set(seconds(end));
        }
    }
}

impl CheckSeries {
    fn refresh(&self, check: &CheckState, snapshot: &Snapshot, now: Now) {
        let judged = readiness::judge(check, snapshot, now);
        // A check whose result is overdue is not known to be up.
        let up = matches!(judged.state, State::Up | State::Idle);
        self.up.set(up.into());
        for (state, gauge) in State::ALL.iter().zip(&self.states) {
            gauge.set((*state == judged.state).into());
        }
        for (warning, gauge) in &self.warnings {
            gauge.set((up && readiness::applies(*warning, check, snapshot, now)).into());
        }
    }
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
pub(crate) mod scrape;
#[cfg(test)]
mod tests;
