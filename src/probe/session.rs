//! One connection to the database, from the first byte to the last: login, queries, and a clean end.
//!
//! The connection is driven by whoever awaits it and is owned by nobody else: dropping a session closes its socket.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

use super::Failure;
use super::diagnosis;
use super::diagnosis::server::Stage;
use super::dial::Socket;
use super::trouble::Trouble;
use super::wire::{Decrypted, Meter, Wire};
use crate::redact::Redactor;
use crate::tls;

/// For the rest of an answer after an error, for a last `ROLLBACK`, and for Terminate: a server that is gone must not hold
/// the check.
pub(super) const GOODBYE: Duration = Duration::from_millis(250);

/// To one message. A server that complains of each statement that it leaves out stays below.
const MOST_COMPLAINTS: usize = 16;

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

/// What came back for one message, as far as it came.
#[derive(Default)]
pub(super) struct Answer {
    /// The rows of each statement that was completed.
    pub(super) completed: Vec<Rows>,
    /// Those of the statement that is being answered.
    rows: Rows,
}

impl Answer {
    fn take(&mut self, message: SimpleQueryMessage) {
        match message {
            SimpleQueryMessage::Row(row) => self.rows.push(row),
            SimpleQueryMessage::CommandComplete(_) => self.completed.push(mem::take(&mut self.rows)),
            _ => {}
        }
    }
}

/// A connection that is logged in.
pub(super) struct Session {
    client: Client,
    connection: Connection<Wire<Socket>, Encrypted>,
    /// The connection has not ended.
    alive: bool,
    /// No answer is under way.
    idle: bool,
    meter: Meter,
    redactor: Arc<Redactor>,
    /// To the newest message.
    pub(super) answer: Answer,
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
                Ok(Session { client, connection, alive: true, idle: true, meter, redactor, answer: Answer::default() })
            }
            Err(error) => Err(diagnosis::driver::diagnose(&error, Stage::Login, &meter, &redactor)),
        }
    }

    /// Whether it can take another message.
    pub(super) fn is_open(&self) -> bool {
        self.alive && self.idle
    }

    /// Whether its newest ReadyForQuery said that a transaction is open, or has failed.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.meter.seen().in_transaction()
    }

    /// Whether the login went over the network without TLS.
    pub(super) fn is_plaintext(&self) -> bool {
        self.meter.seen().plaintext
    }

    /// The number in `server_version`, as the server announced it at login: `16.4` of `16.4 (Debian 16.4-1)`. The rest
    /// is the server's own words, and a hostile one may say anything.
    pub(super) fn version(&self) -> Option<String> {
        let announced = self.connection.parameter("server_version")?;
        let number: String = announced.chars().take(16).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let number = number.trim_end_matches('.');
        (!number.is_empty()).then(|| number.to_owned())
    }

    /// Sends one message of the simple query protocol and reads its answer up to ReadyForQuery. What came before a
    /// complaint, or before this future was dropped, is in [`answer`](Self::answer).
    pub(super) async fn send(&mut self, sql: &str) -> Result<(), Trouble> {
        self.answer = Answer::default();
        if !self.is_open() {
            return Err(Trouble::over());
        }
        // Until its end has been read, an answer is under way that would be taken for that of the next message.
        self.idle = false;
        let stream = match self.client.simple_query_raw(sql).await {
            Ok(stream) => stream,
            Err(error) => return Err(Trouble::new(&error, &self.meter, &self.redactor)),
        };
        let mut stream = pin!(stream);
        let read = self.read(stream.as_mut()).await;
        self.idle = match &read {
            Ok(()) => true,
            Err(trouble) if trouble.is_survived() => {
                let rest = async {
                    for _ in 0..MOST_COMPLAINTS {
                        match self.read(stream.as_mut()).await {
                            Ok(()) => return true,
                            Err(more) if more.is_complaint() => {}
                            Err(_) => return false,
                        }
                    }
                    false
                };
                timeout(GOODBYE, rest).await.unwrap_or(false)
            }
            Err(_) => false,
        };
        read
    }

    /// Reads on, up to ReadyForQuery or the next complaint.
    async fn read(&mut self, mut stream: Pin<&mut SimpleQueryStream>) -> Result<(), Trouble> {
        let mut death = None;
        poll_fn(|cx| {
            loop {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        self.answer.take(message);
                        continue;
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    // What the server said before it closed has been passed on; else the reason of the death is the
                    // connection's, because the client would only say "closed".
                    Poll::Ready(Some(Err(said))) => {
                        let error = if said.as_db_error().is_some() { said } else { death.take().unwrap_or(said) };
                        return Poll::Ready(Err(Trouble::new(&error, &self.meter, &self.redactor)));
                    }
                    Poll::Pending if self.alive => {}
                    Poll::Pending => {
                        let death = death.take().map(|error| Trouble::new(&error, &self.meter, &self.redactor));
                        return Poll::Ready(Err(death.unwrap_or_else(Trouble::over)));
                    }
                }
                death = ready!(Pin::new(&mut self.connection).poll(cx)).err();
                self.alive = false;
            }
        })
        .await
    }

    /// Ends a transaction. Where there is none, the server would write a warning into its log, at every check.
    pub(super) async fn roll_back(&mut self) {
        if self.is_open() && self.is_in_transaction() {
            let _ = self.send("ROLLBACK").await;
        }
    }

    /// Says goodbye, so that the server logs no lost connection, and waits a moment until the socket is closed.
    pub(super) async fn close(self, deadline: Instant) {
        let until = deadline.min(Instant::now() + GOODBYE);
        drop(self.client);
        if self.alive {
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
