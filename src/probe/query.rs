//! The user's query with what we add to it, less what the server refuses.
//!
//! The user's query decides. As a rule everything is one message, so that a check takes one round trip. An error belongs
//! to the first statement that was not completed: where that is one of ours, the query is sent again without it, in the
//! same session, down to the bare query. A query that was completed has passed, whatever becomes of what follows it. It
//! is never run outside a read-only transaction where the server allows one.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::diagnosis::server::is_catch_all;
use super::query_error::{CUT, QueryError};
use super::refusal::{Addition, Refusal};
use super::session::{GOODBYE, Rows, Session};
use super::{Failure, Phase, Reason, ServerFacts};

mod facts;
mod statements;

use facts::Facts;
use statements::{Purpose, Statement};

/// The server ends a statement this long before we would give up on it, so that its own error arrives.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// The SQLSTATE of a statement in a transaction that has already failed.
const IN_FAILED_TRANSACTION: &str = "25P02";
/// Stands for a SQLSTATE where a message did not get one result for each statement.
const MISCOUNTED: &str = "00000";

/// What came of one try of the query.
enum Try {
    Rows(Rows),
    Failed(Failure),
    /// The server refused something of ours: try again without it.
    Again,
}

/// Why this session sends one statement a message for now: either several in one message were refused, or one of them
/// was.
struct Doubt {
    sqlstate: String,
    /// How many additions had been left out by then.
    left_out: usize,
}

/// Runs queries in one session.
pub(super) struct Querier {
    session: Session,
    /// What the server refuses, in this session and before.
    refused: Vec<Refusal>,
    /// Additions that failed, but not because the server does not know them: left out in this session alone.
    skipped: Vec<Addition>,
    doubt: Option<Doubt>,
    facts: Facts,
    /// The place of the query in the message under way.
    query_at: usize,
    /// The rows of a query that has passed, while the facts are queried.
    passed: Option<Rows>,
    /// The connection ended over a message of several statements before any of them was completed.
    cut: bool,
}

impl Querier {
    /// `after_cut`: the connection before this one ended over several statements in one message.
    pub(super) fn new(session: Session, refused: Vec<Refusal>, after_cut: bool) -> Self {
        let doubt = after_cut.then(|| Doubt { sqlstate: CUT.to_owned(), left_out: refused.len() });
        let (skipped, facts) = (Vec::new(), Facts::default());
        Querier { session, refused, skipped, doubt, facts, query_at: 0, passed: None, cut: false }
    }

    /// The deep query, which passes when it returns a row; [`facts`](Self::facts) then has what the server said of itself.
    /// The future may be dropped: [`has_passed`](Self::has_passed) says whether the query had been answered by then.
    pub(super) async fn deep(&mut self, query: &str, deadline: Instant) -> Result<(), Failure> {
        let until = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        has_row(&self.run(query, until, true).await?)
    }

    /// Whether a deep query whose future was dropped has passed: it was what we add to it that took too long.
    pub(super) fn has_passed(&self) -> bool {
        let rows = self.passed.as_ref().or_else(|| self.session.response.completed.get(self.query_at));
        rows.is_some_and(|rows| has_row(rows).is_ok())
    }

    /// One SQL check, which passes when the first column of the first row is true. The server ends it after `share`.
    pub(super) async fn is_true(&mut self, sql: &str, share: Duration) -> Result<(), Failure> {
        let rows = self.rows(sql, share).await?;
        match rows.first().and_then(|row| row.try_get(0).ok().flatten()) {
            Some("t" | "true") => Ok(()),
            _ => Err(unexpected("the first column of the first row is not true")),
        }
    }

    /// The rows of one statement. The server ends it after `share`.
    pub(super) async fn rows(&mut self, sql: &str, share: Duration) -> Result<Rows, Failure> {
        self.run(sql, Instant::now() + share, false).await
    }

    /// Whether the server itself ends a statement that takes too long, so that the session can go on.
    pub(super) fn has_clock(&self) -> bool {
        self.takes(Addition::Transaction) && self.takes(Addition::StatementTimeout)
    }

    /// Whether the session can take another query.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Whether the connection ended over several statements in one message before any of them was completed.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// What the server said of itself at the last deep query.
    pub(super) fn facts(&self) -> ServerFacts {
        self.facts.of(&self.session)
    }

    /// How long the server had been running at the last deep query, by its own clock.
    pub(super) fn server_up_for(&self) -> Option<Duration> {
        self.facts.up_for()
    }

    /// Leaves no transaction open: behind a pooler the next client would find it.
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

    /// Tries until the query has a result; each try does without something more.
    async fn run(&mut self, sql: &str, until: Instant, facts: bool) -> Result<Rows, Failure> {
        self.passed = None;
        loop {
            let wanted = if facts { self.wanted() } else { Vec::new() };
            let statements = statements::around(sql, until, &wanted, |addition| self.takes(addition));
            let tried = match self.takes(Addition::OneMessage) {
                true => self.in_one_message(&statements).await,
                false => self.one_by_one(&statements).await,
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

    /// The facts that the server has not refused.
    fn wanted(&self) -> Vec<Addition> {
        facts::ALL.into_iter().filter(|&fact| self.takes(fact)).collect()
    }

    /// All statements in one message.
    async fn in_one_message(&mut self, statements: &[Statement]) -> Try {
        self.query_at = statements.iter().position(|statement| statement.purpose == Purpose::Query).unwrap_or_default();
        let sent = self.session.send(&statements::joined(statements)).await;
        let mut completed = std::mem::take(&mut self.session.response.completed);
        let error = match sent {
            Ok(()) if completed.len() == statements.len() => {
                if let Some(facts) = statements.iter().position(|statement| statement.purpose == Purpose::Facts) {
                    self.facts.learn(&self.wanted(), &completed[facts]);
                }
                return Try::Rows(completed.swap_remove(self.query_at));
            }
            Ok(()) => {
                self.doubt(MISCOUNTED);
                return Try::Again;
            }
            Err(error) => error,
        };
        // The statement that failed. Where more were completed than we sent, the query was several.
        let at = completed.len();
        let purpose = statements.get(at).map_or(Purpose::Query, |statement| statement.purpose);
        if at > self.query_at {
            self.passed = Some(completed.swap_remove(self.query_at));
            self.after_query(purpose, &error).await;
            return Try::Rows(self.passed.take().unwrap_or_default());
        }
        if !self.session.is_open() {
            return Try::Failed(if at == 0 { self.cut_off(error) } else { error.failure });
        }
        let points_into_query =
            error.position().is_some_and(|position| statements::points_into(statements, self.query_at, position));
        match purpose {
            Purpose::Query if error.code() == IN_FAILED_TRANSACTION => self.doubt(error.code()),
            Purpose::Begin if error.is_refusal() && !points_into_query => self.doubt(error.code()),
            Purpose::Setting(addition) => self.leave_out(addition, &error),
            _ => return Try::Failed(error.failure),
        }
        self.session.roll_back().await;
        Try::Again
    }

    /// One statement a message, so that it is plain which one is refused.
    async fn one_by_one(&mut self, statements: &[Statement]) -> Try {
        for Statement { purpose, sql } in statements {
            // The rollback after a fact that was refused has ended it.
            if *purpose == Purpose::End && !self.session.is_in_transaction() {
                continue;
            }
            match (self.session.send(sql).await, purpose) {
                (Ok(()), Purpose::Query) => {
                    let mut completed = std::mem::take(&mut self.session.response.completed);
                    if completed.len() != 1 {
                        return Try::Failed(unexpected("the query must be exactly one statement"));
                    }
                    self.passed = completed.pop();
                }
                (Ok(()), Purpose::Facts) => {
                    let rows = self.session.response.completed.pop().unwrap_or_default();
                    self.facts.learn(&self.wanted(), &rows);
                }
                (Ok(()), _) => {}
                (Err(error), Purpose::Facts | Purpose::End) => self.after_query(*purpose, &error).await,
                (Err(error), _) if !self.session.is_open() => return Try::Failed(error.failure),
                (Err(error), purpose) => {
                    match purpose {
                        Purpose::Begin if error.is_refusal() && self.takes(Addition::ReadOnly) => {
                            self.leave_out(Addition::ReadOnly, &error);
                        }
                        Purpose::Begin if error.is_refusal() => self.leave_out(Addition::Transaction, &error),
                        Purpose::Setting(addition) => self.leave_out(*addition, &error),
                        // One of the settings had failed without an error.
                        Purpose::Query if error.code() == IN_FAILED_TRANSACTION && self.has_settings() => {
                            self.refuse(Addition::StatementTimeout, IN_FAILED_TRANSACTION);
                            self.refuse(Addition::LockTimeout, IN_FAILED_TRANSACTION);
                        }
                        _ => return Try::Failed(error.failure),
                    }
                    self.session.roll_back().await;
                    return Try::Again;
                }
            }
        }
        // Where nothing was refused by itself, the message of several statements was.
        if let Some(doubt) = &self.doubt
            && doubt.left_out == self.left_out()
        {
            let sqlstate = doubt.sqlstate.clone();
            self.doubt = None;
            self.refuse(Addition::OneMessage, &sqlstate);
        }
        Try::Rows(self.passed.take().unwrap_or_default())
    }

    /// The query has passed; something of ours after it has not.
    async fn after_query(&mut self, purpose: Purpose, error: &QueryError) {
        match purpose {
            Purpose::Facts if self.session.is_open() => {
                self.session.roll_back().await;
                self.query_facts().await;
            }
            Purpose::End if self.session.is_open() => {
                self.leave_out(Addition::Rollback, error);
                if self.session.is_in_transaction() {
                    let _ = self.session.send("COMMIT").await;
                }
            }
            _ => {}
        }
    }

    /// Each fact by itself, so that one that is refused hides no other.
    async fn query_facts(&mut self) {
        for fact in self.wanted() {
            match self.session.send(&facts::select(&[fact])).await {
                Ok(()) => {
                    let rows = self.session.response.completed.pop().unwrap_or_default();
                    self.facts.learn(&[fact], &rows);
                }
                Err(error) if self.session.is_open() => {
                    self.leave_out(fact, &error);
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

    fn leave_out(&mut self, addition: Addition, error: &QueryError) {
        if error.is_refusal() {
            self.refuse(addition, error.code());
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

    /// The connection ended over our message before any of its statements was completed. A server that takes no message
    /// of several statements may do that; the next attempt sends one statement a message and will tell.
    fn cut_off(&mut self, error: QueryError) -> Failure {
        let failure = error.failure;
        if is_catch_all(failure.reason) {
            self.cut = true;
            return Failure { reason: Reason::ConnectionLost, unclassified: None, ..failure };
        }
        self.cut = failure.reason == Reason::ConnectionLost;
        failure
    }
}

fn has_row(rows: &Rows) -> Result<(), Failure> {
    if rows.is_empty() { Err(unexpected("the query returned no row")) } else { Ok(()) }
}

fn unexpected(what: &str) -> Failure {
    Failure::new(Reason::UnexpectedResult, Phase::Query).with_detail(what)
}
