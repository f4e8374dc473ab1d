//! One client: what its connection is doing, and how long that may take. Whatever a client does, its connection ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// From a request's first byte to the end of its head; bodies are not waited for.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Between two requests. Clients poll every 10 to 60 s over one connection, and if it closes just as they send the next
/// request that one fails.
const IDLE_TIME: Duration = Duration::from_secs(80);
/// For a client that does not read its answers.
const ANSWER_TIME: Duration = Duration::from_secs(25);
/// No head is under way.
const NONE: u64 = u64::MAX;

/// What is known of one connection; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Moments>);

#[derive(Debug)]
struct Moments {
    epoch: Instant,
    /// When it connected, or was last answered, in milliseconds since the epoch.
    asked: AtomicU64,
    /// When the first byte of an unfinished head was received, or [`NONE`].
    head_began: AtomicU64,
    /// It is not reading the answer that is being written.
    is_stuck: AtomicBool,
    /// It was answered in this turn of its task.
    was_answered: AtomicBool,
}

impl Client {
    pub(super) fn new(epoch: Instant) -> Self {
        let client = Client(Arc::new(Moments {
            epoch,
            asked: AtomicU64::new(0),
            head_began: AtomicU64::new(NONE),
            is_stuck: AtomicBool::new(false),
            was_answered: AtomicBool::new(false),
        }));
        client.asks(Instant::now());
        client
    }

    /// One of its requests is about to be answered.
    pub(super) fn asks(&self, now: Instant) {
        self.0.asked.store(self.millis(now), Ordering::Relaxed);
    }

    /// When it last asked.
    pub(super) fn asked(&self) -> Instant {
        self.at(self.0.asked.load(Ordering::Relaxed))
    }

    fn millis(&self, moment: Instant) -> u64 {
        let passed = moment.saturating_duration_since(self.0.epoch).as_millis();
        u64::try_from(passed).unwrap_or(NONE - 1)
    }

    fn at(&self, millis: u64) -> Instant {
        self.0.epoch + Duration::from_millis(millis)
    }

    /// When to close it, if nothing happens before.
    fn is_cut_at(&self) -> Instant {
        if self.0.is_stuck.load(Ordering::Relaxed) {
            return self.asked() + ANSWER_TIME;
        }
        match self.0.head_began.load(Ordering::Relaxed) {
            NONE => self.asked() + IDLE_TIME,
            began => self.at(began) + HEAD_TIME,
        }
    }

    /// Its connection, for [`Client::serve`].
    pub(super) fn watch(&self, stream: TcpStream) -> Watched {
        Watched { stream, client: self.clone(), head: Head::default() }
    }

    /// Runs the connection until it ends or is closed, one request a turn: see [`Client::wait_for_turn`].
    pub(super) async fn serve(&self, connection: impl Future) {
        let mut connection = pin!(connection);
        let mut timer = pin!(sleep_until(self.is_cut_at()));
        poll_fn(|context| {
            self.0.was_answered.store(false, Ordering::Relaxed);
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            // Usually it is later than before: then the timer is reset when it fires, not for each request.
            let cut_at = self.is_cut_at();
            if cut_at < timer.deadline() {
                timer.as_mut().reset(cut_at);
            }
            while timer.as_mut().poll(context).is_ready() {
                if cut_at <= Instant::now() {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(cut_at);
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether it has already been answered in this turn. Now the next answer begins.
    pub(super) fn is_early(&self) -> bool {
        self.0.was_answered.swap(true, Ordering::Relaxed)
    }

    /// After each answer to a client that sends many requests at once the others have a turn: hyper would answer sixteen,
    /// and five hundred such clients made a probe wait for seconds.
    pub(super) async fn wait_for_turn(&self) {
        yield_now().await;
        self.0.was_answered.store(true, Ordering::Relaxed);
    }
}

/// A connection that tells its [`Client`] what it is doing.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    client: Client,
    head: Head,
}

impl Watched {
    fn note_read(&mut self, bytes: &[u8]) {
        let before = self.head.is_under_way;
        match self.head.take(bytes) {
            HeadProgress::SameHead if before => {}
            HeadProgress::SameHead | HeadProgress::NewHead => {
                let now = self.client.millis(Instant::now());
                self.client.0.head_began.store(now, Ordering::Relaxed);
            }
            HeadProgress::Between => self.client.0.head_began.store(NONE, Ordering::Relaxed),
        }
    }

    fn note_write<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.client.0.is_stuck.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut watched.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            watched.note_read(&buffer.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        let written = Pin::new(&mut watched.stream).poll_write(context, bytes);
        watched.note_write(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Where the bytes received so far end: in a head, or between two. hyper's own timer cannot tell a head that arrives in
/// drops from a client that has nothing to ask. What follows a head is the next one: a request with a body is the last of
/// its connection, unless the whole body came with the head.
#[derive(Debug, Default)]
struct Head {
    is_under_way: bool,
    /// More than line ends, which may precede a request, has been received.
    has_begun: bool,
    /// Nothing has been received since the last line end.
    at_line_start: bool,
}

/// Where further bytes have led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadProgress {
    /// They end where a head ends.
    Between,
    /// They end in a head whose first byte is among them.
    NewHead,
    /// They end in the head in which the bytes before ended, if those did.
    SameHead,
}

impl Head {
    fn take(&mut self, bytes: &[u8]) -> HeadProgress {
        let mut progress = HeadProgress::SameHead;
        for byte in bytes {
            self.is_under_way = true;
            match byte {
                b'\n' if self.has_begun && self.at_line_start => {
                    *self = Head::default();
                    progress = HeadProgress::NewHead;
                }
                b'\n' => self.at_line_start = true,
                b'\r' => {}
                _ => (self.has_begun, self.at_line_start) = (true, false),
            }
        }
        if self.is_under_way { progress } else { HeadProgress::Between }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_bytes_end() {
        use HeadProgress::{Between, NewHead, SameHead};
        let rows: [(&[&str], HeadProgress); 11] = [
            (&["GET / HTTP/1.1\r\nHost: a\r\n\r\n"], Between),
            (&["GET / HTTP/1.1\nHost: a\n\n"], Between),
            (&["GET / HTTP/1.1\r\nHost: a\r\n", "\r", "\n"], Between),
            (&["\r\n\r\nGET / HTTP/1.1\r\n\r\n"], Between),
            (&["G"], SameHead),
            (&["\r\n"], SameHead),
            (&["\r\n\r\n"], SameHead),
            (&["GET / HTTP/1.1\r\nX: ", "y"], SameHead),
            (&["GET / HTTP/1.1\r\n\r\nGET /livez HT"], NewHead),
            (&["GET / HTTP/1.1\r\n\r\n", "GET /livez HT"], SameHead),
            (&["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"], Between),
        ];
        for (pieces, end) in rows {
            let mut head = Head::default();
            let last = pieces.iter().map(|piece| head.take(piece.as_bytes())).last();
            assert_eq!(last, Some(end), "{pieces:?}");
        }
    }
}
