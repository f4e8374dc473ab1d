use std::collections::BTreeMap;
use std::sync::mpsc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::advance;

use super::*;
use crate::probe::Reason;
use crate::state::samples::{TOKEN, config, ended, query, silent};

mod limits;

const S: Duration = Duration::from_secs(1);

/// While it lives, paused time stands still, and only [`advance`] moves it: sockets take no time.
struct Frozen {
    _hold: mpsc::Sender<()>,
}

fn freeze() -> Frozen {
    let (hold, held) = mpsc::channel();
    drop(spawn_blocking(move || held.recv()));
    Frozen { _hold: hold }
}

struct Server {
    address: SocketAddr,
    site: Arc<Site>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// Serves an app that is up beside a database that never was.
fn start(variables: &[(&str, &str)]) -> Server {
    let config = config(variables);
    let mut snapshot = Snapshot::new(&config, Instant::now());
    snapshot.app.record(ended(Instant::now(), None));
    query(&mut snapshot).record(ended(Instant::now(), Some(Reason::AuthFailed)));
    let metrics = Arc::new(Metrics::new(&config, &snapshot, routes::request_labels(&config)).unwrap());
    let site = Arc::new(Site {
        board: watch::Sender::new(Arc::new(snapshot)).subscribe(),
        process: Arc::new(ProcessState::new(Instant::now())),
        metrics,
        gate: config.database.as_ref().unwrap().gate,
        misdirected: Misdirected::of(&config),
        token: config.token,
        log: silent(),
    });
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (stop, stopped) = oneshot::channel();
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(run(listener, Arc::clone(&site), async { drop(stopped.await) }));
    Server { address, site, stop, running }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes the connection.
    async fn talk(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, header: &str) -> Answer {
        let text =
            self.talk(&format!("{method} {path} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n{header}\r\n")).await;
        Answer::read(&text)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Each name with its values, one a line.
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::<String, String>::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let values = headers.entry(name.to_lowercase()).or_default();
            *values = if values.is_empty() { value.to_owned() } else { format!("{values}\n{value}") };
        }
        Answer { status, headers, body: body.to_owned() }
    }
}

/// One answer on a connection that stays open; every body that is asked for ends in a newline.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") || answer.ends_with(b"\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed after {answer:?}");
    }
    String::from_utf8(answer).unwrap()
}

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn each_kind_of_answer_has_its_headers_and_head_is_like_get_without_body() {
    let server = start(&[TOKEN]);
    let text = "text/plain; charset=utf-8";
    let policy = ("content-security-policy", page::CONTENT_SECURITY_POLICY.to_str().unwrap());
    let ask_twice = ("www-authenticate", "Bearer\nBasic realm=\"sidepulse\"");
    let bearer = format!("Authorization: Bearer {}\r\n", TOKEN.1);
    for (method, path, header, status, content_type, more) in [
        ("GET", "/livez", "", 200, text, None),
        ("GET", "/startupz/", "", 200, text, None),
        ("GET", "/readyz", "", 503, text, Some(("retry-after", "5"))),
        ("GET", "/health", "", 503, "application/health+json", Some(("retry-after", "5"))),
        ("GET", "/health/shallow", "", 200, "application/health+json", None),
        ("GET", "/nothing", "", 404, text, None),
        ("POST", "/nothing", "", 404, text, None),
        ("POST", "/readyz", "", 405, text, Some(("allow", "GET, HEAD"))),
        ("OPTIONS", "/metrics", "", 405, text, Some(("allow", "GET, HEAD"))),
        ("GET", "/metrics", "", 401, text, Some(ask_twice)),
        ("GET", "/", "", 401, text, Some(ask_twice)),
        ("GET", "/metrics", &bearer, 200, "text/plain; version=0.0.4; charset=utf-8", None),
        ("GET", "/", &bearer, 200, "text/html; charset=utf-8", Some(policy)),
    ] {
        let mut answer = server.ask(method, path, header).await;
        assert!(answer.headers.remove("date").is_some(), "{method} {path}");
        let length = answer.body.len().to_string();
        let fixed = [
            ("cache-control", "no-store"),
            ("connection", "close"),
            ("content-length", &length),
            ("content-type", content_type),
            ("server", "sidepulse"),
            ("x-content-type-options", "nosniff"),
        ];
        let expected = fixed.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((answer.status, &answer.headers), (status, &expected.collect()), "{method} {path}");
        assert!(answer.body.ends_with('\n'));
        if method == "GET" {
            let mut head = server.ask("HEAD", path, header).await;
            head.headers.remove("date");
            assert_eq!(head, Answer { body: String::new(), ..answer }, "{path}");
        }
    }
}

#[tokio::test]
async fn the_page_may_use_its_own_style_and_script_and_nothing_else() {
    let answer = start(&[]).ask("GET", "/", "").await;
    let hash = |tag: &str| {
        let (_, rest) = answer.body.split_once(&format!("<{tag}>")).unwrap();
        BASE64.encode(Sha256::digest(rest.split_once(&format!("</{tag}>")).unwrap().0))
    };
    let policy = answer.headers["content-security-policy"].split("; ").map(|part| part.split_once(' ').unwrap());
    let mut policy: BTreeMap<&str, &str> = policy.collect();
    for (name, sources) in [
        ("default-src", "'none'"),
        ("style-src", &format!("'sha256-{}'", hash("style"))),
        ("script-src", &format!("'sha256-{}'", hash("script"))),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
    ] {
        assert_eq!(policy.remove(name), Some(sources), "{name}");
    }
    assert!(policy.values().all(|sources| ["'self'", "data:"].contains(sources)), "nothing from outside: {policy:?}");
    for inline in [" style=", " on", "javascript:", "@import", "url("] {
        let markup = answer.body.split("<script>").next().unwrap().split('<').filter_map(|tag| tag.split('>').next());
        assert!(markup.into_iter().all(|tag| !tag.contains(inline)), "{inline} would be blocked");
    }
}

#[test]
fn a_public_domain_that_leads_here_is_logged_once() {
    const DOMAIN: (&str, &str) = ("RAILWAY_PUBLIC_DOMAIN", "shop.up.railway.app");
    const RAILWAY: (&str, &str) = ("RAILWAY_ENVIRONMENT_ID", "e");
    let misdirected = |variables: &[(&str, &str)]| Misdirected::of(&config(variables));
    assert!(misdirected(&[DOMAIN]).is_none() && misdirected(&[RAILWAY]).is_none());
    let misdirected = misdirected(&[DOMAIN, RAILWAY]).unwrap();
    let text = crate::log::tests::written(Level::Warn, true, |log| {
        for host in
            [None, Some("other"), Some("x.shop.up.railway.app"), Some("SHOP.up.railway.app:443"), Some(DOMAIN.1)]
        {
            misdirected.note(host.map(|host| HeaderValue::from_str(host).unwrap()).as_ref(), log);
        }
    });
    assert_eq!((text.lines().count(), text.contains("target port"), text.contains("8000")), (1, true, true), "{text}");
}

#[tokio::test]
async fn old_and_odd_clients_are_answered() {
    let server = start(&[]);
    let ends = |text: &str, end: &str| assert!(text.ends_with(end), "{text:?}");
    let old = server.talk("GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old:?}");
    ends(&old, "\r\n\r\nok\n");
    ends(&server.talk("\r\nGET /livez HTTP/1.0\r\nhost:\r\n\r\n").await, "\r\n\r\nok\n");
    ends(&server.talk("GET http://example/livez?x HTTP/1.0\r\nHost: other\r\n\r\n").await, "\r\n\r\nok\n");
    for (request, status) in [
        ("OPTIONS * HTTP/1.0\r\n\r\n", 404),
        ("GET //x HTTP/1.0\r\n\r\n", 404),
        ("BREW /livez HTTP/1.0\r\n\r\n", 405),
        ("POST /livez HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 405),
        ("GET /livez HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 200),
    ] {
        assert_eq!(Answer::read(&server.talk(request).await).status, status, "{request}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let server = start(&[]);
    for head in [
        "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart",
        "GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\npart",
        "PUT /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let text = server.talk(head).await;
        assert!(text.starts_with("HTTP/1.1 405") || text.starts_with("HTTP/1.1 200"), "{text:?}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "and then it is closed: {text:?}");
    }
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = start(&[]);
    let requests = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n\
                    GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let text = server.talk(requests).await;
    let statuses: Vec<_> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "503", "404", "503"], "{text}");
    assert!(text.ends_with("fail: database: auth_failed\n"), "{text}");
    let found = crate::metrics::scrape::scrape(&server.site.metrics, &server.site.board.borrow().clone()).await;
    for (sample, count) in [("code=200 path=/livez", 1.0), ("code=503 path=/readyz", 2.0), ("code=404 path=other", 1.0)]
    {
        assert_eq!(found.get(&format!("sidepulse_http_requests_total {sample}")), count, "{sample}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_next_client_served() {
    let server = start(&[]);
    let long = |n| format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(n));
    for (bytes, status) in [
        ("\x16\x03\x01\x02 hello\r\n\r\n".to_owned(), 400),
        ("GET /livez\r\n\r\n".into(), 400),
        ("GET /li vez HTTP/1.1\r\n\r\n".into(), 400),
        (long(20_000), 431),
        (format!("GET /livez HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)), 431),
    ] {
        let text = server.talk(&bytes).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?} to {bytes:.40}");
        assert_eq!(server.ask("GET", "/livez", "").await.status, 200);
    }
    let text = server.talk(&long(4_000).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "4 kB of head are taken: {text:?}");
}

#[tokio::test]
async fn the_wildcard_takes_both_families() {
    let listener = bind("[::]:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let v6 = address.is_ipv6().then(|| format!("[::1]:{}", address.port()));
    for to in [Some(format!("127.0.0.1:{}", address.port())), v6].into_iter().flatten() {
        let client = TcpStream::connect(&to).await;
        assert!(client.is_ok() && listener.accept().await.is_ok(), "{to}");
    }
    assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test(start_paused = true)]
async fn what_the_threads_share_reaches_the_answers() {
    let _frozen = freeze();
    let server = start(&[("SIDEPULSE_DATABASE_GATE", "never")]);
    let process = &server.site.process;
    assert_eq!(server.ask("GET", "/readyz", "").await.body, "ok\n");
    process.draining.store(true, Ordering::Relaxed);
    assert_eq!(server.ask("GET", "/readyz", "").await.body, "fail: draining\n");
    process.pulse.begin(crate::pulse::Lane::App, Instant::now(), S);
    assert_eq!(server.ask("GET", "/livez", "").await.body, "ok\n");
    advance(6 * S + S / 10).await;
    assert_eq!(server.ask("GET", "/livez", "").await.body, "fail: internal\n");
}
