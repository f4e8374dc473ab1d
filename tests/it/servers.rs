//! The test servers do what their names say, so the tests that use them may blame sidepulse.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use tokio_postgres::Config;

use crate::support::certificates::Authority;
use crate::support::eventually::SOON;
use crate::support::session::{Rows, Session};

mod certificates;
mod cleanup;
mod fake_login;
mod fake_query;
mod pgbouncer;
mod postgres;

/// How long silence must last to count as such.
const SILENCE: Duration = Duration::from_millis(300);

/// The deep check's message (docs/reference.md, the database check).
const DEEP_CHECK: &str = "BEGIN READ ONLY\n;SET LOCAL statement_timeout = 7750\n;SET LOCAL lock_timeout = 1000\n\
    ;SELECT 1\n;SELECT pg_postmaster_start_time(), pg_is_in_recovery(), \
    current_setting('default_transaction_read_only')\n;ROLLBACK";

/// A SQL check's message.
const SQL_CHECK: &str = "BEGIN READ ONLY\n;SET LOCAL statement_timeout = 7750\n;SET LOCAL lock_timeout = 1000\n\
    ;SELECT 1 = 1\n;ROLLBACK";

/// Logs in without TLS and queries; an error is the whole chain of causes, with the SQLSTATE in front.
fn ask(config: &Config, sql: &str) -> Result<Rows, String> {
    Session::open(config).and_then(|session| session.sql(sql)).map_err(|error| chain(&error))
}

/// The same with the roots that `tls` trusts; the config's sslmode decides.
fn ask_tls(config: &Config, tls: TlsConnector, sql: &str) -> Result<Rows, String> {
    Session::open_tls(config, tls).and_then(|session| session.sql(sql)).map_err(|error| chain(&error))
}

/// What ended a login or a query.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        text = format!("{text} {error}");
        next = error.source();
    }
    text
}

/// A client that trusts this authority and checks names.
fn trusting(authority: &Authority) -> TlsConnector {
    let root = Certificate::from_pem(&authority.root_pem()).expect("a root");
    TlsConnector::builder().add_root_certificate(root).disable_built_in_roots(true).build().expect("a connector")
}

/// Rows as literals.
fn rows<const N: usize>(values: [&[&str]; N]) -> Rows {
    values.iter().map(|row| row.iter().map(|&value| Some(value.to_owned())).collect()).collect()
}

/// A client that speaks bytes.
struct Raw(TcpStream);

impl Raw {
    fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_read_timeout(Some(SOON)).expect("a read timeout");
        Raw(stream)
    }

    /// Up to the first ReadyForQuery, of a server that asks for no password.
    fn login(port: u16) -> Raw {
        let mut raw = Raw::connect(port);
        raw.startup();
        assert!(raw.read_until(b"Z\0\0\0\x05I"));
        raw
    }

    fn ssl_request(&mut self) {
        self.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    }

    fn startup(&mut self) {
        self.send(b"\0\0\0\x12\0\x03\0\0user\0raw\0\0");
    }

    fn query(&mut self, sql: &str) {
        let length = u32::try_from(sql.len() + 5).expect("a short query").to_be_bytes();
        self.send(&[b"Q", &length[..], sql.as_bytes(), b"\0"].concat());
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send");
    }

    /// Reads exactly so many bytes.
    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("bytes from the server");
        bytes
    }

    /// Reads until this arrives; false if the stream ends before.
    fn read_until(&mut self, needle: &[u8]) -> bool {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(needle) {
            if self.0.read(&mut byte).expect("bytes from the server") == 0 {
                return false;
            }
            seen.push(byte[0]);
        }
        true
    }

    /// The connection is open, and nothing arrives.
    fn is_silent(&mut self) -> bool {
        self.0.set_read_timeout(Some(SILENCE)).expect("a read timeout");
        let outcome = self.0.read(&mut [0]);
        self.0.set_read_timeout(Some(SOON)).expect("a read timeout");
        matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// How the stream ends: `Ok` with the bytes before a close, or the error.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).map(|_| bytes)
    }
}
