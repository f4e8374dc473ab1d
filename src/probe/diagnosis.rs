//! What a failure means: the one place that maps errors to reasons.
//!
//! What the server says is read in `server.rs`, from the tables of `messages.rs`; TLS errors in `tls.rs`, those of the
//! driver in `driver.rs`; socket errors and timeouts here.

use std::io;

use super::{Cause, Diagnosis, Phase, Reason};

pub(crate) mod driver;
mod messages;
pub(crate) mod server;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

/// No file descriptor is left in the process (`EMFILE`) or on the machine (`ENFILE`); the numbers are the same on every
/// Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// The reason for an error of the socket or the name look-up in this phase.
pub(crate) fn from_io(error: &io::Error, phase: Phase) -> Reason {
    use io::ErrorKind as Kind;

    let kind = error.kind();
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) || kind == Kind::OutOfMemory {
        return Reason::Internal;
    }
    match (phase, kind) {
        (_, Kind::TimedOut) => timed_out(phase),
        (Phase::Resolve, _) => Reason::DnsFailure,
        // The last two mean a Unix socket that does not exist.
        (Phase::Connect, Kind::ConnectionRefused | Kind::NotFound | Kind::NotADirectory) => Reason::ConnectRefused,
        // A Unix socket whose backlog is full.
        (Phase::Connect, Kind::WouldBlock) => Reason::ConnectTimeout,
        (
            _,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof,
        ) => Reason::ConnectionLost,
        (Phase::Connect, _) => Reason::Unreachable,
        (Phase::Tls, _) => Reason::TlsFailed,
        (_, Kind::InvalidData | Kind::InvalidInput) => Reason::ProtocolError,
        _ => Reason::ConnectionLost,
    }
}

/// What an error in connecting to a Unix socket means.
pub(crate) fn of_unix_socket(error: &io::Error) -> Diagnosis {
    let cause = match error.kind() {
        io::ErrorKind::PermissionDenied => Some(Cause::SocketForbidden),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Some(Cause::SocketMissing),
        _ => None,
    };
    Diagnosis { reason: from_io(error, Phase::Connect), cause }
}

/// The reason for an attempt that times out in this phase.
pub(crate) const fn timed_out(phase: Phase) -> Reason {
    match phase {
        Phase::Resolve => Reason::DnsFailure,
        Phase::Connect => Reason::ConnectTimeout,
        Phase::Tls => Reason::TlsTimeout,
        Phase::Response => Reason::ResponseTimeout,
        Phase::Auth => Reason::AuthTimeout,
        Phase::Query => Reason::QueryTimeout,
    }
}
