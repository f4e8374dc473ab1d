//! Clients that attack: whatever they send or do not send, a prober is answered throughout, memory, descriptors and CPU
//! stay bounded, and once they have left everything is as before.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

mod idle;
mod malformed;
mod open_files;
mod oversized;
mod pipelining;
mod resets;
mod slow;
mod smuggling;
mod target;

use target::Target;

/// The time within which a connection that must be closed at once is closed; less than the time for a head, so that the
/// two are told apart.
const AT_ONCE: Duration = Duration::from_secs(8);

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client that ends with a reset, so that thousands of them leave no ports in TIME_WAIT.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

/// Sends what it can and reads until the server closes. Returns what was read; a reset is an end like any other.
fn talk(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.set_write_timeout(Some(AT_ONCE)).unwrap();
    // An error is the server's refusal to read on.
    let _ = stream.write_all(request);
    read_to_end(&mut stream).unwrap_or_else(|read| {
        panic!("still open after {} to {}", read.escape_ascii(), request[..request.len().min(400)].escape_ascii())
    })
}

/// What arrives until the server closes; an error holds what arrived until it ought to have closed.
fn read_to_end(stream: &mut TcpStream) -> Result<Vec<u8>, Vec<u8>> {
    stream.set_read_timeout(Some(AT_ONCE)).unwrap();
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(read),
        _ => Ok(read),
    }
}

/// Reads one answer from a connection that stays open: its status and its text.
fn read_answer(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(AT_ONCE))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // The bodies of the endpoints end in one newline; a head ends in two.
    while !answer.ends_with(b"\n") || answer.ends_with(b"\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The statuses of all answers in what was read.
fn statuses(read: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(read);
    let lines = text.split("HTTP/1.").skip(1);
    lines.map(|line| line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)).collect()
}

/// Whether the server has closed this connection; does not wait.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match (&*stream).read(&mut [0; 4096]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
