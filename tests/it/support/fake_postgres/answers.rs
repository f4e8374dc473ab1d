//! What the server answers to the statements of a simple query.

use super::behaviour::Behaviour;
use super::messages;

/// Type numbers of `pg_type`.
pub(super) const BOOL: u32 = 16;
pub(super) const INT4: u32 = 23;
const TEXT: u32 = 25;

/// The statements of a simple query: cut where the sidecar joins them, else at every semicolon.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let separator = if text.contains("\n;") { "\n;" } else { ";" };
    text.split(separator).map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// The answer to a SELECT.
pub(super) fn table(kind: u32, rows: &[Vec<Option<String>>]) -> Vec<u8> {
    let columns = vec![("?column?", kind); rows.first().map_or(1, Vec::len)];
    let mut answer = messages::row_description(&columns);
    for row in rows {
        answer.extend(messages::data_row(&row.iter().map(Option::as_deref).collect::<Vec<_>>()));
    }
    answer.extend(messages::complete(&format!("SELECT {}", rows.len())));
    answer
}

/// The row that shows a restart and a read-only server: those of the three columns that are asked for.
pub(super) fn facts(behaviour: &Behaviour, statement: &str) -> Vec<u8> {
    let recovery = if behaviour.in_recovery { "t" } else { "f" };
    let read_only = if behaviour.read_only { "on" } else { "off" };
    let known = [
        ("pg_postmaster_start_time", behaviour.started.as_str()),
        ("pg_is_in_recovery", recovery),
        ("default_transaction_read_only", read_only),
    ];
    let asked: Vec<_> = known.into_iter().filter(|(name, _)| statement.contains(name)).collect();
    let columns: Vec<_> = asked.iter().map(|(name, _)| (*name, TEXT)).collect();
    let row: Vec<_> = asked.iter().map(|(_, value)| Some(*value)).collect();
    [messages::row_description(&columns), messages::data_row(&row), messages::complete("SELECT 1")].concat()
}
