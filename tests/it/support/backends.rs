//! How many sessions of the sidecar a server has at any moment, watched from the server itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::eventually::{SOON, eventually};
use super::postgres::Postgres;
use super::session::Session;

const COUNT: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sidepulse'";
/// Between two queries.
const PAUSE: Duration = Duration::from_millis(10);

/// A query of `pg_stat_activity` every few milliseconds, from now until it is dropped; a server that is down has none.
pub(crate) struct Watch {
    most: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn on(postgres: &Postgres) -> Watch {
        let (most, now, stop) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (config, shared) = (postgres.admin_config(), (Arc::clone(&most), Arc::clone(&now), Arc::clone(&stop)));
        let thread = thread::spawn(move || {
            let (most, now, stop) = shared;
            let mut session = None;
            while !stop.load(Ordering::Relaxed) {
                session = session.or_else(|| Session::open(&config).ok());
                let answer = session.as_ref().and_then(|session: &Session| session.sql(COUNT).ok());
                match answer.and_then(|rows| rows[0][0].as_ref()?.parse().ok()) {
                    Some(count) => {
                        now.store(count, Ordering::Relaxed);
                        most.fetch_max(count, Ordering::Relaxed);
                    }
                    None => {
                        now.store(0, Ordering::Relaxed);
                        session = None;
                    }
                }
                thread::park_timeout(PAUSE);
            }
        });
        Watch { most, now, stop, thread: Some(thread) }
    }

    /// Panics if there was ever more than one, or if one stays.
    pub(crate) fn none_is_left(&self) {
        assert!(eventually(SOON, || self.now.load(Ordering::Relaxed) == 0), "a session stays");
        assert!(self.most.load(Ordering::Relaxed) <= 1, "{} sessions at once", self.most.load(Ordering::Relaxed));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
