//! The rows: where the server goes wrong, how, and the reason, phase and class that it must have.

use std::time::Duration;

use super::{Case, Channel};
use crate::support::fake_postgres::{At, Auth, Behaviour, Fault};

use Channel::{Bound, Direct, Plain, Prefer, Refused, Tls};

pub(super) fn case(
    name: &'static str,
    channel: Channel,
    behaviour: Behaviour,
    (reason, phase, class): (&'static str, &'static str, char),
) -> Case {
    // Before the StartupMessage there is no login.
    let logins = usize::from(!phase.starts_with("tls"));
    Case { name, channel, behaviour, password: None, reason, phase, class, logins, remedy: "" }
}

/// The row, with a piece of the remedy on its page.
fn cured(remedy: &'static str, case: Case) -> Case {
    Case { remedy, ..case }
}

fn at(point: At, fault: Fault) -> Behaviour {
    Behaviour::fault(point, fault)
}

/// A query that is a COPY, as the server begins it (<https://www.postgresql.org/docs/current/protocol-message-formats.html>);
/// then it sends nothing more.
fn copied(name: &'static str, channel: Channel, response: &[u8]) -> Case {
    let fault = Fault::Bytes(response.to_vec());
    cured("COPY", case(name, channel, at(At::MidQuery, fault), ("unexpected_result", "query", 'C')))
}

/// Every row.
pub(crate) fn cases() -> Vec<Case> {
    [before_login(), authentication(), before_ready(), refusals(), in_the_query()].into_iter().flatten().collect()
}

/// Where the server offers no channel binding, and the URL insists on it.
const UNBOUND: &str = "offers none (PgBouncer, md5, no TLS)";
const TLS_TIMEOUT: (&str, &str, char) = ("tls_timeout", "tls", 'R');
const TLS_LOST: (&str, &str, char) = ("connection_lost", "tls", 'R');
const TLS_FAILED: (&str, &str, char) = ("tls_failed", "tls", 'R');
const TLS_NONSENSE: (&str, &str, char) = ("protocol_error", "tls", 'C');
const AUTH_TIMEOUT: (&str, &str, char) = ("auth_timeout", "auth", 'R');
const AUTH_LOST: (&str, &str, char) = ("connection_lost", "auth", 'R');
const AUTH_NONSENSE: (&str, &str, char) = ("protocol_error", "auth", 'C');
const AUTH_FAILED: (&str, &str, char) = ("auth_failed", "auth", 'P');
const QUERY_TIMEOUT: (&str, &str, char) = ("query_timeout", "query", 'R');
const QUERY_LOST: (&str, &str, char) = ("connection_lost", "query", 'R');
const QUERY_NONSENSE: (&str, &str, char) = ("protocol_error", "query", 'C');

/// Up to the end of the handshake.
fn before_login() -> Vec<Case> {
    use At::{Accept, Handshake, SslRequest};
    let silent_plain = case("silent after accept", Plain, at(Accept, Fault::Stall), AUTH_TIMEOUT);
    let closed_plain = case("closed after accept", Plain, at(Accept, Fault::Close), AUTH_LOST);
    let error = Fault::fatal("53300", "sorry, too many clients already");
    vec![
        Case { logins: 0, ..silent_plain },
        Case { logins: 0, ..closed_plain },
        case("silent after accept", Prefer, at(Accept, Fault::Stall), TLS_TIMEOUT),
        case("silent after accept", Tls, at(Accept, Fault::Stall), TLS_TIMEOUT),
        case("silent after accept", Direct, at(Accept, Fault::Stall), TLS_TIMEOUT),
        case("closed after accept", Tls, at(Accept, Fault::Close), TLS_LOST),
        cured("which needs PostgreSQL 17", case("closed after accept", Direct, at(Accept, Fault::Close), TLS_LOST)),
        case("reset after accept", Tls, at(Accept, Fault::Reset), ("connection_lost", "tls|connect", 'R')),
        case("an SSH server", Tls, at(Accept, Fault::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())), TLS_FAILED),
        case("an SMTP server", Tls, at(Accept, Fault::Bytes(b"220 mail ESMTP\r\n".to_vec())), TLS_NONSENSE),
        case("no answer to SSLRequest", Tls, at(SslRequest, Fault::Stall), TLS_TIMEOUT),
        case("closed at SSLRequest", Prefer, at(SslRequest, Fault::Close), TLS_LOST),
        case("reset at SSLRequest", Tls, at(SslRequest, Fault::Reset), TLS_LOST),
        cured("offers no TLS", case("N", Refused, Behaviour::good(), ("tls_unsupported", "tls", 'P'))),
        case("N, then closed", Prefer, at(At::Startup, Fault::Close), AUTH_LOST),
        case("? to SSLRequest", Tls, at(SslRequest, Fault::byte(b'?')), TLS_NONSENSE),
        case("? to SSLRequest", Prefer, at(SslRequest, Fault::byte(b'?')), TLS_NONSENSE),
        case("an HTTP server", Tls, at(SslRequest, Fault::garbage()), TLS_NONSENSE),
        case("an ErrorResponse to SSLRequest", Tls, at(SslRequest, error), TLS_NONSENSE),
        case("half a handshake", Tls, at(Handshake, Fault::half_handshake()), TLS_TIMEOUT),
        case("half a handshake", Direct, at(Handshake, Fault::half_handshake()), TLS_TIMEOUT),
        case("silent in the handshake", Tls, at(Handshake, Fault::Stall), TLS_TIMEOUT),
        case("closed in the handshake", Tls, at(Handshake, Fault::Close), TLS_LOST),
        case("reset in the handshake", Tls, at(Handshake, Fault::Reset), TLS_LOST),
        case("nonsense in the handshake", Tls, at(Handshake, Fault::garbage()), TLS_FAILED),
    ]
}

/// From the StartupMessage to AuthenticationOk.
fn authentication() -> Vec<Case> {
    use At::{AuthFinal, SaslFirst, Startup};
    let with = |auth| Behaviour::good().auth(auth);
    let wrong =
        |channel, auth| Case { password: Some("wrong"), ..case("a wrong password", channel, with(auth), AUTH_FAILED) };
    vec![
        wrong(Plain, Auth::Scram),
        wrong(Tls, Auth::Scram),
        wrong(Bound, Auth::Scram),
        wrong(Plain, Auth::Md5),
        case("silent after StartupMessage", Plain, at(Startup, Fault::Stall), AUTH_TIMEOUT),
        case("silent after StartupMessage", Tls, at(Startup, Fault::Stall), AUTH_TIMEOUT),
        case("SASL stall", Plain, at(SaslFirst, Fault::Stall), AUTH_TIMEOUT),
        case("SASL stall", Tls, at(SaslFirst, Fault::Stall), AUTH_TIMEOUT),
        case("closed in SASL", Tls, at(SaslFirst, Fault::Close), AUTH_LOST),
        case("closed in SASL", Prefer, at(SaslFirst, Fault::Close), AUTH_LOST),
        case("nonsense in SASL", Tls, at(SaslFirst, Fault::garbage()), AUTH_NONSENSE),
        case("silent after the password", Tls, at(AuthFinal, Fault::Stall), AUTH_TIMEOUT),
        cured("password in clear", case("a cleartext request", Plain, with(Auth::Cleartext), AUTH_FAILED)),
        cured("password in clear", case("a cleartext request", Prefer, with(Auth::Cleartext), AUTH_FAILED)),
        cured(UNBOUND, case("a cleartext request", Bound, with(Auth::Cleartext), AUTH_FAILED)),
        cured(UNBOUND, case("an md5 request", Bound, with(Auth::Md5), AUTH_FAILED)),
        cured(UNBOUND, case("no authentication", Bound, with(Auth::Trust), AUTH_FAILED)),
        cured(UNBOUND, case("SCRAM without binding", Bound, with(Auth::ScramUnbound), AUTH_FAILED)),
        case("N", Bound, Behaviour::good().refuse_tls(), ("tls_unsupported", "tls", 'P')),
        cured("by Kerberos", case("Kerberos", Tls, with(Auth::Method(2)), AUTH_FAILED)),
        cured("by Kerberos", case("GSS", Plain, with(Auth::Method(7)), AUTH_FAILED)),
        cured("by Kerberos", case("SSPI", Tls, with(Auth::Method(9)), AUTH_FAILED)),
        cured("by Kerberos", case("a method of the future", Tls, with(Auth::Method(99)), AUTH_FAILED)),
        case("100001 iterations", Tls, with(Auth::ScramIterations(100_001)), AUTH_FAILED),
        case("4 billion iterations", Plain, with(Auth::ScramIterations(u32::MAX)), AUTH_FAILED),
        case(
            "a slow drip from StartupMessage on",
            Tls,
            Behaviour::good().drip(Startup, Duration::from_millis(80)),
            AUTH_TIMEOUT,
        ),
        case("an HTTP server", Plain, at(Startup, Fault::garbage()), AUTH_NONSENSE),
        case("a gigabyte announced", Plain, at(Startup, Fault::gigabyte(b'R')), AUTH_NONSENSE),
        case("a gigabyte announced", Tls, at(Startup, Fault::gigabyte(b'R')), AUTH_NONSENSE),
        case("endless notices", Tls, at(Startup, Fault::EndlessNotices), AUTH_NONSENSE),
    ]
}

/// From AuthenticationOk to ReadyForQuery.
fn before_ready() -> Vec<Case> {
    use At::Login;
    vec![
        case("closed before ReadyForQuery", Plain, at(Login, Fault::Close), AUTH_LOST),
        case("closed before ReadyForQuery", Tls, at(Login, Fault::Close), AUTH_LOST),
        case("reset before ReadyForQuery", Tls, at(Login, Fault::Reset), AUTH_LOST),
        case("stall before ReadyForQuery", Plain, at(Login, Fault::Stall), AUTH_TIMEOUT),
        case("stall before ReadyForQuery", Tls, at(Login, Fault::Stall), AUTH_TIMEOUT),
        case("a cold start of a minute", Tls, Behaviour::good().ready_after(Duration::from_secs(60)), AUTH_TIMEOUT),
        case("a gigabyte before ReadyForQuery", Tls, at(Login, Fault::gigabyte(b'S')), AUTH_NONSENSE),
        case("notice flood before ReadyForQuery", Plain, at(Login, Fault::EndlessNotices), AUTH_NONSENSE),
        case("notice flood before ReadyForQuery", Tls, at(Login, Fault::EndlessNotices), AUTH_NONSENSE),
        case("rows before ReadyForQuery", Tls, at(Login, Fault::EndlessRows), AUTH_NONSENSE),
        case("an unknown message", Plain, at(Login, Fault::Bytes(b"y\0\0\0\x04".to_vec())), AUTH_NONSENSE),
        case("a cut message", Tls, at(Login, Fault::Bytes(b"K\0\0\0\x06\0\0".to_vec())), AUTH_NONSENSE),
    ]
}

/// Every error with which a server, a pooler or Neon's proxy answers a login: severity, SQLSTATE, text, reason, class.
const REFUSALS: &[(&str, &str, &str, &str, char)] = &[
    ("FATAL", "28P01", "password authentication failed for user \"probe\"", "auth_failed", 'P'),
    ("ERROR", "XX000", "password authentication failed for user 'probe'", "auth_failed", 'P'),
    ("FATAL", "08P01", "SASL authentication failed", "auth_failed", 'P'),
    (
        "FATAL",
        "28000",
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"probe\", database \"appdb\"",
        "access_denied",
        'P',
    ),
    ("FATAL", "42501", "permission denied for database \"appdb\"", "access_denied", 'P'),
    ("ERROR", "XX000", "This IP address 192.0.2.1 is not allowed to connect to this endpoint.", "access_denied", 'P'),
    ("FATAL", "3D000", "database \"appdb\" does not exist", "database_missing", 'P'),
    ("ERROR", "XX000", "database \"appdb\" does not exist", "database_missing", 'P'),
    ("FATAL", "57P04", "the database was dropped", "database_missing", 'P'),
    ("ERROR", "XX000", "Endpoint ID is not specified. Either please upgrade …", "endpoint_missing", 'P'),
    ("ERROR", "XX000", "Control plane request failed: endpoint cannot be found", "endpoint_missing", 'P'),
    (
        "ERROR",
        "XX000",
        "Inconsistent project name inferred from SNI ('a') and project option ('b').",
        "endpoint_missing",
        'P',
    ),
    ("ERROR", "XX000", "The endpoint has been disabled. Enable it using Neon API and retry.", "endpoint_disabled", 'P'),
    ("ERROR", "XX000", "Your account or project has exceeded the compute time quota.", "quota_exceeded", 'P'),
    ("ERROR", "XX000", "active endpoints limit exceeded", "quota_exceeded", 'P'),
    ("ERROR", "XX000", "Too many connections attempts", "rate_limited", 'C'),
    ("FATAL", "53300", "sorry, too many clients already", "too_many_connections", 'C'),
    ("ERROR", "XX000", "remaining connection slots are reserved for roles …", "too_many_connections", 'C'),
    ("FATAL", "53400", "a limit of the server's configuration", "too_many_connections", 'C'),
    ("FATAL", "08P01", "no more connections allowed (max_client_conn)", "pooler_saturated", 'C'),
    ("FATAL", "08P01", "query_wait_timeout", "pooler_saturated", 'C'),
    ("FATAL", "08P01", "unsupported startup parameter: options", "pooler_unsupported", 'P'),
    ("FATAL", "57P03", "the database system is starting up", "starting_up", 'R'),
    ("FATAL", "57P03", "das Datenbanksystem startet", "starting_up", 'R'),
    ("ERROR", "XX000", "endpoint is idle, retry request", "starting_up", 'R'),
    ("ERROR", "XX000", "timed out while waiting for endpoint to become active", "starting_up", 'R'),
    ("FATAL", "57P01", "terminating connection due to administrator command", "shutting_down", 'R'),
    ("FATAL", "57P03", "the database system is shutting down", "shutting_down", 'R'),
    ("ERROR", "XX000", "Control plane request failed", "control_plane", 'R'),
    ("ERROR", "XX000", "Couldn't connect to compute node", "compute_unreachable", 'R'),
    (
        "FATAL",
        "08P01",
        "server login has been failing, try again later (server_login_retry)",
        "compute_unreachable",
        'R',
    ),
    ("FATAL", "08P01", "pgbouncer cannot connect to server", "compute_unreachable", 'R'),
    ("ERROR", "XX000", "Authentication timed out", "auth_timeout", 'R'),
    ("ERROR", "XX000", "connection is insecure (try using `sslmode=require`)", "tls_unsupported", 'P'),
    ("ERROR", "XX000", "Internal error", "login_failed", 'R'),
    ("FATAL", "22023", "something new", "login_failed", 'R'),
];

fn refusals() -> Vec<Case> {
    let rows = REFUSALS.iter().enumerate();
    rows.map(|(i, &(severity, code, message, reason, class))| {
        let fault = if severity == "FATAL" { Fault::fatal(code, message) } else { Fault::error(code, message) };
        // Before the password and after it, with TLS and without.
        let point = if i % 2 == 0 { At::Startup } else { At::AuthFinal };
        let channel = [Tls, Prefer, Plain][i % 3];
        case(message, channel, at(point, fault), (reason, "auth", class))
    })
    .collect()
}

/// After ReadyForQuery.
fn in_the_query() -> Vec<Case> {
    use At::{MidQuery, Query};
    let complaint = |severity: &str, code: &str, message: &'static str, reason, class| {
        let fault = if severity == "FATAL" { Fault::fatal(code, message) } else { Fault::error(code, message) };
        case(message, Tls, at(MidQuery, fault), (reason, "query", class))
    };
    vec![
        case("query stall", Plain, at(Query, Fault::Stall), QUERY_TIMEOUT),
        case("query stall", Tls, at(Query, Fault::Stall), QUERY_TIMEOUT),
        case("stall in the middle of the query", Tls, at(MidQuery, Fault::Stall), QUERY_TIMEOUT),
        case("closed at the query", Tls, at(Query, Fault::Close), QUERY_LOST),
        case("closed at the query", Plain, at(Query, Fault::Close), QUERY_LOST),
        case("reset at the query", Plain, at(Query, Fault::Reset), QUERY_LOST),
        case("reset in the middle of the query", Tls, at(MidQuery, Fault::Reset), QUERY_LOST),
        case("nonsense for an answer", Plain, at(Query, Fault::garbage()), QUERY_NONSENSE),
        case("nonsense for an answer", Tls, at(MidQuery, Fault::garbage()), QUERY_NONSENSE),
        case("an unknown message", Tls, at(Query, Fault::Bytes(b"y\0\0\0\x04".to_vec())), QUERY_NONSENSE),
        case("a message out of place", Tls, at(Query, Fault::Bytes(b"R\0\0\0\x08\0\0\0\0".to_vec())), QUERY_NONSENSE),
        case("zero rows", Tls, Behaviour::good().rows(&[]), ("unexpected_result", "query", 'C')),
        copied("rows of a COPY", Tls, b"H\0\0\0\x09\0\0\x01\0\0d\0\0\0\x061\nc\0\0\0\x04C\0\0\0\x0bCOPY 1\0"),
        copied("a COPY that waits for rows", Plain, b"G\0\0\0\x09\0\0\x01\0\0"),
        copied("a COPY that waits for rows", Tls, b"G\0\0\0\x09\0\0\x01\0\0"),
        copied("a COPY both ways", Plain, b"W\0\0\0\x09\0\0\x01\0\0"),
        cured("more than 256 KiB", case("endless rows", Plain, at(MidQuery, Fault::EndlessRows), QUERY_NONSENSE)),
        cured("more than 256 KiB", case("endless rows", Tls, at(MidQuery, Fault::EndlessRows), QUERY_NONSENSE)),
        cured("neither PostgreSQL", case("notice flood", Plain, at(Query, Fault::EndlessNotices), QUERY_NONSENSE)),
        case("notice flood", Tls, at(Query, Fault::EndlessNotices), QUERY_NONSENSE),
        case("a gigabyte announced in the query", Tls, at(MidQuery, Fault::gigabyte(b'D')), QUERY_NONSENSE),
        case(
            "a slow drip in the query",
            Plain,
            Behaviour::good().drip(Query, Duration::from_millis(80)),
            QUERY_TIMEOUT,
        ),
        complaint("ERROR", "57014", "canceling statement due to statement timeout", "query_timeout", 'R'),
        complaint("ERROR", "55P03", "canceling statement due to lock timeout", "lock_timeout", 'C'),
        complaint("ERROR", "42P01", "relation \"alembic_version\" does not exist", "query_failed", 'C'),
        complaint("ERROR", "42501", "permission denied for table things", "access_denied", 'P'),
        complaint("FATAL", "57P01", "terminating connection due to administrator command", "shutting_down", 'R'),
        complaint(
            "FATAL",
            "57P02",
            "terminating connection because of crash of another server process",
            "shutting_down",
            'R',
        ),
        complaint("FATAL", "08P01", "query_wait_timeout", "pooler_saturated", 'C'),
        complaint("FATAL", "08P01", "server conn crashed?", "compute_unreachable", 'R'),
        complaint("ERROR", "P0001", "your account or project has exceeded the quota", "query_failed", 'C'),
    ]
}
