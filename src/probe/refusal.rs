//! What a deep check adds to the user's query, and what of it a server refuses.

use std::fmt;

/// Something that we add to the user's query. The check can do without each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addition {
    /// Several statements in one message, so that a check takes one round trip.
    OneMessage,
    /// A transaction around the query.
    Transaction,
    /// That this transaction is read-only.
    ReadOnly,
    /// The server's own clock for each statement.
    StatementTimeout,
    /// The server's own clock for a lock.
    LockTimeout,
    /// `pg_postmaster_start_time()`.
    StartTime,
    /// `pg_is_in_recovery()`.
    Recovery,
    /// `default_transaction_read_only`.
    ReadOnlyDefault,
}

impl Addition {
    /// Its name for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Addition::OneMessage => "several statements in one message",
            Addition::Transaction => "a transaction",
            Addition::ReadOnly => "a read-only transaction",
            Addition::StatementTimeout => "a statement timeout",
            Addition::LockTimeout => "a lock timeout",
            Addition::StartTime => "the server's start time",
            Addition::Recovery => "whether it is in recovery",
            Addition::ReadOnlyDefault => "whether it is read-only by default",
        }
    }

    /// The number of its statement in the message of a deep check, from 1; the user's query is the fourth.
    pub const fn statement(self) -> u8 {
        match self {
            Addition::OneMessage | Addition::Transaction | Addition::ReadOnly => 1,
            Addition::StatementTimeout => 2,
            Addition::LockTimeout => 3,
            Addition::StartTime | Addition::Recovery | Addition::ReadOnlyDefault => 5,
        }
    }
}

/// An addition that the server refused, and that checks do without until it restarts. Its `Display` is one line for
/// people without SQL and without the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub addition: Addition,
    /// The SQLSTATE of the refusal: five letters or digits.
    pub sqlstate: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { addition, sqlstate } = self;
        write!(f, "{} (statement {}, SQLSTATE {sqlstate})", addition.as_str(), addition.statement())
    }
}
