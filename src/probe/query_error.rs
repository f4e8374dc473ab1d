//! Why a message of the simple query protocol was not answered to its end: an ErrorResponse, or the end of the connection.

use tokio_postgres::error::{DbError, ErrorPosition, Severity};

use super::diagnosis::driver;
use super::diagnosis::server::{Stage, is_catch_all};
use super::wire::Meter;
use super::{Cause, Failure, Phase, Reason};
use crate::redact::Redactor;

/// The SQLSTATE for a connection that ended.
pub(super) const CUT: &str = "08006";

/// The SQLSTATE for an error that cannot be read (`protocol_violation`).
const UNREADABLE: &str = "08P01";

/// Why a message was not answered to its end. The statement that it belongs to is the first that was not completed.
pub(super) struct QueryError {
    pub(super) failure: Failure,
    /// The ErrorResponse, if one came that the driver can read.
    response: Option<DbError>,
    /// An ErrorResponse came that the driver cannot read: some servers send one without a severity.
    unreadable: bool,
    /// The driver expects no more messages of this response.
    closed: bool,
}

impl QueryError {
    /// As the driver reports it.
    pub(super) fn new(error: &tokio_postgres::Error, meter: &Meter, redactor: &Redactor) -> Self {
        let failure = driver::diagnose(error, Stage::Query, meter, redactor);
        let unreadable = meter.seen().rejection.is_none() && error.to_string() == "error parsing response from server";
        QueryError { failure, response: error.as_db_error().cloned(), unreadable, closed: error.is_closed() }
    }

    /// The session had ended before.
    pub(super) fn over() -> Self {
        let failure = Failure::new(Reason::ConnectionLost, Phase::Query).with_detail("the session is over");
        QueryError { failure, response: None, unreadable: false, closed: true }
    }

    /// Whether the session may go on.
    pub(super) fn is_survived(&self) -> bool {
        let is_fatal = |response: &DbError| {
            matches!(response.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
                || matches!(response.severity(), "FATAL" | "PANIC")
        };
        self.is_copy() || self.is_error_response() && !self.response.as_ref().is_some_and(is_fatal)
    }

    /// Whether the server sent an ErrorResponse.
    pub(super) fn is_error_response(&self) -> bool {
        self.response.is_some() || self.unreadable
    }

    /// Whether the query is a COPY of which more may come: one to the client ends by itself.
    pub(super) fn is_copy(&self) -> bool {
        self.failure.cause == Some(Cause::CopyStatement) && !self.closed
    }

    /// The SQLSTATE of the ErrorResponse.
    pub(super) fn code(&self) -> &str {
        match &self.response {
            Some(response) => response.code().code(),
            None if self.unreadable => UNREADABLE,
            None => CUT,
        }
    }

    /// The position in our message that it points to, in characters from 0.
    pub(super) fn position(&self) -> Option<usize> {
        match self.response.as_ref()?.position()? {
            ErrorPosition::Original(position) => usize::try_from(*position).ok()?.checked_sub(1),
            ErrorPosition::Internal { .. } => None,
        }
    }

    /// Whether the server does not know a statement of ours, or does not allow it, and so will refuse it again. Otherwise
    /// it is in trouble, or busy.
    pub(super) fn is_refusal(&self) -> bool {
        let may_be_refusal = is_catch_all(self.failure.reason)
            || matches!(self.failure.reason, Reason::AccessDenied | Reason::PoolerUnsupported);
        self.unreadable || self.is_error_response() && may_be_refusal && !is_transient(self.code())
    }
}

/// The classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that may be over in a moment:
/// connection, rollback, resources, locks, operator intervention, system error. PgDog refuses with 58000 (`system_error`).
fn is_transient(code: &str) -> bool {
    match code {
        "08P01" | "55P02" | "58000" => false,
        // There is no transaction, or it has failed before.
        "25P01" | "25P02" => true,
        "XX001" | "XX002" => true,
        code => ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)),
    }
}
