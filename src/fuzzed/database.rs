//! The deep check, with the fuzz target as the server.

use std::sync::Arc;
use std::time::Duration;

use super::CheckResult;
use crate::config::{DatabaseMode, DatabaseSettings, Gate, WarnAt};
use crate::dsn::Plan;
use crate::probe::database::DatabaseProbe;
use crate::redact::Redactor;

/// A probe of a database, with SQL checks.
pub struct DatabaseCheck {
    probe: DatabaseProbe,
    password: String,
    timeout: Duration,
}

/// The results of one deep check.
pub struct Checked {
    /// Of the query.
    pub query: CheckResult,
    /// Of each SQL check.
    pub sql: Vec<CheckResult>,
    /// If the query passed: whether it went without TLS although the URL prefers TLS.
    pub plaintext: Option<bool>,
}

impl DatabaseCheck {
    /// `password` is the one in `url`, without percent encoding.
    pub fn new(url: &str, password: &str, sql_checks: usize, timeout: Duration, attempt_timeout: Duration) -> Self {
        let (plan, _) = Plan::parse(url).expect("a URL");
        let redactor = Arc::new(Redactor::new(plan.secrets()));
        let settings = DatabaseSettings {
            plan,
            interval: timeout,
            timeout,
            attempt_timeout,
            query: "SELECT 1".to_owned(),
            gate: Gate::Always,
            mode: DatabaseMode::Steady,
            sql_checks: vec![(Arc::from("check"), "SELECT true".to_owned()); sql_checks],
            max_age: None,
            idle_handshake: None,
            economy_interval: timeout,
            early_warnings: Some(WarnAt::default()),
        };
        DatabaseCheck { probe: DatabaseProbe::new(settings, redactor), password: password.to_owned(), timeout }
    }

    /// Forgets what earlier checks found out about the server.
    pub fn forget(&mut self) {
        self.probe.forget();
    }

    /// The check, and the reading of the vitals in its session.
    pub async fn check(&mut self) -> Checked {
        let report = self.probe.check().await;
        self.probe.vitals().await;
        let seen = |outcome| CheckResult::of(outcome, self.timeout, &self.password);
        let (query, sql) = (seen(&report.query), report.sql.iter().map(seen).collect());
        if query.reason.is_none() {
            let facts = report.facts.as_ref().expect("facts");
            let version = facts.version.as_deref().unwrap_or_default();
            assert!(version.len() <= 16 && version.bytes().all(|c| c.is_ascii_digit() || c == b'.'), "{version}");
            assert!(facts.started.as_ref().is_none_or(|started| started.chars().count() <= 40));
            assert!(facts.ready_after <= self.timeout);
            assert!(report.refused.iter().all(|refusal| refusal.sqlstate.len() <= 5), "{:?}", report.refused);
        }
        let plaintext = query.reason.is_none().then(|| report.facts.is_some_and(|facts| facts.plaintext));
        Checked { query, sql, plaintext }
    }

    /// The check without a login.
    pub async fn handshake(&mut self) -> CheckResult {
        CheckResult::of(&self.probe.handshake().await.outcome, self.timeout, &self.password)
    }
}
