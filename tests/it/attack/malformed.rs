//! Random bytes, and damaged requests.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::Shutdown;

use super::{LIVEZ, Target, connect, read_to_end, statuses};
use crate::support::random::Random;

const CLIENTS: u32 = 1_000;

/// What mutations start from.
const REQUESTS: [&str; 5] = [
    LIVEZ,
    "HEAD /readyz?verbose&exclude=app HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /metrics HTTP/1.0\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\n\r\n",
];

/// Fewer than `limit` bytes.
fn noise(random: &mut Random, limit: usize) -> Vec<u8> {
    (0..random.below(limit)).map(|_| random.byte()).collect()
}

/// A valid request, or several, with some faults.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        bytes.extend_from_slice(REQUESTS[random.below(REQUESTS.len())].as_bytes());
    }
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        let end = at + random.below((bytes.len() - at).min(40));
        match random.below(6) {
            0 => bytes[at] = random.byte(),
            1 => bytes.insert(at, random.byte()),
            2 if bytes.len() > end - at => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.insert(at, b"\r\n\0 :,;\t%/?\x7f\xff"[random.below(13)]),
            _ => bytes.truncate(end.max(1)),
        }
    }
    bytes
}

#[test]
fn any_bytes_at_all_get_an_answer_of_http_or_none() {
    let seed = RandomState::new().hash_one(CLIENTS);
    let mut random = Random::new(seed, "");
    let target = Target::start();
    for n in 0..CLIENTS {
        let bytes = if n % 4 == 0 { noise(&mut random, 12_000) } else { mutated(&mut random) };
        let tell = || format!("to {} of seed {seed:#x}", bytes.escape_ascii());
        let mut stream = connect(target.address());
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let read = read_to_end(&mut stream).unwrap_or_else(|_| panic!("still open {}", tell()));
        assert!(read.is_empty() || read.starts_with(b"HTTP/1."), "{} {}", read.escape_ascii(), tell());
        let known = [200, 400, 401, 404, 405, 414, 431, 503];
        assert!(statuses(&read).iter().all(|status| known.contains(status)), "{} {}", read.escape_ascii(), tell());
    }
    target.recovers(0);
}
