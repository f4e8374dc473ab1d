//! Clients that are slow, silent, many, or still there at the end.

use super::*;

/// A page has some kilobytes, and the buffers of both sockets some megabytes.
const STUCK_REQUESTS: usize = 8000;

impl Server {
    /// Whether it has closed this connection, and what it sent before. Waits for its turn, but not for an event that
    /// may never come.
    async fn has_closed(&self, stream: &TcpStream) -> (bool, usize) {
        // Somebody else's answer proves that the server has had its turn.
        self.ask("GET", "/livez", "").await;
        let mut read = 0;
        loop {
            match stream.try_read(&mut [0; 65_536]) {
                Ok(0) => return (true, read),
                Ok(n) => read += n,
                Err(error) => return (error.kind() != io::ErrorKind::WouldBlock, read),
            }
        }
    }

    /// A client that asks for more than any buffer holds, and reads nothing.
    async fn stuck(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(STUCK_REQUESTS).as_bytes()).await.unwrap();
        // It is answered once in a turn, and an answer to another client takes some turns.
        for _ in 0..1000 {
            self.ask("GET", "/livez", "").await;
        }
        stream
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut_ten_seconds_after_its_first_byte() {
    let _frozen = freeze();
    let server = start(&[]);
    let half = "GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow";
    for (at_once, later) in [("", "G"), ("", "\r\n"), ("", half), (LIVEZ, half), (half, "")] {
        let mut stream = server.connect().await;
        if later.is_empty() {
            stream.write_all(at_once.as_bytes()).await.unwrap();
        } else {
            exchange(&mut stream, &format!("{LIVEZ}{at_once}")).await;
            // The time that a client is silent is not its head's.
            advance(60 * S).await;
            stream.write_all(later.as_bytes()).await.unwrap();
        }
        for _ in 0..9 {
            assert!(!server.has_closed(&stream).await.0, "cut early, after {at_once:?} {later:?}");
            advance(S).await;
            // It does not help that some more comes.
            if later == half {
                stream.write_all(b"x").await.unwrap();
            }
        }
        advance(S + S / 10).await;
        assert!(server.has_closed(&stream).await.0, "open after {at_once:?} {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_behind_an_answered_request_has_ten_seconds_too() {
    let _frozen = freeze();
    let server = start(&[]);
    let mut stream = server.connect().await;
    exchange(&mut stream, &format!("{LIVEZ}GET /readyz HT")).await;
    advance(9 * S).await;
    assert!(!server.has_closed(&stream).await.0);
    advance(S + S / 10).await;
    assert!(server.has_closed(&stream).await.0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_may_ask_again_for_75_seconds_and_is_let_go_some_time_later() {
    let _frozen = freeze();
    let server = start(&[]);
    let (mut polling, mut asked) = (server.connect().await, server.connect().await);
    let silent = server.connect().await;
    exchange(&mut asked, LIVEZ).await;
    // As monitors do: every 10, 30 and 60 s on one connection.
    for pause in [10, 10, 30, 25] {
        exchange(&mut polling, LIVEZ).await;
        advance(pause * S).await;
    }
    for stream in [&polling, &asked, &silent] {
        assert!(!server.has_closed(stream).await.0, "closed within 75 s");
    }
    exchange(&mut polling, LIVEZ).await;
    advance(6 * S).await;
    assert!(server.has_closed(&asked).await.0 && server.has_closed(&silent).await.0, "idle for ever");
    assert!(!server.has_closed(&polling).await.0);
    advance(60 * S).await;
    exchange(&mut polling, LIVEZ).await;
}

#[tokio::test(start_paused = true)]
async fn idle_clients_do_not_keep_a_new_one_out() {
    let _frozen = freeze();
    let server = start(&[]);
    let mut busy = server.connect().await;
    exchange(&mut busy, LIVEZ).await;
    let mut idle = Vec::new();
    for _ in 0..connections::MOST * 3 {
        advance(S / 1000).await;
        idle.push(server.connect().await);
        // A client that asks now and then is not the quietest.
        exchange(&mut busy, LIVEZ).await;
    }
    assert_eq!(server.ask("GET", "/livez", "").await.status, 200);
    let mut open = Vec::new();
    for stream in &idle {
        open.push(!server.has_closed(stream).await.0);
    }
    assert!(open.iter().filter(|open| **open).count() < connections::MOST, "idle clients are still served");
    assert!(!open[0] && open[idle.len() - 1], "the one that is silent longest goes first");
}

#[tokio::test]
async fn a_client_that_sends_many_requests_keeps_no_other_waiting() {
    const GREEDY: usize = 20;
    const REQUESTS: usize = 200;
    let server = start(&[]);
    let mut greedy = Vec::new();
    for _ in 0..GREEDY {
        let mut stream = server.connect().await;
        exchange(&mut stream, LIVEZ).await;
        greedy.push(stream);
    }
    let requests = "GET /startupz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS);
    for stream in &greedy {
        assert_eq!(stream.try_write(requests.as_bytes()).unwrap(), requests.len());
    }
    assert_eq!(server.ask("GET", "/livez", "").await.status, 200);
    let (mut answered, mut read) = (0, vec![0; 1 << 20]);
    for stream in &greedy {
        let n = stream.try_read(&mut read).unwrap_or_default();
        answered += read[..n].windows(9).filter(|window| window == b"HTTP/1.1 ").count();
    }
    assert!(answered < GREEDY * REQUESTS / 10, "{answered} answers came first");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut() {
    let _frozen = freeze();
    let server = start(&[]);
    let stream = server.stuck().await;
    for _ in 0..8 {
        advance(5 * S).await;
        server.ask("GET", "/livez", "").await;
    }
    let page = server.ask("GET", "/", "").await.body.len();
    let mut all = 0;
    loop {
        let (closed, read) = server.has_closed(&stream).await;
        all += read;
        assert!(all < STUCK_REQUESTS * page, "it got everything");
        if closed {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_requests_under_way_are_answered_and_idle_clients_let_go() {
    let _frozen = freeze();
    let server = start(&[]);
    let (mut idle, mut asking) = (server.connect().await, server.connect().await);
    exchange(&mut idle, LIVEZ).await;
    exchange(&mut asking, LIVEZ).await;
    // It waits for the process metrics, which no check thread takes here.
    asking.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.site.metrics.process.wanted().await;
    server.stop.send(()).unwrap();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody new is let in");
    assert!(!server.running.is_finished());
    advance(S / 10).await;
    let mut text = String::new();
    asking.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with('\n'), "{text}");
    server.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_nobody_longer_than_five_seconds() {
    let _frozen = freeze();
    let server = start(&[]);
    let _stuck = server.stuck().await;
    server.stop.send(()).unwrap();
    for finished in [false, false, false, false, false, true] {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.running.is_finished(), finished);
        advance(S).await;
    }
}
