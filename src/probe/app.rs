//! Is the app alive? One HTTP request over a new connection, inside one deadline.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, SERVER, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::dial::{self, Resolver, Socket};
use super::{Cause, Failure, Outcome, Phase, Progress, Reason, diagnosis, listeners};
use crate::config::AppSettings;
use crate::config::app_target::Reach;
use crate::tls;

/// No app's response head is longer.
const MOST_HEAD: usize = 64 * 1024;
/// The body is read so that the app sees a client that takes its response, but for no longer than this …
const BODY_TIME: Duration = Duration::from_millis(250);
/// … and no more of it than this: the verdict is already known.
const MOST_BODY: usize = 64 * 1024;
/// For a whole connection: interim responses (100 Continue), each with a head of its own, could go on for ever.
const MOST_RECEIVED: usize = MOST_HEAD + MOST_BODY;

/// How the app sees the probe; its access log can filter the probe's requests by it.
pub(crate) const USER_AGENT_VALUE: &str = concat!("sidepulse/", env!("CARGO_PKG_VERSION"));

/// Makes app checks.
#[derive(Debug)]
pub(crate) struct AppProbe {
    settings: AppSettings,
    resolver: Resolver,
    connector: Option<tokio_native_tls::TlsConnector>,
    /// The port to look up in the kernel's table until it is found open to the outside: only on Railway.
    reach_unproven: Option<u16>,
    /// Whether the app expects TLS; tried once at most, and never with an app that has answered in HTTP.
    wants_tls: Option<bool>,
}

impl AppProbe {
    /// A probe that has not connected to anything yet.
    pub(crate) fn new(settings: AppSettings, on_railway: bool) -> Self {
        let reach_unproven = match &settings.target.reach {
            Reach::Tcp { host, port } if on_railway && host.eq_ignore_ascii_case("localhost") => Some(*port),
            _ => None,
        };
        AppProbe { settings, resolver: Resolver::default(), connector: None, reach_unproven, wants_tls: None }
    }

    /// How long the next check may take.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.settings.timeout = timeout;
    }

    /// One check: one request, no retry.
    pub(crate) async fn check(&mut self) -> Outcome {
        let started = Instant::now();
        let deadline = started + self.settings.timeout;
        let mut progress = Progress::default();
        let judged = timeout_at(deadline, self.request(deadline, &mut progress)).await;
        let mut result = judged.unwrap_or_else(|_| Err(progress.timed_out()));
        if let Err(failure) = &mut result
            && self.may_want_tls(failure)
            && self.wants_tls(deadline).await
        {
            failure.cause = Some(Cause::TlsExpected);
        }
        Outcome::now(result, 1, started, progress.phases())
    }

    async fn request(&mut self, deadline: Instant, progress: &mut Progress) -> Result<(), Failure> {
        let mut stream = self.reach(deadline, progress).await?;
        if self.settings.target.tls {
            progress.enter(Phase::Tls);
            stream = self.encrypt(stream).await?;
        }
        progress.enter(Phase::Response);
        self.ask(stream, deadline, progress).await
    }

    async fn reach(&mut self, deadline: Instant, progress: &mut Progress) -> Result<Socket, Failure> {
        #[cfg(fuzzing)]
        if let Some(socket) = super::fuzzed::connect() {
            progress.enter(Phase::Connect);
            return Ok(socket);
        }
        Ok(match &self.settings.target.reach {
            Reach::Unix(path) => {
                progress.enter(Phase::Connect);
                dial::socket(dial::connect_unix(path, deadline).await?)
            }
            Reach::Tcp { host, port } => {
                progress.enter(Phase::Resolve);
                let addresses = self.resolver.resolve(host, *port, deadline).await;
                let addresses = addresses.map_err(|failure| Failure { cause: Some(Cause::HostOfApp), ..failure })?;
                progress.enter(Phase::Connect);
                dial::socket(dial::connect(&addresses, deadline).await?)
            }
        })
    }

    async fn encrypt(&mut self, stream: Socket) -> Result<Socket, Failure> {
        let target = &self.settings.target;
        let connector = match &self.connector {
            Some(connector) => connector.clone(),
            None => {
                let built = tls::app_connector(target.is_loopback())
                    .map_err(|text| Failure::new(Reason::Internal, Phase::Tls).with_detail(text))?;
                self.connector.insert(built.into()).clone()
            }
        };
        let name = match &target.reach {
            Reach::Tcp { host, .. } => host.as_str(),
            Reach::Unix(_) => "localhost",
        };
        let failed = |error| {
            Failure::diagnosed(diagnosis::tls::diagnose_app(&error), Phase::Tls).with_detail(tls::chain(&error))
        };
        Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
    }

    /// uvicorn with a certificate closes a connection that does not begin with a handshake, without a response.
    fn may_want_tls(&self, failure: &Failure) -> bool {
        let unanswered = failure.reason == Reason::ConnectionLost && failure.phase == Some(Phase::Response);
        unanswered && !self.settings.target.tls
    }

    /// Tries an app that has never answered, once.
    async fn wants_tls(&mut self, deadline: Instant) -> bool {
        if let Some(known) = self.wants_tls {
            return known;
        }
        let wants_tls = timeout_at(deadline, self.accepts_tls(deadline)).await == Ok(true);
        self.wants_tls = Some(wants_tls);
        wants_tls
    }

    /// Whether a handshake gets as far as a certificate, over a connection of its own and without a request.
    async fn accepts_tls(&mut self, deadline: Instant) -> bool {
        let Ok(stream) = self.reach(deadline, &mut Progress::default()).await else { return false };
        match self.encrypt(stream).await {
            Ok(_) => true,
            Err(failure) => failure.reason == Reason::TlsUntrusted,
        }
    }

    /// Sends the request and judges the head of the response.
    async fn ask(&mut self, stream: Socket, deadline: Instant, progress: &mut Progress) -> Result<(), Failure> {
        let (received, sent) = tokio::io::split(stream);
        let stream = tokio::io::join(received.take(MOST_RECEIVED as u64), sent);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| request_failed(&error))?;
        let mut connection = pin!(connection);
        let mut answer = pin!(sender.send_request(self.compose()));
        let mut open = true;
        // The connection is driven only here: when this future is dropped, the socket is closed.
        let response = loop {
            tokio::select! {
                biased;
                answered = &mut answer => break answered.map_err(|error| request_failed(&error))?,
                _ = &mut connection, if open => open = false,
            }
        };
        progress.leave();
        self.wants_tls = Some(false);
        let verdict = self.judge(&response).and_then(|()| self.check_reach());
        let body = drain(response.into_body());
        // The verdict stands, whatever becomes of the body: the deadline comes first, so that it ends this wait and not the
        // caller's.
        tokio::select! {
            biased;
            () = sleep_until(deadline.min(Instant::now() + BODY_TIME)) => {}
            () = body => {}
            _ = &mut connection, if open => {}
        }
        verdict
    }

    fn compose(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        // The settings were read as a URI, so the path is valid.
        *request.uri_mut() = self.settings.target.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(&self.settings.target.authority) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }

    fn judge(&self, response: &Response<Incoming>) -> Result<(), Failure> {
        if response.headers().get(SERVER).is_some_and(|server| server == "sidepulse") {
            return Err(Failure::new(Reason::ProtocolError, Phase::Response)
                .with_detail("the app URL leads to a sidepulse, not to the app"));
        }
        let status = response.status().as_u16();
        if self.settings.statuses.iter().any(|range| range.contains(&status)) {
            return Ok(());
        }
        Err(Failure::new(Reason::BadStatus, Phase::Response).with_detail(format!("the app answered {status}")))
    }

    /// An app that only this container can reach answers nobody else.
    fn check_reach(&mut self) -> Result<(), Failure> {
        let Some(port) = self.reach_unproven else { return Ok(()) };
        if listeners::on_loopback_alone(port) == Some(true) {
            return Err(Failure::new(Reason::LoopbackOnly, Phase::Connect));
        }
        self.reach_unproven = None;
        Ok(())
    }
}

async fn drain(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST_BODY {
            return;
        }
    }
}

fn request_failed(error: &hyper::Error) -> Failure {
    let text = tls::chain(error);
    // TLS 1.3: an alert about our certificate comes in place of a response.
    let failure = match diagnosis::tls::alert_of_the_app(&text) {
        Some(alert) => Failure::diagnosed(alert, Phase::Tls),
        // A head that is too large or garbled is a response, but not one of HTTP's.
        None if error.is_parse() => Failure::new(Reason::ProtocolError, Phase::Response),
        None => Failure::new(Reason::ConnectionLost, Phase::Response),
    };
    failure.with_detail(text)
}

#[cfg(test)]
mod tests;
