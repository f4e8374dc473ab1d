//! Any server as the app: the check ends in time, uses little memory and never panics; and whatever follows a good head
//! does not change the verdict.
//!
//! The first byte says whether and when the harness sends a head, the rest is the script (`src/script.rs`) after it.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sidepulse::fuzzed::AppCheck;
use sidepulse_fuzz::script::Conversation;
use sidepulse_fuzz::world::{run, runtime};
use tokio::runtime::Runtime;

/// A mark that must never be shown: no part of a response's text may be.
const TOKEN: &str = "Zq7XwKv9";
const CHECK: Duration = Duration::from_secs(1);

/// Heads that settle the verdict.
const HEADS: [(&[u8], Option<&str>); 4] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", None),
    (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    (b"HTTP/1.0 204 No Content\r\n\r\n", None),
    (b"HTTP/1.1 503 Busy\r\nServer: uvicorn\r\n\r\n", Some("bad_status")),
];

/// Pieces of HTTP.
static ANSWERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let pieces: [&[u8]; 10] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\n",
        b"Server: sidepulse\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: Zq7XwKv9\r\n",
        b"\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ];
    pieces.map(<[u8]>::to_vec).to_vec()
});

thread_local! {
    static RUNTIME: Runtime = runtime();
    static PROBE: RefCell<AppCheck> = RefCell::new(AppCheck::new(CHECK));
}

fuzz_target!(|input: &[u8]| {
    let Some((first, script)) = input.split_first() else { return };
    // Up to 0.93 s: still in time.
    let pause = Duration::from_millis(30) * u32::from(first >> 2 & 31);
    let head = (first & 0x80 == 0).then(|| &HEADS[usize::from(first & 3)]);
    let mut server = Conversation::read(script, &ANSWERS, TOKEN);
    if let Some((head, _)) = head {
        server = server.after(pause, head);
    }
    let run = PROBE.with_borrow_mut(|probe| RUNTIME.with(|runtime| run(runtime, server, CHECK, probe.check(TOKEN))));
    let found = run.result.reason;
    // An app that closes without an answer is tested once for TLS.
    let most = if found == Some("connection_lost") { 2 } else { 1 };
    assert!(run.result.attempts == 1 && (1..=most).contains(&run.connections), "{} connections", run.connections);
    if let Some((head, verdict)) = head {
        assert_eq!(found, *verdict, "after {}", String::from_utf8_lossy(head));
    }
    let expected = ["bad_status", "connection_lost", "protocol_error", "response_timeout"];
    assert!(found.is_none_or(|reason| expected.contains(&reason)), "{found:?}");
});
