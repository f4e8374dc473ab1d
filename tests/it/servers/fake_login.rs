//! The fake server up to ReadyForQuery: everything that can go wrong before a query, as a client sees it.

use std::io::ErrorKind;
use std::time::Duration;

use native_tls::TlsConnector;
use tokio::time::Instant;

use super::{Raw, ask, ask_tls, rows, trusting};
use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Auth, Behaviour, FakePostgres, Fault, PASSWORD};

fn encrypting() -> TlsConnector {
    TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .build()
        .expect("a connector")
}

/// How one login and `SELECT 1` end in plaintext.
fn plain(behaviour: Behaviour) -> Result<super::Rows, String> {
    let fake = FakePostgres::start([behaviour]);
    ask(&fake.url().param("sslmode", "disable").config(), "SELECT 1")
}

#[test]
fn before_tls() {
    for at in [At::Accept, At::SslRequest] {
        let fake = FakePostgres::start([
            Behaviour::fault(at, Fault::Stall),
            Behaviour::fault(at, Fault::Close),
            Behaviour::fault(at, Fault::Reset),
            Behaviour::fault(at, Fault::byte(b'?')),
        ]);
        let connect = || {
            let mut raw = Raw::connect(fake.port());
            if at == At::SslRequest {
                raw.ssl_request();
            }
            raw
        };
        assert!(connect().is_silent(), "{at:?}");
        assert_eq!(connect().rest().expect("a close"), b"", "{at:?}");
        assert_eq!(connect().rest().expect_err("a reset").kind(), ErrorKind::ConnectionReset, "{at:?}");
        let mut raw = connect();
        assert_eq!(raw.read(1), b"?", "{at:?}");
        assert!(raw.is_silent(), "{at:?}");
        let counts = fake.counts();
        assert_eq!(counts.accepted, 4, "{at:?}");
        assert_eq!(counts.ssl_requests, if at == At::SslRequest { 4 } else { 0 }, "{at:?}");
    }
}

#[test]
fn tls_offered_refused_and_begun() {
    let authority = Authority::new();
    let certificate = authority.issue(&Claims::right());
    let plain = FakePostgres::start([Behaviour::good()]);
    let mut raw = Raw::connect(plain.port());
    raw.ssl_request();
    assert_eq!(raw.read(1), b"N");

    let half = Behaviour::fault(At::Handshake, Fault::half_handshake());
    let fake = FakePostgres::start_tls(&certificate, [Behaviour::good().refuse_tls(), half, Behaviour::good()]);
    let config = fake.url().param("sslmode", "require").config();
    let refused = ask_tls(&config, trusting(&authority), "SELECT 1").expect_err("an N");
    assert!(refused.contains("server does not support TLS"), "{refused}");

    let mut raw = Raw::connect(fake.port());
    raw.ssl_request();
    assert_eq!(raw.read(1), b"S");
    raw.send(&[22, 3, 1]);
    assert_eq!(raw.read(15)[..2], [22, 3]);
    assert!(raw.is_silent());
    drop(raw);
    assert!(eventually(SOON, || fake.connections_now() == 0));

    assert_eq!(ask_tls(&config, trusting(&authority), "SELECT 1"), Ok(rows([&["1"]])));
    let counts = fake.counts();
    assert_eq!((counts.ssl_requests, counts.handshakes, counts.direct_tls), (3, 1, 0));
    assert_eq!(counts.max_concurrent, 1);
}

#[test]
fn direct_tls() {
    let authority = Authority::new();
    let fake = FakePostgres::start_tls(&authority.issue(&Claims::right()), [Behaviour::good()]);
    let mut builder = TlsConnector::builder();
    builder.danger_accept_invalid_certs(true).request_alpns(&["postgresql"]);
    let config = fake.url().param("sslmode", "require").param("sslnegotiation", "direct").config();
    let answer = ask_tls(&config, builder.build().expect("a connector"), "SELECT 1");
    assert_eq!(answer, Ok(rows([&["1"]])));
    let counts = fake.counts();
    assert_eq!((counts.ssl_requests, counts.handshakes, counts.direct_tls), (0, 1, 1));
}

#[test]
fn authentication_by_every_method() {
    let authority = Authority::new();
    let methods = [Auth::Scram, Auth::ScramUnbound, Auth::Md5, Auth::Cleartext, Auth::Trust];
    let script = methods.map(|method| [Behaviour::good().auth(method), Behaviour::good().auth(method)]);
    let fake = FakePostgres::start_tls(&authority.issue(&Claims::right()), script.into_iter().flatten());
    let url = fake.url().param("sslmode", "require");
    for method in methods {
        assert_eq!(ask_tls(&url.config(), encrypting(), "SELECT 1"), Ok(rows([&["1"]])), "{method:?}");
        let wrong = ask_tls(&url.clone().password("wrong").config(), encrypting(), "SELECT 1");
        assert_eq!(wrong.is_ok(), method == Auth::Trust, "{method:?}");
        assert!(wrong.map_or_else(|error| error.starts_with("28P01 "), |_| true), "{method:?}");
    }
    let counts = fake.counts();
    assert_eq!(counts.mechanisms, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256"]);
    assert_eq!(counts.clear_passwords, [PASSWORD, "wrong"]);
    assert_eq!((counts.startups.len(), counts.logins), (10, 6));
    assert_eq!(counts.startups[0][0], ("client_encoding".to_owned(), "UTF8".to_owned()));
    assert!(eventually(SOON, || fake.counts().terminates == 6), "{:?}", fake.counts());
    assert!(eventually(SOON, || fake.connections_now() == 0));
}

#[test]
fn authentication_that_a_client_refuses() {
    let absurd = plain(Behaviour::good().auth(Auth::ScramIterations(2_000_000_000))).expect_err("too many");
    assert!(absurd.contains("iteration count"), "{absurd}");
    let gss = plain(Behaviour::good().auth(Auth::Method(7))).expect_err("GSS");
    assert!(gss.contains("unsupported authentication method"), "{gss}");
    assert_eq!(plain(Behaviour::good().auth(Auth::Cleartext)), Ok(rows([&["1"]])));
}

#[test]
fn errors_during_the_login() {
    let quota = "Your account or project has exceeded the compute time quota.";
    for at in [At::Startup, At::SaslFirst, At::AuthFinal, At::Login] {
        let error = plain(Behaviour::fault(at, Fault::error("XX000", quota))).expect_err("an error");
        assert!(error.starts_with("XX000 ") && error.contains(quota), "{at:?}: {error}");
        let error = plain(Behaviour::fault(at, Fault::fatal("57P03", "starting up"))).expect_err("an error");
        assert!(error.starts_with("57P03 ") && error.contains("FATAL: starting up"), "{at:?}: {error}");
        plain(Behaviour::fault(at, Fault::Close)).expect_err("an end");
        plain(Behaviour::fault(at, Fault::Reset)).expect_err("a reset");
    }
    // A driver would wait for the rest of a message of 1.4 GB, since that is what `TTP/` means to it.
    let fake = FakePostgres::start([Behaviour::fault(At::Startup, Fault::garbage())]);
    let mut raw = Raw::connect(fake.port());
    raw.startup();
    assert!(raw.read_until(b"HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn stalls_during_the_login() {
    let login = |at| {
        let fake = FakePostgres::start([Behaviour::fault(at, Fault::Stall).auth(Auth::Trust)]);
        let mut raw = Raw::connect(fake.port());
        raw.startup();
        (fake, raw)
    };
    let (fake, mut raw) = login(At::Startup);
    assert!(raw.is_silent());
    assert_eq!((fake.counts().startups.len(), fake.connections_now()), (1, 1));
    drop(raw);
    assert!(eventually(SOON, || fake.connections_now() == 0));
    let (fake, mut raw) = login(At::Login);
    assert_eq!(raw.read(9), b"R\0\0\0\x08\0\0\0\0");
    assert!(raw.is_silent());
    assert_eq!(fake.counts().logins, 0);

    let fake = FakePostgres::start([Behaviour::fault(At::SaslFirst, Fault::Stall)]);
    let mut raw = Raw::connect(fake.port());
    raw.startup();
    assert!(raw.read_until(b"SCRAM-SHA-256\0\0"));
    raw.send(b"p\0\0\0\x1fSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=a");
    assert!(raw.is_silent());
    assert_eq!(fake.counts().mechanisms, ["SCRAM-SHA-256"]);
}

#[test]
fn a_cold_start_and_a_slow_line() {
    let wait = Duration::from_millis(400);
    for slow in [
        Behaviour::good().ready_after(wait),
        // More than 150 bytes follow.
        Behaviour::good().drip(At::Login, wait / 150),
    ] {
        let begun = Instant::now();
        assert_eq!(plain(slow), Ok(rows([&["1"]])));
        assert!(begun.elapsed() >= wait);
    }
}

#[test]
fn floods_and_giants_during_the_login() {
    for fault in [Fault::EndlessNotices, Fault::EndlessRows, Fault::gigabyte(b'S')] {
        let fake = FakePostgres::start([Behaviour::fault(At::Login, fault.clone()).auth(Auth::Trust)]);
        let mut raw = Raw::connect(fake.port());
        raw.startup();
        raw.read(9);
        match fault {
            Fault::Bytes(_) => {
                assert_eq!(raw.read(5), b"S\x40\0\0\0");
                raw.read(16);
                assert!(raw.is_silent());
            }
            _ => assert_eq!(raw.read(1 << 20).len(), 1 << 20),
        }
        drop(raw);
        assert!(eventually(SOON, || fake.connections_now() == 0));
    }
}

#[test]
fn the_script_is_followed_and_can_change() {
    let fake = FakePostgres::start([Behaviour::fault(At::Accept, Fault::Close), Behaviour::good()]);
    let config = fake.url().config();
    ask(&config, "SELECT 1").expect_err("the first");
    assert_eq!(ask(&config, "SELECT 1"), Ok(rows([&["1"]])));
    assert_eq!(ask(&config, "SELECT 1"), Ok(rows([&["1"]])));
    fake.follow([Behaviour::fault(At::Startup, Fault::fatal("53300", "full"))]);
    ask(&config, "SELECT 1").expect_err("from now on");
    let counts = fake.counts();
    assert_eq!((counts.accepted, counts.logins, counts.max_concurrent), (4, 2, 1));

    let crowd = [(); 3].map(|()| Raw::connect(fake.port()));
    assert!(eventually(SOON, || fake.counts().accepted == 7));
    assert_eq!((fake.counts().max_concurrent, fake.connections_now()), (3, 3));
    drop(crowd);
    Raw::connect(fake.port()).send(&[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert!(eventually(SOON, || fake.counts().cancels == 1));

    let mut raw = Raw::connect(fake.port());
    assert!(eventually(SOON, || fake.counts().accepted == 9));
    drop(fake);
    assert_eq!(raw.rest().expect("a close"), b"");
}
