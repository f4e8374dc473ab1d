//! What looks like use of the database by the app, but is not: connections that never log in, traffic to another
//! project behind the same address, a moment without a network. A deep query after each of them would wake a suspended
//! compute for nothing, and keep it awake.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use native_tls::TlsConnector;

use super::*;
use crate::support::certificates::{Authority, Claims};

/// The protocol's documentation, "SSLRequest".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const PAUSE: Duration = Duration::from_millis(100);

/// Trusts every certificate.
fn connector() -> TlsConnector {
    let mut builder = TlsConnector::builder();
    builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true).build().expect("a connector")
}

fn shake_hands(port: u16) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.write_all(&SSL_REQUEST).expect("ask for TLS");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"S");
    drop(connector().connect("localhost", stream).expect("a handshake"));
}

/// Does it again and again for a while, then waits for the readings that follow. Returns how often it did it.
fn for_a_while(mut disturb: impl FnMut()) -> usize {
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < LOOKS {
        disturb();
        times += 1;
        pause(PAUSE);
    }
    pause(LOOKS / 2);
    times
}

fn pause(time: Duration) {
    let _ = poll(time, || None::<()>);
}

fn never_logged_in(tls: bool) {
    let certificate = Authority::new().issue(&Claims::right());
    let (postgres, app) = match tls {
        true => (Postgres::builder().tls(&certificate).start(), WebApp::start()),
        false => (Postgres::start_plain(), WebApp::start()),
    };
    let url = postgres.url().param("sslmode", if tls { "require" } else { "disable" });
    let log_in = |url: &DatabaseUrl| Session::open_tls(&url.config(), connector());
    let port = postgres.port();
    let sidecar = economy(&url, &app).start();
    sidecar.wait_for_check(CHECK, idle);
    let held_open = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    type Disturbance<'a> = (&'a str, &'a dyn Fn());
    let table: [Disturbance<'_>; 5] = [
        ("a bare TCP connect", &|| drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect"))),
        ("pg_isready", &|| assert!(postgres.is_ready())),
        ("a TLS handshake alone", &|| {
            if tls {
                shake_hands(port);
            }
        }),
        ("a wrong password", &|| assert!(log_in(&url.clone().password("wrong")).is_err())),
        ("a role that is not there", &|| assert!(log_in(&url.clone().user(&"n".repeat(63))).is_err())),
    ];
    let mut causes = Vec::new();
    for (what, disturb) in table {
        let before = postgres.logins_of("sidepulse");
        let times = for_a_while(disturb);
        let deep = postgres.logins_of("sidepulse") - before;
        println!("{what:<26} | TLS {tls:<5} | {times:>2} times | {deep} deep checks");
        if deep > 0 {
            causes.push(what);
        }
    }
    assert!(causes.is_empty(), "{causes:?}: {}", sidecar.log_text());
    // A login is use, even without a query, whether it stays open or not.
    let first = newest(&sidecar);
    drop(log_in(&url).expect("log in"));
    assert!(eventually(SOON, || newest(&sidecar) > first), "{}", sidecar.log_text());
    sidecar.wait_for_check(CHECK, idle);
    let first = newest(&sidecar);
    let session = log_in(&url).expect("log in");
    assert!(eventually(SOON, || newest(&sidecar) > first), "{}", sidecar.log_text());
    drop((session, held_open));
}

#[test]
fn connections_that_never_log_in() {
    never_logged_in(false);
}

#[test]
fn connections_that_never_log_in_over_tls() {
    never_logged_in(true);
}

#[test]
fn another_project_behind_the_same_address() {
    const WINDOW: Duration = Duration::from_secs(8);
    let sleep = Sleep { after: Duration::from_millis(500), waking: Duration::from_millis(100) };
    let (database, app) = (Sleepy::start_beside_another(sleep), WebApp::start());
    let sidecar = economy(database.url(), &app).start();
    sidecar.wait_for_check(CHECK, idle);
    database.wait_until_asleep();
    let other = session(&database.other_url());
    let (before, started) = (database.counts(), Instant::now());
    let awake_before = database.awake();
    while started.elapsed() < WINDOW {
        other.sql("SELECT 1").expect("a query");
        pause(PAUSE);
    }
    let (after, awake) = (database.counts(), database.awake() - awake_before);
    let (probes, wakes) = (after.probes - before.probes, after.wakes - before.wakes);
    println!("another project's traffic | {WINDOW:?} | {probes} deep checks | {wakes} wake-ups | awake {awake:.1?}");
    assert!(probes >= 1, "it looks like the app's: {}", sidecar.log_text());
    // The intervals between them are 2, 4, 8, 16 and 32 times 200 ms.
    assert!(probes <= 6, "{probes} deep checks");
    // Between them it is idle, while the traffic goes on.
    let idle_again = eventually(SOON, || {
        other.sql("SELECT 1").expect("a query");
        pause(PAUSE);
        idle(&sidecar.check(CHECK))
    });
    assert!(idle_again, "{}", sidecar.log_text());

    // The app's own use counts as soon as a query finds that it keeps the database awake.
    let session = session(&database.url());
    let believed = eventually(SOON, || {
        let before = database.counts().probes;
        for _ in 0..10 {
            session.sql("SELECT 1").expect("a query");
            pause(PAUSE);
        }
        database.counts().probes >= before + 3
    });
    assert!(believed, "{}", sidecar.log_text());
    assert_eq!(failures(&sidecar), 0.0);
}

#[test]
fn one_handshake_that_fails() {
    let sleep = Sleep { after: Duration::from_millis(500), waking: Duration::ZERO };
    let (database, app) = (Sleepy::start(sleep), WebApp::start());
    let sidecar = economy(database.url(), &app)
        .set("SIDEPULSE_IDLE_HANDSHAKE", "100ms")
        .set("SIDEPULSE_DATABASE_TIMEOUT", "4s")
        .start();
    sidecar.wait_for_check(CHECK, idle);
    database.wait_until_asleep();
    let before = database.counts();
    for _ in 0..2 {
        database.close_connections(true);
        let failed = sidecar.wait_for_check(CHECK, |check| check["consecutiveFailures"] == 1);
        assert_eq!((&failed["state"], &failed["status"]), (&"up".into(), &"pass".into()));
        // The next one is under way and passes, so that no two in a row failed.
        database.close_connections(false);
        sidecar.wait_for_check(CHECK, |check| idle(check) && check["consecutiveFailures"] == 0);
    }
    let after = database.counts();
    let [probes, wakes] = [after.probes - before.probes, after.wakes - before.wakes];
    println!("one handshake that fails, twice | {probes} deep checks | {wakes} wake-ups");
    assert_eq!([probes, wakes], [0, 0], "{}", sidecar.log_text());
    assert_eq!(failures(&sidecar), 2.0);
    assert_eq!(sidecar.metric(r#"sidepulse_transitions_total{check="database",to="down"}"#), Some(0.0));
}
