//! What is known of this process itself: whether its check thread is alive, whether it was told to stop, whether it was
//! ready once. Both threads hold it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::pulse::Pulse;

/// Shared by the check thread and the HTTP thread.
#[derive(Debug)]
pub(crate) struct ProcessState {
    /// Signs of life of the check thread.
    pub(crate) pulse: Pulse,
    /// SIGTERM has come.
    pub(crate) draining: AtomicBool,
    /// Readiness was green once.
    pub(crate) ever_ready: AtomicBool,
}

impl ProcessState {
    /// At the start of the program.
    pub(crate) fn new(now: Instant) -> Self {
        ProcessState { pulse: Pulse::new(now), draining: AtomicBool::new(false), ever_ready: AtomicBool::new(false) }
    }

    /// SIGTERM has come.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
