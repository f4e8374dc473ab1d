//! How many clients are served at once, and which one is closed if there are more: the one that has been silent longest,
//! so that a flood of idle connections cannot keep Railway's healthcheck or a kubelet out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::client::Client;

/// There are a handful of probes and scrapers; a connection costs about 12 KB. A test holds both ends of each in one
/// process, whose limit of files may be 1024, or 256.
pub(super) const MOST: usize = if cfg!(test) { 32 } else { 512 };
/// Files that are not for clients: the runtimes, the standard streams, both checks, a name look-up, `/proc`.
const OTHER_FILES: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Connections {
    epoch: Instant,
    most: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Client, AbortHandle)>,
}

/// Removes a connection from the list when its task ends, in whatever way.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    connections: Connections,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
    }
}

impl Connections {
    pub(super) fn new() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = files.map_or(MOST, |files| usize::try_from(files).unwrap_or(MOST).saturating_sub(OTHER_FILES));
        Connections { epoch: Instant::now(), most: most.clamp(1, MOST), open: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a connection's task, which `start` makes from its slot. Closes another if there are too many: its socket
    /// is freed once its task has had a turn.
    pub(super) fn admit(&self, start: impl FnOnce(Slot, Client) -> AbortHandle) {
        if self.lock().by_number.len() >= self.most {
            self.close_quietest();
        }
        let client = Client::new(self.epoch);
        let number = {
            let mut open = self.lock();
            open.next += 1;
            open.next
        };
        let task = start(Slot { number, connections: self.clone() }, client.clone());
        // The task cannot have ended yet: it runs on this thread.
        self.lock().by_number.insert(number, (client, task));
    }

    /// Closes the connection that has been silent longest. False if there is none.
    pub(super) fn close_quietest(&self) -> bool {
        let quietest = {
            let open = self.lock();
            open.by_number
                .iter()
                .min_by_key(|(number, (client, _))| (client.asked(), **number))
                .map(|(number, _)| *number)
        };
        quietest.is_some_and(|number| self.close(number))
    }

    fn close(&self, number: u64) -> bool {
        let Some((_, task)) = self.lock().by_number.remove(&number) else { return false };
        task.abort();
        true
    }
}
