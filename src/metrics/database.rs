//! The metrics of the database itself, beside those of its checks. Without a database there are none.

use std::time::Duration;

use prometheus::{GaugeVec, Histogram, IntCounter, IntGaugeVec, Result};

use super::families::{Families, NO_LABELS};
use super::unix_seconds;
use super::vitals::VitalsSeries;
use crate::config::{DatabaseMode, DatabaseSettings};
use crate::state::Deep;

pub(crate) struct DatabaseMetrics {
    restarts: IntCounter,
    wakes: Histogram,
    certificate: GaugeVec,
    /// With economy.
    app_connections: Option<IntGaugeVec>,
    /// With early warnings.
    vitals: Option<VitalsSeries>,
}

impl DatabaseMetrics {
    pub(super) fn register(families: Families<'_>, settings: &DatabaseSettings) -> Result<DatabaseMetrics> {
        let restarts = families.counters(
            "sidepulse_database_restarts_total",
            "Times the database's start time had changed, suspends included.",
            &[],
        )?;
        let wakes = families.histograms(
            "sidepulse_database_wake_seconds",
            "From a check's start to a usable session, where the database had been restarted.",
            &[],
        )?;
        let certificate = families.seconds(
            "sidepulse_database_tls_certificate_expiry_timestamp_seconds",
            "When the database's TLS certificate ends.",
            &[],
        )?;
        let app_connections = match settings.mode {
            DatabaseMode::Economy => Some(families.gauges(
                "sidepulse_database_app_connections",
                "The app's open sockets to the database.",
                &[],
            )?),
            DatabaseMode::Steady => None,
        };
        let vitals = match settings.early_warnings {
            Some(_) => Some(VitalsSeries::register(families)?),
            None => None,
        };
        Ok(DatabaseMetrics {
            restarts: restarts.with_label_values(&NO_LABELS),
            wakes: wakes.with_label_values(&NO_LABELS),
            certificate,
            app_connections,
            vitals,
        })
    }

    /// The database was restarted since the last success, and was ready this long after the check's start.
    pub(crate) fn restarted(&self, ready_after: Duration) {
        self.restarts.inc();
        self.wakes.observe(ready_after.as_secs_f64());
    }

    /// The app's open sockets to the database (economy).
    pub(crate) fn app_connections(&self, count: usize) {
        if let Some(gauge) = &self.app_connections {
            gauge.with_label_values(&NO_LABELS).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets the gauges to what is known now.
    pub(super) fn refresh(&self, database: &Deep) {
        if let Some(series) = &self.vitals {
            series.show(database.early.vitals());
        }
        if let Some(end) = database.certificate_expiry {
            self.certificate.with_label_values(&NO_LABELS).set(unix_seconds(end));
        }
    }
}
