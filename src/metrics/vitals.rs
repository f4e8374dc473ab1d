//! The database's vitals. A series is absent where its number is not known.

use prometheus::{GaugeVec, IntGaugeVec, Result};

use super::families::{Families, NO_LABELS};
use crate::probe::vitals::Vitals;

/// The families; their series come with the first reading.
#[derive(Debug)]
pub(super) struct VitalsSeries {
    sessions: IntGaugeVec,
    sessions_limit: IntGaugeVec,
    oldest_transaction: GaugeVec,
    lock_waiters: IntGaugeVec,
    size: IntGaugeVec,
    size_limit: IntGaugeVec,
}

impl VitalsSeries {
    pub(super) fn register(families: Families<'_>) -> Result<Self> {
        Ok(VitalsSeries {
            sessions: families.gauges(
                "sidepulse_database_sessions",
                "Open sessions of the check's own role by state, and of all other roles as other.",
                &["state"],
            )?,
            sessions_limit: families.gauges(
                "sidepulse_database_sessions_limit",
                "Sessions that the limit which is reached first allows: the server's, the role's or the database's.",
                &[],
            )?,
            oldest_transaction: families.seconds(
                "sidepulse_database_oldest_transaction_seconds",
                "Age of the oldest transaction of the check's own role; 0 without one.",
                &[],
            )?,
            lock_waiters: families.gauges(
                "sidepulse_database_lock_waiters",
                "Sessions of the check's own role that wait for a lock.",
                &[],
            )?,
            size: families.gauges(
                "sidepulse_database_size_bytes",
                "What is stored, where the server has a limit.",
                &[],
            )?,
            size_limit: families.gauges(
                "sidepulse_database_size_limit_bytes",
                "The server's limit of storage.",
                &[],
            )?,
        })
    }

    /// Shows these numbers and no older ones.
    pub(super) fn show(&self, vitals: Option<&Vitals>) {
        let sessions = vitals.map(|vitals| vitals.sessions);
        for (state, count) in [
            ("active", sessions.map(|sessions| sessions.active)),
            ("idle", sessions.map(|sessions| sessions.idle)),
            ("idle_in_transaction", sessions.map(|sessions| sessions.idle_in_transaction)),
            ("other", sessions.map(|sessions| sessions.other)),
        ] {
            set(&self.sessions, &[state], count);
        }
        set(&self.sessions_limit, &NO_LABELS, vitals.and_then(|vitals| Some(vitals.room?.limit)));
        set(&self.lock_waiters, &NO_LABELS, vitals.map(|vitals| vitals.lock_waiters));
        set(&self.size, &NO_LABELS, vitals.and_then(|vitals| vitals.stored));
        set(&self.size_limit, &NO_LABELS, vitals.and_then(|vitals| vitals.storage_limit));
        match vitals {
            Some(vitals) => {
                let age = vitals.oldest_transaction.unwrap_or_default().as_secs_f64();
                self.oldest_transaction.with_label_values(&NO_LABELS).set(age);
            }
            None => self.oldest_transaction.reset(),
        }
    }
}

fn set(gauges: &IntGaugeVec, labels: &[&str], value: Option<u64>) {
    match value {
        Some(value) => gauges.with_label_values(labels).set(i64::try_from(value).unwrap_or(i64::MAX)),
        // It returns an error if there is no such series, which is what is wanted.
        None => drop(gauges.remove_label_values(labels)),
    }
}

#[cfg(test)]
mod tests;
