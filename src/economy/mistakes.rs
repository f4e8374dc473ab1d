//! Activity that turns out not to have been use of this database: how long the next activity is not believed. Pure.
//!
//! Neon's projects share addresses, so that the traffic of another project looks like the app's. A deep query that was
//! caused by activity, but had to wake the compute, was a mistake. After it queries follow activity ever more seldom,
//! until one finds the compute awake, though it was not ours that woke it.
//!
//! Queries that follow each other closely keep it awake themselves and prove nothing. So after six hours without proof
//! one query waits until the compute would be asleep.

use std::time::Duration;

/// Neon suspends after 5 min without use, at times a little later. A compute that is still awake after this has been
/// used meanwhile.
const SUSPENDED_WITHIN: Duration = Duration::from_secs(6 * 60);
/// The longest wait if `SIDEPULSE_ECONOMY_MAX_AGE` sets none.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// A proof that the app uses the database is believed for this long.
const PROVEN_FOR: Duration = Duration::from_secs(6 * 3600);

/// How a deep query that passed found the compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compute {
    /// The query has woken it.
    Woken,
    /// Another client has started it since the query before.
    Restarted,
    /// As the query before left it, or the server does not say.
    Unchanged,
}

/// Counts mistakes, by the wait that follows them.
#[derive(Debug)]
pub(super) struct Mistakes {
    interval: Duration,
    longest: Duration,
    /// `None`: activity is believed.
    wait: Option<Duration>,
    /// For how long queries have followed each other closely since the last proof of use.
    unproven_for: Duration,
    /// Without use the compute is asleep after this time, as far as is known.
    sleeps_within: Duration,
}

impl Mistakes {
    /// None has been made yet.
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
            // It may be awake only because of our own queries.
            Compute::Unchanged => {
                self.unproven_for = self.unproven_for.saturating_add(after);
                if by_activity && self.wait.is_some() {
                    self.grow();
                }
            }
        }
    }

    /// The least time from a deep query to the next one that activity causes; `None`: the interval.
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
