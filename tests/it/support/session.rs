//! A database session for tests that have no runtime: it runs on its own thread until dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc as replies;
use std::thread::{self, JoinHandle};

use postgres_native_tls::MakeTlsConnector;
use tokio::sync::mpsc as orders;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use super::eventually::SOON;

/// What a simple query returned: every value as text, and the rows of all its statements in one list.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

type Order = (String, replies::Sender<Result<Rows, Error>>);
type Opening = Pin<Box<dyn Future<Output = Result<(Client, Pumping), Error>>>>;
type Pumping = Pin<Box<dyn Future<Output = ()>>>;

/// An open session, which keeps its transaction and its locks between calls.
///
/// ```ignore
/// let holder = Session::open(&postgres.url().config())?;
/// holder.sql("BEGIN; LOCK TABLE things")?;
/// ```
#[derive(Debug)]
pub(crate) struct Session {
    orders: Option<orders::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Logs in without TLS.
    pub(crate) fn open(config: &Config) -> Result<Session, Error> {
        let config = config.clone();
        Session::run(move || {
            Box::pin(async move {
                let (client, connection) = config.connect(NoTls).await?;
                Ok((client, Box::pin(async { drop(connection.await) }) as Pumping))
            })
        })
    }

    /// Logs in as the config's sslmode says, with the roots that `tls` trusts.
    pub(crate) fn open_tls(config: &Config, tls: native_tls::TlsConnector) -> Result<Session, Error> {
        let config = config.clone();
        Session::run(move || {
            Box::pin(async move {
                let (client, connection) = config.connect(MakeTlsConnector::new(tls)).await?;
                Ok((client, Box::pin(async { drop(connection.await) }) as Pumping))
            })
        })
    }

    /// Sends one simple query, of any number of statements, and waits for its end.
    pub(crate) fn sql(&self, sql: &str) -> Result<Rows, Error> {
        let (reply, answer) = replies::channel();
        let orders = self.orders.as_ref().expect("an open session");
        orders.send((sql.to_owned(), reply)).expect("a session's thread");
        answer.recv_timeout(SOON).unwrap_or_else(|_| panic!("no answer within {SOON:?} to: {sql}"))
    }

    /// Starts the thread and waits until the login has succeeded or failed.
    fn run(open: impl FnOnce() -> Opening + Send + 'static) -> Result<Session, Error> {
        let (opened, outcome) = replies::channel();
        let (sender, mut orders) = orders::unbounded_channel::<Order>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let (client, pumping) = match open().await {
                    Ok(connected) => connected,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let _ = opened.send(Ok(()));
                let serving = async move {
                    while let Some((sql, reply)) = orders.recv().await {
                        let _ = reply.send(client.simple_query(&sql).await.map(|messages| rows(&messages)));
                    }
                };
                // The client is dropped with the last order, which makes the connection send Terminate and end.
                tokio::join!(serving, pumping);
            });
        });
        match outcome.recv_timeout(SOON) {
            Ok(Ok(())) => Ok(Session { orders: Some(sender), thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => panic!("no login within {SOON:?}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A session whose server is frozen ends with the server.
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            let _ = super::eventually::eventually(SOON, || thread.is_finished());
        }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> Rows {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()).collect()
}
