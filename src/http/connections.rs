//! How many clients are served at once, and who has to go when there are more: the one that has been silent longest,
//! so that a flood of idle connections cannot keep Railway's healthcheck or a kubelet out.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, yield_now};
use tokio::time::Instant;

/// Probers and scrapers are a handful; a connection costs about 10 KB. A test holds both ends of each in one process,
/// which may be allowed 1024 files, or 256.
pub(super) const MOST: usize = if cfg!(test) { 32 } else { 512 };
/// Descriptors that are not for clients: the runtimes, the standard streams, both checks, a look-up, `/proc`.
const OTHER_FILES: usize = 32;
/// hyper closes a silent connection after its header timeout; one that is older than this is stuck in a write that
/// nobody reads.
const STUCK: Duration = Duration::from_secs(25);

/// When a connection last began an answer, and whether it did in this turn.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Moments>);

#[derive(Debug)]
struct Moments {
    epoch: Instant,
    millis: AtomicU64,
    served: AtomicBool,
}

impl Activity {
    fn new(epoch: Instant) -> Self {
        let activity = Activity(Arc::new(Moments { epoch, millis: AtomicU64::new(0), served: AtomicBool::new(false) }));
        activity.touch(Instant::now());
        activity
    }

    /// The client is alive.
    pub(super) fn touch(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.0.epoch).as_millis();
        self.0.millis.store(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn at(&self) -> Instant {
        self.0.epoch + Duration::from_millis(self.0.millis.load(Ordering::Relaxed))
    }

    /// Runs the connection, one request a turn: see [`Activity::wait_for_turn`].
    pub(super) async fn in_turns<T>(&self, connection: impl Future<Output = T>) -> T {
        let mut connection = pin!(connection);
        poll_fn(|context| {
            self.0.served.store(false, Ordering::Relaxed);
            connection.as_mut().poll(context)
        })
        .await
    }

    /// Whether the connection has answered in this turn already, and now begins another answer.
    pub(super) fn is_early(&self) -> bool {
        self.0.served.swap(true, Ordering::Relaxed)
    }

    /// Who sends many requests at once lets the others have a turn after each: hyper would answer sixteen, and five
    /// hundred such clients made a probe wait for seconds.
    pub(super) async fn wait_for_turn(&self) {
        yield_now().await;
        self.0.served.store(true, Ordering::Relaxed);
    }
}

/// The connections that are open.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    epoch: Instant,
    most: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Activity, AbortHandle)>,
}

/// Takes a connection off the list when its task ends, however it ends.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    connections: Connections,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
    }
}

impl Connections {
    /// None yet.
    pub(super) fn new() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = files.map_or(MOST, |files| usize::try_from(files).unwrap_or(MOST).saturating_sub(OTHER_FILES));
        Connections { epoch: Instant::now(), most: most.clamp(1, MOST), open: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody is connected.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().by_number.is_empty()
    }

    /// Starts a connection's task, which `start` makes from its place and its activity. Closes another if there are
    /// too many: its socket is free again once its task has had a turn.
    pub(super) fn admit(&self, start: impl FnOnce(Place, Activity) -> AbortHandle) {
        if self.lock().by_number.len() >= self.most {
            self.close_quietest();
        }
        let activity = Activity::new(self.epoch);
        let number = {
            let mut open = self.lock();
            open.next += 1;
            open.next
        };
        let task = start(Place { number, connections: self.clone() }, activity.clone());
        // The task cannot have ended: it runs on this thread, which is here.
        self.lock().by_number.insert(number, (activity, task));
    }

    /// Closes the connection that has been silent longest. False if there is none.
    pub(super) fn close_quietest(&self) -> bool {
        let quietest = {
            let open = self.lock();
            open.by_number
                .iter()
                .min_by_key(|(number, (activity, _))| (activity.at(), **number))
                .map(|(number, _)| *number)
        };
        quietest.is_some_and(|number| self.close(number))
    }

    /// Closes the connections that are stuck.
    pub(super) fn close_stuck(&self, now: Instant) {
        let stuck: Vec<u64> = {
            let open = self.lock();
            let old = |(_, (activity, _)): &(&u64, &(Activity, AbortHandle))| {
                now.saturating_duration_since(activity.at()) > STUCK
            };
            open.by_number.iter().filter(old).map(|(number, _)| *number).collect()
        };
        for number in stuck {
            self.close(number);
        }
    }

    fn close(&self, number: u64) -> bool {
        let closed = self.lock().by_number.remove(&number);
        closed.is_some_and(|(_, task)| {
            task.abort();
            true
        })
    }
}

impl Default for Connections {
    fn default() -> Self {
        Connections::new()
    }
}
