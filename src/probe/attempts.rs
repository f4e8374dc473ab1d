//! The attempts of one check: again while that may help, inside one deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failure, Outcome, Phases};
use crate::retry::Waits;

/// No attempt starts with less than this part of the check's timeout left: it could only fail.
const LEAST_PART: u32 = 10;
/// Neon's proxy has tried for up to 15 s, nine times and more, before it says that something failed
/// (neondatabase/neon, `proxy/src/config.rs`): a check logs in there no more often than this.
const MOST_NEON_LOGINS: u32 = 4;

/// What a check may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The time of the whole check.
    pub(super) check: Duration,
    /// That of one attempt; cut to what is left of the check.
    pub(super) attempt: Duration,
    /// The server is behind Neon's proxy, which waits for a compute to wake up and goes on with a login that its client
    /// has given up.
    pub(super) behind_neon: bool,
}

/// How long an attempt may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) until: Instant,
    /// Where it waits for its login at that moment: until then.
    pub(super) latest: Option<Instant>,
}

/// Why an attempt came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// Something was answered, refused or closed.
    Answered,
    /// Its time was over.
    TimeOver,
    /// Its time was over, and the server had not answered our last message of the login.
    Waiting,
}

/// What came of one connection.
pub(super) struct Attempt<T> {
    pub(super) result: Result<T, Failure>,
    pub(super) phases: Phases,
    /// The end of what the check is about: what follows in the same session has a clock of its own.
    pub(super) ended: Instant,
    pub(super) end: AttemptEnd,
    /// It came to the point where a login begins.
    pub(super) began_login: bool,
    /// It took more time than others have.
    pub(super) extended: bool,
}

/// A check that is over: its last attempt, and what came before.
pub(super) struct Attempts<T> {
    last: Attempt<T>,
    made: u32,
    started: Instant,
}

impl<T> Attempts<T> {
    /// Makes attempts until one passes, no other could help, or too little time is left for another.
    pub(super) async fn make(limits: Limits, mut attempt: impl AsyncFnMut(Turn) -> Attempt<T>) -> Self {
        let started = Instant::now();
        let deadline = started + limits.check;
        let mut waits = Waits::between_attempts();
        let (mut made, mut logins) = (0, 0);
        let mut may_extend = limits.behind_neon;
        // Of the attempts before: what somebody said, in place of silence.
        let mut said: Option<Failure> = None;
        loop {
            made += 1;
            let began = Instant::now();
            let until = deadline.min(began + limits.attempt);
            let mut last = attempt(Turn { until, latest: may_extend.then_some(deadline) }).await;
            logins += u32::from(last.began_login);
            may_extend &= !last.extended;
            let next = Instant::now() + waits.draw();
            let in_time = next <= deadline - limits.check / LEAST_PART;
            let may_log_in = !limits.behind_neon || logins < MOST_NEON_LOGINS;
            if let Err(failure) = &last.result {
                if in_time && may_log_in && failure.may_heal() {
                    if last.end == AttemptEnd::Answered {
                        said = Some(failure.clone());
                    }
                    sleep(next - Instant::now()).await;
                    continue;
                }
                // The end of an attempt that had less time than others says nothing about the server.
                let shortened = until < began + limits.attempt;
                if shortened
                    && last.end != AttemptEnd::Answered
                    && let Some(failure) = said
                {
                    last.result = Err(failure);
                }
            }
            return Attempts { last, made, started };
        }
    }

    /// The last attempt waited for its login in vain.
    pub(super) fn ended_waiting(&self) -> bool {
        self.last.end == AttemptEnd::Waiting
    }

    /// The check's outcome, and what its last attempt found if it passed.
    pub(super) fn finish(self) -> (Outcome, Option<T>) {
        let Attempt { result, phases, ended, .. } = self.last;
        let (result, found) = match result {
            Ok(found) => (Ok(()), Some(found)),
            Err(failure) => (Err(failure), None),
        };
        let outcome = Outcome::now(result, self.made, self.started, phases);
        (Outcome { duration: ended - self.started, ..outcome }, found)
    }
}
