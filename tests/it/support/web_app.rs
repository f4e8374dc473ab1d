//! An app that behaves as the test says: it answers, stays silent, or sends what is not HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What it does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers with this status.
    Answer(u16),
    /// Accepts and stays silent: a blocked event loop.
    Silent,
    /// Answers with these bytes and closes.
    Bytes(&'static [u8]),
}

/// A running app. Its port is closed when it is dropped.
#[derive(Debug)]
pub(crate) struct WebApp {
    port: u16,
    mode: Arc<Mutex<Mode>>,
    requests: Arc<AtomicUsize>,
    open: Arc<Mutex<bool>>,
}

impl WebApp {
    /// An app that answers 200.
    pub(crate) fn start() -> WebApp {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let app = WebApp {
            port,
            mode: Arc::new(Mutex::new(Mode::Answer(200))),
            requests: Arc::default(),
            open: Arc::new(Mutex::new(true)),
        };
        let (mode, requests, open) = (Arc::clone(&app.mode), Arc::clone(&app.requests), Arc::clone(&app.open));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !*open.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                let mode = mode.lock().unwrap_or_else(PoisonError::into_inner).clone();
                requests.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, &mode));
            }
        });
        app
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From the next request on.
    pub(crate) fn behave(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Connections so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for WebApp {
    fn drop(&mut self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        // Wakes the accept, so that the port is closed when this returns or soon after.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut stream: TcpStream, mode: &Mode) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    let _ = match mode {
        Mode::Answer(status) => {
            write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        }
        // Until the client disconnects.
        Mode::Silent => stream.read(&mut byte).map(drop),
        Mode::Bytes(bytes) => stream.write_all(bytes),
    };
}
