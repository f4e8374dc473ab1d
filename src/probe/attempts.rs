//! The attempts of one check: again while that may help, inside one deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Class, Failure, Outcome, Phases};
use crate::retry::Waits;

/// No attempt starts with less than this part of the check's timeout left: it could only fail.
const LEAST_PART: u32 = 10;

/// How long a check may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The whole check.
    pub(super) check: Duration,
    /// One attempt; cut to what is left of the check.
    pub(super) attempt: Duration,
}

/// What came of one connection.
pub(super) struct Attempt<T> {
    pub(super) result: Result<T, Failure>,
    pub(super) phases: Phases,
    /// The end of what the check is about: what follows in the same session has a clock of its own.
    pub(super) ended: Instant,
}

/// A check that is over: its last attempt, and what came before.
pub(super) struct Attempts<T> {
    last: Attempt<T>,
    made: u32,
    started: Instant,
}

impl<T> Attempts<T> {
    /// Makes attempts until one passes, no other could help, or too little time is left for another.
    pub(super) async fn make(limits: Limits, mut attempt: impl AsyncFnMut(Instant) -> Attempt<T>) -> Self {
        let started = Instant::now();
        let deadline = started + limits.check;
        let mut waits = Waits::between_attempts();
        let mut made = 0;
        loop {
            made += 1;
            let last = attempt(deadline.min(Instant::now() + limits.attempt)).await;
            let next = Instant::now() + waits.draw();
            let in_time = next <= deadline - limits.check / LEAST_PART;
            if in_time && last.result.as_ref().is_err_and(|failure| failure.reason.class() == Class::Retry) {
                sleep(next - Instant::now()).await;
                continue;
            }
            return Attempts { last, made, started };
        }
    }

    /// The check's outcome, and what its last attempt found if it passed.
    pub(super) fn finish(self) -> (Outcome, Option<T>) {
        let Attempt { result, phases, ended } = self.last;
        let (result, found) = match result {
            Ok(found) => (Ok(()), Some(found)),
            Err(failure) => (Err(failure), None),
        };
        let outcome = Outcome::now(result, self.made, self.started, phases);
        (Outcome { duration: ended - self.started, ..outcome }, found)
    }
}
