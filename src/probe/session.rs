//! One connection to the database, from the first byte to the last: login, queries, and a clean end.
//!
//! The connection is driven by the future that is awaited and owned by nothing else: dropping a session closes its socket.

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
use super::query_error::QueryError;
use super::wire::{Meter, Wire};
use crate::redact::Redactor;
use crate::tls;

/// For the rest of a response after an error, for a last `ROLLBACK` and for Terminate: a server that is gone must not
/// hold up the check.
pub(super) const GOODBYE: Duration = Duration::from_millis(250);

/// In answer to one message. A server that reports each statement that it leaves out stays below.
const MOST_ERRORS: usize = 16;

type Encrypted = Wire<postgres_native_tls::TlsStream<Wire<Socket>>>;

/// The driver's TLS hook: records when the handshake was done, or why it failed.
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
                    Ok(Wire::decrypted(stream, self.meter))
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

/// What the server returned for one message, as far as it has been read.
#[derive(Default)]
pub(super) struct Response {
    /// The rows of each statement that was completed.
    pub(super) completed: Vec<Rows>,
    /// Those of the statement whose rows are being read.
    rows: Rows,
}

impl Response {
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
    /// The last response has been read to its end.
    idle: bool,
    meter: Meter,
    redactor: Arc<Redactor>,
    /// To the newest message.
    pub(super) response: Response,
}

impl Session {
    /// Logs in over a new socket.
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
            Ok((client, connection)) => Ok(Session {
                client,
                connection,
                alive: true,
                idle: true,
                meter,
                redactor,
                response: Response::default(),
            }),
            Err(error) => Err(diagnosis::driver::diagnose(&error, Stage::Login, &meter, &redactor)),
        }
    }

    /// Whether it can take another message.
    pub(super) fn is_open(&self) -> bool {
        self.alive && self.idle
    }

    /// Whether the newest ReadyForQuery said that a transaction is open or has failed.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.meter.seen().in_transaction()
    }

    /// Whether the login went over the network without TLS.
    pub(super) fn is_plaintext(&self) -> bool {
        self.meter.seen().plaintext
    }

    /// The number in `server_version`, as the server announced it at login: `16.4` of `16.4 (Debian 16.4-1)`. The rest is
    /// the server's own words, and a hostile server may send anything.
    pub(super) fn version(&self) -> Option<String> {
        let announced = self.connection.parameter("server_version")?;
        let number: String = announced.chars().take(16).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let number = number.trim_end_matches('.');
        (!number.is_empty()).then(|| number.to_owned())
    }

    /// Sends one message of the simple query protocol and reads the response up to ReadyForQuery. What came before an
    /// error, or before this future was dropped, is in [`response`](Self::response).
    pub(super) async fn send(&mut self, sql: &str) -> Result<(), QueryError> {
        self.response = Response::default();
        if !self.is_open() {
            return Err(QueryError::over());
        }
        // What has not been read of a response would be taken for that of the next message.
        self.idle = false;
        let stream = match self.client.simple_query_raw(sql).await {
            Ok(stream) => stream,
            Err(error) => return Err(QueryError::new(&error, &self.meter, &self.redactor)),
        };
        let mut stream = pin!(stream);
        let read = self.read(stream.as_mut()).await;
        self.idle = match &read {
            Ok(()) => true,
            Err(error) if error.is_survived() => {
                let completed = self.response.completed.len();
                let ended = timeout(GOODBYE, self.read_rest(stream)).await.unwrap_or(false);
                self.response.completed.truncate(completed);
                ended
            }
            Err(_) => false,
        };
        read
    }

    /// Reads what follows an error. True where it ends in ReadyForQuery.
    async fn read_rest(&mut self, mut stream: Pin<&mut SimpleQueryStream>) -> bool {
        let mut errors = 0;
        loop {
            match self.read(stream.as_mut()).await {
                Ok(()) => return true,
                Err(error) if error.is_copy() => {}
                Err(error) if error.is_error_response() && errors < MOST_ERRORS => errors += 1,
                Err(_) => return false,
            }
        }
    }

    /// Reads on, up to ReadyForQuery or the next error.
    async fn read(&mut self, mut stream: Pin<&mut SimpleQueryStream>) -> Result<(), QueryError> {
        let mut end = None;
        poll_fn(|cx| {
            loop {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        self.response.take(message);
                        continue;
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    // An ErrorResponse that came before the end has been passed on. Otherwise the connection knows why it
                    // ended; the client would only say "closed".
                    Poll::Ready(Some(Err(error))) => {
                        let error = if error.as_db_error().is_some() { error } else { end.take().unwrap_or(error) };
                        return Poll::Ready(Err(QueryError::new(&error, &self.meter, &self.redactor)));
                    }
                    Poll::Pending if self.alive => {}
                    Poll::Pending => {
                        let end = end.take().map(|error| QueryError::new(&error, &self.meter, &self.redactor));
                        return Poll::Ready(Err(end.unwrap_or_else(QueryError::over)));
                    }
                }
                end = ready!(Pin::new(&mut self.connection).poll(cx)).err();
                self.alive = false;
            }
        })
        .await
    }

    /// Ends a transaction. Where there is none, the server would log a warning at every check.
    pub(super) async fn roll_back(&mut self) {
        if self.is_open() && self.is_in_transaction() {
            let _ = self.send("ROLLBACK").await;
        }
    }

    /// Sends Terminate, so that the server does not log a lost connection, and waits a moment until the socket is closed.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_postgres::config::SslMode;

    use super::*;
    use crate::probe::dial;
    use crate::probe::wire::Opening;

    /// The driver drops a response at its ReadyForQuery, also where that has no status and cannot be read.
    #[test]
    fn a_copy_that_ends_in_a_broken_message_ends() {
        let (tell, told) = mpsc::channel();
        let ask = async || {
            let (ours, mut server) = duplex(4096);
            server.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
            let meter = Meter::default();
            let wire = Wire::new(dial::socket(ours), Opening::Plain, meter.clone());
            let mut config = Config::new();
            config.user("u").ssl_mode(SslMode::Disable);
            let redactor = Arc::new(Redactor::new(Vec::new()));
            let mut session = Session::open(&config, wire, None, meter, redactor).await.unwrap();
            let answer = async {
                // The startup message and the query.
                let mut sent = Vec::new();
                while !sent.ends_with(b"COPY t TO STDOUT\0") {
                    server.read_buf(&mut sent).await.unwrap();
                }
                server.write_all(b"H\0\0\0\x07\0\0\0Z\0\0\0\x04").await.unwrap();
            };
            let (sent, ()) = tokio::join!(session.send("COPY t TO STDOUT"), answer);
            (sent.map_err(|error| error.failure.cause), session.is_open())
        };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = tell.send(runtime.block_on(ask()));
        });
        let ended = told.recv_timeout(Duration::from_secs(20)).expect("it ends");
        assert_eq!(ended, (Err(Some(crate::probe::Cause::CopyStatement)), false));
    }
}
