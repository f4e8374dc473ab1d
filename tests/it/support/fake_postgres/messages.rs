//! PostgreSQL's messages, as the server reads and writes them, on a stream that can be slowed down.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::behaviour::ServerError;

/// PostgreSQL's own limit for a startup packet.
const LONGEST_STARTUP: usize = 10_000;

/// A TCP or TLS stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The server's end of a connection.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Stream>,
    /// The pause after each byte sent.
    pub(super) pace: Option<Duration>,
}

impl Wire {
    /// A packet without a tag: its code and the rest.
    pub(super) async fn read_startup(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let length = self.stream.read_u32().await? as usize;
        if !(8..=LONGEST_STARTUP).contains(&length) {
            return Err(io::Error::other("invalid length of startup packet"));
        }
        let code = self.stream.read_u32().await?;
        Ok((code, self.read_body(length - 8).await?))
    }

    /// A message: its tag and its body.
    pub(super) async fn read_message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let tag = self.stream.read_u8().await?;
        let length = (self.stream.read_u32().await? as usize).saturating_sub(4);
        Ok((tag, self.read_body(length).await?))
    }

    /// Reads whatever arrives; false at the end of the stream.
    pub(super) async fn read_some(&mut self) -> io::Result<bool> {
        Ok(self.stream.read(&mut [0; 1]).await? > 0)
    }

    /// Sends and flushes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.pace {
            None => self.stream.write_all(bytes).await?,
            Some(pause) => {
                for byte in bytes.chunks(1) {
                    self.stream.write_all(byte).await?;
                    self.stream.flush().await?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        self.stream.flush().await
    }

    async fn read_body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// Splits a body into its zero-terminated strings.
pub(super) fn strings(body: &[u8]) -> impl Iterator<Item = String> {
    body.split(|&byte| byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// `R`: the code and what belongs to it.
pub(super) fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes(), data].concat())
}

/// `S`
pub(super) fn parameter(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// `K`, with meaningless numbers.
pub(super) fn backend_key() -> Vec<u8> {
    message(b'K', &[4321_u32.to_be_bytes(), 8765_u32.to_be_bytes()].concat())
}

/// `Z`: `I` idle, `T` in a transaction, `E` in a failed one.
pub(super) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// `E`
pub(super) fn error(error: &ServerError) -> Vec<u8> {
    let ServerError { severity, code, message: text, position, without_severity } = error;
    if *without_severity {
        return message(b'E', format!("M{text}\0\0").as_bytes());
    }
    let position = position.map_or(String::new(), |position| format!("P{position}\0"));
    message(b'E', format!("S{severity}\0V{severity}\0C{code}\0M{text}\0{position}\0").as_bytes())
}

/// `N`
pub(super) fn notice(text: &str) -> Vec<u8> {
    message(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0").as_bytes())
}

/// `C`
pub(super) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

/// `T`: columns by name and type, in text form.
pub(super) fn row_description(columns: &[(&str, u32)]) -> Vec<u8> {
    let mut body = count(columns.len()).to_vec();
    for (name, kind) in columns {
        body.extend(name.as_bytes());
        // No table and column number; then the type, its size unknown, no modifier, text.
        body.extend([0; 7]);
        body.extend(kind.to_be_bytes());
        body.extend([0xff; 6]);
        body.extend([0; 2]);
    }
    message(b'T', &body)
}

/// `D`
pub(super) fn data_row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = count(values.len()).to_vec();
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("a short value"));
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default().as_bytes());
    }
    message(b'D', &body)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn count(columns: usize) -> [u8; 2] {
    u16::try_from(columns).expect("a few columns").to_be_bytes()
}
