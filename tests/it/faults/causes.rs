//! One reason, several causes: the remedy that `check` shows is the cure for the cause.

use std::io::{Read, Write};
use std::net::TcpListener;

use openssl::ssl::{AlpnError, SslAcceptor, SslFiletype, SslMethod, SslVerifyMode, SslVersion, select_next_proto};
use serde_json::Value;

use super::Channel;
use crate::support::certificates::{Authority, Claims, ServerCertificate};
use crate::support::database_url::DatabaseUrl;
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::scratch::Scratch;
use crate::support::sidecar::Sidecar;
use crate::support::uvicorn::Uvicorn;
use crate::support::web_app::WebApp;

/// The result of the database check of this URL.
fn database(url: impl ToString) -> Value {
    Sidecar::on(url).check_database().1
}

/// The result of the app check of this URL.
fn app(url: &str) -> Value {
    let run = Sidecar::without_database().set("SIDEPULSE_APP_URL", url).arg("check").arg("--json");
    let (_, output, log) = run.finish();
    let result: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}\n{log}"));
    result["checks"][0].clone()
}

/// The reason, and a piece of the cure.
#[track_caller]
fn told(check: &Value, reason: &str, remedy: &str) {
    assert_eq!(check["reason"], reason, "{check}");
    assert!(check["remedy"].as_str().is_some_and(|text| text.contains(remedy)), "{remedy:?} in {check}");
}

#[test]
fn http_and_https_are_told_apart_by_a_real_uvicorn() {
    let certificate = Authority::new().issue(&Claims::right());
    let uvicorn = Uvicorn::start_tls("postgresql://u:p@127.0.0.1:1/d", &certificate);
    let port = uvicorn.port();
    told(&app(&format!("http://127.0.0.1:{port}/")), "connection_lost", "Begin it with https");
    let https = app(&format!("https://127.0.0.1:{port}/"));
    assert_eq!(https["status"], "pass", "{https}");
    drop(uvicorn);

    let uvicorn = Uvicorn::start("postgresql://u:p@127.0.0.1:1/d");
    told(&app(&format!("https://127.0.0.1:{}/", uvicorn.port())), "tls_failed", "Begin it with http:");
}

#[test]
fn the_remedy_does_not_advise_tls_where_an_app_without_it_closes_without_an_answer() {
    let app_of_bytes = WebApp::start();
    app_of_bytes.behave(crate::support::web_app::Mode::Bytes(b""));
    told(&app(&format!("http://127.0.0.1:{}/", app_of_bytes.port())), "connection_lost", "did a worker crash?");
}

#[test]
fn a_unix_socket_that_does_not_exist() {
    let directory = Scratch::new("sockets");
    let path = directory.path().display();
    told(&database(format!("postgresql://u:p@/d?host={path}")), "connect_refused", "no such Unix socket");
    told(&app(&format!("http://unix:{path}/app.sock:/")), "connect_refused", "no such Unix socket");
}

#[test]
fn channel_binding_that_the_certificate_does_not_allow() {
    let fake = FakePostgres::start_tls(&ServerCertificate::ed25519(&Claims::right()), [Behaviour::good()]);
    told(&database(Channel::Bound.url(fake.url())), "auth_failed", "certificate allows none");
    assert_eq!(database(Channel::Tls.url(fake.url()))["status"], "pass", "and nobody needs it");
}

#[test]
fn a_url_without_a_password() {
    let fake = FakePostgres::start([Behaviour::good()]);
    told(
        &database(format!("postgresql://probe@127.0.0.1:{}/appdb", fake.port())),
        "auth_failed",
        "DATABASE_URL holds none",
    );
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let authority = Authority::new();
    for (certificate, remedy) in [
        (authority.issue(&Claims::expired()), "has expired, or is not valid yet"),
        (authority.issue(&Claims::not_yet_valid()), "has expired, or is not valid yet"),
        (authority.issue(&Claims::wrong_name()), "made for another name"),
        (Authority::new().issue(&Claims::right()), "No CA that is trusted"),
        (ServerCertificate::self_signed(&Claims::right()), "No CA that is trusted"),
    ] {
        let fake = FakePostgres::start_tls(&certificate, [Behaviour::good()]);
        let url = fake.url().param("sslmode", "verify-full").param("sslrootcert", authority.root_file());
        told(&database(url), "tls_untrusted", remedy);
    }
}

/// A TLS proxy without a database behind it: it closes the connection after the handshake.
struct TlsProxy {
    port: u16,
}

impl TlsProxy {
    fn start(configure: impl FnOnce(&mut openssl::ssl::SslAcceptorBuilder)) -> TlsProxy {
        let certificate = ServerCertificate::self_signed(&Claims::right());
        let (file, key) = certificate.files();
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate_chain_file(file).unwrap();
        builder.set_private_key_file(key, SslFiletype::PEM).unwrap();
        configure(&mut builder);
        let acceptor = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // It ends with the process: the listener is its own.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut first = [0];
                if stream.peek(&mut first).is_ok() && first[0] == 0 {
                    let _ = stream.read_exact(&mut [0; 8]).and_then(|()| stream.write_all(b"S"));
                }
                if let Ok(mut tls) = acceptor.accept(stream) {
                    let _ = tls.read(&mut [0; 1024]);
                }
            }
        });
        TlsProxy { port }
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::new("u", "p", self.port, "d")
    }
}

/// As Go's crypto/tls does it (golang/go: `negotiateALPN` in `src/crypto/tls/handshake_server.go`), and so Traefik and
/// Caddy: a client that offers only other protocols is refused.
#[test]
fn a_proxy_that_does_not_know_the_alpn() {
    const KNOWN: &[u8] = b"\x02h2\x08http/1.1";
    let proxy = TlsProxy::start(|builder| {
        builder.set_alpn_select_callback(|_, offered| select_next_proto(KNOWN, offered).ok_or(AlpnError::ALERT_FATAL));
    });
    let direct = database(Channel::Direct.url(proxy.url()));
    told(&direct, "tls_failed", "Remove sslnegotiation");
    assert_eq!(direct["attempts"], 1, "the alert says it all: {direct}");
    // Without direct negotiation no ALPN is offered, and the handshake passes.
    let asked = database(Channel::Tls.url(proxy.url()));
    assert_eq!((&asked["reason"], asked["phases_ms"]["tls"].is_f64()), (&"connection_lost".into(), true), "{asked}");
}

#[test]
fn a_server_that_requires_a_client_certificate() {
    let wants_certificate = |version| {
        TlsProxy::start(move |builder| {
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
        })
    };
    // TLS 1.3 sends the alert after the handshake, in place of an answer.
    let proxy = wants_certificate(SslVersion::TLS1_3);
    let check = database(Channel::Tls.url(proxy.url()));
    told(&check, "tls_failed", "sslcert=");
    assert_eq!(check["attempts"], 1, "the alert says it all: {check}");
    told(&app(&format!("https://127.0.0.1:{}/", proxy.port)), "tls_failed", "asks for a client certificate");
    // TLS 1.2 has no alert of its own for it.
    let proxy = wants_certificate(SslVersion::TLS1_2);
    told(&app(&format!("https://127.0.0.1:{}/", proxy.port)), "tls_failed", "handshake with the app broke off");
}
