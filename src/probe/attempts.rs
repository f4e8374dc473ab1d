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

#[cfg(test)]
mod tests {
    use tokio::time::timeout_at;

    use super::*;
    use crate::probe::{Phase, Reason};

    /// What the server does in one attempt: so long silent, then this.
    #[derive(Clone, Copy)]
    enum Server {
        Says(u64, Reason),
        Passes(u64),
        /// Silent before the login waits.
        Stalls,
        /// The login waits for so long, then this is said.
        Wakes(u64, Result<(), Reason>),
    }

    const SECOND: Duration = Duration::from_secs(1);

    async fn attempt(server: Server, turn: Turn) -> Attempt<()> {
        let failed = |reason| Err(Failure::new(reason, Phase::Auth));
        let (silent, said, waits) = match server {
            Server::Says(seconds, reason) => (seconds, failed(reason), false),
            Server::Passes(seconds) => (seconds, Ok(()), false),
            Server::Stalls => (1000, Ok(()), false),
            Server::Wakes(seconds, said) => (seconds, said.or_else(failed), true),
        };
        let until = turn.latest.filter(|_| waits).unwrap_or(turn.until);
        let began = Instant::now();
        let over = timeout_at(until, sleep(Duration::from_secs(silent))).await.is_err();
        let end = match (over, waits) {
            (false, _) => AttemptEnd::Answered,
            (true, false) => AttemptEnd::TimeOver,
            (true, true) => AttemptEnd::Waiting,
        };
        let result = if over { failed(Reason::AuthTimeout) } else { said };
        let extended = began.elapsed() > turn.until - began;
        Attempt { result, phases: Phases::default(), ended: Instant::now(), end, began_login: true, extended }
    }

    /// A check of 20 s with attempts of 8 s against this: the last behaviour stays.
    async fn check(behind_neon: bool, script: &[Server]) -> (Option<Reason>, u32, u64) {
        check_with(8, behind_neon, script).await
    }

    async fn check_with(attempt_seconds: u32, behind_neon: bool, script: &[Server]) -> (Option<Reason>, u32, u64) {
        let limits = Limits { check: 20 * SECOND, attempt: attempt_seconds * SECOND, behind_neon };
        let mut next = 0;
        let attempts = Attempts::make(limits, async |turn| {
            next += 1;
            attempt(script[next.min(script.len()) - 1], turn).await
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
        // Elsewhere, and where nothing waits, an attempt is cut.
        assert_eq!(check(false, &[wakes(25)]).await, (Some(Reason::AuthTimeout), 3, 20));
        assert_eq!(check(true, &[Stalls]).await, (Some(Reason::AuthTimeout), 3, 20));
        // The second that waits is cut: there is time for a third.
        let once = [Wakes(9, Err(Reason::ControlPlane)), wakes(25), Says(0, Reason::AuthFailed)];
        let (reason, attempts, _) = check_with(5, true, &once).await;
        assert_eq!((reason, attempts), (Some(Reason::AuthFailed), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_reason_stands_over_the_end_of_a_shortened_attempt() {
        use Server::{Says, Stalls, Wakes};
        // The proxy names a black hole after 15.1 s: the next attempt has 5 s.
        let black_hole = [Wakes(15, Err(Reason::ComputeUnreachable)), Wakes(25, Ok(()))];
        assert_eq!(check(true, &black_hole).await, (Some(Reason::ComputeUnreachable), 2, 20));
        let shortened = [Says(7, Reason::StartingUp), Says(7, Reason::ConnectionLost), Stalls];
        assert_eq!(check(false, &shortened).await, (Some(Reason::ConnectionLost), 3, 20), "the newest of them");
        assert_eq!(check(false, &[Says(7, Reason::StartingUp), Stalls]).await.0, Some(Reason::StartingUp));
        // What the last one names itself is newer.
        let named = [Says(7, Reason::StartingUp), Says(7, Reason::StartingUp), Says(1, Reason::AuthFailed)];
        assert_eq!(check(false, &named).await.0, Some(Reason::AuthFailed));
        assert_eq!(check(false, &[Stalls]).await.0, Some(Reason::AuthTimeout), "nobody named any");
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
