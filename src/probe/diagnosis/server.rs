//! What an error of the server means: by its text, in the tables of `messages.rs`, then by its SQLSTATE.
//!
//! The text comes first because proxies and poolers lose the SQLSTATE: Neon's proxy refuses most logins with `XX000`,
//! PgBouncer with `08P01`. Where the server's messages are in another language no text matches, and the SQLSTATE decides.
//! Texts are matched from their first character on: what users can choose (names of databases, roles and parameters)
//! never comes first in a message, so a database called `quota` exceeds nothing.

use super::messages::{self, KnownMessage};
use crate::probe::Diagnosis;
use crate::probe::{Class, Reason};

#[cfg(test)]
mod tests;

/// Where in the session the server reported the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before ReadyForQuery.
    Login,
    /// After it.
    Query,
}

/// The fields of an ErrorResponse that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorResponse<'a> {
    /// `ERROR`, `FATAL` or `PANIC`: field `V`, which is never translated, and `S` only where there is no `V`.
    pub(crate) severity: &'a str,
    /// Five characters, e.g. `28P01`.
    pub(crate) sqlstate: &'a str,
    /// The primary message, in the language of the server.
    pub(crate) message: &'a str,
}

/// The reason for an error: by its text, then by its SQLSTATE, else the catch-all of the stage.
pub(crate) fn classify(stage: Stage, error: &ErrorResponse<'_>) -> Diagnosis {
    let fatal = matches!(error.severity, "FATAL" | "PANIC");
    let said = from_text(error.message).filter(|said| text_counts(stage, fatal, error.sqlstate, said.reason));
    said.or_else(|| from_sqlstate(stage, fatal, error.sqlstate).map(Diagnosis::from)).unwrap_or(catch_all(stage).into())
}

/// Whether a reason is one of the catch-alls `login_failed` and `query_failed`: worth logging the SQLSTATE once.
pub(crate) const fn is_catch_all(reason: Reason) -> bool {
    matches!(reason, Reason::LoginFailed | Reason::QueryFailed)
}

/// A SQLSTATE that may be shown: a hostile server may send anything.
pub(crate) fn harmless_sqlstate(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).take(5).collect()
}

const fn catch_all(stage: Stage) -> Reason {
    match stage {
        Stage::Login => Reason::LoginFailed,
        Stage::Query => Reason::QueryFailed,
    }
}

/// Whether the text is the server's or a proxy's own, and not raised by SQL.
fn text_counts(stage: Stage, fatal: bool, sqlstate: &str, reason: Reason) -> bool {
    match stage {
        // Class P0 is PL/pgSQL's RAISE, in a login event trigger (PostgreSQL 17).
        Stage::Login => !sqlstate.starts_with("P0"),
        // SQL can raise an ERROR with any text and code, but nothing FATAL. PgBouncer before 1.16 sends ERROR too.
        Stage::Query if fatal => true,
        Stage::Query => of_a_pooler(sqlstate) && reason.class() != Class::Permanent,
    }
}

/// The SQLSTATEs of an ERROR that is a pooler's own: 08…, XX000, and 58000 (pgcat, PgDog).
fn of_a_pooler(sqlstate: &str) -> bool {
    sqlstate.starts_with("08") || matches!(sqlstate, "XX000" | "58000")
}

/// The SQLSTATEs of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that have a reason of their own.
fn from_sqlstate(stage: Stage, fatal: bool, sqlstate: &str) -> Option<Reason> {
    Some(match sqlstate {
        "42501" => Reason::AccessDenied,
        "53300" => Reason::TooManyConnections,
        "55P03" => Reason::LockTimeout,
        "57014" if stage == Stage::Login => Reason::AuthTimeout,
        "57014" => Reason::QueryTimeout,
        "57P01" | "57P02" => Reason::ShuttingDown,
        "57P03" => Reason::StartingUp,
        // In a query the rest are about this session only when they end it: `pg_database_size('x')` is an ERROR 3D000,
        // temp_file_limit an ERROR 53400, and a foreign server's 28P01 an ERROR here.
        _ if stage == Stage::Query && !fatal => return None,
        // PostgreSQL 17's transaction_timeout, which a role or a database may have of its own.
        "25P04" => Reason::QueryTimeout,
        "28000" => Reason::AccessDenied,
        "28P01" => Reason::AuthFailed,
        "3D000" | "57P04" => Reason::DatabaseMissing,
        "53400" => Reason::TooManyConnections,
        _ => return None,
    })
}

/// What a message means once its wrappers are removed.
fn from_text(message: &str) -> Option<Diagnosis> {
    let lower = message.trim().to_ascii_lowercase();
    let (text, around) = peel(&lower);
    let said = all_messages().find(|(pattern, ..)| fits(pattern, text));
    said.map(|&(_, reason, cause)| Diagnosis { reason, cause }).or(around.map(Diagnosis::from))
}

fn all_messages() -> impl Iterator<Item = &'static KnownMessage> {
    messages::ALL.into_iter().flatten()
}

/// The innermost message, and the reason of the outermost wrapper that has one.
fn peel(lower: &str) -> (&str, Option<Reason>) {
    let (mut text, mut around) = (without_code(lower), None);
    while let Some(&(start, reason)) = messages::WRAPPERS.iter().find(|(start, _)| text.starts_with(start)) {
        let inner = &text[start.len()..];
        let inner = inner.strip_suffix(messages::SERVER_LOGIN_RETRY).unwrap_or(inner);
        text = without_code(inner);
        around = around.or(reason);
    }
    (text, around)
}

/// The text without Supavisor's code, `(EMAXCONN) `, or Odyssey's client number, `c5f0d1a2b3c4d: `, in front of it.
fn without_code(text: &str) -> &str {
    let supavisor = text.strip_prefix("(e").and_then(|rest| rest.split_once(") "));
    let odyssey = text.strip_prefix('c').and_then(|rest| rest.split_once(": "));
    match (supavisor, odyssey) {
        (Some((code, rest)), _) if code.bytes().all(|b| b.is_ascii_lowercase()) => rest,
        (_, Some((id, rest))) if id.len() >= 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) => rest,
        _ => text,
    }
}

/// Whether the pattern matches the whole text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, tail)) = pattern.split_once('*') else { return pattern == text };
    let (middle, end) = tail.rsplit_once('*').unwrap_or(("", tail));
    let Some(mut rest) = text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) else { return false };
    for piece in middle.split('*') {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}
