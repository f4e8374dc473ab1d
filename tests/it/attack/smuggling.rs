//! Requests that two readers may split differently: a request hidden in another is never answered, and no part of a
//! request is echoed in an answer.

use super::{Target, statuses, talk};

/// A mark in everything that must not be echoed.
const MARK: &str = "zmarkz";
/// A request hidden in the body of another. Its answer would be 404.
const HIDDEN: &str = "GET /zmarkz HTTP/1.1\r\nHost: zmarkz\r\nConnection: close\r\n\r\n";
/// What follows a body that both readers end at the same place.
const NEXT: &str = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const REFUSED: u16 = 400;

/// Asserts answers with these statuses, one after the other, and then the end.
fn expect<const N: usize>(requests: impl IntoIterator<Item = (String, [u16; N])>) {
    let target = Target::start();
    for (request, expected) in requests {
        let read = talk(target.address(), request.as_bytes());
        assert_eq!(statuses(&read), expected, "{}\nto {}", read.escape_ascii(), request.escape_default());
        let text = String::from_utf8_lossy(&read);
        assert!(!text.contains(MARK) && !text.contains("100 Continue"), "{text}\nto {request}");
    }
    target.recovers(0);
}

#[test]
fn a_body_of_doubtful_length_hides_no_second_request() {
    let length = HIDDEN.len();
    let ended = format!("0\r\n\r\n{HIDDEN}");
    let both = length + 5;
    expect(
        [
            // Both lengths, the shorter one last or first.
            (format!("Content-Length: {both}\r\nTransfer-Encoding: chunked\r\n\r\n{ended}"), [405]),
            (format!("Transfer-Encoding: chunked\r\nContent-Length: {both}\r\n\r\n{ended}"), [405]),
            (format!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{ended}"), [405]),
            (format!("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n{ended}"), [405]),
            (format!("Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n{ended}"), [405]),
            // More than one length.
            (format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: 0, {length}\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: 0, 0\r\n\r\n{HIDDEN}"), [REFUSED]),
            // Not a number.
            (format!("Content-Length: +{length}\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: -1\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: 0x1\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: 1 0\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length:\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length: 99999999999999999999\r\n\r\n{HIDDEN}"), [REFUSED]),
            (format!("Content-Length : 0\r\n\r\n{HIDDEN}"), [REFUSED]),
            // An encoding that another reader may take for chunked.
            (format!("Transfer-Encoding : chunked\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding\t: chunked\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: xchunked\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: identity\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: chunked, identity\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: \x0bchunked\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding: \"chunked\"\r\n\r\n{ended}"), [REFUSED]),
            (format!("Transfer-Encoding:\r\n chunked\r\n\r\n{ended}"), [REFUSED]),
            (format!("X: zmarkz\r\n Transfer-Encoding: chunked\r\n\r\n{ended}"), [REFUSED]),
            // Chunks of doubtful size.
            (format!("Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n{ended}"), [405]),
            (format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{ended}"), [405]),
            (format!("Transfer-Encoding: chunked\r\n\r\n5;\nzmarkz\r\nhello\r\n{ended}"), [405]),
            (format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{ended}"), [405]),
        ]
        .into_iter()
        .flat_map(|(rest, status)| {
            // The endpoints take GET, with or without a body; the answer differs, the framing does not.
            let got = if status == [405] { [200] } else { status };
            [
                (format!("POST /livez HTTP/1.1\r\nHost: a\r\n{rest}"), status),
                (format!("GET /livez HTTP/1.1\r\nHost: a\r\n{rest}"), got),
            ]
        }),
    );
}

#[test]
fn a_body_of_known_length_ends_where_it_says() {
    let length = HIDDEN.len();
    expect([
        (format!("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}{NEXT}"), [405, 200]),
        (format!("GET /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{HIDDEN}{NEXT}"), [200, 200]),
        (format!("GET /readyz HTTP/1.1\r\nHost: a\nContent-Length: {length}\r\n\r\n{HIDDEN}{NEXT}"), [200, 200]),
        (
            format!("PUT /x HTTP/1.1\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n{HIDDEN}{NEXT}"),
            [404, 200],
        ),
        (
            format!("POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{HIDDEN}{NEXT}"),
            [404, 200],
        ),
        (format!("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}"), [405, 200]),
    ]);
}

#[test]
fn a_head_with_doubtful_line_ends_is_one_request_or_none() {
    let close = "Connection: close\r\n\r\n";
    expect([
        // A bare LF ends a line, here as in most servers.
        ("GET /livez HTTP/1.1\nHost: a\nConnection: close\n\n".to_owned(), [200]),
        (format!("GET /livez HTTP/1.1\r\nHost: a\rX: zmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\nHost: a\r\n X: zmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\n Host: zmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\nX: zmarkz\0\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\nX\0zmarkz: a\r\n{close}"), [REFUSED]),
        (format!("GET /livez\0zmarkz HTTP/1.1\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\nzmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1\r\n: zmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez zmarkz HTTP/1.1\r\n{close}"), [REFUSED]),
        (format!("GET\t/livez\tHTTP/1.1\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.1 zmarkz\r\n{close}"), [REFUSED]),
        (format!("GET /livez http/1.1\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.10\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.2\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/3.0\r\n{close}"), [REFUSED]),
        (format!("GET zmarkz HTTP/1.1\r\n/\r\n{close}"), [REFUSED]),
        (format!("GET  HTTP/1.1\r\n{close}"), [REFUSED]),
        (format!("\0GET /livez HTTP/1.1\r\n{close}"), [REFUSED]),
        (format!(" GET /livez HTTP/1.1\r\n{close}"), [REFUSED]),
        (format!("GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"), [REFUSED]),
        // HTTP/0.9, HTTP/2 and TLS.
        (format!("GET /livez\r\n{HIDDEN}"), [REFUSED]),
        (format!("GET /livez\r\n\r\n{HIDDEN}"), [REFUSED]),
        (format!("\x16\x03\x01\x00\x7a\x01\x00\x00\x76\x03\x03{HIDDEN}"), [REFUSED]),
    ]);
    // Closed without an answer.
    expect([(format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{HIDDEN}"), [])]);
}

#[test]
fn odd_methods_and_forms_of_the_path_are_answered_once_and_not_repeated() {
    let close = "Connection: close\r\n\r\n";
    expect([
        (format!("GET http://zmarkz:99/livez?zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [200]),
        (format!("GET http://zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [200]),
        (format!("GET http://user:zmarkz@a/zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("GET zmarkz:80 HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("CONNECT zmarkz:443 HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("CONNECT /livez HTTP/1.1\r\nHost: a\r\n{close}"), [405]),
        (format!("OPTIONS * HTTP/1.1\r\nX: zmarkz\r\n{close}"), [404]),
        (format!("TRACE /livez HTTP/1.1\r\nX: zmarkz\r\nCookie: zmarkz\r\n{close}"), [405]),
        (format!("get /livez HTTP/1.1\r\nX: zmarkz\r\n{close}"), [405]),
        (format!("zmarkz /livez HTTP/1.1\r\nHost: a\r\n{close}"), [405]),
        (format!("GET /zmarkz HTTP/1.1\r\nHost: zmarkz\r\nX-Forwarded-Host: zmarkz\r\n{close}"), [404]),
        (format!("GET /livez/../zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("GET /%6civez HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("GET //livez HTTP/1.1\r\nHost: a\r\n{close}"), [404]),
        (format!("GET /livez?zmarkz%0d%0aX:%20zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [200]),
        (format!("GET /readyz?verbose&exclude=zmarkz HTTP/1.1\r\nHost: a\r\n{close}"), [200]),
        (format!("GET /livez HTTP/1.1\r\nHost: zmarkz\r\nHost: zmarkz\r\n{close}"), [200]),
        (format!("GET /livez HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: zmarkz\r\n{close}"), [200]),
        (format!("GET /livez HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: zmarkz\r\n{close}"), [200]),
        (format!("GET /livez HTTP/1.1\r\nRange: bytes=0-0,zmarkz\r\nIf-None-Match: zmarkz\r\n{close}"), [200]),
    ]);
}
