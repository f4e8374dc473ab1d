//! The user's query with what we add to it, and without what the server refuses of that.
//!
//! The user's query decides. In the healthy case everything is one message, so that a check takes one round trip. An
//! error belongs to the first statement that was not completed: where that is one of ours, the query is asked again
//! without it, in the same session, down to the bare query. A query that was completed has passed, whatever becomes of
//! what follows. It is never run outside of a read-only transaction that the server would give.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::{DbError, ErrorPosition};

use super::database::ServerFacts;
use super::diagnosis::server::is_catch_all;
use super::refusal::{Addition, Refusal};
use super::session::{Rows, Session, Trouble};
use super::{Failure, Phase, Reason};

/// The server ends a statement this much before we would give up on it, so that its own error arrives.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// A statement has this long at least.
const SHORTEST_STATEMENT: Duration = Duration::from_millis(100);
/// A lock is a sign of trouble long before the statement timeout.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// Ends a statement, and a `--` comment at the end of one.
const SEPARATOR: &str = "\n;";
/// For what tidies up between two tries.
const GRACE: Duration = Duration::from_millis(250);
/// The SQLSTATE of a statement in a transaction that has failed before.
const IN_FAILED_TRANSACTION: &str = "25P02";
/// The SQLSTATE for a message whose answers were not one for each statement.
const MISCOUNTED: &str = "00000";
/// The SQLSTATE for a connection that ended.
const CUT: &str = "08006";

/// One statement, and what it is for.
struct Step {
    purpose: Purpose,
    sql: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Begin,
    Setting(Addition),
    Query,
    Facts,
    End,
}

/// What one try of the query came to.
enum Try {
    Rows(Rows),
    Failed(Failure),
    /// The server refused something of ours: again without it.
    Again,
}

/// The values of [`Addition::FACTS`], each absent where it was not told.
type Facts = [Option<String>; 3];

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

    /// Whether the connection ended over several statements in one message, with nothing of it answered.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// What the server told beside the last deep query.
    pub(super) fn facts(&self) -> ServerFacts {
        let [started, recovery, read_only_default] = &self.facts;
        let flags = [recovery, read_only_default].map(|text| text.as_deref().and_then(truth));
        let read_only = match flags {
            [Some(false), Some(false)] => Some(false),
            _ if flags.contains(&Some(true)) => Some(true),
            _ => None,
        };
        ServerFacts {
            read_only,
            started: started.as_ref().map(|text| text.chars().take(40).collect()),
            version: self.session.version(),
            ready_after: Duration::ZERO,
            plaintext: self.session.is_plaintext(),
        }
    }

    /// Leaves no transaction behind, not even for a pooler to find.
    pub(super) async fn roll_back(&mut self, deadline: Instant) {
        self.session.roll_back(deadline).await;
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
            let steps = self.steps(sql, until, facts);
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

    /// The statements around the query, as far as the server takes them.
    fn steps(&self, sql: &str, until: Instant, facts: bool) -> Vec<Step> {
        let mut steps = Vec::with_capacity(6);
        let mut add = |purpose, sql: String| steps.push(Step { purpose, sql });
        let in_transaction = self.takes(Addition::Transaction);
        if in_transaction {
            let read_only = self.takes(Addition::ReadOnly);
            add(Purpose::Begin, if read_only { "BEGIN READ ONLY" } else { "BEGIN" }.to_owned());
            let time = until.saturating_duration_since(Instant::now()).max(SHORTEST_STATEMENT);
            let settings = [
                (Addition::StatementTimeout, "statement_timeout", time),
                (Addition::LockTimeout, "lock_timeout", LONGEST_LOCK_WAIT.min(time / 2)),
            ];
            for (addition, name, time) in settings {
                if self.takes(addition) {
                    add(Purpose::Setting(addition), format!("SET LOCAL {name} = {}", time.as_millis()));
                }
            }
        }
        add(Purpose::Query, sql.to_owned());
        let wanted: Vec<&str> = self.wanted().map(expression).collect();
        if facts && !wanted.is_empty() {
            add(Purpose::Facts, format!("SELECT {}", wanted.join(", ")));
        }
        if in_transaction {
            let end = if self.takes(Addition::Rollback) { "ROLLBACK" } else { "COMMIT" };
            add(Purpose::End, end.to_owned());
        }
        steps
    }

    fn wanted(&self) -> impl Iterator<Item = Addition> {
        Addition::FACTS.into_iter().filter(|&fact| self.takes(fact))
    }

    /// All statements in one message.
    async fn in_one_message(&mut self, steps: &[Step]) -> Try {
        self.query_at = steps.iter().position(|step| step.purpose == Purpose::Query).unwrap_or_default();
        let statements: Vec<&str> = steps.iter().map(|step| step.sql.as_str()).collect();
        let sent = self.session.send(&statements.join(SEPARATOR)).await;
        let mut completed = std::mem::take(&mut self.session.answer.completed);
        let trouble = match sent {
            Ok(()) if completed.len() == steps.len() => {
                if let Some(facts) = steps.iter().position(|step| step.purpose == Purpose::Facts) {
                    self.learn(self.wanted().collect(), &completed[facts]);
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
            Purpose::Query if trouble.has_code(IN_FAILED_TRANSACTION) => self.doubt(&trouble.code()),
            Purpose::Begin if trouble.is_refusal() && !is_about(steps, self.query_at, &trouble) => {
                self.doubt(&trouble.code());
            }
            Purpose::Setting(addition) => self.leave_out(addition, &trouble),
            _ => return Try::Failed(trouble.failure),
        }
        self.session.roll_back(Instant::now() + GRACE).await;
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
                    self.learn(self.wanted().collect(), &rows);
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
                        Purpose::Query if trouble.has_code(IN_FAILED_TRANSACTION) && self.has_settings() => {
                            self.leave_out(Addition::StatementTimeout, &trouble);
                            self.leave_out(Addition::LockTimeout, &trouble);
                        }
                        _ => return Try::Failed(trouble.failure),
                    }
                    self.session.roll_back(Instant::now() + GRACE).await;
                    return Try::Again;
                }
            }
        }
        // What was found to be refused by itself may be all that was wrong with the message.
        if let Some(doubt) = &self.doubt
            && doubt.left_out == self.left_out()
        {
            let refusal = Refusal::new(Addition::OneMessage, &doubt.sqlstate);
            self.refused.push(refusal);
            self.doubt = None;
        }
        Try::Rows(self.passed.take().unwrap_or_default())
    }

    /// The query has passed; something of ours behind it has not.
    async fn after_query(&mut self, purpose: Purpose, trouble: &Trouble) {
        match purpose {
            Purpose::Facts if self.session.is_open() => {
                self.session.roll_back(Instant::now() + GRACE).await;
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
        for fact in self.wanted().collect::<Vec<_>>() {
            match self.session.send(&format!("SELECT {}", expression(fact))).await {
                Ok(()) => {
                    let rows = self.session.answer.completed.pop().unwrap_or_default();
                    self.learn(vec![fact], &rows);
                }
                Err(trouble) if self.session.is_open() => {
                    self.leave_out(fact, &trouble);
                    self.session.roll_back(Instant::now() + GRACE).await;
                }
                Err(_) => return,
            }
        }
    }

    /// Takes facts from the columns of the first row.
    fn learn(&mut self, facts: Vec<Addition>, rows: &Rows) {
        for (column, fact) in facts.into_iter().enumerate() {
            let value = rows.first().and_then(|row| row.try_get(column).ok().flatten());
            if let Some(place) = Addition::FACTS.iter().position(|known| *known == fact) {
                self.facts[place] = value.map(str::to_owned);
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
        if !self.takes(addition) {
            return;
        }
        match trouble.is_refusal() {
            true => self.refused.push(Refusal::new(addition, &trouble.code())),
            false => self.skipped.push(addition),
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

impl Trouble {
    fn code(&self) -> String {
        self.complaint.as_ref().map_or(CUT, |complaint| complaint.code().code()).to_owned()
    }

    fn has_code(&self, code: &str) -> bool {
        self.complaint.as_ref().is_some_and(|complaint| complaint.code().code() == code)
    }

    /// Whether the server does not know a statement of ours, or does not let us: it will say so again. Else it is in
    /// trouble, or busy.
    fn is_refusal(&self) -> bool {
        let Some(complaint) = &self.complaint else { return false };
        let known = !is_catch_all(self.failure.reason)
            && !matches!(self.failure.reason, Reason::AccessDenied | Reason::PoolerUnsupported);
        !known && !speaks_of_state(complaint)
    }
}

/// The classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that speak of the moment: connection,
/// rollback, resources, locks, an operator's doing, the system. PgDog refuses by 58000 (`system_error`).
fn speaks_of_state(complaint: &DbError) -> bool {
    match complaint.code().code() {
        "08P01" | "55P02" | "58000" => false,
        "XX001" | "XX002" => true,
        code => ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)),
    }
}

/// Whether an error of the parser, which reads the whole message before anything is run, points into the query.
fn is_about(steps: &[Step], query_at: usize, trouble: &Trouble) -> bool {
    let Some(ErrorPosition::Original(position)) = trouble.complaint.as_ref().and_then(DbError::position) else {
        return false;
    };
    let length = |step: &Step| step.sql.chars().count();
    let before: usize = steps[..query_at].iter().map(|step| length(step) + SEPARATOR.len()).sum();
    // It counts characters from 1.
    let position = usize::try_from(*position).unwrap_or(usize::MAX);
    (before + 1..=before + length(&steps[query_at])).contains(&position)
}

fn expression(fact: Addition) -> &'static str {
    match fact {
        // As text it would depend on the session's time zone.
        Addition::StartTime => "extract(epoch FROM pg_postmaster_start_time())",
        Addition::Recovery => "pg_is_in_recovery()",
        _ => "current_setting('default_transaction_read_only')",
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "t" | "true" | "on" => Some(true),
        "f" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn has_row(rows: &Rows) -> Result<(), Failure> {
    if rows.is_empty() { Err(odd("the query returned no row")) } else { Ok(()) }
}

fn odd(what: &str) -> Failure {
    Failure::new(Reason::UnexpectedResult, Phase::Query).with_detail(what)
}
