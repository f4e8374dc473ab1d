//! Servers that refuse something of what a check adds to the user's query: the query decides all the same, and what is
//! refused is remembered.

use serde_json::json;

use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{Behaviour, Dialect, FakePostgres};
use crate::support::sidecar::Sidecar;

/// What a server refuses, and what a check then sends it: a word a message, a letter a statement (see [`in_short`]).
struct Case {
    name: &'static str,
    dialect: Dialect,
    /// The first check, which finds out.
    first: &'static str,
    /// Those that remember.
    later: &'static str,
    /// What is refused: its statement's number and the SQLSTATE.
    refused: &'static [(&'static str, &'static str)],
}

fn cases() -> Vec<Case> {
    let case = |name, dialect, first, later, refused| Case { name, dialect, first, later, refused };
    vec![
        case("PostgreSQL", Dialect::postgres(), "bslqfr", "bslqfr", &[]),
        case("Aurora DSQL", Dialect::dsql(), "bslqfr r blqfr r bqfr", "bqfr", &[("2", "0A000"), ("3", "0A000")]),
        case("PgDog", Dialect::pgdog(), "bslqfr b s l q f r", "b s l q f r", &[("1", "58000")]),
        case("CockroachDB", Dialect::cockroachdb(), "bslqfr r f f f", "bslqfr", &[("5", "42883")]),
        case("CrateDB", Dialect::cratedb(), "bslqfr f f f", "bslqfr", &[("5", "0A000")]),
        case("no lock_timeout", Dialect::without_lock_timeout(), "bslqfr r bsqfr", "bsqfr", &[("3", "42704")]),
        case("no READ ONLY", Dialect::without_read_only(), "bslqfr b B s l q f r", "Bslqfr", &[("1", "42601")]),
        case("no transactions", no_transactions(), "bslqfr b B q f", "qf", &[("1", "0A000"), ("1", "0A000")]),
        case(
            "no ROLLBACK",
            Dialect::postgres().without("rollback", "42601", "syntax error"),
            "bslqfr c",
            "bslqfc",
            &[("6", "42601")],
        ),
        case(
            "one statement a message",
            Dialect::one_statement_a_message(),
            "bslqfr b s l q f r",
            "b s l q f r",
            &[("1", "0A000")],
        ),
        case("no fact", no_fact(), "bslqfr r f f f", "bslqr", &[("5", "42883"), ("5", "42883"), ("5", "42704")]),
        case(
            "nothing but queries",
            nothing_but_queries(),
            "bslqfr b B q f f f f",
            "q",
            &[("1", "0A000"), ("1", "42601"), ("1", "42601"), ("5", "42883"), ("5", "42883"), ("5", "42704")],
        ),
    ]
}

fn no_transactions() -> Dialect {
    Dialect::postgres().without("begin", "0A000", "transactions are not supported")
}

fn no_fact() -> Dialect {
    Dialect::postgres()
        .without("pg_postmaster_start_time", "42883", "no such function")
        .without("pg_is_in_recovery", "42883", "no such function")
        .without("default_transaction_read_only", "42704", "unrecognized configuration parameter")
}

/// Whatever is ours is refused, each in its way.
fn nothing_but_queries() -> Dialect {
    let nothing = no_fact().without("begin", "42601", "syntax error").without("set ", "42601", "syntax error");
    nothing.one_message_refused("0A000")
}

/// A message in letters: what each of its statements is.
fn in_short(message: &str) -> String {
    let letter = |statement: &str| match statement.trim() {
        "BEGIN READ ONLY" => 'b',
        "BEGIN" => 'B',
        "ROLLBACK" => 'r',
        "COMMIT" => 'c',
        s if s.starts_with("SET LOCAL statement_timeout") => 's',
        s if s.starts_with("SET LOCAL lock_timeout") => 'l',
        s if s.contains("pg_") || s.contains("default_transaction_read_only") => 'f',
        _ => 'q',
    };
    message.split("\n;").map(letter).collect()
}

/// What each session of a server was sent, in short.
fn sessions(fake: &FakePostgres) -> Vec<String> {
    let short = |messages: &Vec<String>| messages.iter().map(|m| in_short(m)).collect::<Vec<_>>().join(" ");
    fake.counts().sessions.iter().map(short).collect()
}

/// Waits until so many checks are over.
fn wait_for_checks(fake: &FakePostgres, sidecar: &Sidecar, checks: usize) {
    let came = eventually(SOON, || fake.counts().terminates >= checks);
    assert!(came, "{:?}\n{}", sessions(fake), sidecar.log_text());
}

#[test]
fn what_a_server_refuses_fails_no_check_and_is_remembered() {
    for Case { name, dialect, first, later, refused } in cases() {
        let fake = FakePostgres::start([Behaviour::good().dialect(dialect)]);
        let sidecar = Sidecar::on(fake.url()).app(1).start();
        wait_for_checks(&fake, &sidecar, 4);
        let sent = sessions(&fake);
        println!("| {name} | {} | {} |", sent[0], sent[1]);
        assert_eq!(sent[..4], [first, later, later, later], "{name}\n{}", sidecar.log_text());
        let check = sidecar.check("database:query");
        assert_eq!((&check["status"], &check["attempts"]), (&json!("pass"), &json!(1)), "{name}: {check}");
        assert_eq!(fake.counts().max_concurrent, 1, "{name}");
        assert_eq!(said(&sidecar), refused, "{name}: each is said once");
    }
}
