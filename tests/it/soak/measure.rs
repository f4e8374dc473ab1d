//! The resources of the process and its sessions, second by second, and whether they grow.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Run;
use super::load::wait_until;
use crate::support::eventually::{SOON, eventually};
use crate::support::process::{open_files, status};
use crate::support::session::Session;

/// Between two samples: short enough to catch a moment at which no check is under way.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two queries to the server.
const LOOK: Duration = Duration::from_millis(50);
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sidepulse'";
/// A session whose client has left is listed until its process has noticed: longer than this is a leak.
const BURIAL: Duration = Duration::from_secs(3);
/// This part of a run is for allocators and caches to settle.
const WARM_UP: f64 = 1.0 / 6.0;
/// The heap is never quite the same: a leak of a byte per request is more in the long form.
const RSS_MARGIN_KB: usize = 1024;

/// One sample.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    rss_kb: usize,
    files: usize,
    threads: usize,
    sessions: usize,
    requests: u64,
    scrapes: u64,
    faults: usize,
}

/// The whole curve.
#[derive(Debug, Default)]
pub(super) struct Curve {
    samples: Mutex<Vec<Sample>>,
    sessions: AtomicUsize,
}

impl Curve {
    /// Samples until the run is over.
    pub(super) fn follow(&self, run: &Run<'_>, pid: u32) {
        while run.goes_on() && !run.has_failed() {
            let number = |name| usize::try_from(status(pid, name)).expect("a small number");
            let sample = Sample {
                at: run.started.elapsed(),
                rss_kb: number("VmRSS"),
                threads: number("Threads"),
                files: open_files(pid),
                sessions: self.sessions.swap(0, Ordering::Relaxed),
                requests: run.tally.total(),
                scrapes: run.tally.scrapes(),
                faults: run.ledger.entries().len(),
            };
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            wait_until(Instant::now() + PAUSE);
        }
    }

    /// Counts the sidecar's sessions until the run is over; panics if two of them stay.
    pub(super) fn follow_sessions(&self, run: &Run<'_>, config: &tokio_postgres::Config) {
        let (mut session, mut crowded) = (None, None);
        while run.goes_on() && !run.has_failed() {
            session = session.or_else(|| Session::open(config).ok());
            // A server that is down has none; one that is frozen answers when it goes on.
            let rows = session.as_ref().and_then(|session: &Session| session.sql(SESSIONS).ok());
            if rows.is_none() {
                session = None;
            }
            let count = rows.map_or(0, |rows| rows[0][0].as_ref().expect("a count").parse().expect("a number"));
            self.sessions.fetch_max(count, Ordering::Relaxed);
            crowded = if count > 1 { crowded.or_else(|| Some(Instant::now())) } else { None };
            assert!(crowded.is_none_or(|since| since.elapsed() < BURIAL), "{count} sessions at once stay");
            wait_until(Instant::now() + LOOK);
        }
    }

    /// Panics if anything has grown, from the first quarter after the warm-up to the last one.
    pub(super) fn assert_flat(&self) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
        assert!(warm.len() >= 8, "{} samples are no curve", warm.len());
        let quarter = warm.len() / 4;
        let (first, last) = (&warm[..quarter], &warm[warm.len() - quarter..]);
        let (before, after) = (median(first, |sample| sample.rss_kb), median(last, |sample| sample.rss_kb));
        assert!(after <= before + RSS_MARGIN_KB, "RSS has grown from {before} to {after} KB");
        // What is open at rest; checks and clients come and go above it.
        let (before, after) = (least(first, |sample| sample.files), least(last, |sample| sample.files));
        assert!(after <= before, "open files have grown from {before} to {after}");
        let (before, after) = (most(first, |sample| sample.threads), most(last, |sample| sample.threads));
        assert!(after <= before, "threads have grown from {before} to {after}");
    }

    /// At each tenth of the run.
    pub(super) fn table(&self) -> String {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = "| until | RSS, KB | files | threads | sessions | requests | scrapes | faults |\n".to_owned();
        let tenth = samples.len().div_ceil(10).max(1);
        for part in samples.chunks(tenth) {
            let end = part[part.len() - 1];
            let (fewest, all) = (least(part, |sample| sample.files), most(part, |sample| sample.files));
            let _ = writeln!(
                text,
                "| {} s | {} | {fewest}-{all} | {} | {} | {} | {} | {} |",
                end.at.as_secs(),
                median(part, |sample| sample.rss_kb),
                most(part, |sample| sample.threads),
                most(part, |sample| sample.sessions),
                end.requests,
                end.scrapes,
                end.faults,
            );
        }
        text
    }
}

/// Panics if a session stays, now that the sidecar is gone.
pub(super) fn assert_no_session(config: &tokio_postgres::Config) {
    let session = Session::open(config).expect("a session");
    let none = || session.sql(SESSIONS).expect("a count")[0][0].as_deref() == Some("0");
    assert!(eventually(SOON, none), "a session stays");
}

fn least(samples: &[Sample], of: impl Fn(&Sample) -> usize) -> usize {
    samples.iter().map(of).min().unwrap_or(0)
}

fn most(samples: &[Sample], of: impl Fn(&Sample) -> usize) -> usize {
    samples.iter().map(of).max().unwrap_or(0)
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> usize) -> usize {
    let mut values: Vec<usize> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
