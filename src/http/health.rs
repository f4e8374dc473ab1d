//! The body of `/health`: `application/health+json` after draft-inadarei-api-health-check-06.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::view::View;
use crate::log::timestamp;
use crate::millis;
use crate::probe::{CheckId, Phases};
use crate::readiness::{self, Scope, Status};
use crate::state::CheckState;

#[derive(Serialize)]
struct Health<'a> {
    status: Status,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks<'a>>,
}

/// `key → [check]`, in the order of the checks.
struct Checks<'a>(Vec<(&'a str, [Check; 1])>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    component_type: &'static str,
    status: Status,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    attempts: u32,
    consecutive_failures: u32,
    #[serde(serialize_with = "millis::of_phases")]
    phases: Phases,
}

impl Serialize for Checks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, check)| (key, check)))
    }
}

/// The body. `details` = the request may see the checks.
pub(super) fn body(scope: Scope, status: Status, view: View<'_>, details: bool) -> Bytes {
    let checks = || scope.checks(view.snapshot).map(|check| (&*check.health_key, [one(check, view)])).collect();
    let health = Health {
        status,
        state: readiness::overall_state(&view.readiness(), view.ever_ready),
        output: output(scope, status, view),
        version: env!("CARGO_PKG_VERSION"),
        checks: details.then(|| Checks(checks())),
    };
    let mut text = serde_json::to_vec(&health).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// The failing checks, else those with a warning.
fn output(scope: Scope, status: Status, view: View<'_>) -> Option<String> {
    if status == Status::Pass {
        return None;
    }
    let draining = (view.draining && scope == Scope::All).then(|| "draining".to_owned());
    let parts = scope.checks(view.snapshot).filter_map(|check| {
        let judged = readiness::judge(check, view.snapshot, view.now);
        let reason = judged.reason.filter(|_| judged.status == status)?;
        Some(format!("{}: {reason}", check.name))
    });
    Some(draining.into_iter().chain(parts).collect::<Vec<_>>().join("; "))
}

fn one(check: &CheckState, view: View<'_>) -> Check {
    let judged = readiness::judge(check, view.snapshot, view.now);
    let newest = check.newest.as_ref();
    Check {
        component_type: if check.id == CheckId::App { "component" } else { "datastore" },
        status: judged.status,
        state: judged.state.as_str(),
        reason: judged.reason.map(|reason| reason.as_str()),
        observed_value: newest.map(|outcome| millis::exact(outcome.duration)),
        observed_unit: newest.map(|_| "ms"),
        time: newest.map(|outcome| timestamp(outcome.ended.1)),
        last_success: check.last_success.map(|(_, at)| timestamp(at)),
        attempts: newest.map_or(0, |outcome| outcome.attempts),
        consecutive_failures: check.failures,
        phases: newest.map(|outcome| outcome.phases).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
