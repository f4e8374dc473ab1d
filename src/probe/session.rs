//! One connection to the database, from the first byte to the last: login, queries, and a clean end.
//!
//! The connection is driven by whoever awaits it and is owned by nobody else: dropping a session closes its socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, SimpleQueryRow};

use super::database::ServerFacts;
use super::diagnosis;
use super::diagnosis::server::Stage;
use super::dial::Socket;
use super::wire::{Decrypted, Meter, Wire};
use super::{Failure, Phase, Reason};
use crate::redact::Redactor;
use crate::tls;

/// The server ends a statement this much before we would give up on it, so that its own error arrives.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// A statement has this long at least.
const SHORTEST_STATEMENT: Duration = Duration::from_millis(100);
/// A lock is a sign of trouble long before the statement timeout.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(1);
/// For `ROLLBACK` after an error, and for Terminate: a server that is gone must not hold the check.
const GOODBYE: Duration = Duration::from_millis(250);

type Encrypted = Decrypted<postgres_native_tls::TlsStream<Wire<Socket>>>;

/// The driver's TLS hook: notes when the handshake was done, or why it failed.
pub(super) struct TimedTls {
    pub(super) connector: postgres_native_tls::TlsConnector,
    pub(super) meter: Meter,
}

impl TlsConnect<Wire<Socket>> for TimedTls {
    type Stream = Encrypted;
    type Error = native_tls::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, native_tls::Error>> + Send>>;

    fn connect(self, stream: Wire<Socket>) -> Self::Future {
        Box::pin(async move {
            match TlsConnect::connect(self.connector, stream).await {
                Ok(stream) => {
                    self.meter.seen().tls_done = Some(Instant::now());
                    Ok(Decrypted::new(stream, self.meter))
                }
                Err(error) => {
                    self.meter.seen().tls_failure = Some((diagnosis::tls::diagnose(&error), tls::chain(&error)));
                    Err(error)
                }
            }
        })
    }
}

/// The rows of one statement.
pub(super) type Rows = Vec<SimpleQueryRow>;

/// A connection that is logged in.
pub(super) struct Session {
    client: Client,
    connection: Connection<Wire<Socket>, Encrypted>,
    open: bool,
    /// A transaction was begun, and its end was not seen.
    in_transaction: bool,
    meter: Meter,
    redactor: Arc<Redactor>,
}

impl Session {
    /// Logs in over a fresh socket.
    pub(super) async fn open(
        config: &Config,
        wire: Wire<Socket>,
        tls: Option<TimedTls>,
        meter: Meter,
        redactor: Arc<Redactor>,
    ) -> Result<Self, Failure> {
        let connected = match tls {
            Some(tls) => config.connect_raw(wire, tls).await,
            None => config.connect_raw(wire, NeverTls).await,
        };
        match connected {
            Ok((client, connection)) => {
                Ok(Session { client, connection, open: true, in_transaction: false, meter, redactor })
            }
            Err(error) => Err(diagnosis::driver::diagnose(&error, Stage::Login, &meter, &redactor)),
        }
    }

    /// The number in `server_version`, as the server announced it at login: `16.4` of `16.4 (Debian 16.4-1)`. The rest
    /// is the server's own words, and a hostile one may say anything.
    pub(super) fn version(&self) -> Option<String> {
        let announced = self.connection.parameter("server_version")?;
        let number: String = announced.chars().take(16).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        Some(number).filter(|number| !number.is_empty())
    }

    /// The deep query, and what else is worth knowing, in one read-only transaction and one message.
    pub(super) async fn deep(&mut self, query: &str, deadline: Instant) -> Result<ServerFacts, Failure> {
        const FACTS: &str = "SELECT extract(epoch FROM pg_postmaster_start_time()), pg_is_in_recovery(), \
                             current_setting('default_transaction_read_only')";
        let left = deadline.saturating_duration_since(Instant::now());
        let mut statements = self.transaction(&[query, FACTS], left.saturating_sub(ANSWER_MARGIN)).await?;
        let odd = |what: &str| Failure::new(Reason::UnexpectedResult, Phase::Query).with_detail(what);
        let (Some(facts), Some(rows)) = (statements.pop(), statements.pop()) else {
            return Err(odd("the query must be exactly one statement"));
        };
        if rows.is_empty() {
            return Err(odd("the query returned no row"));
        }
        let fact = |column| facts.first().and_then(|row| row.try_get(column).ok().flatten());
        Ok(ServerFacts {
            read_only: Some(fact(1) == Some("t") || fact(2) == Some("on")),
            started: fact(0).map(|text| text.chars().take(40).collect()),
            version: self.version(),
            ready_after: Duration::ZERO,
            plaintext: self.meter.seen().plaintext,
        })
    }

    /// One SQL check: passes when the first column of the first row is true. `share` bounds it on the server.
    pub(super) async fn is_true(&mut self, sql: &str, share: Duration) -> Result<(), Failure> {
        let statements = self.transaction(&[sql], share).await?;
        let value = statements.first().and_then(|rows| rows.first()?.try_get(0).ok().flatten());
        match value {
            Some("t" | "true") => Ok(()),
            _ => Err(Failure::new(Reason::UnexpectedResult, Phase::Query)
                .with_detail("the first column of the first row is not true")),
        }
    }

    /// The rows of one statement of our own, bounded on the server as a check is.
    pub(super) async fn rows(&mut self, sql: &str, timeout: Duration) -> Result<Rows, Failure> {
        let mut statements = self.transaction(&[sql], timeout).await?;
        Ok(statements.pop().unwrap_or_default())
    }

    /// Runs statements read-only and bounded on the server; gives back the rows of each.
    async fn transaction(&mut self, statements: &[&str], timeout: Duration) -> Result<Vec<Rows>, Failure> {
        let timeout = timeout.max(SHORTEST_STATEMENT);
        let lock = LONGEST_LOCK_WAIT.min(timeout / 2);
        let mut parts = vec![
            "BEGIN READ ONLY".to_owned(),
            format!("SET LOCAL statement_timeout = {}", timeout.as_millis()),
            format!("SET LOCAL lock_timeout = {}", lock.as_millis()),
        ];
        let before = parts.len();
        parts.extend(statements.iter().map(|&s| s.to_owned()));
        parts.push("ROLLBACK".to_owned());
        self.in_transaction = true;
        // The newline ends a `--` comment at the end of a statement.
        let messages = self.ask(&parts.join("\n;")).await?;
        self.in_transaction = false;
        let (mut groups, mut rows) = (Vec::with_capacity(parts.len()), Rows::new());
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => rows.push(row),
                SimpleQueryMessage::CommandComplete(_) => groups.push(std::mem::take(&mut rows)),
                _ => {}
            }
        }
        if groups.len() != parts.len() {
            return Err(Failure::new(Reason::UnexpectedResult, Phase::Query)
                .with_detail("the query must be exactly one statement"));
        }
        Ok(groups.drain(before..before + statements.len()).collect())
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        let mut answer = pin!(self.client.simple_query(sql));
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(answered);
            }
            if !self.open {
                return Poll::Pending;
            }
            let ended = ready!(Pin::new(&mut self.connection).poll(cx));
            self.open = false;
            // What the server said before it closed has been passed on; else the reason of the death is the
            // connection's, because the client would only say "closed".
            match (answer.as_mut().poll(cx), ended) {
                (Poll::Ready(Err(said)), _) if said.as_db_error().is_some() => Poll::Ready(Err(said)),
                (_, Err(death)) => Poll::Ready(Err(death)),
                (answered, Ok(())) => answered,
            }
        });
        answered.await.map_err(|error| diagnosis::driver::diagnose(&error, Stage::Query, &self.meter, &self.redactor))
    }

    /// After an error: leaves no transaction behind, not even for a pooler to find. Where there is none, the server would
    /// write a warning into its log, at every check.
    pub(super) async fn roll_back(&mut self, deadline: Instant) {
        let until = deadline.min(Instant::now() + GOODBYE);
        if self.open && self.in_transaction {
            let _ = timeout_at(until, self.ask("ROLLBACK")).await;
            self.in_transaction = false;
        }
    }

    /// Says goodbye, so that the server logs no lost connection, and waits a moment until the socket is closed.
    pub(super) async fn close(self, deadline: Instant) {
        let until = deadline.min(Instant::now() + GOODBYE);
        drop(self.client);
        if self.open {
            let _ = timeout_at(until, self.connection).await;
        }
    }
}

/// For a plan without TLS: the driver never calls it.
struct NeverTls;

impl TlsConnect<Wire<Socket>> for NeverTls {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = std::future::Ready<Result<Encrypted, io::Error>>;

    fn connect(self, _: Wire<Socket>) -> Self::Future {
        std::future::ready(Err(io::Error::other("this connection has no TLS")))
    }
}
