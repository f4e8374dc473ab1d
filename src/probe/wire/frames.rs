//! The frames of the messages that a server sends: their types and lengths, and what can be known without parsing them.

use super::{MOST_RECEIVED, Rejection};

/// Type byte and length.
const FRAME: usize = 5;
/// PostgreSQL's own limit for one message (`MaxAllocSize` in `src/include/utils/memutils.h`): no honest row is longer.
const LONGEST_ROW: usize = 0x3fff_ffff;
/// The mechanism by which a server offers channel binding.
const BINDING: &[u8] = b"SCRAM-SHA-256-PLUS\0";

/// What is known from the messages that have passed so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessagesSeen {
    /// The newest one is AuthenticationSASLContinue, and complete.
    pub(super) sasl_continued: bool,
    /// The status in the newest ReadyForQuery: `I`, `T` or `E`.
    pub(super) transaction: u8,
    /// A COPY began in the newest response, in either direction.
    pub(super) copy: bool,
    /// The newest one is ReadyForQuery, which ends a response.
    ready: bool,
    /// A row came.
    rows: bool,
    /// How many bytes of [`BINDING`] matched; all of them where it is offered.
    binding: usize,
}

impl MessagesSeen {
    /// The server offered channel binding.
    pub(super) fn offers_binding(self) -> bool {
        self.binding == BINDING.len()
    }

    /// Why a server that sends more than [`MOST_RECEIVED`] is rejected.
    pub(super) fn excess(self) -> Rejection {
        if self.rows && self.transaction != 0 { Rejection::ResultTooLarge } else { Rejection::NotPostgres }
    }
}

/// Reads the frames of backend messages as they pass.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; FRAME + 4],
    have: usize,
    body_left: usize,
    pub(super) passing: MessagesSeen,
}

impl Frames {
    /// Inspects bytes in order. `encrypted` says whether a cleartext password may be given.
    pub(super) fn scan(&mut self, mut bytes: &[u8], encrypted: bool) -> Result<(), Rejection> {
        while !bytes.is_empty() {
            if self.have >= FRAME && self.body_left == 0 {
                self.have = 0;
            }
            if self.have < FRAME {
                self.passing.sasl_continued = false;
                self.header[self.have] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                if self.have == FRAME {
                    self.body_left = self.announced()?;
                }
                continue;
            }
            if self.have < self.header.len() {
                self.header[self.have] = bytes[0];
                self.have += 1;
                self.body_left -= 1;
                bytes = &bytes[1..];
                // AuthenticationCleartextPassword is `R`, length 8, code 3.
                if !encrypted && self.have == self.header.len() && self.header == *b"R\0\0\0\x08\0\0\0\x03" {
                    return Err(Rejection::CleartextPassword);
                }
                self.note();
                continue;
            }
            let (body, rest) = bytes.split_at(self.body_left.min(bytes.len()));
            // AuthenticationSASL, code 10, lists mechanisms.
            if let [b'R', .., 0, 0, 0, 10] = self.header {
                self.match_binding(body);
            }
            self.body_left -= body.len();
            bytes = rest;
            self.note();
        }
        Ok(())
    }

    fn match_binding(&mut self, body: &[u8]) {
        for &byte in body {
            let matched = &mut self.passing.binding;
            match BINDING.get(*matched) {
                None => return,
                Some(&next) if next == byte => *matched += 1,
                // A mismatch can only begin the name again with its first letter.
                Some(_) => *matched = usize::from(byte == BINDING[0]),
            }
        }
    }

    /// Records a message once it is complete.
    fn note(&mut self) {
        if self.body_left > 0 {
            return;
        }
        match self.header {
            [b'Z', ..] => {
                self.passing.transaction = self.header[FRAME];
                self.passing.ready = true;
            }
            // AuthenticationSASLContinue is code 11.
            [b'R', .., 0, 0, 0, 11] => self.passing.sasl_continued = true,
            _ => {}
        }
    }

    /// The length of the body that the header announces.
    fn announced(&mut self) -> Result<usize, Rejection> {
        let [kind, a, b, c, d, ..] = self.header;
        let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        self.passing.rows |= kind == b'D';
        if kind == b'D' && length > MOST_RECEIVED && length <= LONGEST_ROW {
            return Err(self.passing.excess());
        }
        // Every backend message type is a letter or a digit, and the length counts itself.
        if !kind.is_ascii_alphanumeric() || !(4..=MOST_RECEIVED).contains(&length) {
            return Err(Rejection::NotPostgres);
        }
        // CopyOutResponse, CopyInResponse, CopyBothResponse.
        let copy = matches!(kind, b'H' | b'G' | b'W');
        let new_response = std::mem::take(&mut self.passing.ready);
        self.passing.copy = copy || self.passing.copy && !new_response;
        Ok(length - 4)
    }
}
