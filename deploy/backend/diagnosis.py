"""Why the database did not answer, in one fixed word: the sidecar's reason where it has one.

The text of an error may name hosts, users and databases; the word may be shown to anyone.
"""

import errno
import socket
import ssl

from sqlalchemy import exc

from tls import NOT_OFFERED

# The server, or a proxy in front of it, cannot serve anyone just now.
AT_ANY_TIME = {
    "53300": "too_many_connections",
    "53400": "too_many_connections",
    "57P01": "shutting_down",
    "57P02": "shutting_down",
    "57P03": "starting_up",
    "57014": "query_timeout",
    "55P03": "lock_timeout",
    "25006": "read_only",
}
AT_LOGIN = AT_ANY_TIME | {
    "28P01": "auth_failed",
    "28000": "access_denied",
    "42501": "access_denied",
    "3D000": "database_missing",
    "57P04": "database_missing",
}
CONNECTION_EXCEPTION = "08"  # a class of SQLSTATEs; PgBouncer's own errors are 08P01
DROPPED = ("connection_lost", "shutting_down")  # the session is gone; a new one may well work


class DatabaseUnavailable(Exception):
    """The database failed to answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def connect_reason(error: Exception) -> str:
    """Why no connection could be made."""
    match error:
        case DatabaseUnavailable():
            return error.reason
        case exc.TimeoutError():
            return "pool_exhausted"
        case TimeoutError():
            return "timeout"
        case socket.gaierror():
            return "dns_failure"
        case ssl.SSLCertVerificationError():
            return "tls_untrusted"
        case ssl.SSLError():
            return "tls_failed"
        case ConnectionResetError():
            return "connection_lost"
        case FileNotFoundError():
            return "connect_refused"  # a Unix socket that does not exist
        case OSError():
            # asyncio joins the errors of all addresses into one text, without an errno.
            if f"[Errno {errno.ECONNREFUSED}]" in str(error):
                return "connect_refused"
            return "tls_unsupported" if NOT_OFFERED in str(error) else "unreachable"
    sqlstate = _sqlstate(error)
    if sqlstate.startswith(CONNECTION_EXCEPTION):
        return "connection_lost"
    return AT_LOGIN.get(sqlstate, "login_failed")  # Neon's proxy says XX000 for most things


def statement_reason(error: BaseException, connection_is_gone: bool) -> str | None:
    """Why a statement failed where the database is at fault; None where the statement is."""
    if isinstance(error, TimeoutError):
        return "query_timeout"
    if reason := AT_ANY_TIME.get(_sqlstate(error)):
        return reason
    lost = connection_is_gone or isinstance(error, OSError)
    return "connection_lost" if lost or _sqlstate(error).startswith(CONNECTION_EXCEPTION) else None


def _sqlstate(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""
