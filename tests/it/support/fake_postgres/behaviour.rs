//! The vocabulary of scripts: where a connection goes wrong, how, and what the server answers if it does not.

use std::time::Duration;

use super::dialect::Dialect;

/// A point of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The connection was accepted; nothing was read.
    Accept,
    /// In place of an answer to SSLRequest.
    SslRequest,
    /// `S` was sent and the ClientHello has begun to arrive.
    Handshake,
    /// In place of an answer to the StartupMessage: before authentication.
    Startup,
    /// In place of an answer to the client's first SASL message.
    SaslFirst,
    /// In place of AuthenticationOk: the password was given, and SCRAM played to its end.
    AuthFinal,
    /// After AuthenticationOk, in place of ReadyForQuery.
    Login,
    /// In place of an answer to the deep query's message (or any other than those below).
    Query,
    /// In the middle of that answer: `BEGIN` and both `SET LOCAL` succeeded.
    MidQuery,
    /// In place of an answer to a SQL check's message: `BEGIN …` without `pg_postmaster_start_time()`.
    SqlCheck,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Silence; the connection stays open.
    Stall,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// An ErrorResponse; the connection ends with it during the login, and later if it is FATAL.
    Error(ServerError),
    /// Bytes as they are, then [`Fault::Stall`].
    Bytes(Vec<u8>),
    /// DataRows for ever; after a RowDescription if the point is [`At::Query`] or later.
    EndlessRows,
    /// NoticeResponses for ever.
    EndlessNotices,
}

impl Fault {
    /// A wrong answer of one byte.
    pub(crate) fn byte(byte: u8) -> Fault {
        Fault::Bytes(vec![byte])
    }

    /// What an HTTP server would say.
    pub(crate) fn garbage() -> Fault {
        Fault::Bytes(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec())
    }

    /// The first piece of a TLS ServerHello of 122 bytes. For [`At::Handshake`].
    pub(crate) fn half_handshake() -> Fault {
        Fault::Bytes(vec![0x16, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3, 1, 2, 3, 4])
    }

    /// A message that announces 1 GiB and sends 16 bytes of it.
    pub(crate) fn gigabyte(tag: u8) -> Fault {
        let mut bytes = vec![tag];
        bytes.extend((1_u32 << 30).to_be_bytes());
        bytes.extend([0; 16]);
        Fault::Bytes(bytes)
    }

    /// A FATAL error: the connection ends with it.
    pub(crate) fn fatal(code: &str, message: &str) -> Fault {
        Fault::Error(ServerError::new("FATAL", code, message))
    }

    /// A plain error: after the login the session goes on.
    pub(crate) fn error(code: &str, message: &str) -> Fault {
        Fault::Error(ServerError::new("ERROR", code, message))
    }
}

/// An ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) message: String,
    /// Where in the text, in characters from 1.
    pub(crate) position: Option<usize>,
    /// Nothing but the text is sent, though the protocol demands the severity.
    pub(crate) without_severity: bool,
}

impl ServerError {
    /// From severity (`FATAL`, `ERROR`), SQLSTATE and message.
    pub(crate) fn new(severity: &str, code: &str, message: &str) -> ServerError {
        let [severity, code, message] = [severity, code, message].map(str::to_owned);
        ServerError { severity, code, message, position: None, without_severity: false }
    }

    /// Whether a session ends with it.
    pub(crate) fn is_fatal(&self) -> bool {
        self.severity != "ERROR"
    }
}

/// How the server authenticates the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// SCRAM-SHA-256; over TLS with channel binding offered.
    Scram,
    /// SCRAM-SHA-256 without channel binding, even over TLS.
    ScramUnbound,
    /// SCRAM-SHA-256 with an iteration count of the server's choice.
    ScramIterations(u32),
    /// The password in clear.
    Cleartext,
    /// The password's md5 hash.
    Md5,
    /// No authentication.
    Trust,
    /// A method by its number that is not played to its end: 2 Kerberos, 7 GSS, 9 SSPI.
    Method(u32),
}

/// What one connection meets.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(super) fault: Option<(At, Fault)>,
    pub(super) drip: Option<(At, Duration)>,
    pub(super) auth: Auth,
    pub(super) refuse_tls: bool,
    pub(super) ready_after: Duration,
    pub(super) notices: usize,
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) sql_check_rows: Vec<Vec<Option<String>>>,
    pub(super) started: String,
    pub(super) in_recovery: bool,
    pub(super) read_only: bool,
    pub(super) server_version: String,
    pub(super) dialect: Dialect,
    pub(super) query_error: Option<ServerError>,
}

impl Behaviour {
    /// A login by SCRAM, then every query answered: the deep query with one row `1`, a SQL check with one row `t`.
    pub(crate) fn good() -> Behaviour {
        Behaviour {
            fault: None,
            drip: None,
            auth: Auth::Scram,
            refuse_tls: false,
            ready_after: Duration::ZERO,
            notices: 0,
            rows: vec![vec![Some("1".to_owned())]],
            sql_check_rows: vec![vec![Some("t".to_owned())]],
            started: "2026-01-02 03:04:05.678901+00".to_owned(),
            in_recovery: false,
            read_only: false,
            server_version: "17.5".to_owned(),
            dialect: Dialect::postgres(),
            query_error: None,
        }
    }

    /// Good up to a point.
    pub(crate) fn fault(at: At, fault: Fault) -> Behaviour {
        Behaviour { fault: Some((at, fault)), ..Behaviour::good() }
    }

    /// A server that does not accept everything that PostgreSQL accepts.
    pub(crate) fn dialect(self, dialect: Dialect) -> Behaviour {
        Behaviour { dialect, ..self }
    }

    /// What happens to the user's own query, however it is sent.
    pub(crate) fn query_error(self, code: &str, message: &str) -> Behaviour {
        Behaviour { query_error: Some(ServerError::new("ERROR", code, message)), ..self }
    }

    /// Another method of authentication.
    pub(crate) fn auth(self, auth: Auth) -> Behaviour {
        Behaviour { auth, ..self }
    }

    /// `N` to SSLRequest though there is a certificate.
    pub(crate) fn refuse_tls(self) -> Behaviour {
        Behaviour { refuse_tls: true, ..self }
    }

    /// A cold start, as a client sees it at Neon (neondatabase/neon, `proxy/src/pqproto.rs` and `proxy/src/proxy`):
    /// after its last message of the login it hears nothing for this long, and then the rest of the login in one
    /// flight, or instead the error of [`At::Login`].
    pub(crate) fn ready_after(self, ready_after: Duration) -> Behaviour {
        Behaviour { ready_after, ..self }
    }

    /// From this point on one byte at a time, with this pause between two.
    pub(crate) fn drip(self, from: At, pace: Duration) -> Behaviour {
        Behaviour { drip: Some((from, pace)), ..self }
    }

    /// This many NoticeResponses before the answer to a query.
    pub(crate) fn notices(self, notices: usize) -> Behaviour {
        Behaviour { notices, ..self }
    }

    /// What the deep query returns, in text form; it may be no rows at all.
    pub(crate) fn rows(self, rows: &[&[Option<&str>]]) -> Behaviour {
        Behaviour { rows: owned(rows), ..self }
    }

    /// What a SQL check returns.
    pub(crate) fn sql_check_rows(self, rows: &[&[Option<&str>]]) -> Behaviour {
        Behaviour { sql_check_rows: owned(rows), ..self }
    }

    /// `pg_postmaster_start_time()` as text: another value is a restart.
    pub(crate) fn started(self, started: &str) -> Behaviour {
        Behaviour { started: started.to_owned(), ..self }
    }

    /// `pg_is_in_recovery()` says `t`.
    pub(crate) fn in_recovery(self) -> Behaviour {
        Behaviour { in_recovery: true, ..self }
    }

    /// `default_transaction_read_only` says `on`.
    pub(crate) fn read_only(self) -> Behaviour {
        Behaviour { read_only: true, ..self }
    }

    /// A server that cannot keep a secret: every error contains this text, and so does its version.
    pub(crate) fn gossip(mut self, secret: &str) -> Behaviour {
        if let Some((_, Fault::Error(error))) = &mut self.fault {
            error.message.push_str(secret);
        }
        self.server_version.push_str(secret);
        self
    }

    /// Whether it sends an error with a text.
    pub(crate) fn complains(&self) -> bool {
        matches!(self.fault, Some((_, Fault::Error(_))))
    }

    /// The parameter `server_version`.
    pub(crate) fn server_version(self, version: &str) -> Behaviour {
        Behaviour { server_version: version.to_owned(), ..self }
    }
}

fn owned(rows: &[&[Option<&str>]]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect()
}
