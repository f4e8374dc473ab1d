//! The real PostgreSQL: up, frozen, stopped, crowded, locked, followed by a standby.

use std::net::{Ipv4Addr, TcpStream};

use super::{DEEP_CHECK, Raw, SQL_CHECK, ask, ask_tls, rows, trusting};
use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::postgres::{ADMIN, ADMIN_PASSWORD, Postgres, Stop};
use crate::support::session::Session;

#[test]
fn lets_the_role_in_and_counts_it() {
    let postgres = Postgres::start_plain();
    let url = postgres.url().param("application_name", "sidepulse");
    let session = Session::open(&url.config()).expect("log in");
    let who = session.sql("SELECT current_user, current_database()").expect("a query");
    assert_eq!(who, rows([&["probe", "appdb"]]));
    assert_eq!(postgres.backends_of("sidepulse"), 1);
    assert_eq!(postgres.connections_now(), 1);
    drop(session);
    assert!(eventually(SOON, || postgres.backends_of("sidepulse") == 0));
    assert_eq!((postgres.connections_now(), postgres.logins_of("sidepulse")), (0, 1));

    let refused = ask(&url.clone().password("wrong").config(), "SELECT 1").expect_err("a wrong password");
    assert!(refused.starts_with("28P01 "), "{refused}");
    assert_eq!((postgres.connections_seen(), postgres.logins_of("sidepulse")), (2, 1));
    let refused = ask(&url.clone().database("nowhere").config(), "SELECT 1").expect_err("a wrong database");
    assert!(refused.starts_with("3D000 "), "{refused}");

    assert_eq!(ask(&postgres.socket_url().config(), "SELECT 1"), Ok(rows([&["1"]])));
    let admin = url.user(ADMIN).password(ADMIN_PASSWORD).config();
    assert_eq!(ask(&admin, "SHOW is_superuser"), Ok(rows([&["on"]])));
}

#[test]
fn answers_the_checks() {
    let postgres = Postgres::start_plain();
    let answer = ask(&postgres.url().config(), DEEP_CHECK).expect("the deep check");
    let started = postgres.admin_value("SELECT pg_postmaster_start_time()");
    assert_eq!(answer, rows([&["1"], &[started.as_str(), "f", "off"]]));
    assert_eq!(ask(&postgres.url().config(), SQL_CHECK), Ok(rows([&["t"]])));
}

#[test]
fn speaks_tls_with_a_certificate_that_can_change() {
    let authority = Authority::new();
    let postgres = Postgres::builder().tls(&authority.issue(&Claims::right())).start();
    let config = postgres.url().param("sslmode", "require").config();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask_tls(&config, trusting(&authority), encrypted), Ok(rows([&["t"]])));

    postgres.replace_certificate(&authority.issue(&Claims::expired()));
    let connector = trusting(&authority);
    assert!(eventually(SOON, || {
        ask_tls(&config, connector.clone(), "SELECT 1").is_err_and(|error| error.contains("certificate has expired"))
    }));
}

#[test]
fn takes_lines_for_its_configuration() {
    let postgres = Postgres::builder().md5().setting("max_connections = 7").hba("host all guest all reject").start();
    assert_eq!(postgres.admin_value("SHOW max_connections"), "7");
    assert_eq!(postgres.admin_value("SELECT left(rolpassword, 3) FROM pg_authid WHERE rolname = 'probe'"), "md5");
    let config = postgres.url().config();
    assert_eq!(ask(&config, "SELECT 1"), Ok(rows([&["1"]])));
    let refused = ask(&postgres.url().user("guest").config(), "SELECT 1").expect_err("a guest");
    assert!(refused.starts_with("28000 ") && refused.contains("pg_hba.conf rejects"), "{refused}");

    // Three of the seven connections are reserved for the superuser.
    let _crowd: Vec<_> = (0..4).map(|_| Session::open(&config).expect("a place left")).collect();
    let refused = ask(&config, "SELECT 1").expect_err("one too many");
    assert!(refused.starts_with("53300 "), "{refused}");
}

#[test]
fn holds_locks() {
    let postgres = Postgres::start_plain();
    postgres.admin("CREATE TABLE things (id int); GRANT SELECT ON things TO PUBLIC");
    let holder = postgres.admin_session().expect("an admin's session");
    holder.sql("BEGIN; LOCK TABLE things").expect("a lock");
    let refused = ask(&postgres.url().config(), "SET lock_timeout = 100; SELECT * FROM things");
    assert!(refused.expect_err("a lock").starts_with("55P03 "));
}

#[test]
fn freezes_and_thaws() {
    let postgres = Postgres::start_plain();
    let session = Session::open(&postgres.url().config()).expect("log in");
    postgres.freeze();
    let mut raw = Raw::connect(postgres.port());
    raw.ssl_request();
    assert!(raw.is_silent());
    assert_eq!(postgres.connections_now(), 2);
    postgres.thaw();
    assert_eq!(raw.read(1), b"N");
    assert_eq!(session.sql("SELECT 1").expect("a session that goes on"), rows([&["1"]]));
}

#[test]
fn stops_and_starts_on_its_port() {
    let mut postgres = Postgres::start_plain();
    let (port, started) = (postgres.port(), postgres.admin_value("SELECT pg_postmaster_start_time()"));
    postgres.admin("CREATE TABLE kept (id int)");
    postgres.stop(Stop::Fast);
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect_err("nobody listens");
    postgres.start();
    assert_eq!((postgres.port(), postgres.admin_value("SELECT count(*) FROM kept")), (port, "0".to_owned()));
    assert_ne!(postgres.admin_value("SELECT pg_postmaster_start_time()"), started);
    postgres.stop(Stop::Immediate);
    postgres.start();
    postgres.restart();
    assert_eq!(ask(&postgres.url().config(), "SELECT 1"), Ok(rows([&["1"]])));
}

#[test]
fn refuses_logins_while_it_stops() {
    let mut postgres = Postgres::start_plain();
    let config = postgres.url().config();
    let last = Session::open(&config).expect("log in");
    postgres.begin_stop(Stop::Smart);
    assert!(eventually(SOON, || ask(&config, "SELECT 1").is_err_and(|error| error.starts_with("57P03 "))));
    assert_eq!(last.sql("SELECT 1").expect("the session goes on"), rows([&["1"]]));
    drop(last);
    postgres.wait_for_end();
}

#[test]
fn has_a_standby() {
    let postgres = Postgres::start_plain();
    let standby = postgres.standby();
    let answer = ask(&standby.url().config(), DEEP_CHECK).expect("the deep check");
    assert_eq!(answer[1][1].as_deref(), Some("t"));
    postgres.admin("CREATE TABLE made_later ()");
    assert!(eventually(SOON, || standby.admin_value("SELECT to_regclass('made_later') IS NOT NULL") == "t"));
    drop(postgres);
    standby.admin("SELECT pg_promote()");
    assert_eq!(standby.admin_value("SELECT pg_is_in_recovery()"), "f");
}
