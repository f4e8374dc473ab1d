//! What a complaint of the server means: the one place that knows SQLSTATEs and texts.
//!
//! The text is looked at before the SQLSTATE, because those between us and PostgreSQL lose the code: Neon's proxy
//! answers most logins with `XX000`, PgBouncer with `08P01`. A server that speaks another language matches no text,
//! and its SQLSTATE decides. Texts are matched from their first character on: what users can choose (names of
//! databases, roles and parameters) never comes first in a message, so a database called `quota` exceeds nothing.

use super::Diagnosis;
use crate::probe::{Class, Reason};

#[cfg(test)]
mod tests;

/// Where in the conversation the server complained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before ReadyForQuery.
    Login,
    /// After it.
    Query,
}

/// What the server said (an ErrorResponse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Complaint<'a> {
    /// `ERROR`, `FATAL` or `PANIC`: field `V`, which is never translated, and `S` only where there is no `V`.
    pub(crate) severity: &'a str,
    /// Five characters, e.g. `28P01`.
    pub(crate) sqlstate: &'a str,
    /// The primary message, in the language of the server.
    pub(crate) message: &'a str,
}

/// Finds the reason behind a complaint: its text, then its SQLSTATE, then the catch-all of the stage.
pub(crate) fn classify(stage: Stage, complaint: &Complaint<'_>) -> Diagnosis {
    let fatal = matches!(complaint.severity, "FATAL" | "PANIC");
    let said = from_text(complaint.message).filter(|&reason| text_counts(stage, fatal, complaint.sqlstate, reason));
    let reason = said.or_else(|| from_sqlstate(stage, fatal, complaint.sqlstate)).unwrap_or(catch_all(stage));
    reason.into()
}

/// Whether a reason is one of the catch-alls `login_failed` and `query_failed`: worth logging the SQLSTATE once.
pub(crate) const fn is_catch_all(reason: Reason) -> bool {
    matches!(reason, Reason::LoginFailed | Reason::QueryFailed)
}

const fn catch_all(stage: Stage) -> Reason {
    match stage {
        Stage::Login => Reason::LoginFailed,
        Stage::Query => Reason::QueryFailed,
    }
}

/// Whether the text is the infrastructure's, and not that of somebody's SQL.
fn text_counts(stage: Stage, fatal: bool, sqlstate: &str, reason: Reason) -> bool {
    match stage {
        // Class P0 is PL/pgSQL's RAISE, in a login event trigger (PostgreSQL 17).
        Stage::Login => !sqlstate.starts_with("P0"),
        // SQL can raise an ERROR with any text and code, but nothing FATAL. PgBouncer before 1.16 said ERROR too.
        Stage::Query if fatal => true,
        Stage::Query => (sqlstate.starts_with("08") || sqlstate == "XX000") && reason.class() != Class::Permanent,
    }
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
        // The rest speak of this session only when they end it: in a query, `pg_database_size('x')` is an ERROR 3D000,
        // temp_file_limit an ERROR 53400, and a foreign server's 28P01 an ERROR here.
        _ if stage == Stage::Query && !fatal => return None,
        "28000" => Reason::AccessDenied,
        "28P01" => Reason::AuthFailed,
        "3D000" | "57P04" => Reason::DatabaseMissing,
        "53400" => Reason::TooManyConnections,
        _ => return None,
    })
}

/// Texts in lower case and what they mean; `*` stands for anything. A pattern covers the whole message.
type Texts = &'static [(&'static str, Reason)];

/// Neon: `proxy/src` (`auth/{mod,credentials}.rs`, `compute/mod.rs`, `control_plane/{errors,messages}.rs`,
/// `pglb/mod.rs`) and `pgxn/neon/libpagestore.c` of neondatabase/neon at 6a35a3e; the control plane's own sentences,
/// which the proxy passes through, from <https://neon.com/docs/connect/connection-errors> and from public logs. Those
/// of 2026 show that the SQLSTATE is no longer always `XX000`: 53000 with a quota, 28000 with a disabled endpoint.
const NEON: Texts = &[
    ("connection is insecure*", Reason::TlsUnsupported),
    ("unsupported authentication method: *", Reason::AuthFailed),
    ("this ip address * is not allowed to connect to this endpoint*", Reason::AccessDenied),
    ("this connection is trying to access this endpoint from a blocked network*", Reason::AccessDenied),
    ("this vpc endpoint id * is not allowed to connect to this endpoint*", Reason::AccessDenied),
    ("vpc endpoint id is not specified*", Reason::AccessDenied),
    ("the role you're attempting to use is protected*", Reason::AccessDenied),
    ("endpoint id is not specified*", Reason::EndpointMissing),
    ("the endpoint id is not specified*", Reason::EndpointMissing),
    ("inconsistent project name inferred from *", Reason::EndpointMissing),
    ("project name ('*') must contain only alphanumeric characters*", Reason::EndpointMissing),
    ("endpoint cannot be found*", Reason::EndpointMissing),
    ("the requested endpoint could not be found*", Reason::EndpointMissing),
    ("the requested branch could not be found*", Reason::EndpointMissing),
    ("the requested project could not be found*", Reason::EndpointMissing),
    ("the requested resource could not be found*", Reason::EndpointMissing),
    ("endpoint is disabled*", Reason::EndpointDisabled),
    ("the endpoint has been disabled*", Reason::EndpointDisabled),
    ("your * has exceeded the *quota*", Reason::QuotaExceeded),
    ("you've exceeded the compute time for this branch*", Reason::QuotaExceeded),
    ("you have exceeded the limit of concurrently active endpoints*", Reason::QuotaExceeded),
    ("active endpoints limit exceeded*", Reason::QuotaExceeded),
    ("endpoint is temporar* unavailable. check your quotas*", Reason::QuotaExceeded),
    ("too many connections to this endpoint*", Reason::RateLimited),
    ("too many connections attempts*", Reason::RateLimited),
    ("failed to acquire permit to connect to the database*", Reason::RateLimited),
    ("you've exceeded the rate limit*", Reason::RateLimited),
    ("endpoint is idle*", Reason::StartingUp),
    ("endpoint is in transition*", Reason::StartingUp),
    ("timed out * endpoint to become active*", Reason::StartingUp),
    ("control plane request failed*", Reason::ControlPlane),
    ("console request failed*", Reason::ControlPlane),
    ("your project already has running operations*", Reason::ControlPlane),
    ("project already has running operations*", Reason::ControlPlane),
    ("couldn't connect to compute node*", Reason::ComputeUnreachable),
    ("[neon_smgr]*could not establish connection to pageserver*", Reason::ComputeUnreachable),
    // What the proxy's driver says of its own connection to the compute.
    ("connection closed", Reason::ComputeUnreachable),
    ("error communicating with the server*", Reason::ComputeUnreachable),
    ("error connecting to server*", Reason::ComputeUnreachable),
    ("timeout waiting for server*", Reason::ComputeUnreachable),
    ("authentication timed out*", Reason::AuthTimeout),
];

/// PgBouncer: `src/{client,janitor,objects,proto,server}.c` of pgbouncer/pgbouncer, 1.9 to 1.25. It cuts at 127 bytes.
const PGBOUNCER: Texts = &[
    ("ssl required", Reason::TlsUnsupported),
    ("tls connection required", Reason::TlsUnsupported),
    ("auth failed", Reason::AuthFailed),
    ("sasl authentication failed", Reason::AuthFailed),
    ("certificate authentication failed", Reason::AuthFailed),
    ("ldap authentication failed", Reason::AuthFailed),
    ("pam authentication failed", Reason::AuthFailed),
    ("\"trust\" authentication failed", Reason::AuthFailed),
    ("unix socket login rejected", Reason::AuthFailed),
    ("no such user", Reason::AuthFailed),
    ("no such user: *", Reason::AuthFailed),
    ("login rejected", Reason::AccessDenied),
    ("no authentication method is found", Reason::AccessDenied),
    ("database \"*\" is disabled", Reason::AccessDenied),
    ("database does not allow connections: *", Reason::AccessDenied),
    ("no such database: *", Reason::DatabaseMissing),
    ("no more connections allowed*", Reason::PoolerSaturated),
    ("client connections exceeded*", Reason::PoolerSaturated),
    ("query_wait_timeout*", Reason::PoolerSaturated),
    ("unsupported startup parameter: *", Reason::PoolerUnsupported),
    ("unsupported startup parameter in options: *", Reason::PoolerUnsupported),
    ("unsupported options startup parameter: *", Reason::PoolerUnsupported),
    ("transaction blocks not allowed in statement pooling mode", Reason::PoolerUnsupported),
    ("pooler is shutting down", Reason::ShuttingDown),
    ("server shutting down", Reason::ShuttingDown),
    ("server conn crashed?", Reason::ComputeUnreachable),
    ("server login has been failing*", Reason::ComputeUnreachable),
    ("pgbouncer cannot connect to server", Reason::ComputeUnreachable),
    ("client_login_timeout (server down)", Reason::ComputeUnreachable),
    ("client_login_timeout", Reason::AuthTimeout),
    ("query_timeout", Reason::QueryTimeout),
    ("query timeout", Reason::QueryTimeout),
    ("transaction timeout", Reason::QueryTimeout),
    ("idle transaction timeout", Reason::QueryTimeout),
];

/// PostgreSQL's own words, for when a proxy or pooler passed them on without their SQLSTATE.
const POSTGRES: Texts = &[
    ("password authentication failed*", Reason::AuthFailed),
    ("no pg_hba.conf entry for *", Reason::AccessDenied),
    ("pg_hba.conf rejects connection for *", Reason::AccessDenied),
    ("role \"*\" does not exist", Reason::AccessDenied),
    ("role \"*\" is not permitted to log in", Reason::AccessDenied),
    ("permission denied for database *", Reason::AccessDenied),
    ("database \"*\" is not currently accepting connections", Reason::AccessDenied),
    ("database \"*\" does not exist", Reason::DatabaseMissing),
    ("cannot connect to invalid database \"*\"", Reason::DatabaseMissing),
    ("sorry, too many clients already", Reason::TooManyConnections),
    ("remaining connection slots are reserved*", Reason::TooManyConnections),
    ("too many connections for role *", Reason::TooManyConnections),
    ("too many connections for database *", Reason::TooManyConnections),
    ("the database system is starting up*", Reason::StartingUp),
    ("the database system is in recovery mode*", Reason::StartingUp),
    ("the database system is not accepting connections*", Reason::StartingUp),
    ("the database system is not yet accepting connections*", Reason::StartingUp),
    // Its SQLSTATE is that of starting up.
    ("the database system is shutting down*", Reason::ShuttingDown),
    ("terminating connection due to administrator command*", Reason::ShuttingDown),
    ("terminating connection due to immediate shutdown command*", Reason::ShuttingDown),
    ("terminating connection due to unexpected postmaster exit*", Reason::ShuttingDown),
    ("terminating connection because of crash of another server process*", Reason::ShuttingDown),
    ("canceling authentication due to timeout", Reason::AuthTimeout),
];

/// What stands around somebody else's message, and what it means where that message is not known.
const WRAPPERS: &[(&str, Option<Reason>)] = &[
    ("error: ", None),
    ("fatal: ", None),
    ("control plane request failed: ", Some(Reason::ControlPlane)),
    ("console request failed: ", Some(Reason::ControlPlane)),
    ("server login failed: ", Some(Reason::ComputeUnreachable)),
    ("server login has been failing, cached error: ", Some(Reason::ComputeUnreachable)),
];

/// Ends PgBouncer's cached error.
const SERVER_LOGIN_RETRY: &str = " (server_login_retry)";

fn texts() -> impl Iterator<Item = &'static (&'static str, Reason)> {
    [NEON, PGBOUNCER, POSTGRES].into_iter().flatten()
}

fn from_text(message: &str) -> Option<Reason> {
    let lower = message.trim().to_ascii_lowercase();
    let (text, around) = peel(&lower);
    texts().find(|(pattern, _)| fits(pattern, text)).map(|&(_, reason)| reason).or(around)
}

/// The innermost message, and what its outermost telling wrapper means.
fn peel(lower: &str) -> (&str, Option<Reason>) {
    let (mut text, mut around) = (lower, None);
    while let Some(&(start, reason)) = WRAPPERS.iter().find(|(start, _)| text.starts_with(start)) {
        let inner = &text[start.len()..];
        text = inner.strip_suffix(SERVER_LOGIN_RETRY).unwrap_or(inner);
        around = around.or(reason);
    }
    (text, around)
}

/// Whether the pattern covers the text from the first to the last character.
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
