//! The attempts of one check: it is retried while that may help, inside one deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failure, Outcome, Phases};
use crate::retry::Waits;

/// No attempt starts with less than this part of the check's timeout left: it could only fail.
const LEAST_PART: u32 = 10;
/// Neon's proxy has tried for up to 15 s, nine times and more, before it says that something failed
/// (neondatabase/neon, `proxy/src/config.rs`): a check logs in there no more often than this.
const MOST_NEON_LOGINS: u32 = 4;

/// The limits of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The time of the whole check.
    pub(super) check: Duration,
    /// The time of one attempt; cut to what is left of the check.
    pub(super) attempt: Duration,
    /// The server is behind Neon's proxy, which waits for a compute to wake up, and carries on with a login that its
    /// client has given up.
    pub(super) behind_neon: bool,
}

/// When an attempt must end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) usual: Instant,
    /// The deadline of an attempt that is waiting for its login when the usual one passes.
    pub(super) while_login_waits: Option<Instant>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// The server answered, refused or closed.
    Answered,
    /// Its time ran out.
    TimeOver,
    /// Its time ran out, and the server had not answered our last message of the login.
    Waiting,
}

/// One connection, and what came of it.
pub(super) struct Attempt<T> {
    pub(super) result: Result<T, Failure>,
    pub(super) phases: Phases,
    /// When the checked query ended: what follows in the same session is timed by itself.
    pub(super) ended: Instant,
    pub(super) end: AttemptEnd,
    /// It got as far as the login.
    pub(super) began_login: bool,
    /// It ran on after the usual deadline.
    pub(super) extended: bool,
}

/// A check that has ended.
pub(super) struct Attempts<T> {
    last: Attempt<T>,
    made: u32,
    started: Instant,
}

impl<T> Attempts<T> {
    /// Makes attempts until one passes, another could not help, or too little time is left for one.
    pub(super) async fn make(limits: Limits, mut attempt: impl AsyncFnMut(Deadlines) -> Attempt<T>) -> Self {
        let started = Instant::now();
        let deadline = started + limits.check;
        let mut waits = Waits::between_attempts();
        let (mut made, mut logins) = (0, 0);
        let mut may_extend = limits.behind_neon;
        // The newest failure so far that was not silence.
        let mut answered: Option<Failure> = None;
        loop {
            made += 1;
            let began = Instant::now();
            let usual = deadline.min(began + limits.attempt);
            let mut last = attempt(Deadlines { usual, while_login_waits: may_extend.then_some(deadline) }).await;
            logins += u32::from(last.began_login);
            may_extend &= !last.extended;
            let next = Instant::now() + waits.draw();
            let in_time = next <= deadline - limits.check / LEAST_PART;
            let may_log_in = !limits.behind_neon || logins < MOST_NEON_LOGINS;
            if let Err(failure) = &last.result {
                if in_time && may_log_in && failure.may_heal() {
                    if last.end == AttemptEnd::Answered {
                        answered = Some(failure.clone());
                    }
                    sleep(next - Instant::now()).await;
                    continue;
                }
                // The silence of a server that had less time than usual says little about it.
                let shortened = usual < began + limits.attempt;
                if shortened
                    && last.end != AttemptEnd::Answered
                    && let Some(failure) = answered
                {
                    last.result = Err(failure);
                }
            }
            return Attempts { last, made, started };
        }
    }

    /// Whether the last attempt waited for its login in vain.
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

#[cfg(test)]
mod tests {
    use tokio::time::timeout_at;

    use super::*;
    use crate::probe::{Phase, Reason};

    /// What the server does in one attempt, after how many seconds.
    #[derive(Clone, Copy)]
    enum Server {
        Says(u64, Reason),
        Passes(u64),
        /// Is silent before the login waits.
        Stalls,
        /// Lets the login wait, then answers.
        Wakes(u64, Result<(), Reason>),
    }

    const SECOND: Duration = Duration::from_secs(1);

    async fn attempt(server: Server, deadlines: Deadlines) -> Attempt<()> {
        let failed = |reason| Err(Failure::new(reason, Phase::Auth));
        let (silent, said, waits) = match server {
            Server::Says(seconds, reason) => (seconds, failed(reason), false),
            Server::Passes(seconds) => (seconds, Ok(()), false),
            Server::Stalls => (1000, Ok(()), false),
            Server::Wakes(seconds, said) => (seconds, said.or_else(failed), true),
        };
        let until = deadlines.while_login_waits.filter(|_| waits).unwrap_or(deadlines.usual);
        let began = Instant::now();
        let over = timeout_at(until, sleep(Duration::from_secs(silent))).await.is_err();
        let end = match (over, waits) {
            (false, _) => AttemptEnd::Answered,
            (true, false) => AttemptEnd::TimeOver,
            (true, true) => AttemptEnd::Waiting,
        };
        let result = if over { failed(Reason::AuthTimeout) } else { said };
        let extended = began.elapsed() > deadlines.usual - began;
        Attempt { result, phases: Phases::default(), ended: Instant::now(), end, began_login: true, extended }
    }

    /// A check of 20 s with attempts of 8 s against a server that goes on as in the script's last line.
    async fn check(behind_neon: bool, script: &[Server]) -> (Option<Reason>, u32, u64) {
        check_with(8, behind_neon, script).await
    }

    async fn check_with(attempt_seconds: u32, behind_neon: bool, script: &[Server]) -> (Option<Reason>, u32, u64) {
        let limits = Limits { check: 20 * SECOND, attempt: attempt_seconds * SECOND, behind_neon };
        let mut next = 0;
        let attempts = Attempts::make(limits, async |deadlines| {
            next += 1;
            attempt(script[next.min(script.len()) - 1], deadlines).await
        });
        let (outcome, found) = attempts.await.finish();
        assert_eq!(outcome.result.is_ok(), found.is_some());
        (outcome.reason(), outcome.attempts, outcome.duration.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_waits_behind_neon_has_the_time_of_the_check_once() {
        use Server::{Says, Stalls, Wakes};
        let wakes = |seconds| Wakes(seconds, Ok(()));
        assert_eq!(check(true, &[wakes(9)]).await, (None, 1, 9));
        assert_eq!(check(true, &[wakes(19)]).await, (None, 1, 19));
        assert_eq!(check(true, &[wakes(25)]).await, (Some(Reason::AuthTimeout), 1, 20));
        // Elsewhere, and where no login waits, an attempt is cut short.
        assert_eq!(check(false, &[wakes(25)]).await, (Some(Reason::AuthTimeout), 3, 20));
        assert_eq!(check(true, &[Stalls]).await, (Some(Reason::AuthTimeout), 3, 20));
        // The second login that waits is cut short: there is time for a third attempt.
        let once = [Wakes(9, Err(Reason::ControlPlane)), wakes(25), Says(0, Reason::AuthFailed)];
        let (reason, attempts, _) = check_with(5, true, &once).await;
        assert_eq!((reason, attempts), (Some(Reason::AuthFailed), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_reason_stands_over_the_end_of_a_shortened_attempt() {
        use Server::{Says, Stalls, Wakes};
        // The proxy reports a compute that does not answer after 15.1 s: the next attempt has 5 s.
        let black_hole = [Wakes(15, Err(Reason::ComputeUnreachable)), Wakes(25, Ok(()))];
        assert_eq!(check(true, &black_hole).await, (Some(Reason::ComputeUnreachable), 2, 20));
        let shortened = [Says(7, Reason::StartingUp), Says(7, Reason::ConnectionLost), Stalls];
        assert_eq!(check(false, &shortened).await, (Some(Reason::ConnectionLost), 3, 20), "the newest of them");
        assert_eq!(check(false, &[Says(7, Reason::StartingUp), Stalls]).await.0, Some(Reason::StartingUp));
        // What the last attempt itself reports is newer.
        let named = [Says(7, Reason::StartingUp), Says(7, Reason::StartingUp), Says(1, Reason::AuthFailed)];
        assert_eq!(check(false, &named).await.0, Some(Reason::AuthFailed));
        assert_eq!(check(false, &[Stalls]).await.0, Some(Reason::AuthTimeout), "no attempt named a reason");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_tries_while_that_may_help() {
        use Server::{Passes, Says};
        for (reason, neon, elsewhere) in
            [(Reason::ControlPlane, 4, 5..20), (Reason::QueryFailed, 1, 1..2), (Reason::AuthFailed, 1, 1..2)]
        {
            assert_eq!(check(true, &[Says(0, reason)]).await.1, neon, "{reason}");
            let attempts = check(false, &[Says(0, reason)]).await.1;
            assert!(elsewhere.contains(&attempts), "{reason}: {attempts}");
        }
        let (reason, attempts, _) = check(true, &[Says(0, Reason::StartingUp), Passes(1)]).await;
        assert_eq!((reason, attempts), (None, 2));
    }
}
