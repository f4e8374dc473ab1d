//! Slow clients: heads that drip or stop, bodies that never end.

use std::io::Write;
use std::net::TcpStream;

use super::target::soon;
use super::{LIVEZ, Target, connect, is_closed, read_answer, statuses, talk};

/// Clients whose heads drip. The sidecar's limit on clients has a test of its own.
const DRIPPING: usize = 60;
const HALF: usize = 300;

#[test]
fn a_head_that_drips_is_cut_off_however_often_a_byte_arrives() {
    let target = Target::start();
    let mut clients: Vec<TcpStream> = (0..DRIPPING)
        .map(|n| {
            let mut stream = connect(target.address());
            // Some were answered before.
            if n % 2 == 0 {
                stream.write_all(LIVEZ.as_bytes()).unwrap();
                assert!(read_answer(&mut stream).unwrap().starts_with("HTTP/1.1 200 "));
            }
            stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").unwrap();
            stream
        })
        .collect();
    target.wait_for_probes(10);
    soon(&target, "a slow head is read for ever", || {
        clients.retain_mut(|stream| !is_closed(stream) && stream.write_all(b"x").is_ok());
        clients.is_empty()
    });
    target.recovers(0);
}

#[test]
fn half_a_request_and_then_silence_is_cut_off_and_costs_nothing_meanwhile() {
    let target = Target::start();
    let after_an_answer = format!("{LIVEZ}GET /readyz HT");
    let halves = ["\r\n", "G", "GET /livez HTTP/1.1", "GET /livez HTTP/1.1\r\nHost: a\r\n", &after_an_answer];
    let clients: Vec<TcpStream> = halves
        .iter()
        .cycle()
        .take(HALF)
        .map(|half| {
            let mut stream = connect(target.address());
            stream.write_all(half.as_bytes()).unwrap();
            stream
        })
        .collect();
    target.wait_for_probes(10);
    target.is_at_ease();
    // A client that is merely idle is not cut off with them.
    let mut idle = connect(target.address());
    idle.write_all(LIVEZ.as_bytes()).unwrap();
    read_answer(&mut idle).unwrap();
    // The clients never close: the sidecar does.
    soon(&target, "half requests are waited for", || clients.iter().all(is_closed));
    idle.write_all(LIVEZ.as_bytes()).unwrap();
    assert!(read_answer(&mut idle).unwrap().starts_with("HTTP/1.1 200 "));
    drop((idle, clients));
    target.recovers(0);
}

#[test]
fn a_request_that_arrives_a_byte_at_a_time_is_answered() {
    let target = Target::start();
    let mut stream = connect(target.address());
    stream.set_nodelay(true).unwrap();
    for byte in LIVEZ.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_answer(&mut stream).unwrap().ends_with("\r\n\r\nok\n"));
    drop(stream);
    target.recovers(0);
}

#[test]
fn a_body_that_never_ends_is_not_waited_for() {
    let target = Target::start();
    for round in 0..20 {
        for (head, status) in [
            ("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 405),
            ("POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart", 405),
            ("GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart", 200),
            ("GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
            ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\npart", 405),
            ("POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: ", 405),
            ("PUT /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", 405),
        ] {
            assert_eq!(statuses(&talk(target.address(), head.as_bytes())), [status], "{head:?} in round {round}");
        }
    }
    target.recovers(0);
}
