//! The deep check, the early warnings and what economy reads of the kernel, each without the daemon around it: for the
//! programs in `benches/`, and for tests on real servers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{Config, Given, Need, WarnAt};
use crate::dsn::Endpoint;
use crate::early_warnings::{self, EarlyWarnings};
use crate::economy::AppConnections;
use crate::probe::Reason;
use crate::probe::database::DatabaseProbe;
use crate::probe::traffic::Traffic;
use crate::probe::vitals::Vitals;

/// The deep check of one database and its early warnings.
pub struct DeepCheck {
    probe: DatabaseProbe,
    warn_at: WarnAt,
    warnings: EarlyWarnings,
}

impl DeepCheck {
    /// With the default settings.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<DeepCheck, String> {
        DeepCheck::warning_at(url, WarnAt::default())
    }

    /// Reads the vitals after each check, and warns of what is stuck or locked for longer than `after`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn impatient(url: &str, after: Duration) -> Result<DeepCheck, String> {
        let at_once = Duration::ZERO;
        let warn_at = WarnAt {
            stuck_after: after,
            lock_wait_after: after,
            read_every: at_once,
            storage_every: at_once,
            ..WarnAt::default()
        };
        DeepCheck::warning_at(url, warn_at)
    }

    fn warning_at(url: &str, warn_at: WarnAt) -> Result<DeepCheck, String> {
        let lookup = |name: &str| {
            (name == "DATABASE_URL").then(|| Given { text: Some(url.to_owned()), named: "DATABASE_URL".to_owned() })
        };
        let config = Config::load(&lookup, Need::Everything).map_err(|faults| format!("{faults:?}"))?;
        let mut settings = config.database.ok_or("no database")?;
        settings.early_warnings = Some(warn_at.clone());
        let probe = DatabaseProbe::new(settings, Arc::clone(&config.redactor));
        Ok(DeepCheck { probe, warn_at, warnings: EarlyWarnings::default() })
    }

    /// One whole check.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn run(&mut self) -> Result<(), String> {
        let report = self.probe.check().await;
        if let Some(started) = report.facts.and_then(|facts| facts.started) {
            self.warnings.of_server(&started);
        }
        report.query.result.map_err(|failure| format!("{failure:?}"))
    }

    /// Reads the vitals in the session of a check that passed; `None` where it is not time, or the settings switch them off.
    ///
    /// # Errors
    /// The reason for which the server did not answer.
    pub async fn vitals(&mut self) -> Option<Result<Value, &'static str>> {
        let read = self.probe.vitals().await?;
        if let Ok(vitals) = &read {
            self.warnings.take(vitals.clone(), &self.warn_at);
        }
        Some(read.map(|vitals| as_json(&vitals)).map_err(|failure| failure.reason.as_str()))
    }

    /// The early warnings that the last two readings both call for.
    pub fn warnings(&self) -> Vec<&'static str> {
        let shown = early_warnings::ALL.into_iter().filter(|warning| self.warnings.shows(*warning));
        shown.map(Reason::as_str).collect()
    }
}

/// Counts, bytes and milliseconds; null where the server does not say.
fn as_json(vitals: &Vitals) -> Value {
    let sessions = vitals.sessions;
    json!({
        "sessions": {
            "active": sessions.active,
            "idle": sessions.idle,
            "idle_in_transaction": sessions.idle_in_transaction,
            "other": sessions.other,
        },
        "room": vitals.room.map(|room| format!("{} of {} by {:?}", room.used, room.limit, room.of)),
        "oldest_transaction": vitals.oldest_transaction.map(|age| age.as_millis()),
        "lock_waiters": vitals.lock_waiters,
        "storage_limit": vitals.storage_limit,
        "stored": vitals.stored,
    })
}

/// Every reason that a check or a warning can have.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.as_str())
}

/// The connections of this network namespace to one database.
pub struct Sockets(AppConnections);

impl Sockets {
    /// # Errors
    /// Where the kernel shows nothing.
    pub fn to(database: SocketAddr) -> io::Result<Sockets> {
        let traffic = Traffic::default();
        traffic.resolved(&[database], Instant::now());
        let endpoint = Endpoint::Tcp { host: database.ip().to_string(), port: database.port() };
        AppConnections::of(&endpoint, &traffic).map(Sockets)
    }

    /// From now on takes in the ends of connections too. Needs a local set.
    ///
    /// # Errors
    /// Where the kernel reports none.
    pub fn listen(&mut self) -> io::Result<()> {
        self.0.listen()
    }

    /// Compares them with the last time, and returns how many there are.
    ///
    /// # Errors
    /// Where the kernel shows nothing.
    pub fn compare(&mut self) -> io::Result<usize> {
        self.0.compare().map(|found| found.connections)
    }
}
