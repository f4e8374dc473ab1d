//! Every text and SQLSTATE that a server, a pooler or Neon is known to send, at login and in a query.

use std::collections::HashSet;
use std::io;

use proptest::prelude::*;

use super::Stage::{Login, Query};
use super::*;
use crate::probe::Reason::*;
use crate::probe::diagnosis::from_io;
use crate::probe::{Cause, Phase};

mod poolers;
mod postgres;

use poolers::{
    COCKROACH_ROWS, ODYSSEY_ROWS, OTHER_ROWS, PGBOUNCER_ROWS, PGCAT_ROWS, PGDOG_ERROR_ROWS, PGDOG_FATAL_ROWS,
    PGPOOL_ERROR_ROWS, PGPOOL_ROWS, RDS_ROWS, SUPAVISOR_ROWS,
};
use postgres::{NEON_ROWS, POSTGRES_ERROR_ROWS, POSTGRES_FATAL_ROWS, TRANSLATED_ROWS};

fn say(stage: Stage, severity: &str, sqlstate: &str, message: &str) -> Diagnosis {
    classify(stage, &ErrorResponse { severity, sqlstate, message })
}

fn check(stage: Stage, severity: &str, sqlstate: &str, message: &str, expected: Option<Reason>) {
    let reason = expected.unwrap_or(catch_all(stage));
    assert_eq!(say(stage, severity, sqlstate, message).reason, reason, "{stage:?}: {severity} {sqlstate} {message}");
    assert_eq!(is_catch_all(reason), expected.is_none());
}

/// A row of a table; `None` is the catch-all of the stage.
struct Row {
    sqlstate: &'static str,
    login: Option<Reason>,
    cause: Option<Cause>,
    query: Option<Reason>,
    message: &'static str,
}

/// Reads a table, one row a line: SQLSTATE, what it means at login, what it means in a query, and the message.
fn rows(table: &'static str) -> impl Iterator<Item = Row> {
    table.trim().lines().map(|line| {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').expect("four columns");
            rest = after.trim_start();
            word
        };
        let (sqlstate, login, query) = (word(), word(), reason(word()));
        let (login, cause) = login.split_once('/').map_or((login, None), |(login, name)| (login, Some(cause(name))));
        Row { sqlstate, login: reason(login), cause, query, message: rest }
    })
}

fn reason(word: &str) -> Option<Reason> {
    (word != "-").then(|| *Reason::ALL.iter().find(|reason| reason.as_str() == word).expect(word))
}

fn cause(word: &str) -> Cause {
    *Cause::ALL.iter().find(|cause| format!("{cause:?}") == word).expect(word)
}

fn all_rows() -> impl Iterator<Item = Row> {
    let fatal = FATAL_TABLES.into_iter().chain([NEON_ROWS, PGDOG_ERROR_ROWS, PGPOOL_ERROR_ROWS, POSTGRES_ERROR_ROWS]);
    fatal.flat_map(rows)
}

fn check_rows(severity: &str, table: &'static str) {
    for Row { sqlstate, login, cause, query, message } in rows(table) {
        check(Login, severity, sqlstate, message, login);
        check(Query, severity, sqlstate, message, query);
        assert_eq!(say(Login, severity, sqlstate, message).cause, cause, "{message}");
        let in_query = cause.filter(|_| query == login);
        assert_eq!(say(Query, severity, sqlstate, message).cause, in_query, "{message}");
    }
}

/// What ends the session.
const FATAL_TABLES: [&str; 10] = [
    PGBOUNCER_ROWS,
    SUPAVISOR_ROWS,
    PGPOOL_ROWS,
    PGCAT_ROWS,
    PGDOG_FATAL_ROWS,
    ODYSSEY_ROWS,
    RDS_ROWS,
    COCKROACH_ROWS,
    OTHER_ROWS,
    POSTGRES_FATAL_ROWS,
];

#[test]
fn neon() {
    check_rows("ERROR", NEON_ROWS);
    // At login the severity makes no difference, nor does the SQLSTATE that a newer proxy may send.
    for Row { login, message, .. } in rows(NEON_ROWS).filter(|row| row.login.is_some()) {
        for sqlstate in ["XX000", "08006", "28000", "28P01", "3D000", "53000", "53300", "57P03"] {
            check(Login, "FATAL", sqlstate, message, login);
        }
    }
}

#[test]
fn poolers_proxies_and_servers_that_end_the_session() {
    for table in FATAL_TABLES {
        check_rows("FATAL", table);
    }
    check(Query, "PANIC", "XX000", "could not write to WAL", None);
}

#[test]
fn poolers_that_refuse_a_statement() {
    check_rows("ERROR", PGDOG_ERROR_ROWS);
    check_rows("ERROR", PGPOOL_ERROR_ROWS);
}

#[test]
fn pgbouncer_before_1_16_says_error() {
    for Row { login, query, message, .. } in rows(PGBOUNCER_ROWS) {
        check(Login, "ERROR", "08P01", message, login);
        check(Query, "ERROR", "08P01", message, query.filter(|reason| reason.class() != Class::Permanent));
    }
}

#[test]
fn postgres_refuses_a_statement() {
    check_rows("ERROR", POSTGRES_ERROR_ROWS);
}

#[test]
fn a_message_in_another_language_is_judged_by_its_sqlstate() {
    for Row { sqlstate, login, query, message, .. } in rows(TRANSLATED_ROWS) {
        for message in [message, "", "?", "\u{1f418}", "x\0y\n"] {
            check(Login, "FATAL", sqlstate, message, login);
            check(Query, "ERROR", sqlstate, message, query);
            check(Query, "FATAL", sqlstate, message, if sqlstate == "57014" { query } else { login });
        }
    }
}

/// Users choose part of a message by the names of databases, roles and parameters.
#[test]
fn a_name_is_never_taken_for_a_message() {
    for (sqlstate, message, expected) in [
        ("3D000", "database \"quota\" does not exist", DatabaseMissing),
        ("XX000", "database \"Your project has exceeded the compute time quota\" does not exist", DatabaseMissing),
        ("XX000", "database \"endpoint is disabled\" does not exist", DatabaseMissing),
        ("XX000", "database \"a\" is disabled\" does not exist", DatabaseMissing),
        ("08P01", "database \"a\" does not exist\" is disabled", AccessDenied),
        ("08P01", "database \"server login failed: no such user\" is disabled", AccessDenied),
        ("08P01", "no such database: no such user", DatabaseMissing),
        ("08P01", "no such database: password authentication failed", DatabaseMissing),
        ("08P01", "no such user: database \"x\" does not exist", AuthFailed),
        ("08P01", "unsupported startup parameter: the endpoint has been disabled", PoolerUnsupported),
        ("28P01", "password authentication failed for user \"sorry, too many clients already\"", AuthFailed),
        ("XX000", "password authentication failed for user 'Your account has exceeded the quota'", AuthFailed),
        ("XX000", "password authentication failed for user 'x' (server_login_retry)", AuthFailed),
        ("28000", "role \"database \"x\" does not exist\" does not exist", AccessDenied),
        ("28000", "role \"password authentication failed\" is not permitted to log in", AccessDenied),
        ("53300", "too many connections for role \"password authentication failed\"", TooManyConnections),
        ("53300", "too many connections for database \"x\" does not exist", TooManyConnections),
        (
            "28000",
            "no pg_hba.conf entry for host \"::1\", user \"the database system is starting up\", database \"query_wait_timeout\"",
            AccessDenied,
        ),
    ] {
        check(Login, "FATAL", sqlstate, message, Some(expected));
    }
    for (sqlstate, message) in [
        ("22023", "invalid value for parameter \"search_path\": \"password authentication failed\""),
        ("42704", "unrecognized configuration parameter \"quota\""),
        ("42704", "parameter \"database \"x\" does not exist\" cannot be changed now"),
        ("XX000", "My project has exceeded the compute time quota"),
        ("XX000", "quota"),
        ("08P01", "invalid packet: query_wait_timeout"),
        ("XX000", "role does not exist"),
        ("XX000", "database"),
    ] {
        check(Login, "FATAL", sqlstate, message, None);
        check(Query, "FATAL", sqlstate, message, None);
    }
}

#[test]
fn sql_cannot_raise_a_permanent_text() {
    for (pattern, reason, _) in all_messages() {
        let message = pattern.replace('*', "x");
        // RAISE in a SQL check, with its own code and with a borrowed one; RAISE in a login event trigger.
        for sqlstate in ["P0001", "22012", "42P01", "42883", "23505", "40001", "0A000", "F0000", "HV000"] {
            check(Query, "ERROR", sqlstate, &message, None);
        }
        check(Login, "FATAL", "P0001", &message, None);
        if reason.class() == Class::Permanent {
            check(Query, "ERROR", "XX000", &message, None);
            check(Query, "ERROR", "08P01", &message, None);
            check(Query, "ERROR", "58000", &message, None);
        }
    }
}

#[test]
fn a_text_inside_another_message_means_nothing() {
    for (pattern, ..) in all_messages() {
        let message = format!("could not open file \"{}\": Permission denied", pattern.replace('*', "x"));
        check(Login, "FATAL", "58P01", &message, None);
        check(Query, "FATAL", "58P01", &message, None);
    }
}

#[test]
fn case_and_surrounding_blanks_make_no_difference() {
    for (pattern, reason, _) in all_messages() {
        let message = pattern.replace('*', "x");
        for message in [message.to_ascii_uppercase(), format!("\n {message}\r\n"), format!("FATAL: {message}")] {
            check(Login, "ERROR", "XX000", &message, Some(*reason));
        }
    }
}

#[test]
fn no_two_reasons_claim_one_message() {
    for row in all_rows() {
        let lower = row.message.to_ascii_lowercase();
        let (text, _) = peel(&lower);
        let claims: HashSet<_> =
            all_messages().filter(|(pattern, ..)| fits(pattern, text)).map(|(_, reason, _)| reason).collect();
        assert!(claims.len() <= 1, "{}: {claims:?}", row.message);
    }
}

#[test]
fn patterns_are_lower_case_distinct_and_long_enough_to_be_sure() {
    let patterns: Vec<_> = all_messages().map(|(pattern, ..)| *pattern).collect();
    assert_eq!(patterns.iter().collect::<HashSet<_>>().len(), patterns.len());
    for pattern in patterns {
        assert_eq!(pattern, pattern.to_ascii_lowercase());
        assert!(!pattern.starts_with('*') && !pattern.contains("**"), "{pattern}");
        assert!(pattern.replace('*', "").len() >= 11, "{pattern}");
    }
    let wrappers = messages::WRAPPERS
        .iter()
        .all(|(start, _)| start.ends_with([' ']) && start.contains(": ") && !start.contains(char::is_uppercase));
    assert!(wrappers);
}

#[test]
fn every_pattern_has_a_row() {
    let said: Vec<_> = all_rows().map(|row| row.message.to_ascii_lowercase()).collect();
    for (pattern, ..) in all_messages() {
        assert!(said.iter().any(|lower| fits(pattern, peel(lower).0)), "{pattern}");
    }
}

#[test]
fn stars_stand_for_anything_and_the_rest_for_itself() {
    for (pattern, text, expected) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abc*", "abc", true),
        ("abc*", "abcd", true),
        ("abc*", "ab", false),
        ("a*c", "ac", true),
        ("a*c", "abc", true),
        ("a*c", "abcd", false),
        ("ab*bc", "abc", false),
        ("a*b*c*", "a1b2c3", true),
        ("a*b*c*", "acb", false),
        ("a*b*c", "a1b2c", true),
        ("a*c*c", "ac", false),
        ("a*b*b*", "ab", false),
        ("a*é*c", "aéc", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn the_outermost_wrapper_speaks_for_an_unknown_message() {
    check(Login, "ERROR", "XX000", "Control plane request failed: server login failed: ?", Some(ControlPlane));
    check(Login, "FATAL", "08P01", "server login failed: FATAL: ?", Some(ComputeUnreachable));
    check(Login, "FATAL", "08P01", "FATAL: ?", None);
}

#[test]
fn long_and_hostile_messages_end() {
    for piece in ["fatal: ", "server login failed: ", "database \"", "your  has exceeded the ", "\u{130}"] {
        let message = piece.repeat(20_000);
        for stage in [Login, Query] {
            assert_eq!(say(stage, "FATAL", "XX000", &message), say(stage, "FATAL", "XX000", &message));
        }
    }
}

/// The only reasons missing here are those that the probes find by other means.
#[test]
fn server_and_socket_errors_lead_to_these_reasons() {
    let elsewhere = HashSet::from([
        LoopbackOnly,
        TlsUntrusted,
        UnexpectedResult,
        BadStatus,
        NotRun,
        Stale,
        ReadOnly,
        CertificateExpiring,
        ConnectionsScarce,
        TransactionStuck,
        LockWait,
        StorageScarce,
        IdleUnverified,
        RecoveredAfterRetry,
    ]);
    let mut found: HashSet<_> = all_rows().flat_map(|row| [row.login, row.query]).flatten().collect();
    found.extend([LoginFailed, QueryFailed]);
    for phase in Phase::ALL {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::InvalidData,
            io::ErrorKind::OutOfMemory,
            io::ErrorKind::TimedOut,
        ] {
            found.insert(from_io(&kind.into(), phase));
        }
    }
    for &reason in Reason::ALL {
        assert_eq!(found.contains(&reason), !elsewhere.contains(&reason), "{reason}");
    }
}

fn sqlstates() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &["28P01", "28000", "3D000", "53300", "57P01", "08P01", "08006", "XX000", "P0001", "53000"];
    prop_oneof![any::<String>(), "[0-9A-Z]{5}", proptest::sample::select(KNOWN).prop_map(str::to_owned)]
}

/// Anything at all, and pieces of real texts in any order.
fn messages() -> impl Strategy<Value = String> {
    let wrappers = messages::WRAPPERS.iter().map(|(start, _)| *start);
    let pieces: Vec<_> = all_messages().flat_map(|(pattern, ..)| pattern.split('*')).chain(wrappers).collect();
    let mixed = proptest::collection::vec(
        prop_oneof![proptest::sample::select(pieces).prop_map(str::to_owned), ".{0,4}"],
        0..6,
    );
    prop_oneof![any::<String>(), mixed.prop_map(|pieces| pieces.concat())]
}

fn severities() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &["ERROR", "FATAL", "PANIC", "FEHLER", ""];
    prop_oneof![proptest::sample::select(KNOWN).prop_map(str::to_owned), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_error_has_one_diagnosis(severity in severities(), sqlstate in sqlstates(), message in messages()) {
        for stage in [Login, Query] {
            let diagnosis = say(stage, &severity, &sqlstate, &message);
            prop_assert_eq!(diagnosis, say(stage, &severity, &sqlstate, &message));
            prop_assert!(!is_catch_all(diagnosis.reason) || diagnosis.reason == catch_all(stage));
        }
    }

    #[test]
    fn an_error_of_a_query_is_permanent_only_without_permission(sqlstate in sqlstates(), message in messages()) {
        let diagnosis = say(Query, "ERROR", &sqlstate, &message);
        prop_assert!(sqlstate == "42501" || diagnosis.reason.class() != Class::Permanent, "{:?}", diagnosis);
    }

    #[test]
    fn a_name_changes_nothing(name in any::<String>(), sqlstate in "(08P01|XX000)") {
        for (message, reason) in [
            (format!("password authentication failed for user '{name}'"), AuthFailed),
            (format!("no such database: {name}."), DatabaseMissing),
            (format!("database \"{name}\" does not exist"), DatabaseMissing),
            (format!("role \"{name}\" is not permitted to log in"), AccessDenied),
            (format!("too many connections for role \"{name}\""), TooManyConnections),
            (format!("unsupported startup parameter: {name}."), PoolerUnsupported),
        ] {
            prop_assert_eq!(say(Login, "FATAL", &sqlstate, &message).reason, reason);
        }
    }
}
