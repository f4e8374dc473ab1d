//! Has the app stopped answering? Counts only time without any HTTP answer, once the app has been up. Pure: results of
//! app checks go in, never those of the database.

use std::time::Duration;

use tokio::time::Instant;

use crate::probe::{Outcome, Reason};

/// The timeout of the last request before the verdict: busy is not dead.
pub(super) const LAST_REQUEST_TIME: Duration = Duration::from_secs(10);

/// How the last request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastRequest {
    /// With an answer that counts as alive.
    Answered,
    /// Without one.
    Failed(Reason),
    /// It could not be made.
    NotMade,
}

/// How long the app has been silent.
#[derive(Debug)]
pub(super) struct Silence {
    after: Duration,
    /// Since when, where it is silent.
    since: Option<Instant>,
    /// The end of the newest check seen: the board changes more often than the app check has a result.
    newest: Option<Instant>,
    /// The verdict on this silence was given.
    judged: bool,
}

impl Silence {
    /// `after`: this much silence leads to a last request.
    pub(super) fn new(after: Duration) -> Self {
        Silence { after, since: None, newest: None, judged: false }
    }

    /// Takes the newest result of the app check in; the same one again changes nothing. `was_up`: the app was up once.
    pub(super) fn take(&mut self, was_up: bool, outcome: &Outcome) {
        let ended = outcome.ended.0;
        if self.newest == Some(ended) {
            return;
        }
        self.newest = Some(ended);
        if was_up && outcome.reason().is_some_and(is_silence) {
            // The check asked when it began; nothing is known of the time before.
            let began = ended.checked_sub(outcome.duration).unwrap_or(ended);
            self.since.get_or_insert(began);
        } else {
            self.reset();
        }
    }

    /// When the last request is to be made, if nothing is heard until then.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.judged { None } else { self.since.map(|since| since + self.after) }
    }

    /// Judges by the last request. Returns for how long the app has been silent, and why, if it is unresponsive; once a
    /// silence.
    pub(super) fn judge(&mut self, last: LastRequest, now: Instant) -> Option<(Duration, Reason)> {
        let since = self.since.filter(|_| !self.judged)?;
        match last {
            LastRequest::Failed(reason) if is_no_answer(reason) => {
                self.judged = true;
                Some((now.saturating_duration_since(since), reason))
            }
            _ => {
                self.reset();
                None
            }
        }
    }

    /// The app answered, or that could not be found out: counting starts over.
    fn reset(&mut self) {
        self.since = None;
        self.judged = false;
    }
}

/// A result that counts as silence. What is not on this list (a lost connection, a certificate, a name) does not prove
/// that the app hangs.
fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectRefused | Reason::ConnectTimeout | Reason::ResponseTimeout)
}

/// The last request got no status line, and not because we could not ask.
fn is_no_answer(reason: Reason) -> bool {
    is_silence(reason) || reason == Reason::ConnectionLost
}

#[cfg(test)]
mod tests;
