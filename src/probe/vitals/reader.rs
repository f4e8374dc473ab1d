//! When the vitals are read: after a check that passed, in its session, seldom, and never for long.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::SimpleQueryRow;

use super::{OwnSession, Vitals, sessions_statement, statement};
use crate::config::WarnAt;
use crate::probe::query::{ANSWER_MARGIN, Querier};
use crate::probe::{Failure, Phase, Reason};

/// The most that a reading may take; it is done within milliseconds, or is not worth the wait.
const LONGEST: Duration = Duration::from_secs(2);
/// With a smaller share of the attempt's time nothing is read: it would only be cut off.
const SHORTEST: Duration = Duration::from_millis(300);
/// After a refusal the statement is not tried again for this long; by then the server may be another.
const REFUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The SQLSTATE classes of what will not be better in a minute: a server that lacks these views or functions, or does not
/// support the statement.
const REFUSALS: [&str; 2] = ["42", "0A"];

/// The session of a check that passed, and when its attempt must be over.
pub(in crate::probe) struct KeptSession {
    pub(in crate::probe) querier: Querier,
    pub(in crate::probe) deadline: Instant,
}

impl fmt::Debug for KeptSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSession").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Reads the vitals when they are due.
#[derive(Debug)]
pub(in crate::probe) struct VitalsReader {
    /// `None`: early warnings are switched off.
    every: Option<Every>,
    next: Instant,
    next_with_storage: Instant,
    last: Option<Instant>,
    /// The server refused the newest reading.
    refused: bool,
    /// When the server was started, in its own words.
    server_started: Option<String>,
    /// The latest start of any server so far, in seconds.
    newest_started: Option<f64>,
}

#[derive(Debug)]
struct Every {
    vitals: Duration,
    storage: Duration,
}

impl VitalsReader {
    /// The first reading is due at once.
    pub(in crate::probe) fn new(warn_at: Option<&WarnAt>) -> Self {
        let every = warn_at.map(|at| Every { vitals: at.read_every, storage: at.storage_every });
        let now = Instant::now();
        VitalsReader {
            every,
            next: now,
            next_with_storage: now,
            last: None,
            refused: false,
            server_started: None,
            newest_started: None,
        }
    }

    /// Whether a check that passed just now is to keep its session for a reading. Nothing is known of a server that was
    /// restarted (Neon's is at each wake-up), so its vitals are read at once. Behind a balancer another server may answer
    /// what the one before refused.
    pub(in crate::probe) fn is_due(&mut self, server_started: Option<&str>, now: Instant) -> bool {
        let Some(every) = &self.every else { return false };
        if self.server_started.as_deref() != server_started {
            self.server_started = server_started.map(str::to_owned);
            let started = server_started.and_then(|text| text.parse().ok());
            let refused = std::mem::take(&mut self.refused);
            if started > self.newest_started {
                self.newest_started = started;
                self.next = now;
                self.next_with_storage = now;
            } else if refused {
                self.next = self.last.map_or(now, |last| last + every.vitals);
            }
        }
        now >= self.next
    }

    /// Reads them, and closes the session.
    pub(in crate::probe) async fn read(&mut self, kept: KeptSession, now: Instant) -> Result<Vitals, Failure> {
        let KeptSession { mut querier, deadline } = kept;
        let storage = now >= self.next_with_storage;
        let asked = ask(&mut querier, deadline, &statement(storage)).await;
        let vitals = asked.and_then(|rows| {
            let odd = || Failure::new(Reason::UnexpectedResult, Phase::Query).with_detail("no row of numbers");
            rows.first().and_then(|row| Vitals::read(&columns(row))).ok_or_else(odd)
        });
        if let Some(every) = &self.every {
            self.refused = vitals.as_ref().is_err_and(is_refusal);
            self.last = Some(now);
            self.next = now + if self.refused { REFUSED_FOR } else { every.vitals };
            if storage {
                self.next_with_storage = now + every.storage;
            }
        }
        querier.close(deadline).await;
        vitals
    }

    /// The role's own sessions; none where the server does not show them.
    pub(in crate::probe) async fn sessions(kept: &mut KeptSession) -> Vec<OwnSession> {
        let rows = ask(&mut kept.querier, kept.deadline, &sessions_statement()).await.unwrap_or_default();
        rows.iter().filter_map(|row| OwnSession::read(&columns(row))).collect()
    }
}

/// Whether the server does not know what was queried, or returns something else: it will do so again.
fn is_refusal(failure: &Failure) -> bool {
    let state = failure.unclassified.as_deref().unwrap_or_default();
    matches!(failure.reason, Reason::AccessDenied | Reason::UnexpectedResult)
        || REFUSALS.iter().any(|class| state.starts_with(class))
}

/// One statement with its share of the time that is left.
async fn ask(querier: &mut Querier, deadline: Instant, sql: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
    let now = Instant::now();
    let share = LONGEST.min(deadline.saturating_duration_since(now) / 2);
    if share < SHORTEST {
        return Err(Failure::timed_out(Phase::Query));
    }
    let answer = timeout_at(now + share, querier.rows(sql, share - ANSWER_MARGIN)).await;
    let answer = answer.unwrap_or_else(|_| Err(Failure::timed_out(Phase::Query)));
    if answer.is_err() {
        querier.roll_back(deadline).await;
    }
    answer
}

fn columns(row: &SimpleQueryRow) -> Vec<Option<&str>> {
    (0..row.len()).map(|column| row.try_get(column).ok().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_server_that_started_later_is_read_at_once() {
        let now = Instant::now();
        let mut reader = VitalsReader::new(Some(&WarnAt::default()));
        assert!(reader.is_due(Some("100.5"), now));
        (reader.last, reader.next) = (Some(now), now + MINUTE);
        // An earlier start is another server behind a balancer.
        for (started, due) in [("100.5", false), ("90", false), ("100.5", false), ("200.25", true)] {
            assert_eq!(reader.is_due(Some(started), now), due, "started at {started}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_may_answer_what_one_refused() {
        let now = Instant::now();
        let mut reader = VitalsReader::new(Some(&WarnAt::default()));
        assert!(reader.is_due(Some("100.5"), now));
        (reader.last, reader.next, reader.refused) = (Some(now), now + REFUSED_FOR, true);
        assert!(!reader.is_due(Some("100.5"), now + MINUTE));
        assert!(!reader.is_due(Some("90"), now));
        assert!(reader.is_due(Some("90"), now + MINUTE));
    }
}
