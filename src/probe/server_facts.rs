//! What the deep check learns of the server beside its answer.

use std::time::Duration;

/// What the server tells of itself in a deep query that passed; what it does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// In recovery, or `default_transaction_read_only`.
    pub read_only: Option<bool>,
    /// `pg_postmaster_start_time()` as the server wrote it; a change means a restart.
    pub started: Option<String>,
    /// The `server_version` parameter, e.g. `16.4`.
    pub version: Option<String>,
    /// From the check's start to ReadyForQuery of the attempt that passed.
    pub ready_after: Duration,
    /// The server was started after the check began: the check has woken it, by all that can be told.
    pub woken: bool,
    /// The login went over the network without TLS, because the server has none.
    pub plaintext: bool,
}
