//! `sidepulse ping`: asks the daemon on this machine, so that an image needs no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, SERVER};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::print;
use crate::probe::dial;

/// The daemon answers from memory; whatever takes longer is another program.
const LIMIT: Duration = Duration::from_secs(3);
/// No answer of the daemon comes near this size.
const MOST_BODY: usize = 1024 * 1024;

/// GETs `path` from the daemon that listens on `listen`; a wildcard address means 127.0.0.1, then ::1.
pub(crate) async fn run(listen: SocketAddr, path: &str) -> ExitCode {
    match ask(listen, path).await {
        Ok((status, body)) => {
            let code = if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            print(&String::from_utf8_lossy(&body), code)
        }
        Err(fault) => {
            print(&format!("no answer from sidepulse on port {}: {fault}\n", listen.port()), ExitCode::FAILURE)
        }
    }
}

async fn ask(listen: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), String> {
    let addresses: Vec<SocketAddr> = if listen.ip().is_unspecified() {
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|ip| (ip, listen.port()).into()).to_vec()
    } else {
        vec![listen]
    };
    let target: Uri = path.parse().map_err(|_| "the path is not one of HTTP's".to_owned())?;
    let deadline = Instant::now() + LIMIT;
    let stream = dial::connect(&addresses, deadline).await.map_err(|failure| failure.reason.to_string())?;
    let asked = timeout_at(deadline, async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = target;
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (status, ours) = (response.status(), response.headers().get(SERVER).is_some_and(|s| s == "sidepulse"));
            let body = Limited::new(response.into_body(), MOST_BODY).collect().await;
            Ok::<_, hyper::Error>((status, ours, body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
        };
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                answered = &mut exchange => return answered,
                _ = &mut connection, if open => open = false,
            }
        }
    });
    match asked.await {
        Ok(Ok((status, true, body))) => Ok((status, body)),
        Ok(Ok(_)) => Err("another program answers there".to_owned()),
        Ok(Err(error)) => Err(crate::tls::chain(&error)),
        Err(_) => Err(format!("nothing within {} s", LIMIT.as_secs())),
    }
}
