//! Has the app stopped answering? Only time without any HTTP answer counts, and only once the app has been up. Pure:
//! results of app checks go in, never those of the database.

use std::time::Duration;

use tokio::time::Instant;

use crate::probe::{Outcome, Reason};

/// The timeout of the last request before the verdict: an app may just be busy.
pub(super) const LAST_REQUEST_TIME: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastRequest {
    /// With an answer that counts as alive.
    Answered,
    /// Without one.
    Failed(Reason),
    /// It could not be made.
    NotMade,
}

#[derive(Debug)]
pub(super) struct Silence {
    after: Duration,
    /// Since when, if it is silent.
    since: Option<Instant>,
    /// When the newest check ended: the snapshot changes more often than the app check has a result.
    newest: Option<Instant>,
    /// There was a verdict on this silence.
    judged: bool,
}

impl Silence {
    /// `after`: how much silence leads to a last request.
    pub(super) fn new(after: Duration) -> Self {
        Silence { after, since: None, newest: None, judged: false }
    }

    /// Counts the newest result of the app check; the same one again changes nothing. `was_up`: the app was up before.
    pub(super) fn take(&mut self, was_up: bool, outcome: &Outcome) {
        let ended = outcome.ended.0;
        if self.newest == Some(ended) {
            return;
        }
        self.newest = Some(ended);
        if was_up && outcome.reason().is_some_and(is_silence) {
            // Since the check began; nothing is known about the time before.
            let began = ended.checked_sub(outcome.duration).unwrap_or(ended);
            self.since.get_or_insert(began);
        } else {
            self.reset();
        }
    }

    /// When to make the last request, unless there is an answer before.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.judged { None } else { self.since.map(|since| since + self.after) }
    }

    /// Judges by the last request. If the app is unresponsive, returns for how long it has been silent, and why; once for
    /// each silence.
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

    /// The app answered, or it is not known whether it would: counting starts over.
    fn reset(&mut self) {
        self.since = None;
        self.judged = false;
    }
}

/// Whether a result counts as silence. What is not on this list (a lost connection, a certificate, a name) does not prove
/// that the app hangs.
fn is_silence(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectRefused | Reason::ConnectTimeout | Reason::ResponseTimeout)
}

/// Whether the last request got no status line, although it was sent or refused.
fn is_no_answer(reason: Reason) -> bool {
    is_silence(reason) || reason == Reason::ConnectionLost
}

#[cfg(test)]
mod tests;
