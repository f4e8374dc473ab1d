//! What the deep check learns of the server beside its answer.

use std::time::Duration;

/// What the server tells of itself in a deep query that passed; what it does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    /// In recovery, or `default_transaction_read_only`.
    pub(crate) read_only: Option<bool>,
    /// `pg_postmaster_start_time()` as the server wrote it; a change means a restart.
    pub(crate) started: Option<String>,
    /// The `server_version` parameter, e.g. `16.4`.
    pub(crate) version: Option<String>,
    /// From the check's start to ReadyForQuery of the attempt that passed.
    pub(crate) ready_after: Duration,
    /// The server was started after the check began: the check has woken it, by all that can be told.
    pub(crate) woken: bool,
    /// The login went over the network without TLS, because the server has none.
    pub(crate) plaintext: bool,
}
