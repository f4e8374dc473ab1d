//! What the deep check finds out about the server.

use std::time::Duration;

/// What the server said of itself at a deep query that passed; what it did not say is absent.
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
    /// The server was started after the check began, so that the check has most likely woken it.
    pub(crate) woken: bool,
    /// The login went over the network without TLS, because the server has none.
    pub(crate) plaintext: bool,
}
