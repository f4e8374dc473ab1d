//! The fake server after the login: what can happen to a query.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::Instant;

use super::{DEEP_CHECK, Raw, SQL_CHECK, ask, rows};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Auth, Behaviour, FakePostgres, Fault};
use crate::support::session::{Rows, Session};

const STARTED: &str = "2026-01-02 03:04:05.678901+00";

/// The answer to the deep check.
fn deep(behaviour: Behaviour) -> Result<Rows, String> {
    let fake = FakePostgres::start([behaviour]);
    ask(&fake.url().config(), DEEP_CHECK)
}

/// A raw session that has just sent the deep check.
fn after_deep(behaviour: Behaviour) -> (FakePostgres, Raw) {
    let fake = FakePostgres::start([behaviour.auth(Auth::Trust)]);
    let mut raw = Raw::login(fake.port());
    raw.query(DEEP_CHECK);
    (fake, raw)
}

#[test]
fn good_answers() {
    let fake = FakePostgres::start([Behaviour::good().server_version("16.9 (Debian)")]);
    let session = Session::open(&fake.url().config()).expect("log in");
    assert_eq!(session.sql(DEEP_CHECK).expect("an answer"), rows([&["1"], &[STARTED, "f", "off"]]));
    assert_eq!(session.sql(SQL_CHECK).expect("an answer"), rows([&["t"]]));
    assert_eq!(session.sql("ROLLBACK").expect("an answer"), Rows::new());
    assert_eq!(session.sql("SELECT 1; SELECT 1").expect("an answer"), rows([&["1"], &["1"]]));
    drop(session);
    assert!(eventually(SOON, || fake.counts().terminates == 1));
    let queries = fake.counts().queries;
    assert_eq!(queries, [DEEP_CHECK, SQL_CHECK, "ROLLBACK", "SELECT 1; SELECT 1"]);

    // The commands and states that a driver hides, in the order of the statements.
    let (_fake, mut raw) = after_deep(Behaviour::good());
    for expected in ["CBEGIN", "CSET", "CSET", "T", "D", "CSELECT 1", "T", "D", "CSELECT 1", "CROLLBACK", "ZI"] {
        let tag = raw.read(1)[0];
        let length = u32::from_be_bytes(raw.read(4).try_into().expect("four bytes"));
        let body = raw.read(length as usize - 4);
        let shown = match tag {
            b'C' | b'Z' => String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned(),
            _ => String::new(),
        };
        assert_eq!(format!("{}{shown}", char::from(tag)), expected);
    }
}

#[test]
fn answers_of_choice() {
    let behaviour = Behaviour::good().rows(&[&[Some("a"), None], &[Some("b"), Some("")]]).started("then");
    let mut expected = rows([&["a", ""], &["b", ""], &["then", "t", "on"]]);
    expected[0][1] = None;
    assert_eq!(deep(behaviour.in_recovery().read_only()), Ok(expected));
    assert_eq!(deep(Behaviour::good().rows(&[])), Ok(rows([&[STARTED, "f", "off"]])));
    assert_eq!(deep(Behaviour::good().notices(1000)), Ok(rows([&["1"], &[STARTED, "f", "off"]])));
    let fake = FakePostgres::start([Behaviour::good().sql_check_rows(&[&[Some("f")]])]);
    assert_eq!(ask(&fake.url().config(), SQL_CHECK), Ok(rows([&["f"]])));
}

#[test]
fn errors() {
    for at in [At::Query, At::MidQuery] {
        let fake = FakePostgres::start([Behaviour::fault(at, Fault::error("57014", "canceling statement"))]);
        let session = Session::open(&fake.url().config()).expect("log in");
        for _ in 0..2 {
            let error = session.sql(DEEP_CHECK).expect_err("an error");
            assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{at:?}");
            session.sql("ROLLBACK").expect("a session that goes on");
        }
        let error = deep(Behaviour::fault(at, Fault::fatal("57P01", "terminating"))).expect_err("an error");
        assert!(error.starts_with("57P01 "), "{at:?}: {error}");
    }
    let fake = FakePostgres::start([Behaviour::fault(At::SqlCheck, Fault::error("42P01", "no table"))]);
    let session = Session::open(&fake.url().config()).expect("log in");
    session.sql(DEEP_CHECK).expect("the deep check is not meant");
    session.sql(SQL_CHECK).expect_err("the SQL check is");
    session.sql("ROLLBACK").expect("a session that goes on");
}

#[test]
fn an_error_leaves_the_state_of_its_transaction() {
    let (_fake, mut raw) = after_deep(Behaviour::fault(At::MidQuery, Fault::error("42501", "denied")));
    assert!(raw.read_until(b"Z\0\0\0\x05E"));
    raw.query("ROLLBACK");
    assert!(raw.read_until(b"ROLLBACK\0Z\0\0\0\x05I"));
}

#[test]
fn ends_and_stalls() {
    let (fake, mut raw) = after_deep(Behaviour::fault(At::Query, Fault::Stall));
    assert!(raw.is_silent());
    raw.send(b"X\0\0\0\x04");
    assert!(eventually(SOON, || fake.counts().terminates == 1));
    let (_fake, mut raw) = after_deep(Behaviour::fault(At::MidQuery, Fault::Stall));
    assert!(raw.read_until(b"CBEGIN\0".split_first().expect("a tag").1));
    assert!(raw.read_until(b"SET\0") && raw.read_until(b"SET\0") && raw.is_silent());
    let (_fake, mut raw) = after_deep(Behaviour::fault(At::Query, Fault::Close));
    assert_eq!(raw.rest().expect("a close"), b"");
    for at in [At::Query, At::MidQuery] {
        let (_fake, mut raw) = after_deep(Behaviour::fault(at, Fault::Reset));
        assert_eq!(raw.rest().expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn nonsense_and_too_much() {
    let (_fake, mut raw) = after_deep(Behaviour::fault(At::Query, Fault::garbage()));
    assert!(raw.read_until(b"HTTP/1.1 400 Bad Request\r\n"));
    let (_fake, mut raw) = after_deep(Behaviour::fault(At::Query, Fault::gigabyte(b'D')));
    assert_eq!(raw.read(21)[..5], *b"D\x40\0\0\0");
    assert!(raw.is_silent());
    for (flood, tag) in [(Fault::EndlessRows, b'T'), (Fault::EndlessNotices, b'N')] {
        let (fake, mut raw) = after_deep(Behaviour::fault(At::Query, flood));
        assert_eq!(raw.read(1 << 20)[0], tag);
        drop(raw);
        assert!(eventually(SOON, || fake.connections_now() == 0));
    }
}

#[test]
fn a_slow_answer() {
    let pace = Duration::from_millis(2);
    let begun = Instant::now();
    assert_eq!(deep(Behaviour::good().drip(At::Query, pace)), Ok(rows([&["1"], &[STARTED, "f", "off"]])));
    assert!(begun.elapsed() > 200 * pace, "{:?}", begun.elapsed());
}

#[test]
fn only_simple_queries() {
    let (_fake, mut raw) = after_deep(Behaviour::good());
    assert!(raw.read_until(b"Z\0\0\0\x05I"));
    raw.send(b"S\0\0\0\x04");
    assert!(raw.read_until(b"C0A000\0") && raw.read_until(b"Z\0\0\0\x05I"));
}
