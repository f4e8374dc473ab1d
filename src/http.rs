//! Serving: accept, limits, drain. The answers come from memory; see `routes`.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Config, Gate};
use crate::dsn::Secret;
use crate::log::{Level, Log};
use crate::metrics::{Gauges, Metrics};
use crate::process_state::ProcessState;
use crate::readiness::Now;
use crate::state::Snapshot;

mod body;
mod client;
mod connections;
mod headers;
mod health;
mod page;
mod reply;
pub(crate) mod routes;
mod view;

use body::Pieces;
use client::Client;
use connections::{Connections, Slot};
pub(crate) use reply::{Body, Reply};
use routes::{Ask, OTHER, respond};
pub(crate) use view::View;

/// The least that hyper allows; a probe's request has a few hundred bytes.
const HEAD_BYTES: usize = 8 * 1024;
/// How much of requests, and of answers, the kernel buffers for one connection. By default either may grow to megabytes,
/// so that clients that ask without reading would fill the container's memory; the usual answers have up to 13 KB.
const SOCKET_BYTES: usize = 32 * 1024;
/// Clients that may wait in the kernel.
const BACKLOG: i32 = 1024;
/// Without a pause an accept error such as EMFILE repeats at once (889,000 times in half a second were seen).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Accept errors are logged at most this often.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long requests under way may take at the end; all of them are answered from memory.
const DRAIN_TIME: Duration = Duration::from_secs(5);

pub(crate) struct Site {
    pub(crate) board: watch::Receiver<Arc<Snapshot>>,
    /// Liveness, draining, ever ready.
    pub(crate) process: Arc<ProcessState>,
    pub(crate) metrics: Arc<Metrics>,
    /// What `/readyz` asks of the database.
    pub(crate) gate: Gate,
    pub(crate) token: Option<Secret>,
    /// Notices visitors of the app that are sent here.
    pub(crate) misdirected: Option<Misdirected>,
    pub(crate) log: Log,
}

/// Notices that Railway's public domain leads here and not to the app: Railway offers both ports as target port, and only
/// one is right.
pub(crate) struct Misdirected {
    domain: String,
    app_port: u16,
    logged: AtomicBool,
}

impl Misdirected {
    /// On Railway, with a public domain.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let domain = config.railway.public_domain.clone().filter(|_| config.railway.present)?;
        Some(Misdirected { domain, app_port: config.child.app_port, logged: AtomicBool::new(false) })
    }

    /// A request asked for an unknown path. Logged once.
    fn note(&self, host: Option<&HeaderValue>, log: &Log) {
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        if name.eq_ignore_ascii_case(&self.domain) && !self.logged.swap(true, Ordering::Relaxed) {
            log.warning(format!(
                "visitors of RAILWAY_PUBLIC_DOMAIN come to sidepulse instead of the app: set the domain's target port to \
                 the app's, {}",
                self.app_port
            ));
        }
    }
}

/// Binds the listening socket. `[::]` takes IPv4 as well, whatever the system's default, and becomes `0.0.0.0` where
/// the host has no IPv6.
///
/// # Errors
/// E.g. if the address is in use.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Its connections inherit these.
        socket.set_recv_buffer_size(SOCKET_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BYTES)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    let no_ipv6 = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.raw_os_error() == Some(AF_NOT_SUPPORTED)
    };
    match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

/// EAFNOSUPPORT, for which `ErrorKind` has no stable variant on every platform.
const AF_NOT_SUPPORTED: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };

/// Serves until `shutdown` completes, then lets requests under way end.
pub(crate) async fn run(listener: TcpListener, site: Arc<Site>, shutdown: impl Future<Output = ()>) {
    let connections = Connections::new();
    let graceful = GracefulShutdown::new();
    let mut errors = AcceptErrors::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let watcher = graceful.watcher();
                connections.admit(|slot, client| {
                    let connection = serve(stream, Arc::clone(&site), slot, client, watcher);
                    tokio::spawn(connection).abort_handle()
                });
                // So that clients that have sent a request are answered before others are admitted, for which they might
                // be closed; and so that the socket of a closed one is freed.
                tokio::task::yield_now().await;
            }
            // The client left before it was served.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                errors.tell(&site.log, &error);
                // Out of file descriptors: close the quietest client, and pause only where there is none.
                if connections.close_quietest() {
                    tokio::task::yield_now().await;
                } else {
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let _ = timeout(DRAIN_TIME, graceful.shutdown()).await;
}

/// Logs accept errors, but not every one.
#[derive(Default)]
struct AcceptErrors(Option<Instant>);

impl AcceptErrors {
    fn tell(&mut self, log: &Log, error: &io::Error) {
        if self.0.is_none_or(|last| last.elapsed() > ACCEPT_LOG_INTERVAL) {
            self.0 = Some(Instant::now());
            let message = format!("cannot accept connections: {error}; is the limit of open files too low?");
            log.line(Level::Error, "warning", message).send();
        }
    }
}

async fn serve(
    stream: TcpStream,
    site: Arc<Site>,
    slot: Slot,
    client: Client,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    let (stream, served) = (TokioIo::new(client.watch(stream)), client.clone());
    let answer = service_fn(move |request: Request<Incoming>| {
        let now = Now::read();
        client.asks(now.instant);
        let reply = site.reply(&request, now);
        // Before the first await: hyper reads on meanwhile, to notice that the client leaves, and would need a new buffer
        // while the request lies in the old one.
        drop(request);
        let site = Arc::clone(&site);
        let early = client.is_early().then(|| client.clone());
        async move {
            if let Some(client) = early {
                client.wait_for_turn().await;
            }
            Ok::<_, Infallible>(site.response(reply, now).await)
        }
    });
    let connection = http1::Builder::new()
        // It would close an idle client after the time that a head may take: `client` knows both limits.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        // Head and body in one buffer: bodies are small, and a `writev` costs more than copying them.
        .writev(false)
        // A client may close its half as soon as it has sent its last request.
        .half_close(true)
        .serve_connection(stream, answer);
    // An error here is the client's: it left, or did not send HTTP.
    served.serve(watcher.watch(connection)).await;
    drop(slot);
}

impl Site {
    fn reply(&self, request: &Request<Incoming>, now: Now) -> Reply {
        let ask = Ask {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            authorization: self.token.as_ref().and_then(|_| request.headers().get(AUTHORIZATION)),
        };
        let reply = respond(ask, self.view(&self.board.borrow(), now));
        if reply.path == OTHER
            && let Some(misdirected) = &self.misdirected
        {
            misdirected.note(request.headers().get(HOST), &self.log);
        }
        self.metrics.answered(reply.labels());
        reply
    }

    async fn response(&self, reply: Reply, now: Now) -> Response<Pieces> {
        let headers = headers::of(&reply.body, reply.code);
        let bytes = match reply.body {
            Body::Text(bytes) | Body::Health(bytes) | Body::Page(bytes) => bytes,
            Body::Metrics => self.scrape(now).await,
        };
        let mut response = Response::new(Pieces::of(bytes));
        *response.status_mut() = StatusCode::from_u16(reply.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }

    async fn scrape(&self, now: Now) -> Bytes {
        let snapshot = Arc::clone(&self.board.borrow());
        let gauges = || {
            let view = self.view(&snapshot, now);
            Gauges {
                ready: view.readiness().is_ready(),
                live: view.live,
                draining: view.draining,
                dropped: self.log.dropped(),
                lag: self.process.pulse.lag(),
            }
        };
        self.metrics.text(&snapshot, gauges).await
    }

    fn view<'a>(&'a self, snapshot: &'a Snapshot, now: Now) -> View<'a> {
        View {
            snapshot,
            gate: self.gate,
            draining: self.process.is_draining(),
            ever_ready: self.process.ever_ready.load(Ordering::Relaxed),
            live: self.process.pulse.is_live(now.instant),
            token: self.token.as_ref().map(Secret::expose),
            now,
        }
    }
}

#[cfg(test)]
mod tests;
