//! The fuzzer's input as the course of a conversation, and the server that follows it.
//!
//! A record is a byte that says what to do, a length, and that many bytes:
//!
//! | `byte & 7` | |
//! |---|---|
//! | 0 | sends the bytes as they are |
//! | 1 | sends a PostgreSQL message: its type, then its body; its length is written here |
//! | 2 | sends a ready-made answer, chosen by the length (no bytes follow) |
//! | 3 | waits length × 10 ms (no bytes follow) |
//! | 4 | plays SCRAM: `r=`, the client's nonce, then the bytes |
//! | 5 | as 1, and each `%` becomes the password |
//! | 6 | sends what was sent last again, (length + 1)² times (no bytes follow) |
//! | 7 | ends the connection: silent for ever if the length is odd, else closed; the rest is for the next one |
//!
//! With `byte & 0x80` it hears the client first; with `byte & 0x40` it sends one byte at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sidepulse::fuzzed::{Duplex, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use crate::postgres;

const WAIT_FIRST: u8 = 0x80;
const DRIP: u8 = 0x40;
/// Enough for every limit to be reached.
const MOST_REPEATED: usize = 512 * 1024;

/// What comes before the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opening {
    /// Nothing.
    None,
    /// `N` to SSLRequest.
    NoTls,
    /// `S` to SSLRequest, and a real handshake: the script is inside.
    Tls,
}

/// Everything that clients sent in the clear.
pub type Sent = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
enum Step {
    Hear,
    Send { bytes: Vec<u8>, drip: bool },
    Scram(Vec<u8>),
    Again(usize),
    Pause(Duration),
}

#[derive(Debug, Default)]
struct Course {
    steps: Vec<Step>,
    hang: bool,
}

/// The server's part, for one connection after another.
#[derive(Debug)]
pub struct Conversation {
    opening: Opening,
    /// Sent when the client was first heard, after this pause.
    first: (Duration, Vec<u8>),
    courses: VecDeque<Course>,
    sent: Sent,
}

impl Conversation {
    /// Reads a script. `secret` is what the server knows about the client; `answers` are the ready-made ones.
    pub fn read(mut input: &[u8], answers: &[Vec<u8>], secret: &str) -> Self {
        let mut courses = VecDeque::from([Course::default()]);
        while let [what, length, rest @ ..] = input {
            input = rest;
            let course = courses.back_mut().expect("the first");
            if what & WAIT_FIRST != 0 {
                course.steps.push(Step::Hear);
            }
            let mut take = || {
                let (taken, rest) = input.split_at(usize::from(*length).min(input.len()));
                input = rest;
                taken
            };
            let bytes = match what & 7 {
                0 => take().to_vec(),
                1 => postgres::message(take()),
                2 => answers[usize::from(*length) % answers.len()].clone(),
                3 => {
                    course.steps.push(Step::Pause(Duration::from_millis(10) * u32::from(*length)));
                    continue;
                }
                4 => {
                    course.steps.push(Step::Scram(take().to_vec()));
                    continue;
                }
                5 => {
                    let (mut told, parts) = (Vec::new(), take().split_inclusive(|byte| *byte == b'%'));
                    for part in parts {
                        match part.strip_suffix(b"%") {
                            Some(before) => told.extend([before, secret.as_bytes()].concat()),
                            None => told.extend(part),
                        }
                    }
                    postgres::message(&told)
                }
                6 => {
                    course.steps.push(Step::Again((usize::from(*length) + 1).pow(2)));
                    continue;
                }
                _ => {
                    course.hang = length & 1 == 1;
                    courses.push_back(Course::default());
                    continue;
                }
            };
            course.steps.push(Step::Send { bytes, drip: what & DRIP != 0 });
        }
        Conversation { opening: Opening::None, first: Default::default(), courses, sent: Sent::default() }
    }

    /// What comes before the script.
    #[must_use]
    pub fn opened(self, opening: Opening) -> Self {
        Conversation { opening, ..self }
    }

    /// An answer to the client's first message, after a pause and before the script.
    #[must_use]
    pub fn after(self, pause: Duration, answer: &[u8]) -> Self {
        Conversation { first: (pause, answer.to_vec()), ..self }
    }

    /// What the clients will have sent.
    pub fn sent(&self) -> Sent {
        Arc::clone(&self.sent)
    }

    /// The next connection.
    pub fn serve(&mut self, stream: DuplexStream) -> impl Future<Output = ()> + Send + use<> {
        let course = self.courses.pop_front().unwrap_or_default();
        let (opening, first, sent) = (self.opening, self.first.clone(), self.sent());
        async move {
            let server = Server { stream: Box::new(stream), sent: Some(sent), heard: Vec::new() };
            // A client that disconnects is not an error.
            let _ = server.play(opening, &first, course).await;
        }
    }
}

struct Server {
    stream: Stream,
    /// `None` inside TLS.
    sent: Option<Sent>,
    /// The client's last message.
    heard: Vec<u8>,
}

impl Server {
    async fn play(mut self, opening: Opening, (pause, first): &(Duration, Vec<u8>), course: Course) -> io::Result<()> {
        match opening {
            Opening::None => {}
            Opening::NoTls => {
                self.hear().await?;
                self.stream.write_all(b"N").await?;
            }
            Opening::Tls => {
                self.hear().await?;
                self.stream.write_all(b"S").await?;
                let accepted = postgres::tls().accept(self.stream).await.map_err(io::Error::other)?;
                self = Server { stream: Box::new(accepted) as Box<dyn Duplex>, sent: None, heard: Vec::new() };
            }
        }
        if !first.is_empty() {
            self.hear().await?;
            sleep(*pause).await;
            self.stream.write_all(first).await?;
            self.stream.flush().await?;
        }
        let mut last = Vec::new();
        for step in course.steps {
            match step {
                Step::Hear => self.hear().await?,
                Step::Pause(pause) => sleep(pause).await,
                Step::Send { bytes, drip } => {
                    for piece in bytes.chunks(if drip { 1 } else { bytes.len().max(1) }) {
                        self.stream.write_all(piece).await?;
                        self.stream.flush().await?;
                        if drip {
                            tokio::task::yield_now().await;
                        }
                    }
                    last = bytes;
                }
                Step::Again(times) => {
                    for _ in 0..times.min(MOST_REPEATED / last.len().max(1)) {
                        self.stream.write_all(&last).await?;
                    }
                    self.stream.flush().await?;
                }
                Step::Scram(rest) => {
                    let nonce = self.heard.rsplit(|byte| *byte == b'=').next().unwrap_or_default();
                    last = postgres::message(&[b"R\0\0\0\x0br=", nonce, &rest].concat());
                    self.stream.write_all(&last).await?;
                    self.stream.flush().await?;
                }
            }
        }
        while course.hang {
            self.hear().await?;
        }
        // Inside TLS, close as an honest server does: otherwise every end would look truncated.
        self.stream.shutdown().await
    }

    /// Reads the client's next message.
    async fn hear(&mut self) -> io::Result<()> {
        self.heard.clear();
        if self.stream.read_buf(&mut self.heard).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(sent) = &self.sent {
            sent.lock().unwrap_or_else(PoisonError::into_inner).extend(&self.heard);
        }
        Ok(())
    }
}
