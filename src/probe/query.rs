//! The user's query with what we add to it, and without what the server refuses of that.
//!
//! The user's query decides. In the healthy case everything is one message, so that a check takes one round trip. An
//! error belongs to the first statement that was not completed: where that is one of ours, the query is asked again
//! without it, in the same session, down to the bare query. A query that was completed has passed, whatever becomes of
//! what follows. It is never run outside of a read-only transaction that the server would give.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::diagnosis::server::is_catch_all;
use super::refusal::{Addition, Refusal};
use super::session::{GOODBYE, Rows, Session};
use super::trouble::{CUT, Trouble};
use super::{Failure, Phase, Reason, ServerFacts};

mod facts;
mod steps;

use facts::Facts;
use steps::{Purpose, Step};

/// The server ends a statement this much before we would give up on it, so that its own error arrives.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// The SQLSTATE of a statement in a transaction that has failed before.
const IN_FAILED_TRANSACTION: &str = "25P02";
/// The SQLSTATE for a message whose answers were not one for each statement.
const MISCOUNTED: &str = "00000";

/// What one try of the query came to.
enum Try {
    Rows(Rows),
    Failed(Failure),
    /// The server refused something of ours: again without it.
    Again,
}

/// Why several statements in one message are not tried any more in this session: either they, or one of them, were
/// refused.
struct Doubt {
    sqlstate: String,
    /// How much was left out before.
    left_out: usize,
}

/// Asks queries in one session.
pub(super) struct Asker {
    session: Session,
    /// What the server refuses, in this session and before.
    refused: Vec<Refusal>,
    /// What failed for another reason than that the server does not know it: left out in this session alone.
    skipped: Vec<Addition>,
    doubt: Option<Doubt>,
    facts: Facts,
    /// The place of the query in the message under way.
    query_at: usize,
    /// The rows of a query that has passed, while the facts are asked for.
    passed: Option<Rows>,
    /// The connection ended over a message with several statements, and none of them was completed.
    cut: bool,
}

impl Asker {
    /// `after_cut`: the connection before this one ended over several statements in one message.
    pub(super) fn new(session: Session, refused: Vec<Refusal>, after_cut: bool) -> Self {
        let doubt = after_cut.then(|| Doubt { sqlstate: CUT.to_owned(), left_out: refused.len() });
        let (skipped, facts) = (Vec::new(), Facts::default());
        Asker { session, refused, skipped, doubt, facts, query_at: 0, passed: None, cut: false }
    }

    /// The deep query: passes when it returns a row. What the server tells beside is then in [`facts`](Self::facts).
    /// The future may be dropped: [`has_passed`](Self::has_passed) says whether the query was answered before.
    pub(super) async fn deep(&mut self, query: &str, deadline: Instant) -> Result<(), Failure> {
        let until = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        has_row(&self.ask(query, until, true).await?)
    }

    /// Whether a deep query that was not awaited to its end has passed: what we add to it took too long.
    pub(super) fn has_passed(&self) -> bool {
        let rows = self.passed.as_ref().or_else(|| self.session.answer.completed.get(self.query_at));
        rows.is_some_and(|rows| has_row(rows).is_ok())
    }

    /// One SQL check: passes when the first column of the first row is true. The server ends it after `share`.
    pub(super) async fn is_true(&mut self, sql: &str, share: Duration) -> Result<(), Failure> {
        let rows = self.ask(sql, Instant::now() + share, false).await?;
        match rows.first().and_then(|row| row.try_get(0).ok().flatten()) {
            Some("t" | "true") => Ok(()),
            _ => Err(odd("the first column of the first row is not true")),
        }
    }

    /// The rows of a statement of our own. The server ends it after `share`.
    pub(super) async fn rows(&mut self, sql: &str, share: Duration) -> Result<Rows, Failure> {
        self.ask(sql, Instant::now() + share, false).await
    }

    /// Whether the server ends a statement by its own clock, and so leaves the session fit for the next.
    pub(super) fn has_clock(&self) -> bool {
        self.takes(Addition::Transaction) && self.takes(Addition::StatementTimeout)
    }

    /// Whether the session can be asked more.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Whether the connection ended over several statements in one message, with nothing of it answered.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// What the server told beside the last deep query.
    pub(super) fn facts(&self) -> ServerFacts {
        self.facts.of(&self.session)
    }

    /// How long the server had been running at the last deep query, by its own clock.
    pub(super) fn server_up_for(&self) -> Option<Duration> {
        self.facts.up_for()
    }

    /// Leaves no transaction behind, not even for a pooler to find.
    pub(super) async fn roll_back(&mut self, deadline: Instant) {
        let until = deadline.min(Instant::now() + GOODBYE);
        let _ = timeout_at(until, self.session.roll_back()).await;
    }

    /// What the server refuses.
    pub(super) fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// Ends the session.
    pub(super) async fn close(self, deadline: Instant) {
        self.session.close(deadline).await;
    }

    /// Asks until the query has an answer; each try does without something more.
    async fn ask(&mut self, sql: &str, until: Instant, facts: bool) -> Result<Rows, Failure> {
        self.passed = None;
        loop {
            let wanted = if facts { self.wanted() } else { Vec::new() };
            let steps = steps::around(sql, until, &wanted, |addition| self.takes(addition));
            let tried = match self.takes(Addition::OneMessage) {
                true => self.in_one_message(&steps).await,
                false => self.step_by_step(&steps).await,
            };
            match tried {
                Try::Rows(rows) => return Ok(rows),
                Try::Failed(failure) => return Err(failure),
                Try::Again => {}
            }
        }
    }

    fn takes(&self, addition: Addition) -> bool {
        let refused = self.refused.iter().any(|refusal| refusal.addition == addition);
        let doubted = addition == Addition::OneMessage && self.doubt.is_some();
        !refused && !doubted && !self.skipped.contains(&addition)
    }

    /// The facts that the server tells.
    fn wanted(&self) -> Vec<Addition> {
        facts::ALL.into_iter().filter(|&fact| self.takes(fact)).collect()
    }

    /// All statements in one message.
    async fn in_one_message(&mut self, steps: &[Step]) -> Try {
        self.query_at = steps.iter().position(|step| step.purpose == Purpose::Query).unwrap_or_default();
        let sent = self.session.send(&steps::joined(steps)).await;
        let mut completed = std::mem::take(&mut self.session.answer.completed);
        let trouble = match sent {
            Ok(()) if completed.len() == steps.len() => {
                if let Some(facts) = steps.iter().position(|step| step.purpose == Purpose::Facts) {
                    self.facts.learn(&self.wanted(), &completed[facts]);
                }
                return Try::Rows(completed.swap_remove(self.query_at));
            }
            Ok(()) => {
                self.doubt(MISCOUNTED);
                return Try::Again;
            }
            Err(trouble) => trouble,
        };
        // The statement that it belongs to; what is more than we sent is the user's.
        let at = completed.len();
        let purpose = steps.get(at).map_or(Purpose::Query, |step| step.purpose);
        if at > self.query_at {
            self.passed = Some(completed.swap_remove(self.query_at));
            self.after_query(purpose, &trouble).await;
            return Try::Rows(self.passed.take().unwrap_or_default());
        }
        if !self.session.is_open() {
            return Try::Failed(if at == 0 { self.cut_off(trouble) } else { trouble.failure });
        }
        match purpose {
            Purpose::Query if trouble.code() == IN_FAILED_TRANSACTION => self.doubt(trouble.code()),
            Purpose::Begin
                if trouble.is_refusal()
                    && !trouble
                        .position()
                        .is_some_and(|position| steps::points_into(steps, self.query_at, position)) =>
            {
                self.doubt(trouble.code());
            }
            Purpose::Setting(addition) => self.leave_out(addition, &trouble),
            _ => return Try::Failed(trouble.failure),
        }
        self.session.roll_back().await;
        Try::Again
    }

    /// One statement a message: whatever is refused, it is plain what.
    async fn step_by_step(&mut self, steps: &[Step]) -> Try {
        for Step { purpose, sql } in steps {
            // A fact that was refused has ended the transaction.
            if *purpose == Purpose::End && !self.session.is_in_transaction() {
                continue;
            }
            match (self.session.send(sql).await, purpose) {
                (Ok(()), Purpose::Query) => {
                    let mut completed = std::mem::take(&mut self.session.answer.completed);
                    if completed.len() != 1 {
                        return Try::Failed(odd("the query must be exactly one statement"));
                    }
                    self.passed = completed.pop();
                }
                (Ok(()), Purpose::Facts) => {
                    let rows = self.session.answer.completed.pop().unwrap_or_default();
                    self.facts.learn(&self.wanted(), &rows);
                }
                (Ok(()), _) => {}
                (Err(trouble), Purpose::Facts | Purpose::End) => self.after_query(*purpose, &trouble).await,
                (Err(trouble), _) if !self.session.is_open() => return Try::Failed(trouble.failure),
                (Err(trouble), purpose) => {
                    match purpose {
                        Purpose::Begin if trouble.is_refusal() && self.takes(Addition::ReadOnly) => {
                            self.leave_out(Addition::ReadOnly, &trouble);
                        }
                        Purpose::Begin if trouble.is_refusal() => self.leave_out(Addition::Transaction, &trouble),
                        Purpose::Setting(addition) => self.leave_out(*addition, &trouble),
                        // One of the settings had failed, and nobody said so.
                        Purpose::Query if trouble.code() == IN_FAILED_TRANSACTION && self.has_settings() => {
                            self.refuse(Addition::StatementTimeout, IN_FAILED_TRANSACTION);
                            self.refuse(Addition::LockTimeout, IN_FAILED_TRANSACTION);
                        }
                        _ => return Try::Failed(trouble.failure),
                    }
                    self.session.roll_back().await;
                    return Try::Again;
                }
            }
        }
        // What was found to be refused by itself may be all that was wrong with the message.
        if let Some(doubt) = &self.doubt
            && doubt.left_out == self.left_out()
        {
            let sqlstate = doubt.sqlstate.clone();
            self.doubt = None;
            self.refuse(Addition::OneMessage, &sqlstate);
        }
        Try::Rows(self.passed.take().unwrap_or_default())
    }

    /// The query has passed; something of ours behind it has not.
    async fn after_query(&mut self, purpose: Purpose, trouble: &Trouble) {
        match purpose {
            Purpose::Facts if self.session.is_open() => {
                self.session.roll_back().await;
                self.ask_for_facts().await;
            }
            Purpose::End if self.session.is_open() => {
                self.leave_out(Addition::Rollback, trouble);
                if self.session.is_in_transaction() {
                    let _ = self.session.send("COMMIT").await;
                }
            }
            _ => {}
        }
    }

    /// Each fact by itself: what one is refused for hides no other.
    async fn ask_for_facts(&mut self) {
        for fact in self.wanted() {
            match self.session.send(&facts::select(&[fact])).await {
                Ok(()) => {
                    let rows = self.session.answer.completed.pop().unwrap_or_default();
                    self.facts.learn(&[fact], &rows);
                }
                Err(trouble) if self.session.is_open() => {
                    self.leave_out(fact, &trouble);
                    self.session.roll_back().await;
                }
                Err(_) => return,
            }
        }
    }

    fn doubt(&mut self, sqlstate: &str) {
        self.doubt = Some(Doubt { sqlstate: sqlstate.to_owned(), left_out: self.left_out() });
    }

    fn left_out(&self) -> usize {
        self.refused.len() + self.skipped.len()
    }

    fn leave_out(&mut self, addition: Addition, trouble: &Trouble) {
        if trouble.is_refusal() {
            self.refuse(addition, trouble.code());
        } else if self.takes(addition) {
            self.skipped.push(addition);
        }
    }

    fn refuse(&mut self, addition: Addition, sqlstate: &str) {
        if self.takes(addition) {
            self.refused.push(Refusal::new(addition, sqlstate));
        }
    }

    fn has_settings(&self) -> bool {
        self.takes(Addition::StatementTimeout) || self.takes(Addition::LockTimeout)
    }

    /// The connection ended over our message, before any statement of it was completed: a server that takes no message
    /// of this kind may do that, and another attempt with one statement a message will tell.
    fn cut_off(&mut self, trouble: Trouble) -> Failure {
        let failure = trouble.failure;
        if is_catch_all(failure.reason) {
            self.cut = true;
            return Failure { reason: Reason::ConnectionLost, unclassified: None, ..failure };
        }
        self.cut = failure.reason == Reason::ConnectionLost;
        failure
    }
}

fn has_row(rows: &Rows) -> Result<(), Failure> {
    if rows.is_empty() { Err(odd("the query returned no row")) } else { Ok(()) }
}

fn odd(what: &str) -> Failure {
    Failure::new(Reason::UnexpectedResult, Phase::Query).with_detail(what)
}
