//! A thin stream under the driver that inspects what the database server sends: the answer to SSLRequest, how much is
//! received, and the frame of each message. A server that is not PostgreSQL, or is hostile, thus ends the attempt early.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::Diagnosis;

mod frames;

use frames::{Frames, MessagesSeen};

/// An attempt reads a few hundred bytes; no honest server comes near this.
const MOST_RECEIVED: usize = 256 * 1024;

/// Why the stream ended the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The answer to SSLRequest was `N`.
    NoTls,
    /// It sent what is not PostgreSQL's protocol, or more than any login needs.
    NotPostgres,
    /// It sent more rows than any check needs.
    ResultTooLarge,
    /// It asked for a cleartext password on a connection without TLS.
    CleartextPassword,
}

/// What has been seen so far, shared between the stream and the attempt that owns it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many bytes came, including TLS and its handshake.
    pub(super) received: usize,
    /// The first reason to reject it.
    pub(crate) rejection: Option<Rejection>,
    /// When the TLS handshake was done.
    pub(crate) tls_done: Option<Instant>,
    /// The URL wants no TLS.
    planned_plaintext: bool,
    /// The handshake began without an SSLRequest.
    pub(crate) direct: bool,
    /// The server has no TLS, and the URL accepts that.
    pub(crate) plaintext: bool,
    /// Why the TLS handshake failed, and text for the person on call.
    pub(crate) tls_failure: Option<(Diagnosis, String)>,
    messages: MessagesSeen,
}

impl Seen {
    /// The handshake is over, or there is none.
    pub(crate) fn logging_in(&self) -> bool {
        self.planned_plaintext || self.plaintext || self.tls_done.is_some()
    }

    /// The client's last SASL message is due or sent and not yet answered. Here Neon's proxy is silent until the compute
    /// is up.
    pub(crate) fn awaits_login(&self) -> bool {
        self.messages.sasl_continued
    }

    /// The server offered channel binding.
    pub(crate) fn offers_binding(&self) -> bool {
        self.messages.offers_binding()
    }

    /// The server began a COPY in its newest response.
    pub(crate) fn copies(&self) -> bool {
        self.messages.copy
    }

    /// The newest ReadyForQuery said that a transaction is open or has failed.
    pub(crate) fn in_transaction(&self) -> bool {
        matches!(self.messages.transaction, b'T' | b'E')
    }
}

/// A shared handle to what a connection's streams have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Mutex<Seen>>);

impl Meter {
    /// What has been seen so far. The lock is never held across an await.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reject<T>(&self, rejection: Rejection) -> io::Result<T> {
        self.seen().rejection.get_or_insert(rejection);
        Err(io::Error::other("the attempt was ended: unexpected bytes from the server"))
    }
}

/// What comes next.
#[derive(Debug)]
enum Expect {
    /// The one-byte answer to SSLRequest; `must`: anything but `S` ends the attempt.
    SslAnswer { must: bool },
    /// Ciphertext: counted here, and inspected once it is decrypted.
    Ciphertext,
    /// Messages in plaintext.
    Messages(Frames),
    /// Messages that TLS has decrypted.
    Decrypted(Frames),
}

/// How the conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With the startup message.
    Plain,
    /// With SSLRequest.
    SslRequest {
        /// Plaintext is not acceptable.
        must: bool,
    },
    /// With the TLS handshake.
    DirectTls,
}

/// The stream under the driver: the connection itself, and with TLS also what is decrypted.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    inner: S,
    expect: Expect,
    meter: Meter,
}

impl<S> Wire<S> {
    /// Inspects a new connection.
    pub(crate) fn new(inner: S, opening: Opening, meter: Meter) -> Self {
        {
            let mut seen = meter.seen();
            seen.planned_plaintext = opening == Opening::Plain;
            seen.direct = opening == Opening::DirectTls;
        }
        let expect = match opening {
            Opening::Plain => Expect::Messages(Frames::default()),
            Opening::SslRequest { must } => Expect::SslAnswer { must },
            Opening::DirectTls => Expect::Ciphertext,
        };
        Wire { inner, expect, meter }
    }

    /// Inspects what TLS decrypts.
    pub(crate) fn decrypted(inner: S, meter: Meter) -> Self {
        Wire { inner, expect: Expect::Decrypted(Frames::default()), meter }
    }

    fn inspect(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let encrypted = matches!(self.expect, Expect::Decrypted(_));
        if !encrypted {
            self.count(bytes)?;
        }
        if let Expect::SslAnswer { must } = self.expect {
            self.expect = match bytes[0] {
                b'S' => Expect::Ciphertext,
                b'N' if must => return self.meter.reject(Rejection::NoTls),
                b'N' => {
                    self.meter.seen().plaintext = true;
                    Expect::Messages(Frames::default())
                }
                _ => return self.meter.reject(Rejection::NotPostgres),
            };
            bytes = &bytes[1..];
        }
        let (Expect::Messages(frames) | Expect::Decrypted(frames)) = &mut self.expect else { return Ok(()) };
        let scanned = frames.scan(bytes, encrypted);
        self.meter.seen().messages = frames.passing;
        scanned.or_else(|rejection| self.meter.reject(rejection))
    }

    fn count(&self, bytes: &[u8]) -> io::Result<()> {
        let (received, messages) = {
            let mut seen = self.meter.seen();
            seen.received += bytes.len();
            (seen.received, seen.messages)
        };
        if received > MOST_RECEIVED { self.meter.reject(messages.excess()) } else { Ok(()) }
    }
}

impl<T: TlsStream + Unpin> TlsStream for Wire<T> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.inspect(&buf.filled()[before..])),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(opening: Opening, chunks: &[&[u8]]) -> Option<Rejection> {
        let meter = Meter::default();
        let mut wire = Wire::new((), opening, meter.clone());
        for chunk in chunks {
            if wire.inspect(chunk).is_err() {
                break;
            }
        }
        meter.seen().rejection.take()
    }

    const MUST: Opening = Opening::SslRequest { must: true };
    const MAY: Opening = Opening::SslRequest { must: false };
    const AUTH_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

    #[test]
    fn the_answer_to_sslrequest() {
        assert_eq!(rejection(MUST, &[b"S", b"\x16\x03\x03 anything"]), None);
        assert_eq!(rejection(MUST, &[b"N"]), Some(Rejection::NoTls));
        assert_eq!(rejection(MAY, &[b"N", AUTH_OK, READY]), None);
        for byte in [b"E", b"H", b"\0"] {
            assert_eq!(rejection(MAY, &[byte]), Some(Rejection::NotPostgres), "{byte:?}");
        }
    }

    #[test]
    fn messages_pass_however_they_are_split() {
        let all = [AUTH_OK, b"S\0\0\0\x0fa\0bcdefgh\0\0", READY, AUTH_OK].concat();
        for size in 1..all.len() {
            let chunks: Vec<_> = all.chunks(size).collect();
            assert_eq!(rejection(Opening::Plain, &chunks), None, "chunks of {size}");
        }
    }

    #[test]
    fn what_is_not_postgres_ends_the_attempt() {
        assert_eq!(rejection(Opening::Plain, &[b"HTTP/1.1 400 Bad Request\r\n"]), Some(Rejection::NotPostgres));
        assert_eq!(rejection(Opening::Plain, &[b"D\x40\0\0\0"]), Some(Rejection::NotPostgres), "1 GB announced");
        assert_eq!(
            rejection(Opening::Plain, &[b"D\0\0\0\x03"]),
            Some(Rejection::NotPostgres),
            "shorter than its own length"
        );
        assert_eq!(rejection(Opening::Plain, &[b"D\xff\xff\xff\xff"]), Some(Rejection::NotPostgres), "negative");
        let flood = vec![READY.repeat(1000); 50];
        let chunks: Vec<&[u8]> = flood.iter().map(Vec::as_slice).collect();
        assert_eq!(rejection(Opening::Plain, &chunks), Some(Rejection::NotPostgres), "300 kB of honest messages");
    }

    #[test]
    fn the_status_and_the_last_message_of_a_login_are_seen_however_they_are_split() {
        const CONTINUE: &[u8] = b"R\0\0\0\x0b\0\0\0\x0br=a";
        for (bytes, awaits_login, in_transaction) in [
            (CONTINUE.to_vec(), true, false),
            (CONTINUE[..CONTINUE.len() - 1].to_vec(), false, false),
            ([CONTINUE, b"R"].concat(), false, false),
            ([CONTINUE, AUTH_OK, READY].concat(), false, false),
            ([READY, b"Z\0\0\0\x05T"].concat(), false, true),
            ([READY, b"Z\0\0\0\x05E"].concat(), false, true),
            ([b"Z\0\0\0\x05E", READY].concat(), false, false),
        ] {
            for size in 1..=bytes.len() {
                let meter = Meter::default();
                let mut wire = Wire::new((), Opening::Plain, meter.clone());
                bytes.chunks(size).for_each(|chunk| wire.inspect(chunk).unwrap());
                let seen = meter.seen();
                assert_eq!((seen.awaits_login(), seen.in_transaction()), (awaits_login, in_transaction), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_copy_is_known_until_the_next_response() {
        const COPY_OUT: &[u8] = b"H\0\0\0\x09\0\0\x01\0\0";
        let meter = Meter::default();
        let mut wire = Wire::new((), Opening::Plain, meter.clone());
        for (message, copies) in
            [(AUTH_OK, false), (READY, false), (COPY_OUT, true), (b"c\0\0\0\x04", true), (READY, true), (READY, false)]
        {
            wire.inspect(message).unwrap();
            assert_eq!(meter.seen().copies(), copies, "{message:?}");
        }
    }

    #[test]
    fn too_many_rows_of_a_query_are_a_result_too_large() {
        let row = [&b"D\0\0\x03\xed\0\x01\0\0\x03\xe3"[..], &[b'a'; 995]].concat();
        let flood = row.repeat(300);
        let logged_in: &[&[u8]] = &[AUTH_OK, READY];
        let chunks: Vec<&[u8]> = logged_in.iter().copied().chain(flood.chunks(16_000)).collect();
        assert_eq!(rejection(Opening::Plain, &chunks), Some(Rejection::ResultTooLarge), "many");
        assert_eq!(
            rejection(Opening::Plain, &[AUTH_OK, READY, b"D\0\x10\0\0"]),
            Some(Rejection::ResultTooLarge),
            "one"
        );
        assert_eq!(
            rejection(Opening::Plain, &[AUTH_OK, b"D\0\x10\0\0"]),
            Some(Rejection::NotPostgres),
            "before the login"
        );
        let chunks: Vec<&[u8]> = flood.chunks(16_000).collect();
        assert_eq!(rejection(Opening::Plain, &chunks), Some(Rejection::NotPostgres), "many before the login");
        assert_eq!(
            rejection(Opening::Plain, &[AUTH_OK, READY, b"N\0\x10\0\0"]),
            Some(Rejection::NotPostgres),
            "no row"
        );
    }

    #[test]
    fn channel_binding_is_offered_by_name() {
        let offers = |mechanisms: &[u8], size: usize| {
            let length = u32::try_from(mechanisms.len() + 8).unwrap().to_be_bytes();
            let message = [b"R", &length[..], b"\0\0\0\x0a", mechanisms].concat();
            let meter = Meter::default();
            let mut wire = Wire::new((), Opening::Plain, meter.clone());
            for chunk in message.chunks(size) {
                wire.inspect(chunk).unwrap();
            }
            meter.seen().offers_binding()
        };
        for size in [1, 7, 100] {
            assert!(offers(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", size));
            assert!(offers(b"OAUTHBEARER\0SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0", size));
            assert!(!offers(b"SCRAM-SHA-256\0\0", size));
            assert!(!offers(b"SCRAM-SHA-256-PLUSH\0\0", size));
        }
    }

    #[test]
    fn a_cleartext_password_is_given_only_over_tls() {
        assert_eq!(rejection(Opening::Plain, &[CLEARTEXT]), Some(Rejection::CleartextPassword));
        assert_eq!(rejection(MAY, &[b"N", &CLEARTEXT[..4], &CLEARTEXT[4..]]), Some(Rejection::CleartextPassword));
        assert_eq!(Frames::default().scan(CLEARTEXT, true), Ok(()));
    }
}
