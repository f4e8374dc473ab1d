//! The statements of a message: the user's query and what we add around it.

use std::time::Duration;

use tokio::time::Instant;

use super::facts;
use crate::probe::Addition;

/// A statement has at least this long.
const SHORTEST_STATEMENT: Duration = Duration::from_millis(100);
/// A lock is a sign of trouble long before the statement timeout.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// Ends a statement, and a `--` comment at the end of one.
const SEPARATOR: &str = "\n;";

/// One statement and its purpose.
pub(super) struct Statement {
    pub(super) purpose: Purpose,
    pub(super) sql: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Begin,
    Setting(Addition),
    Query,
    Facts,
    End,
}

/// The query with as many additions as the server takes, to be done by `until`; `wanted` are the facts to query.
pub(super) fn around(
    query: &str,
    until: Instant,
    wanted: &[Addition],
    takes: impl Fn(Addition) -> bool,
) -> Vec<Statement> {
    let mut statements = Vec::with_capacity(6);
    let mut add = |purpose, sql: String| statements.push(Statement { purpose, sql });
    let in_transaction = takes(Addition::Transaction);
    if in_transaction {
        let begin = if takes(Addition::ReadOnly) { "BEGIN READ ONLY" } else { "BEGIN" };
        add(Purpose::Begin, begin.to_owned());
        let time = until.saturating_duration_since(Instant::now()).max(SHORTEST_STATEMENT);
        let settings = [
            (Addition::StatementTimeout, "statement_timeout", time),
            (Addition::LockTimeout, "lock_timeout", LONGEST_LOCK_WAIT.min(time / 2)),
        ];
        for (addition, name, time) in settings {
            if takes(addition) {
                add(Purpose::Setting(addition), format!("SET LOCAL {name} = {}", time.as_millis()));
            }
        }
    }
    add(Purpose::Query, query.to_owned());
    if !wanted.is_empty() {
        add(Purpose::Facts, facts::select(wanted));
    }
    if in_transaction {
        let end = if takes(Addition::Rollback) { "ROLLBACK" } else { "COMMIT" };
        add(Purpose::End, end.to_owned());
    }
    statements
}

/// The statements as one message.
pub(super) fn joined(statements: &[Statement]) -> String {
    let statements: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    statements.join(SEPARATOR)
}

/// Whether a position in the message, in characters from 0, lies within the statement at `index`.
pub(super) fn points_into(statements: &[Statement], index: usize, position: usize) -> bool {
    let length = |statement: &Statement| statement.sql.chars().count();
    let before: usize = statements[..index].iter().map(|statement| length(statement) + SEPARATOR.len()).sum();
    (before..before + length(&statements[index])).contains(&position)
}
