//! When an early warning is given, and how often the vitals behind it are read.

use std::time::Duration;

/// The thresholds, and how often to read the vitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WarnAt {
    /// `connections_scarce`: fewer free sessions than the limit divided by this.
    pub(crate) scarce_part: u64,
    /// `connections_scarce`: fewer free sessions than this, however low the limit is.
    pub(crate) scarce_sessions: u64,
    /// `transaction_stuck`: a session idle in a transaction for longer.
    pub(crate) stuck_after: Duration,
    /// `lock_wait`: a session that waits for a lock for longer.
    pub(crate) lock_wait_after: Duration,
    /// `storage_scarce`: at least this percentage of the limit is used.
    pub(crate) storage_percent: u64,
    /// The least time between two readings of the vitals.
    pub(crate) read_every: Duration,
    /// The least time between two readings of the size, which is the expensive one.
    pub(crate) storage_every: Duration,
}

impl Default for WarnAt {
    fn default() -> Self {
        WarnAt {
            scarce_part: 10,
            scarce_sessions: 3,
            stuck_after: Duration::from_secs(60),
            lock_wait_after: Duration::from_secs(10),
            storage_percent: 90,
            read_every: Duration::from_secs(60),
            storage_every: Duration::from_secs(5 * 60),
        }
    }
}
