//! What stands in the way of a message's answer: a complaint of the server, or the end of the connection.

use tokio_postgres::error::{DbError, ErrorPosition, Severity};

use super::diagnosis::driver;
use super::diagnosis::server::{Stage, is_catch_all};
use super::wire::Meter;
use super::{Failure, Phase, Reason};
use crate::redact::Redactor;

/// The SQLSTATE for a connection that ended.
pub(super) const CUT: &str = "08006";

/// The SQLSTATE for an error that cannot be read (`protocol_violation`).
const UNREADABLE: &str = "08P01";

/// Why a message was not answered to its end. The statement that it belongs to is the first that was not completed.
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// What the server said, if it said something.
    complaint: Option<DbError>,
    /// It said something that the driver cannot read: an ErrorResponse without a severity, as some servers send it.
    unreadable: bool,
}

impl Trouble {
    /// What the driver met.
    pub(super) fn new(error: &tokio_postgres::Error, meter: &Meter, redactor: &Redactor) -> Self {
        let failure = driver::diagnose(error, Stage::Query, meter, redactor);
        let unreadable = meter.seen().fault.is_none() && error.to_string() == "error parsing response from server";
        Trouble { failure, complaint: error.as_db_error().cloned(), unreadable }
    }

    /// The session had ended before.
    pub(super) fn over() -> Self {
        let failure = Failure::new(Reason::ConnectionLost, Phase::Query).with_detail("the session is over");
        Trouble { failure, complaint: None, unreadable: false }
    }

    /// Whether the server complained and the session may go on.
    pub(super) fn is_survived(&self) -> bool {
        let is_fatal = |complaint: &DbError| {
            matches!(complaint.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
                || matches!(complaint.severity(), "FATAL" | "PANIC")
        };
        self.is_complaint() && !self.complaint.as_ref().is_some_and(is_fatal)
    }

    /// Whether the server complained.
    pub(super) fn is_complaint(&self) -> bool {
        self.complaint.is_some() || self.unreadable
    }

    /// The SQLSTATE of the complaint.
    pub(super) fn code(&self) -> &str {
        match &self.complaint {
            Some(complaint) => complaint.code().code(),
            None if self.unreadable => UNREADABLE,
            None => CUT,
        }
    }

    /// Where in the message it points, in characters from 0.
    pub(super) fn position(&self) -> Option<usize> {
        match self.complaint.as_ref()?.position()? {
            ErrorPosition::Original(position) => usize::try_from(*position).ok()?.checked_sub(1),
            ErrorPosition::Internal { .. } => None,
        }
    }

    /// Whether the server does not know a statement of ours, or does not let us: it will say so again. Else it is in
    /// trouble, or busy.
    pub(super) fn is_refusal(&self) -> bool {
        let known = !is_catch_all(self.failure.reason)
            && !matches!(self.failure.reason, Reason::AccessDenied | Reason::PoolerUnsupported);
        self.unreadable || self.is_complaint() && !known && !speaks_of_the_moment(self.code())
    }
}

/// The classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html> that speak of the moment: connection,
/// rollback, resources, locks, an operator's doing, the system. PgDog refuses by 58000 (`system_error`).
fn speaks_of_the_moment(code: &str) -> bool {
    match code {
        "08P01" | "55P02" | "58000" => false,
        // In a transaction that has failed before, or without one.
        "25P01" | "25P02" => true,
        "XX001" | "XX002" => true,
        code => ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)),
    }
}
