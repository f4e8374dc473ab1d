//! Errors of the socket, and the end of the time.

use std::io;

use super::*;
use crate::probe::Reason::*;

#[cfg(target_os = "linux")]
#[test]
fn errors_of_the_socket_by_phase() {
    const AFTER: [Phase; 3] = [Phase::Response, Phase::Auth, Phase::Query];
    let raw = |number, phase| from_io(&io::Error::from_raw_os_error(number), phase);

    // ECONNREFUSED, ENOENT, ENOTDIR
    for number in [111, 2, 20] {
        assert_eq!(raw(number, Phase::Connect), ConnectRefused, "{number}");
    }
    // ETIMEDOUT, EAGAIN
    for number in [110, 11] {
        assert_eq!(raw(number, Phase::Connect), ConnectTimeout, "{number}");
    }
    // ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES, EPERM, EINVAL, EPROTOTYPE
    for number in [100, 101, 112, 113, 99, 97, 13, 1, 22, 91] {
        assert_eq!(raw(number, Phase::Connect), Unreachable, "{number}");
    }
    for phase in AFTER.into_iter().chain([Phase::Connect, Phase::Tls]) {
        // ECONNRESET, EPIPE, ECONNABORTED, ENOTCONN
        for number in [104, 32, 103, 107] {
            assert_eq!(raw(number, phase), ConnectionLost, "{number} {phase:?}");
        }
        assert_eq!(from_io(&io::ErrorKind::UnexpectedEof.into(), phase), ConnectionLost, "{phase:?}");
    }
    for phase in AFTER {
        assert_eq!(raw(113, phase), ConnectionLost, "{phase:?}");
        assert_eq!(from_io(&io::Error::new(io::ErrorKind::InvalidData, "x"), phase), ProtocolError, "{phase:?}");
        assert_eq!(from_io(&io::Error::other("x"), phase), ConnectionLost, "{phase:?}");
    }
    for phase in Phase::ALL {
        // ENFILE, EMFILE, ENOMEM: the prober, not the target.
        for number in [23, 24, 12] {
            assert_eq!(raw(number, phase), Internal, "{number} {phase:?}");
        }
        assert_eq!(raw(110, phase), timed_out(phase), "{phase:?}");
        assert_eq!(from_io(&io::ErrorKind::TimedOut.into(), phase), timed_out(phase), "{phase:?}");
    }
    assert_eq!(from_io(&io::Error::other("failed to lookup address information"), Phase::Resolve), DnsFailure);
    assert_eq!(from_io(&io::Error::new(io::ErrorKind::InvalidData, "bad record"), Phase::Tls), TlsFailed);
    assert_eq!(from_io(&io::Error::other("handshake failure"), Phase::Tls), TlsFailed);
}

#[test]
fn every_phase_has_its_own_timeout() {
    let expected = [DnsFailure, ConnectTimeout, TlsTimeout, ResponseTimeout, AuthTimeout, QueryTimeout];
    assert_eq!(Phase::ALL.map(timed_out), expected);
}

#[test]
fn a_unix_socket_that_is_missing_or_forbidden_has_its_cause() {
    use io::ErrorKind as Kind;
    for (kind, reason, cause) in [
        (Kind::PermissionDenied, Unreachable, Some(Cause::SocketForbidden)),
        (Kind::NotFound, ConnectRefused, Some(Cause::SocketMissing)),
        (Kind::NotADirectory, ConnectRefused, Some(Cause::SocketMissing)),
        // The file is there, and nobody listens.
        (Kind::ConnectionRefused, ConnectRefused, None),
    ] {
        assert_eq!(of_unix_socket(&kind.into()), Diagnosis { reason, cause }, "{kind}");
    }
}
