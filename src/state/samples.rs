//! What the tests of several files start with: settings, results, and a wall clock that stands still.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::{CheckState, Deep, Snapshot};
use crate::config::{Config, Gate, Given, Need};
use crate::http::routes;
use crate::log::{Format, Level, Log, Settings};
use crate::metrics::Metrics;
use crate::probe::{Failure, Outcome, Phase, Phases, Reason};
use crate::process_state::ProcessState;
use crate::record::Recorder;

/// Its parts must never appear in a body, a label or a log line.
pub(crate) const DATABASE: (&str, &str) = ("DATABASE_URL", "postgresql://alice:hunter2@db:5433/shop?sslmode=disable");
pub(crate) const NO_DATABASE: (&str, &str) = ("SIDEPULSE_DATABASE", "off");
pub(crate) const TOKEN: (&str, &str) = ("SIDEPULSE_TOKEN", "0123456789abcdef:token");
pub(crate) const SQL: (&str, &str) = ("SIDEPULSE_SQL_CHECKS", "migrations: SELECT version_num = 'abc' FROM alembic");

/// The settings that these variables make, with [`DATABASE`] unless they name another.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let lookup = |name: &str| {
        let (_, text) = variables.iter().chain([&DATABASE]).find(|(known, _)| *known == name)?;
        Some(Given { text: Some((*text).to_owned()), named: name.to_owned() })
    };
    Config::load(&lookup, Need::Everything).unwrap()
}

/// 2027-01-15T08:00:00Z.
pub(crate) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The result of a check that ended then: it failed for this reason, or passed.
pub(crate) fn ended(at: Instant, reason: Option<Reason>) -> Outcome {
    let failure = |reason| Failure::new(reason, Phase::Connect);
    let mut phases = Phases::default();
    phases.set(Phase::Connect, Duration::from_micros(1250));
    let result = reason.map_or(Ok(()), |reason| Err(failure(reason)));
    Outcome { result, attempts: 1, duration: Duration::from_millis(2), phases, ended: (at, wall()) }
}

/// What is known of the database, which must not be switched off.
pub(crate) fn deep(snapshot: &mut Snapshot) -> &mut Deep {
    snapshot.database.as_mut().unwrap()
}

pub(crate) fn query(snapshot: &mut Snapshot) -> &mut CheckState {
    &mut deep(snapshot).query
}

/// A log that stays empty.
pub(crate) fn silent() -> Log {
    Log::start(Settings { level: Level::Error, format: Format::Json })
}

/// A recorder at the start of the program, and what it writes to.
pub(crate) fn recorder(config: &Config, log: Log) -> (Recorder, Arc<ProcessState>, Arc<Metrics>) {
    let snapshot = Snapshot::new(config, Instant::now());
    let metrics = Arc::new(Metrics::new(config, &snapshot, routes::request_labels(config)).unwrap());
    let process = Arc::new(ProcessState::new(Instant::now()));
    let (gate, private) = config.database.as_ref().map_or((Gate::Never, true), |d| (d.gate, d.plan.private));
    let board = watch::Sender::new(Arc::new(snapshot));
    (Recorder::new(board, Arc::clone(&process), Arc::clone(&metrics), log, gate, private), process, metrics)
}
