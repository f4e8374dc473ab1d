//! PgBouncer in transaction mode: passing on, full, waiting, without its server.

use super::{DEEP_CHECK, Raw, SQL_CHECK, ask, ask_tls, rows, trusting};
use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, Stop};
use crate::support::session::Session;

#[test]
fn passes_the_checks_on() {
    let authority = Authority::new();
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).tls(&authority.issue(&Claims::right())).start();
    let config = pooler.url().config();
    let answer = ask(&config, DEEP_CHECK).expect("the deep check");
    let started = postgres.admin_value("SELECT pg_postmaster_start_time()");
    assert_eq!(answer, rows([&["1"], &[started.as_str(), "f", "off"]]));
    // One server connection serves two clients, and the timeouts of the check are gone with its transaction.
    let clients = [(); 2].map(|()| Session::open(&config).expect("log in"));
    for client in &clients {
        assert_eq!(client.sql(SQL_CHECK).expect("a SQL check"), rows([&["t"]]));
        assert_eq!(client.sql("SHOW statement_timeout").expect("a setting"), rows([&["0"]]));
    }
    assert_eq!(pooler.connections_now(), 2);
    assert_eq!(postgres.connections_now(), 1);

    let encrypted = pooler.url().param("sslmode", "require").config();
    assert_eq!(ask_tls(&encrypted, trusting(&authority), "SELECT 1"), Ok(rows([&["1"]])));
    let refused = ask(&pooler.url().param("options", "-c geqo=off").config(), "SELECT 1").expect_err("options");
    assert!(refused.contains("unsupported startup parameter"), "{refused}");
    let wrong = ask(&pooler.url().password("wrong").config(), "SELECT 1").expect_err("a wrong password");
    assert!(wrong.contains("SASL authentication failed"), "{wrong}");
}

#[test]
fn fills_up() {
    let postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).max_client_conn(2).query_wait_timeout(1).start();
    let config = pooler.url().config();
    let holder = Session::open(&config).expect("log in");
    holder.sql("BEGIN").expect("a transaction");
    let waiting = ask(&config, "SELECT 1").expect_err("a pool of one");
    assert!(waiting.starts_with("08P01 ") && waiting.contains("query_wait_timeout"), "{waiting}");

    let _second = Session::open(&config).expect("log in");
    let refused = ask(&config, "SELECT 1").expect_err("one client too many");
    assert!(refused.starts_with("08P01 ") && refused.contains("no more connections allowed"), "{refused}");
}

#[test]
fn lets_in_without_its_server_and_recovers_with_it() {
    let mut postgres = Postgres::start_plain();
    let pooler = PgBouncer::in_front_of(&postgres).server_login_retry(1).query_wait_timeout(2).start();
    let config = pooler.url().config();
    // So that PgBouncer learns the server's parameters, without which it refuses every login.
    assert_eq!(ask(&config, "SELECT 1"), Ok(rows([&["1"]])));
    postgres.stop(Stop::Immediate);
    let session = Session::open(&config).expect("a login that proves nothing");
    let failed = session.sql("SELECT 1").expect_err("no server").to_string();
    drop(session);
    postgres.start();
    assert!(eventually(SOON, || ask(&config, "SELECT 1").is_ok()), "{failed}\n{}", pooler.log_text());
}

#[test]
fn freezes_thaws_and_is_killed() {
    let postgres = Postgres::start_plain();
    let mut pooler =
        PgBouncer::in_front_of(&postgres).setting("server_idle_timeout", "33").user("console2", "x").start();
    let shown = pooler.console("SHOW CONFIG");
    assert!(shown.iter().any(|row| row[..2] == rows([&["server_idle_timeout", "33"]])[0]), "{shown:?}");
    let session = Session::open(&pooler.url().config()).expect("log in");
    pooler.freeze();
    let mut raw = Raw::connect(pooler.port());
    raw.ssl_request();
    assert!(raw.is_silent());
    pooler.thaw();
    assert_eq!(raw.read(1), b"N");
    pooler.kill();
    session.sql("SELECT 1").expect_err("a connection cut without a word");
}
