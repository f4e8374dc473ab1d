//! TLS to the database: which certificate passes in which mode, and what is reported about it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use openssl::x509::X509;

use crate::faults::side_by_side;
use crate::support::certificates::{Authority, Claims, ServerCertificate};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::namespace;
use crate::support::postgres::Postgres;
use crate::support::scratch::Scratch;
use crate::support::sidecar::{Builder, Sidecar};

/// The columns: parameters of the URL (`FILE` is the root's PEM file), and whether the system trusts the root
/// (`SSL_CERT_FILE`).
const MODES: [(&str, bool); 12] = [
    ("sslmode=disable", false),
    ("sslmode=allow", false),
    ("sslmode=prefer", false),
    ("", false),
    ("sslmode=require", false),
    ("sslmode=require&sslrootcert=FILE", false),
    ("sslmode=prefer&sslrootcert=FILE", false),
    ("sslmode=verify-ca&sslrootcert=FILE", false),
    ("sslmode=verify-full&sslrootcert=FILE", false),
    ("sslmode=verify-full", true),
    ("sslrootcert=system", true),
    ("sslmode=verify-full", false),
];

/// One row: a server, and the result in each mode: `.` passes, `x` is untrusted, `N` has no TLS.
struct Row {
    name: &'static str,
    certificate: Option<ServerCertificate>,
    host: &'static str,
    expected: &'static str,
}

#[test]
fn each_certificate_passes_only_where_the_mode_lets_it() {
    let authority = Authority::new();
    let issued = |claims: Claims| Some(authority.issue(&claims));
    let row = |name, certificate, host, expected| Row { name, certificate, host, expected };
    let rows = [
        row("right", issued(Claims::right()), "localhost", "...........x"),
        row("right, by address", issued(Claims::right()), "127.0.0.1", "...........x"),
        row("the address alone", issued(Claims::ip_only()), "127.0.0.1", "...........x"),
        row("the address alone, by name", issued(Claims::ip_only()), "localhost", "........xxxx"),
        row("another name", issued(Claims::wrong_name()), "localhost", "........xxxx"),
        row("another name, by address", issued(Claims::wrong_name()), "127.0.0.1", "........xxxx"),
        row("expired", issued(Claims::expired()), "localhost", ".....xxxxxxx"),
        row("not yet valid", issued(Claims::not_yet_valid()), "localhost", ".....xxxxxxx"),
        row("self-signed", Some(ServerCertificate::self_signed(&Claims::right())), "localhost", ".....xxxxxxx"),
        row("an unknown authority's", Some(Authority::new().issue(&Claims::right())), "localhost", ".....xxxxxxx"),
        row("no TLS at all", None, "localhost", "....NN.NNNNN"),
    ];
    let found = side_by_side(&rows, |row| {
        let server = Postgres::builder();
        let server =
            row.certificate.as_ref().map_or(server, |certificate| Postgres::builder().tls(certificate)).start();
        let signs = MODES.iter().map(|(params, trusted)| {
            let params = params.replace("FILE", authority.root_file());
            let url = format!("{}?{params}", server.url().host(row.host));
            let run = if *trusted { trusting(&url, &authority) } else { Sidecar::on(url) };
            let (code, check) = run.check_database();
            let encrypted = check["phases_ms"]["tls"].is_number() && row.certificate.is_some();
            match (code, check["reason"].as_str()) {
                // Where nothing verifies it, a certificate that has expired counts as one that expires within 14 days.
                (Some(0), None | Some("certificate_expiring"))
                    if encrypted == (row.certificate.is_some() && params != "sslmode=disable") =>
                {
                    '.'
                }
                (Some(1), Some("tls_untrusted")) if check["attempts"] == 1 => 'x',
                (Some(1), Some("tls_unsupported")) if check["attempts"] == 1 => 'N',
                _ => panic!("{}, {params}: {code:?} {check}", row.name),
            }
        });
        let signs: String = signs.collect();
        // Every refusal came before the login.
        assert_eq!(server.logins_of("sidepulse"), signs.matches('.').count(), "{}", row.name);
        signs
    });
    for (row, found) in rows.iter().zip(found) {
        assert_eq!(found.as_deref(), Some(row.expected), "{}", row.name);
    }
}

/// A sidecar whose system trusts this authority.
fn trusting(url: &str, authority: &Authority) -> Builder {
    Sidecar::on(url).set("SSL_CERT_FILE", authority.root_file())
}

/// `SSL_CERT_FILE=/dev/null` saves the memory of the bundle; the roots in the hashed directory still decide.
#[test]
fn without_a_bundle_the_roots_are_looked_up_in_their_directory() {
    let authority = Authority::new();
    let directory = Scratch::new("hashed");
    let root = X509::from_pem(&authority.root_pem()).unwrap();
    let name = format!("{:08x}.0", root.subject_name_hash());
    fs::write(directory.path().join(name), authority.root_pem()).unwrap();
    let expired = authority.issue(&Claims::expired());
    for (certificate, reason) in [
        (authority.issue(&Claims::right()), None),
        (authority.issue(&Claims::wrong_name()), Some("tls_untrusted")),
        (expired, Some("tls_untrusted")),
        (Authority::new().issue(&Claims::right()), Some("tls_untrusted")),
    ] {
        let postgres = Postgres::builder().tls(&certificate).start();
        let (code, check) = Sidecar::on(postgres.url().param("sslrootcert", "system"))
            .set("SSL_CERT_FILE", "/dev/null")
            .set("SSL_CERT_DIR", directory.path().to_str().unwrap())
            .check_database();
        assert_eq!((code, check["reason"].as_str()), (Some(i32::from(reason.is_some())), reason), "{check}");
    }
}

#[test]
fn channel_binding_is_used_and_can_be_required() {
    let authority = Authority::new();
    let postgres = Postgres::builder().tls(&authority.issue(&Claims::right())).start();
    let url = postgres.url().param("sslmode", "require").param("channel_binding", "require");
    assert_eq!(Sidecar::on(&url).check_database().0, Some(0));
    // Where it is not available, there is no login.
    let plain = Postgres::start_plain();
    let (code, check) = Sidecar::on(plain.url().param("channel_binding", "require")).check_database();
    assert_eq!((code, check["reason"].as_str()), (Some(1), Some("auth_failed")), "{check}");
    assert_eq!(plain.logins_of("sidepulse"), 0);
    let off = postgres.url().param("sslmode", "disable").param("channel_binding", "require");
    let (code, _, log) = Sidecar::on(off).finish();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("DATABASE_URL: channel_binding=require needs TLS"), "{log}");
}

#[test]
fn the_expiry_of_the_certificate_is_shown_and_causes_a_warning() {
    let authority = Authority::new();
    for (days, warning) in [(10, Some("certificate_expiring")), (20, None)] {
        let certificate = authority.issue(&Claims::expiring_in_days(days));
        let postgres = Postgres::builder().tls(&certificate).start();
        let url = postgres.url().host("localhost").param("sslmode", "verify-full");
        let url = url.param("sslrootcert", authority.root_file());
        let sidecar = Sidecar::on(&url).app(1).start();
        let end = certificate.not_after_unix() as f64;
        let series = "sidepulse_database_tls_certificate_expiry_timestamp_seconds";
        sidecar.wait_for_check("database:query", |check| {
            check["state"] == "up" && check["reason"].as_str() == warning && sidecar.metric(series) == Some(end)
        });
        let shown = sidecar.metric("sidepulse_check_warning{check=\"database\",reason=\"certificate_expiring\"}");
        assert_eq!(shown, Some(f64::from(u8::from(warning.is_some()))));
        let deep = sidecar.get("/health/deep");
        assert_eq!((deep.status, deep.json()["status"] == "warn"), (200, warning.is_some()), "a warning is no failure");
        let (code, check) = Sidecar::on(url).check_database();
        assert_eq!((code, check["reason"].as_str()), (Some(0), warning), "{check}");
        assert!(check["certificate_expiry"].is_string(), "{check}");
    }
}

#[test]
fn roots_that_cannot_be_loaded_are_an_error_at_start() {
    let place = Scratch::new("roots");
    let file = |name: &str, content: &str| place.write(name, content).display().to_string();
    let (nonsense, empty) = (file("marked-path.pem", "-----BEGIN NONSENSE-----\n"), file("marked-path-2.pem", ""));
    let missing = place.path().join("marked-path-3.pem").display().to_string();
    for path in [nonsense.as_str(), &empty, &missing, &place.path().display().to_string()] {
        for mode in ["require", "verify-full"] {
            let url = format!("postgresql://u:hunter2@db.example/d?sslmode={mode}&sslrootcert={path}");
            for arguments in [&["serve"][..], &["check", "--only", "database"]] {
                let (code, _, log) =
                    arguments.iter().fold(Sidecar::on(&url), |sidecar, argument| sidecar.arg(*argument)).finish();
                assert_eq!(code, Some(2), "{path} {mode}: {log}");
                assert!(log.contains("DATABASE_URL: the file of sslrootcert "), "{path}: {log}");
                assert!(!log.contains("marked-path") && !log.contains("hunter2"), "{log}");
            }
        }
    }
}

#[test]
fn a_system_without_roots_is_an_error_at_start_where_they_are_needed() {
    if let Err(reason) = namespace::allowed() {
        return println!("skipped: {reason}");
    }
    for (mode, expected) in [("verify-full", 2), ("verify-ca", 2), ("require", 1)] {
        // As in a scratch image.
        let run = Sidecar::on(format!("postgresql://u:hunter2@127.0.0.1:1/d?sslmode={mode}"));
        let run = run.set("SIDEPULSE_DATABASE_TIMEOUT", "200ms").arg("check").arg("--only").arg("database");
        let (code, _, log) = run.within("mount -t tmpfs none /etc/ssl/certs").finish();
        assert_eq!(code, Some(expected), "{mode}: {log}");
        assert_eq!(log.contains("no root certificates"), expected == 2, "{mode}: {log}");
    }
}

#[test]
fn a_neon_host_is_verified_in_full_whatever_the_url_says() {
    const HOST: &str = "ep-cool-sun-123456.eu-central-1.aws.neon.tech";
    let authority = Authority::new();
    let right = authority.issue(&Claims::right().dns("*.eu-central-1.aws.neon.tech"));
    let wrong = [
        ("another name", authority.issue(&Claims::right())),
        ("expired", authority.issue(&Claims::expired().dns(HOST))),
        ("another authority's", Authority::new().issue(&Claims::right().dns(HOST))),
    ];
    let modes =
        ["", "&sslmode=require", "&sslmode=prefer", "&sslmode=disable", "&sslmode=require&channel_binding=require"];
    // `host` is what is verified, `hostaddr` what is dialled.
    let url = |fake: &FakePostgres, mode| {
        let url = fake.url().host(HOST).param("hostaddr", "127.0.0.1");
        format!("{url}{mode}")
    };
    let fake = FakePostgres::start_tls(&right, [Behaviour::good()]);
    for mode in modes {
        let (code, check) = trusting(&url(&fake, mode), &authority).check_database();
        assert_eq!((code, check["reason"].as_str()), (Some(0), None), "{mode}: {check}");
    }
    for (name, certificate) in &wrong {
        let fake = FakePostgres::start_tls(certificate, [Behaviour::good()]);
        for mode in modes {
            let (code, check) = trusting(&url(&fake, mode), &authority).check_database();
            assert_eq!((code, check["reason"].as_str()), (Some(1), Some("tls_untrusted")), "{name} {mode}: {check}");
        }
        assert_eq!(fake.counts().startups.len(), 0, "{name}: no login");
    }
    let plain = FakePostgres::start([Behaviour::good()]);
    let (code, check) = trusting(&url(&plain, "&sslmode=disable"), &authority).check_database();
    assert_eq!((code, check["reason"].as_str()), (Some(1), Some("tls_unsupported")), "{check}");
    assert_eq!(plain.counts().startups.len(), 0);
}

#[test]
fn a_plaintext_login_to_a_public_host_causes_one_warning() {
    let fake = FakePostgres::start([Behaviour::good()]);
    let public = fake.url().host("db.public.example").param("hostaddr", "127.0.0.1");
    for (url, expected) in [
        (public.clone().param("sslmode", "disable"), 1),
        (public.param("sslmode", "prefer"), 1),
        (fake.url().param("sslmode", "disable"), 0),
        (fake.url(), 0),
    ] {
        let sidecar = Sidecar::on(&url).app(1).start();
        let checks = || sidecar.metric("sidepulse_checks_total{check=\"database\"}");
        assert!(eventually(SOON, || checks() >= Some(3.0)), "{}", sidecar.log_text());
        let warnings = sidecar.log_text().matches("goes over the network without TLS").count();
        assert_eq!(warnings, expected, "{}", sidecar.log_text());
    }
}

#[test]
fn the_client_hello_names_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Checks and the handshakes after them repeat: the first hello of each kind counts.
    let server = std::thread::spawn(move || {
        let (mut negotiated, mut direct) = (None, None);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0; 4096];
            let mut length = stream.read(&mut first).unwrap_or(0);
            let is_request = first[..length] == [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
            if is_request {
                stream.write_all(b"S").unwrap();
                length = stream.read(&mut first).unwrap_or(0);
            }
            let hello = if is_request { &mut negotiated } else { &mut direct };
            hello.get_or_insert(first[..length].to_vec());
            if let (Some(negotiated), Some(direct)) = (&negotiated, &direct) {
                return [negotiated.clone(), direct.clone()];
            }
        }
        unreachable!("a listener never ends")
    });
    let base = format!("postgresql://u:p@db.neon.example:{port}/d?hostaddr=127.0.0.1&sslmode=require");
    for url in [base.clone(), format!("{base}&sslnegotiation=direct")] {
        // The server closes in the middle of the handshake: only the hello counts.
        let (code, check) = Sidecar::on(url).set("SIDEPULSE_DATABASE_TIMEOUT", "1s").check_database();
        assert_eq!(code, Some(1), "{check}");
    }
    let [negotiated, direct] = server.join().unwrap();
    let has = |hello: &[u8], text: &[u8]| hello.windows(text.len()).any(|window| window == text);
    assert!(has(&negotiated, b"db.neon.example") && has(&direct, b"db.neon.example"), "SNI");
    // Only direct negotiation needs the ALPN; after an SSLRequest a TLS proxy that does not know it would refuse.
    assert!(!has(&negotiated, b"\x0apostgresql") && has(&direct, b"\x0apostgresql"), "ALPN");
}
