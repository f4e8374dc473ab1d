//! Clients that do not wait for an answer before they ask again.

use std::io::Write;
use std::net::TcpStream;

use super::{Target, read_to_end, statuses};

const ROUNDS: usize = 300;
/// The status page is the longest answer, so that few requests fill all buffers.
const PAGES: usize = 20_000;
/// Looks without progress after which a client is stuck.
const STUCK_LOOKS: usize = 20;

#[test]
fn a_thousand_requests_in_one_piece_are_answered_in_order() {
    let target = Target::start();
    let round = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET /x HTTP/1.1\r\nHost: a\r\n\r\nPOST /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let requests = format!("{}{last}", round.repeat(ROUNDS));
    let mut stream = TcpStream::connect(target.address()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(requests.as_bytes()));
    let read = read_to_end(&mut stream).expect("closed after the last answer");
    writing.join().unwrap().unwrap();
    let expected: Vec<u16> = [200, 200, 404, 405].repeat(ROUNDS).into_iter().chain([200]).collect();
    assert_eq!(statuses(&read), expected);
    let text = String::from_utf8(read).unwrap();
    assert_eq!(text.matches("\r\n\r\nok\n").count(), ROUNDS + 1, "each has its body, but for HEAD");
    target.recovers(0);
}

#[test]
fn clients_that_never_read_hold_no_memory_and_no_cpu() {
    let target = Target::start();
    let mut clients: Vec<TcpStream> = (0..20)
        .map(|_| {
            let stream = TcpStream::connect(target.address()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(PAGES);
    let mut quiet_looks = 0;
    super::target::soon(&target, "it reads on and on", || {
        let written: usize =
            clients.iter_mut().map(|stream| stream.write(requests.as_bytes()).unwrap_or_default()).sum();
        quiet_looks = if written == 0 { quiet_looks + 1 } else { 0 };
        quiet_looks == STUCK_LOOKS
    });
    target.wait_for_probes(20);
    target.is_at_ease();
    drop(clients);
    target.recovers(0);
}
