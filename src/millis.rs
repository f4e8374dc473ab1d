//! Durations in milliseconds, as JSON, the status page and the log write them.

use std::time::Duration;

use serde::Serializer;

use crate::probe::Phases;

/// With microseconds behind the point.
pub(crate) fn exact(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Without a fraction.
pub(crate) fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `{"connect": 1.25, …}`: the phases that were reached, in their order.
pub(crate) fn of_phases<S: Serializer>(phases: &Phases, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(phases.iter().map(|(phase, took)| (phase.as_str(), exact(took))))
}
