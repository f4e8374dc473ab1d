//! Is the check thread alive? It ticks once a second and notes how long each check may take. `/livez` reads only that:
//! neither the app nor the database can make it fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The check thread's own heartbeat.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Without a tick for this long the check thread hangs.
const LATEST_TICK: Duration = Duration::from_secs(15);
/// A check ends at its timeout; one that runs this much longer hangs.
pub(crate) const OVERRUN: Duration = Duration::from_secs(5);

/// The two schedules that can have a check under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The app check.
    App = 0,
    /// The database check, its SQL checks and handshakes.
    Database = 1,
}

/// Signs of life, in milliseconds since the start; written by the check thread, read by the HTTP thread.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    ticked: AtomicU64,
    lag: AtomicU64,
    /// When the running check must have ended; 0 = none is running.
    must_end: [AtomicU64; 2],
}

impl Pulse {
    /// Alive from now on.
    pub(crate) fn new(now: Instant) -> Self {
        Pulse { start: now, ticked: AtomicU64::new(0), lag: AtomicU64::new(0), must_end: Default::default() }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// The heartbeat; `lag` is how late it is.
    pub(crate) fn tick(&self, now: Instant, lag: Duration) {
        self.ticked.store(self.millis(now), Ordering::Relaxed);
        self.lag.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How late the last tick was.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_micros(self.lag.load(Ordering::Relaxed))
    }

    /// A check starts; one that does not end within its timeout hangs.
    pub(crate) fn begin(&self, lane: Lane, now: Instant, timeout: Duration) {
        self.must_end[lane as usize].store(self.millis(now + timeout + OVERRUN), Ordering::Relaxed);
    }

    /// The check ended.
    pub(crate) fn end(&self, lane: Lane) {
        self.must_end[lane as usize].store(0, Ordering::Relaxed);
    }

    /// The verdict of `/livez`.
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        let now = self.millis(now);
        let silent = now.saturating_sub(self.ticked.load(Ordering::Relaxed));
        let overrun = self.must_end.iter().map(|end| end.load(Ordering::Relaxed)).any(|end| end != 0 && now > end);
        u128::from(silent) <= LATEST_TICK.as_millis() && !overrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_alive_while_it_ticks() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        assert!(pulse.is_live(start + 15 * S));
        assert!(!pulse.is_live(start + 16 * S));
        pulse.tick(start + 16 * S, Duration::ZERO);
        assert!(pulse.is_live(start + 31 * S));
    }

    #[test]
    fn a_check_that_outlives_its_timeout_by_five_seconds_hangs() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        pulse.begin(Lane::Database, start, 2 * S);
        assert!(pulse.is_live(start + 7 * S));
        assert!(!pulse.is_live(start + 7 * S + Duration::from_millis(2)));
        pulse.end(Lane::Database);
        assert!(pulse.is_live(start + 8 * S));
    }
}
