use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{Config, Given, Need};

fn probe(url: &str, more: &[(&str, &str)]) -> AppProbe {
    let lookup = |name: &str| {
        let text = match name {
            "SIDEPULSE_APP_URL" => url,
            "SIDEPULSE_APP_TIMEOUT" => "300ms",
            _ => more.iter().find(|(known, _)| *known == name)?.1,
        };
        Some(Given { text: Some(text.to_owned()), named: name.to_owned() })
    };
    AppProbe::new(Config::load(&lookup, Need::App).unwrap().app, false)
}

/// A server that reads one request head, answers with these bytes, then closes (or, with `None`, stays silent).
async fn server(answer: Option<&'static [u8]>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk).await.unwrap() {
                0 => break,
                n => request.extend_from_slice(&chunk[..n]),
            }
        }
        match answer {
            Some(bytes) => stream.write_all(bytes).await.unwrap(),
            None => drop(stream.read(&mut [0; 1]).await),
        }
        String::from_utf8(request).unwrap()
    });
    (address, task)
}

async fn verdict(answer: Option<&'static [u8]>) -> Option<Reason> {
    let (address, _task) = server(answer).await;
    probe(&format!("http://{address}/"), &[]).check().await.reason()
}

#[tokio::test]
async fn it_tells_the_ways_to_fail_apart() {
    for (answer, reason) in [
        (Some(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..]), None),
        (Some(b"HTTP/1.0 204 No Content\r\n\r\n"), None),
        (Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), None),
        (Some(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), Some(Reason::BadStatus)),
        (Some(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short"), None),
        (Some(b"HTTP/1.1 200 OK\r\nServer: sidepulse\r\nContent-Length: 0\r\n\r\n"), Some(Reason::ProtocolError)),
        (Some(b"SSH-2.0-OpenSSH_9.2\r\n"), Some(Reason::ProtocolError)),
        (Some(b"HTTP/1.1 20"), Some(Reason::ConnectionLost)),
        (Some(b""), Some(Reason::ConnectionLost)),
        (None, Some(Reason::ResponseTimeout)),
    ] {
        let shown = answer.map(String::from_utf8_lossy);
        assert_eq!(verdict(answer).await, reason, "{shown:?}");
    }
}

#[tokio::test]
async fn a_closed_port_is_refused_and_localhost_tries_both_families() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcome = probe(&format!("http://localhost:{port}/"), &[]).check().await;
    assert_eq!(outcome.reason(), Some(Reason::ConnectRefused));

    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let answer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
    });
    assert_eq!(probe(&format!("http://localhost:{port}/"), &[]).check().await.reason(), None);
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_request_is_what_the_settings_say() {
    let (address, task) = server(Some(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    let more = [("SIDEPULSE_APP_HEADERS", "Host: app.example\nX-Forwarded-Proto: https")];
    let outcome = probe(&format!("http://{address}/a?b=c"), &more).check().await;
    assert_eq!(outcome.reason(), None);
    let request = task.await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /a?b=c http/1.1\r\n"), "{request}");
    for header in
        ["host: app.example\r\n", "x-forwarded-proto: https\r\n", "connection: close\r\n", "user-agent: sidepulse/"]
    {
        assert!(request.contains(header), "{header} in {request}");
    }
    assert_eq!(request.matches("host:").count(), 1, "{request}");
}

#[tokio::test]
async fn phases_are_those_that_were_reached() {
    let (address, _task) = server(None).await;
    let outcome = probe(&format!("http://{address}/"), &[]).check().await;
    assert!(outcome.phases.get(Phase::Connect).is_some());
    assert!(outcome.phases.get(Phase::Response).unwrap() >= Duration::from_millis(200));
    assert_eq!(outcome.phases.get(Phase::Tls), None);
}

#[tokio::test]
async fn a_unix_socket_works_and_a_missing_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let url = format!("http://unix:{}:/x", path.display());
    assert_eq!(probe(&url, &[]).check().await.reason(), Some(Reason::ConnectRefused));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
    });
    assert_eq!(probe(&url, &[]).check().await.reason(), None);
}

#[tokio::test]
async fn an_endless_body_does_not_hold_the_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let outcome = probe(&format!("http://{address}/"), &[]).check().await;
    assert_eq!(outcome.reason(), None);
}

#[tokio::test]
async fn a_verdict_stands_though_the_deadline_passes_while_the_body_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        let _ = stream.write_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\n").await;
        stream.read(&mut [0; 1024]).await.and(stream.read(&mut [0; 1]).await)
    });
    let outcome = probe(&format!("http://{address}/"), &[]).check().await;
    assert_eq!(outcome.reason(), Some(Reason::BadStatus));
}

#[tokio::test]
async fn interim_responses_without_end_are_not_read_until_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).await.is_ok() {}
    });
    let outcome = probe(&format!("http://{address}/"), &[]).check().await;
    assert_eq!(outcome.reason(), Some(Reason::ConnectionLost));
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_the_apps() {
    // A name that never resolves (RFC 6761, section 6.4).
    let outcome = probe("http://app.invalid:8000/", &[("SIDEPULSE_APP_TIMEOUT", "5s")]).check().await;
    let failure = outcome.result.unwrap_err();
    assert_eq!((failure.reason, failure.cause), (Reason::DnsFailure, Some(Cause::HostOfApp)));
    assert!(failure.remedy().contains("SIDEPULSE_APP_URL"));
}
