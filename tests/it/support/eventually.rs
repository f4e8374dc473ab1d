//! Waiting for an event with a deadline. The only pause in the tests is the one between two tries.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for anything that ought to happen at once, on a machine that is busy with other builds.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Between two tries: short compared with everything that is waited for (a server's start takes 100 ms).
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `look` until it finds something, or until `limit` is over.
pub(crate) fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Waits until `happened` is true; false means that it was not within `limit`.
///
/// ```ignore
/// assert!(eventually(SOON, || fake.counts().terminates == 1), "{:?}", fake.counts());
/// ```
#[must_use]
pub(crate) fn eventually(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    poll(limit, || happened().then_some(())).is_some()
}
