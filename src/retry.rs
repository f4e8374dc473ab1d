//! When to try again: the waits between attempts, between failed checks and between good ones.
//!
//! The only file that names the `backoff` crate (unmaintained, RUSTSEC-2025-0012). Only its exponential policy is used,
//! not its retry loop, since every attempt of a probe has a result.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// The first wait between two attempts of one check.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest wait between two attempts of one check.
const LONGEST_RETRY: Duration = Duration::from_secs(4);
/// So that sidecars that start together do not retry in step for ever.
const RETRY_JITTER: f64 = 0.5;
/// The same for the interval between checks.
const INTERVAL_JITTER: f64 = 0.1;
/// After a failed check the next follows after this.
const FIRST_RECHECK: Duration = Duration::from_secs(1);

/// A sequence of waits, each twice the one before, with jitter and a limit.
#[derive(Debug)]
pub(crate) struct Waits {
    policy: ExponentialBackoff,
    longest: Duration,
}

impl Waits {
    fn new(first: Duration, longest: Duration, jitter: f64) -> Self {
        let policy = ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: jitter,
            multiplier: 2.0,
            max_interval: longest,
            // Otherwise the crate gives up after 15 min; our deadlines are elsewhere.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Waits { policy, longest }
    }

    /// Between the attempts of one check: 0.25 s, doubling, ±50 %, at most 4 s.
    pub(crate) fn between_attempts() -> Self {
        Waits::new(FIRST_RETRY, LONGEST_RETRY, RETRY_JITTER)
    }

    /// After failed checks: min(1 s, interval), doubling up to the interval.
    pub(crate) fn after_failures(interval: Duration) -> Self {
        Waits::new(FIRST_RECHECK.min(interval), interval, 0.0)
    }

    /// The next wait. The crate applies the jitter after the limit, so the limit is applied again here.
    pub(crate) fn draw(&mut self) -> Duration {
        self.policy.next_backoff().unwrap_or(self.longest).min(self.longest)
    }

    /// Starts over with the first wait.
    pub(crate) fn reset(&mut self) {
        self.policy.reset();
    }
}

/// The interval, ±10 %.
pub(crate) fn spread(interval: Duration) -> Duration {
    // One step of a policy that does not grow is a draw from interval ± 10 %.
    Waits::new(interval, interval.mul_f64(1.0 + INTERVAL_JITTER), INTERVAL_JITTER).draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_wait_longer_each_time_but_never_over_the_limit() {
        for _ in 0..200 {
            let mut waits = Waits::between_attempts();
            for base in [250, 500, 1000, 2000, 4000, 4000, 4000] {
                let (wait, base) = (waits.draw(), Duration::from_millis(base));
                assert!(wait >= base / 2 && wait <= (base * 3 / 2).min(LONGEST_RETRY), "{wait:?} for {base:?}");
            }
        }
    }

    #[test]
    fn failed_checks_are_repeated_soon_then_at_the_interval() {
        let mut waits = Waits::after_failures(Duration::from_secs(15));
        let all: Vec<_> = (0..6).map(|_| waits.draw().as_secs()).collect();
        assert_eq!(all, [1, 2, 4, 8, 15, 15]);
        waits.reset();
        assert_eq!(waits.draw().as_secs(), 1);
        assert_eq!(Waits::after_failures(Duration::from_millis(300)).draw(), Duration::from_millis(300));
    }

    #[test]
    fn intervals_are_spread_by_a_tenth() {
        let interval = Duration::from_secs(10);
        let draws: Vec<_> = (0..500).map(|_| spread(interval)).collect();
        assert!(draws.iter().all(|d| (9.0..=11.0).contains(&d.as_secs_f64())));
        assert!(draws.iter().any(|d| *d < interval) && draws.iter().any(|d| *d > interval));
    }
}
