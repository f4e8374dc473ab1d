//! An app beside the child that behaves as the test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers with this status.
    Status(u16),
    /// Answers 200 after a while.
    Slow(Duration),
}

/// A running app on a free port.
pub(crate) struct App {
    port: u16,
    state: Arc<(Mutex<Mode>, AtomicUsize)>,
}

impl App {
    /// One that answers 200.
    pub(crate) fn start() -> App {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new((Mutex::new(Mode::Status(200)), AtomicUsize::new(0)));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = *shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                shared.1.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, mode));
            }
        });
        App { port, state }
    }

    /// The value for `SIDEPULSE_APP_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// From the next request on.
    pub(crate) fn behave(&self, mode: Mode) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.state.1.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, mode: Mode) {
    let mut request = [0; 2048];
    let _ = stream.read(&mut request);
    let status = match mode {
        Mode::Status(status) => status,
        Mode::Slow(time) => {
            let _ = stream.set_read_timeout(Some(time));
            // The client may disconnect first.
            let _ = stream.read(&mut request);
            200
        }
    };
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
}
