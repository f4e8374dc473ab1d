//! Clients that vanish.

use std::io::Write;
use std::net::TcpStream;

use super::{LIVEZ, Target, connect, read_answer};

const TIMES: usize = 60;

#[test]
fn a_client_may_vanish_at_any_moment() {
    let target = Target::start();
    let pipeline = LIVEZ.repeat(500);
    let pages = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500);
    let scrape = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart";
    let stages = ["", "GET /li", "GET /livez HTTP/1.1\r\nHost: a\r\n", LIVEZ, body, scrape, &pipeline, &pages];
    for _ in 0..TIMES {
        for stage in stages {
            for reset in [true, false] {
                let mut stream =
                    if reset { connect(target.address()) } else { TcpStream::connect(target.address()).unwrap() };
                let _ = stream.write_all(stage.as_bytes());
            }
        }
        // After an answer.
        let mut stream = connect(target.address());
        stream.write_all(LIVEZ.as_bytes()).unwrap();
        read_answer(&mut stream).unwrap();
    }
    target.recovers(0);
}
