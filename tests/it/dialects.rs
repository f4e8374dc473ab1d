//! Servers that refuse something that a check adds to the user's query: the query decides all the same, and what was
//! refused is remembered.

use serde_json::json;

use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Behaviour, Dialect, FakePostgres, Fault};
use crate::support::sidecar::{Builder, Sidecar};

/// What a server refuses, and what a check then sends: one word for each message, one letter for each statement (see
/// [`in_short`]).
struct Case {
    name: &'static str,
    dialect: Dialect,
    /// The first check, which finds it out.
    first: &'static str,
    /// The checks after it, which remember it.
    later: &'static str,
    /// What is refused: the number of the statement and the SQLSTATE.
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
        case("Buenavista", Dialect::buenavista(), "bslqfr r blqfr r bqfr", "bqfr", &[("2", "08P01"), ("3", "08P01")]),
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
            &[("1", "42601"), ("1", "42601"), ("5", "42883"), ("5", "42883"), ("5", "42704")],
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

/// Everything of ours is refused, each in its own way.
fn nothing_but_queries() -> Dialect {
    let nothing = no_fact().without("begin", "42601", "syntax error").without("set ", "42601", "syntax error");
    nothing.one_message_refused("0A000")
}

/// A message in letters: one for the kind of each statement.
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

/// A check consists of the deep query and the SQL checks, with nothing after them.
fn sidecar_on(fake: &FakePostgres) -> Builder {
    Sidecar::on(fake.url()).app(1).set("SIDEPULSE_EARLY_WARNINGS", "off")
}

/// What the server received in each session, in short.
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
        let sidecar = sidecar_on(&fake).start();
        wait_for_checks(&fake, &sidecar, 4);
        let sent = sessions(&fake);
        println!("| {name} | {} | {} |", sent[0], sent[1]);
        assert_eq!(sent[..4], [first, later, later, later], "{name}\n{}", sidecar.log_text());
        let check = sidecar.check("database:query");
        assert_eq!((&check["status"], &check["attempts"]), (&json!("pass"), &json!(1)), "{name}: {check}");
        assert_eq!(fake.counts().max_concurrent, 1, "{name}");
        let refused: Vec<_> = refused.iter().map(|(number, code)| (number.to_string(), code.to_string())).collect();
        assert_eq!(said(&sidecar), refused, "{name}: each is said once");
        let page = sidecar.get("/").body;
        assert_eq!(page.matches("SQLSTATE").count(), refused.len(), "{name}: {page}");
        let (code, check) = sidecar_on(&fake).check_database();
        let message = check["message"].as_str().unwrap_or_default();
        assert_eq!((code, message.matches("SQLSTATE").count()), (Some(0), refused.len()), "{name}: {check}");
    }
}

/// What is reported as refused: the number of each statement and its SQLSTATE.
fn said(sidecar: &Sidecar) -> Vec<(String, String)> {
    let messages = sidecar.events("warning").into_iter().filter_map(|line| line["message"].as_str().map(str::to_owned));
    let refusals = messages.filter(|message| message.starts_with("the database refuses "));
    let after = |message: &str, word: &str| {
        let rest = message.split_once(word).unwrap_or_default().1;
        rest.split([',', ')']).next().unwrap_or_default().to_owned()
    };
    refusals.map(|message| (after(&message, "(statement "), after(&message, "SQLSTATE "))).collect()
}

/// A check that passes or fails, in short: its reason, and what its session was sent.
fn check_once(behaviour: Behaviour) -> (Option<String>, String, String) {
    let fake = FakePostgres::start([behaviour]);
    let (_, check) = sidecar_on(&fake).check_database();
    assert_eq!(check["attempts"], 1, "{check}");
    let text = |key: &str| check[key].as_str().map(str::to_owned);
    (text("reason"), text("message").unwrap_or_default(), sessions(&fake).join(" | "))
}

#[test]
fn a_query_of_the_users_that_fails_is_query_failed_whatever_else_is_refused() {
    // The session's last message: what the server refuses is known by then.
    for (name, dialect, sent) in [
        ("PostgreSQL", Dialect::postgres(), "bslqfr r"),
        ("Aurora DSQL", Dialect::dsql(), "bslqfr r blqfr r bqfr r"),
        ("PgDog", Dialect::pgdog(), "bslqfr b s l q r"),
        ("CockroachDB", Dialect::cockroachdb(), "bslqfr r"),
        ("CrateDB", Dialect::cratedb(), "bslqfr"),
        ("no READ ONLY", Dialect::without_read_only(), "bslqfr b B s l q r"),
        ("nothing but queries", nothing_but_queries(), "bslqfr b B q"),
    ] {
        for (code, message) in [
            ("42P01", "relation \"nothing\" does not exist"),
            ("42601", "syntax error at or near \"SELEC\""),
            // It calls a function that writes.
            ("25006", "cannot execute INSERT in a read-only transaction"),
        ] {
            let behaviour = Behaviour::good().dialect(dialect.clone()).query_error(code, message);
            let (reason, said, session) = check_once(behaviour);
            assert_eq!((reason.as_deref(), session.as_str()), (Some("query_failed"), sent), "{name}, {code}");
            assert!(said.contains(code) && said.contains(message), "{name}: {said}");
        }
    }
}

#[test]
fn an_error_of_the_parser_is_the_users_where_it_points_into_the_query() {
    // PostgreSQL reads the whole message before it runs anything, and counts characters.
    let message = "BEGIN READ ONLY\n;SET LOCAL statement_timeout = 750\n;SET LOCAL lock_timeout = 375\n;";
    let inside = message.chars().count() + 3;
    for (position, sent) in [(Some(inside), "bslqfr"), (Some(3), "bslqfr b s l q f r"), (None, "bslqfr b s l q f r")] {
        let refused = Dialect::postgres().one_message_refused_at("42601", position);
        let (reason, _, session) = check_once(Behaviour::good().dialect(refused));
        assert_eq!(session, sent, "{position:?}");
        assert_eq!(reason.as_deref(), (sent == "bslqfr").then_some("query_failed"), "{position:?}");
    }
}

#[test]
fn a_setting_that_fails_silently_is_not_the_users_fault() {
    // A proxy that sends statement after statement may lose an answer.
    let behaviour = Behaviour::good().dialect(Dialect::postgres().silently_without("lock_timeout"));
    let (reason, message, session) = check_once(behaviour);
    assert_eq!((reason, session.as_str()), (None, "bslqfr r b s l q r b q f r"), "{message}");
}

#[test]
fn a_failing_server_is_not_a_refusal() {
    for (code, reason) in [("53200", "query_failed"), ("57014", "query_timeout"), ("55P03", "lock_timeout")] {
        let busy = Dialect::postgres().without("begin", code, "not now");
        let fake = FakePostgres::start([Behaviour::good().dialect(busy)]);
        let (_, check) = sidecar_on(&fake).set("SIDEPULSE_DATABASE_TIMEOUT", "200ms").check_database();
        assert_eq!(check["reason"], reason, "{code}: {check}");
        assert!(sessions(&fake).iter().all(|session| session == "bslqfr"), "{code}: {:?}", sessions(&fake));
    }
    // A query that was answered has passed, whatever happens to the facts; what was not refused is asked again.
    let fake =
        FakePostgres::start([Behaviour::good().dialect(Dialect::postgres().without("pg_is", "57014", "too slow"))]);
    let sidecar = sidecar_on(&fake).start();
    wait_for_checks(&fake, &sidecar, 2);
    assert_eq!(sessions(&fake)[..2], ["bslqfr r f f f", "bslqfr r f f f"]);
    assert_eq!((sidecar.check("database:query")["status"].as_str(), said(&sidecar).len()), (Some("pass"), 0));
}

#[test]
fn a_fact_that_is_not_available_is_absent_and_never_a_warning() {
    for (name, dialect, read_only) in [
        ("all told", Dialect::postgres(), true),
        ("no recovery state", Dialect::cratedb(), true),
        ("neither", no_fact(), false),
    ] {
        for (behaviour, expected) in [(Behaviour::good(), false), (Behaviour::good().read_only(), read_only)] {
            let (reason, _, _) = check_once(behaviour.dialect(dialect.clone()));
            assert_eq!(reason.as_deref(), expected.then_some("read_only"), "{name}");
        }
    }
}

#[test]
fn a_server_that_restarts_is_asked_again() {
    let old = Behaviour::good().dialect(Dialect::dsql()).started("1");
    let fake = FakePostgres::start([old.clone()]);
    let sidecar = sidecar_on(&fake).start();
    wait_for_checks(&fake, &sidecar, 2);
    // After an upgrade it accepts everything.
    let before = fake.counts().sessions.len();
    fake.follow([Behaviour::good().started("2")]);
    wait_for_checks(&fake, &sidecar, before + 4);
    let after = sessions(&fake)[before + 1..before + 4].to_vec();
    assert!(after.contains(&"bslqfr".to_owned()) && after[2] == "bslqfr", "{:?}", sessions(&fake));
    assert!(!sidecar.get("/").body.contains("SQLSTATE"));
    assert_eq!(said(&sidecar).len(), 2, "each once");
}

#[test]
fn a_server_that_ends_the_connection_over_the_message_gets_single_statements() {
    let fake = FakePostgres::start([Behaviour::good().dialect(Dialect::closing_on_several_statements())]);
    let sidecar = sidecar_on(&fake).start();
    // A connection that ended once may mean a restart; when it ends twice in a row, it is because of the message.
    wait_for_checks(&fake, &sidecar, 4);
    let expected = ["bslqfr", "b s l q f r", "bslqfr", "b s l q f r", "b s l q f r", "b s l q f r"];
    assert_eq!(sessions(&fake)[..6], expected, "{}", sidecar.log_text());
    assert_eq!(said(&sidecar), [("1".to_owned(), "08006".to_owned())]);
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
}

#[test]
fn a_restart_in_the_middle_of_a_message_teaches_nothing() {
    let cut = || Behaviour::good().dialect(Dialect::closing_on_several_statements());
    let good = Behaviour::good;
    // The third connection reads the certificate, and does not log in.
    let fake = FakePostgres::start([cut(), good(), good(), good(), cut(), good()]);
    let sidecar = sidecar_on(&fake).start();
    wait_for_checks(&fake, &sidecar, 4);
    let expected = ["bslqfr", "b s l q f r", "bslqfr", "bslqfr", "b s l q f r", "bslqfr"];
    assert_eq!(sessions(&fake)[..6], expected, "{}", sidecar.log_text());
    assert!(said(&sidecar).is_empty());
}

#[test]
fn sql_checks_are_judged_alone_by_a_server_of_any_dialect() {
    let checks = "fine: SELECT true\nalso_fine: SELECT true AND true";
    for (name, dialect, later) in [
        ("PostgreSQL", Dialect::postgres(), "bslqfr bslqr bslqr"),
        ("Aurora DSQL", Dialect::dsql(), "bqfr bqr bqr"),
        ("PgDog", Dialect::pgdog(), "b s l q f r b s l q r b s l q r"),
        ("nothing but queries", nothing_but_queries(), "q q q"),
    ] {
        let fake = FakePostgres::start([Behaviour::good().dialect(dialect)]);
        let sidecar = sidecar_on(&fake).set("SIDEPULSE_SQL_CHECKS", checks).start();
        wait_for_checks(&fake, &sidecar, 3);
        assert_eq!(sessions(&fake)[1..3], [later, later], "{name}");
        for key in ["sql:fine", "sql:also_fine"] {
            sidecar.wait_for_check(key, |check| check["status"] == "pass");
        }
    }
}

#[test]
fn without_a_timeout_on_the_server_our_clock_ends_a_sql_check_and_the_deep_query_stands() {
    let slow = Behaviour::fault(At::SqlCheck, Fault::Stall).dialect(Dialect::dsql());
    let fake = FakePostgres::start([slow]);
    let checks = "slow: SELECT true\nnext: SELECT true";
    let sidecar = sidecar_on(&fake).set("SIDEPULSE_SQL_CHECKS", checks).start();
    for key in ["sql:slow", "sql:next"] {
        sidecar.wait_for_check(key, |check| check["reason"] == "query_timeout");
    }
    sidecar.wait_for_check("database:query", |check| check["status"] == "pass");
    assert_eq!(fake.counts().max_concurrent, 1);
}

#[test]
fn early_warnings_that_are_not_available_neither_fail_nor_warn() {
    for (name, dialect) in [
        ("PostgreSQL without the views", Dialect::postgres()),
        ("one statement a message", Dialect::one_statement_a_message()),
        ("nothing but queries", nothing_but_queries()),
    ] {
        let dialect = dialect.without("pg_stat_activity", "42P01", "relation \"pg_stat_activity\" does not exist");
        let fake = FakePostgres::start([Behaviour::good().dialect(dialect)]);
        let sidecar = Sidecar::on(fake.url()).app(1).start();
        wait_for_checks(&fake, &sidecar, 4);
        let check = sidecar.check("database:query");
        assert_eq!((&check["status"], &check["attempts"]), (&json!("pass"), &json!(1)), "{name}: {check}");
        let sent = sessions(&fake);
        assert_eq!(sent[2], sent[3], "{name}: asked for once, {sent:?}");
    }
}
