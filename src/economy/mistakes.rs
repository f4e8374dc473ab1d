//! Activity that turns out not to have been use of this database: how long the next that is seen is not believed. Pure.
//!
//! Neon's projects share addresses, so that the traffic of another one looks like the app's. A deep query that
//! activity caused, and that had to wake the compute itself, was a mistake. After it queries follow activity ever more
//! seldom, until one finds the compute awake for somebody else's sake.
//!
//! Queries that follow each other closely keep it awake themselves and prove nothing. So once in six hours without a
//! proof one query waits until the compute would be asleep.

use std::time::Duration;

/// Neon suspends after 5 min without use, and is a little late at times. A compute that is still awake after this was
/// used meanwhile.
const SUSPENDED_WITHIN: Duration = Duration::from_secs(6 * 60);
/// The longest wait where `SIDEPULSE_ECONOMY_MAX_AGE` sets none.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// A proof that the app uses the database is believed for this long.
const PROVEN_FOR: Duration = Duration::from_secs(6 * 3600);

/// How a deep query that passed found the compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compute {
    /// The query has woken it.
    Woken,
    /// Somebody else has started it since the query before.
    Restarted,
    /// As the query before had left it, or the server does not tell.
    Unchanged,
}

/// Counts mistakes, by the wait that follows them.
#[derive(Debug)]
pub(super) struct Mistakes {
    interval: Duration,
    longest: Duration,
    /// `None`: activity is believed.
    wait: Option<Duration>,
    /// For so long queries have followed each other closely since the last proof of use.
    unproven_for: Duration,
    /// Without use the compute sleeps after this time, as far as is known.
    sleeps_within: Duration,
}

impl Mistakes {
    /// None was made yet.
    pub(super) fn new(interval: Duration, max_age: Option<Duration>) -> Self {
        let longest = max_age.unwrap_or(LONGEST);
        Mistakes { interval, longest, wait: None, unproven_for: Duration::ZERO, sleeps_within: SUSPENDED_WITHIN }
    }

    /// A deep query has passed, this long after the one before.
    pub(super) fn take(&mut self, compute: Compute, by_activity: bool, after: Duration) {
        match compute {
            Compute::Woken if by_activity => {
                self.sleeps_within = after.min(SUSPENDED_WITHIN);
                self.unproven_for = Duration::ZERO;
                self.grow();
            }
            Compute::Woken => self.unproven_for = Duration::ZERO,
            Compute::Restarted => self.proven(),
            Compute::Unchanged if after >= self.sleeps_within => self.proven(),
            // It may be awake because of our own queries alone.
            Compute::Unchanged => {
                self.unproven_for = self.unproven_for.saturating_add(after);
                if by_activity && self.wait.is_some() {
                    self.grow();
                }
            }
        }
    }

    /// From a deep query to the next that activity causes, at least; `None`: the interval.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait.or((self.unproven_for >= PROVEN_FOR).then_some(self.sleeps_within))
    }

    fn proven(&mut self) {
        (self.wait, self.unproven_for) = (None, Duration::ZERO);
    }

    fn grow(&mut self) {
        self.wait = Some(self.wait.unwrap_or(self.interval).saturating_mul(2).min(self.longest));
    }
}

#[cfg(test)]
mod tests;
