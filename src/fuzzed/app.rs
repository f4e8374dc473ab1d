//! The app check, with the fuzz target as the server.

use std::time::Duration;

use super::CheckResult;
use crate::config::AppSettings;
use crate::config::app_target::AppTarget;
use crate::probe::app::AppProbe;

/// A probe of an app on this machine.
pub struct AppCheck {
    probe: AppProbe,
    timeout: Duration,
}

impl AppCheck {
    /// With the statuses that pass by default.
    pub fn new(timeout: Duration) -> AppCheck {
        let settings = AppSettings {
            target: AppTarget::local(8000),
            statuses: vec![200..=499],
            headers: Vec::new(),
            interval: timeout,
            timeout,
        };
        AppCheck { probe: AppProbe::new(settings, false), timeout }
    }

    /// Nothing of a response's text may be shown; `secret` is part of it.
    pub async fn check(&mut self, secret: &str) -> CheckResult {
        CheckResult::of(&self.probe.check().await, self.timeout, secret)
    }
}
