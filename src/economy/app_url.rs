//! Does the app URL use the database? Then our own app checks keep it awake, and economy saves nothing. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Activity, JIFFY};

/// The warning, with its remedy.
pub(crate) const REMEDY: &str = "the app URL uses the database: each app check keeps it awake; set SIDEPULSE_APP_URL to a \
                          path that does not";
/// This many times in a row is not a coincidence.
pub(crate) const IN_A_ROW: u32 = 10;
/// An app may end its transaction only after its answer …
const AFTERMATH: Duration = Duration::from_millis(500);
/// … but at most this part of the interval counts as such: else all of the time would belong to a check.
const LARGEST_PART: u32 = 5;
/// Dumps are seldom further apart, and more checks than this are not worth their memory.
const KEPT_FOR: Duration = Duration::from_secs(120);
const MOST_KEPT: usize = 1024;

/// When the app was checked recently.
#[derive(Debug, Default)]
pub(crate) struct AppChecks {
    /// From when to when; the newest may still be running.
    spans: VecDeque<(Instant, Option<Instant>)>,
    aftermath: Duration,
}

impl AppChecks {
    /// A check begins; they follow at this interval.
    pub(crate) fn begins(&mut self, now: Instant, interval: Duration) {
        self.ends(now);
        self.aftermath = AFTERMATH.min(interval / LARGEST_PART);
        let old = |(begun, _): &(Instant, _)| now.saturating_duration_since(*begun) > KEPT_FOR;
        while self.spans.len() == MOST_KEPT || self.spans.front().is_some_and(old) {
            self.spans.pop_front();
        }
        self.spans.push_back((now, None));
    }

    /// The check has ended.
    pub(crate) fn ends(&mut self, now: Instant) {
        if let Some((_, end @ None)) = self.spans.back_mut() {
            *end = Some(now);
        }
    }

    /// Whether a check was running at this moment, or had just ended; the moment may have been this much earlier.
    pub(crate) fn include(&self, moment: Instant, or_earlier: Duration) -> bool {
        let within = |(begun, end): &(Instant, Option<Instant>)| {
            *begun <= moment + JIFFY && end.is_none_or(|end| moment <= end + self.aftermath + or_earlier)
        };
        self.spans.iter().rev().any(within)
    }
}

/// Counts how often the app used the database only during our checks.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    in_a_row: u32,
}

impl Suspicion {
    /// Counts an observation. False: the app used the database at another time too, and is cleared of suspicion.
    pub(crate) fn grows(&mut self, activity: &Activity, checks: &AppChecks) -> bool {
        let mut moments = activity.moments.iter().chain(activity.held.iter().map(|(_, moment)| moment));
        let ours = !activity.overflow && moments.all(|moment| checks.include(*moment, activity.took));
        self.in_a_row = match (ours, activity.is_active()) {
            (true, true) => self.in_a_row.saturating_add(1),
            (true, false) => self.in_a_row,
            (false, _) => 0,
        };
        ours
    }

    /// It has been so often enough in a row.
    pub(crate) fn is_certain(&self) -> bool {
        self.in_a_row >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests;
