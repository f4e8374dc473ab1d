//! Bytes without sense, and requests that lost theirs on the way.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::Shutdown;

use super::{LIVEZ, Target, connect, read_to_end, statuses};

const CLIENTS: u32 = 1_000;

/// What a mutation starts from.
const REQUESTS: [&str; 5] = [
    LIVEZ,
    "HEAD /readyz?verbose&exclude=app HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /metrics HTTP/1.0\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\n\r\n",
];

/// splitmix64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.byte()).collect()
    }

    /// A valid request, or several, with some faults.
    fn mutated(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(3) {
            bytes.extend_from_slice(REQUESTS[self.below(REQUESTS.len())].as_bytes());
        }
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            let end = at + self.below((bytes.len() - at).min(40));
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] = self.byte(),
                1 => bytes.insert(at, self.byte()),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.extend_from_within(at..end),
                4 => bytes.insert(at, *b"\r\n\0 :,;\t%/?\x7f\xff".get(self.below(13)).unwrap_or(&0)),
                _ => bytes.truncate(end.max(1)),
            }
        }
        bytes
    }
}

#[test]
fn any_bytes_at_all_get_an_answer_of_http_or_none() {
    let seed = RandomState::new().hash_one(CLIENTS);
    let mut random = Random(seed);
    let target = Target::start();
    for n in 0..CLIENTS {
        let bytes = if n % 4 == 0 { random.bytes(12_000) } else { random.mutated() };
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
