//! The world a check runs in: a paused clock, connections in memory, and all memory counted.

use std::alloc::System;
use std::future::Future;
use std::io;
use std::panic;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use cap::Cap;
use sidepulse::fuzzed::{self, TICK};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::script::{Conversation, Sent};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// A check may hold this much at once, including the server's side. Beyond it an allocation fails, and with it the run.
pub const MOST_MEMORY: usize = 8 * 1024 * 1024;
/// No client reads more than this from one connection: 256 KiB, and what one more read may bring.
const MOST_READ: usize = (256 + 64) * 1024;
/// How many of a connection's bytes the kernel would buffer.
const IN_FLIGHT: usize = 16 * 1024;

/// The runtime of a target.
pub fn runtime() -> Runtime {
    // A panic's own words take memory.
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let _ = MEMORY.set_limit(usize::MAX);
        shown(panic);
    }));
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What a run of a check did to its server.
pub struct Run<T> {
    /// What the check returned.
    pub result: T,
    /// How long it took by the clock of the runtime.
    pub took: Duration,
    /// Connections made.
    pub connections: u32,
    /// Everything that was sent to the server, outside TLS.
    pub sent: Sent,
}

/// Runs a check against a server that follows a script, and asserts what must hold whatever the server does: the check
/// ends in time, it holds at most one connection and none at its end, and memory is bounded.
pub fn run<T>(runtime: &Runtime, mut server: Conversation, limit: Duration, check: impl Future<Output = T>) -> Run<T> {
    let held = Arc::new(());
    let tasks: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
    let sent = server.sent();
    let allowed = MEMORY.allocated() + MOST_MEMORY;
    MEMORY.set_limit(allowed).expect("more than is in use");
    let (connection, handles) = (Arc::clone(&held), Arc::clone(&tasks));
    fuzzed::serve(move || {
        assert_eq!(Arc::strong_count(&connection), 2, "a second connection beside the first");
        let (near, far) = duplex(IN_FLIGHT);
        let task = tokio::spawn(server.serve(far));
        handles.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
        Box::new(Held { stream: near, read: 0, _held: Arc::clone(&connection) })
    });
    let (result, took) = runtime.block_on(async {
        let started = Instant::now();
        let result = check.await;
        (result, started.elapsed())
    });
    assert_eq!(Arc::strong_count(&held), 2, "a connection outlives its check");
    assert!(took <= limit + TICK, "{took:?} of {limit:?}");
    let tasks: Vec<_> = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
    tasks.iter().for_each(AbortHandle::abort);
    // Aborted tasks are dropped when the runtime polls again.
    runtime.block_on(tokio::task::yield_now());
    MEMORY.set_limit(usize::MAX).expect("no limit");
    Run { result, took, connections: u32::try_from(tasks.len()).expect("a few connections"), sent }
}

/// The client's end of a connection; counted for as long as it lives.
struct Held {
    stream: DuplexStream,
    read: usize,
    _held: Arc<()>,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read += buf.filled().len() - before;
        assert!(self.read <= MOST_READ, "{} bytes taken from one connection", self.read);
        polled
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
