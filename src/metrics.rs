//! Every metric: name, help, labels. All series exist from the start; scraping never makes a check run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus::{Encoder, Gauge, IntCounter, IntGauge, Registry, Result, TextEncoder};
use tokio::time::Instant;

use crate::config::Config;
use crate::state::Snapshot;

mod checks;
mod database;
mod families;
mod labels;
mod process;
mod vitals;

use checks::CheckMetrics;
use database::DatabaseMetrics;
use families::{Families, NO_LABELS};
use process::ProcessSample;

/// Several scrapers share one encoding.
const FRESH: Duration = Duration::from_secs(1);

/// The path and the status of an answer, by which the request counter counts.
pub(crate) type RequestLabels = (&'static str, u16);

/// The program's registry and the handles to its series.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) checks: CheckMetrics,
    /// `None` without a database.
    pub(crate) database: Option<DatabaseMetrics>,
    /// The process metrics, sampled on the check thread.
    pub(crate) process: ProcessSample,
    ready: IntGauge,
    live: IntGauge,
    draining: IntGauge,
    requests: HashMap<RequestLabels, IntCounter>,
    lag: Gauge,
    dropped: IntCounter,
    encoded: Mutex<Option<(Instant, Bytes)>>,
}

/// What the text of `/metrics` needs beside the counters.
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
    pub(crate) lag: Duration,
}

impl Metrics {
    /// Every series that can occur, at zero; `requests` are the labels that an answered request can have.
    ///
    /// # Errors
    /// Only a mistake in this program: two families of one name, or a bad label.
    pub(crate) fn new(
        config: &Config,
        snapshot: &Snapshot,
        requests: impl IntoIterator<Item = RequestLabels>,
    ) -> Result<Metrics> {
        let replica = config.railway.replica.iter().map(|id| ("railway_replica".to_owned(), id.clone()));
        let labels: HashMap<String, String> = replica.collect();
        let registry = Registry::new_custom(None, Some(labels).filter(|labels| !labels.is_empty()))?;
        let families = Families(&registry);

        let build = families.gauges(
            "sidepulse_build_info",
            "Version and revision of this binary; always 1.",
            &["version", "revision"],
        )?;
        let revision = option_env!("SIDEPULSE_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);

        let answered = families.counters(
            "sidepulse_http_requests_total",
            "Requests answered, by path and status.",
            &["path", "code"],
        )?;
        let requests = requests
            .into_iter()
            .map(|(path, code)| ((path, code), answered.with_label_values(&[path, &code.to_string()])))
            .collect();
        let lag = families.seconds(
            "sidepulse_scheduler_lag_seconds",
            "How late the last tick of the check thread was.",
            &[],
        )?;
        let dropped = families.counters(
            "sidepulse_log_lines_dropped_total",
            "Log lines dropped because nobody read them.",
            &[],
        )?;
        let database = match &config.database {
            Some(settings) => Some(DatabaseMetrics::register(families, settings)?),
            None => None,
        };
        Ok(Metrics {
            checks: CheckMetrics::register(families, snapshot)?,
            database,
            process: ProcessSample::register(&registry)?,
            ready: families.gauge("sidepulse_ready", "1 if /readyz answers 200.")?,
            live: families.gauge("sidepulse_live", "1 if /livez answers 200.")?,
            draining: families.gauge("sidepulse_draining", "1 from SIGTERM on.")?,
            requests,
            lag: lag.with_label_values(&NO_LABELS),
            dropped: dropped.with_label_values(&NO_LABELS),
            encoded: Mutex::new(None),
            registry,
        })
    }

    pub(crate) fn answered(&self, answer: RequestLabels) {
        if let Some(requests) = self.requests.get(&answer) {
            requests.inc();
        }
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
        self.ready.set(now.ready.into());
        self.live.set(now.live.into());
        self.draining.set(now.draining.into());
        self.lag.set(now.lag.as_secs_f64());
        self.dropped.inc_by(now.dropped.saturating_sub(self.dropped.get()));
        self.checks.refresh(snapshot);
        if let (Some(metrics), Some(database)) = (&self.database, &snapshot.database) {
            metrics.refresh(database);
        }
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
pub(crate) mod scrape;
#[cfg(test)]
mod tests;
