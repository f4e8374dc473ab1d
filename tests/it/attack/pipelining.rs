//! Clients that do not wait for an answer before their next request.

use std::io::Write;
use std::net::Shutdown;

use socket2::{Domain, Socket, Type};

use super::target::longest_queue;
use super::{Target, connect, read_to_end, statuses};

const ROUNDS: usize = 300;
const CLIENTS: usize = 20;
/// Their answers are many times longer than all buffers.
const PAGES: usize = 20_000;
/// Answers that no client reads take the container's memory as well.
const MOST_QUEUED: u64 = 512 * 1024;

#[test]
fn a_thousand_requests_in_one_piece_are_answered_in_order() {
    let target = Target::start();
    let round = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET /x HTTP/1.1\r\nHost: a\r\n\r\nPOST /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    let requests = format!("{}{last}", round.repeat(ROUNDS));
    let mut stream = connect(target.address());
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(requests.as_bytes())?;
        // A client that sends no more may still read.
        writer.shutdown(Shutdown::Write)
    });
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
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(PAGES);
    let clients: Vec<Socket> = (0..CLIENTS)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // Full after a page or two.
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&target.address().into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            assert!(socket.send(requests.as_bytes()).unwrap() > 1000);
            socket
        })
        .collect();
    target.wait_for_probes(20);
    target.comes_to_ease();
    let queue = longest_queue(target.address().port());
    println!("the kernel holds {queue} bytes for one of them");
    assert!(queue > 0, "they are not stuck");
    assert!(queue < MOST_QUEUED, "the kernel holds {queue} bytes for one of them");
    // They are stuck, and nothing else is.
    target.wait_for_probes(20);
    drop(clients);
    target.recovers(0);
}
