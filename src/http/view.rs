//! What an answer may depend on.

use crate::config::Gate;
use crate::readiness::{self, Now, Readiness};
use crate::state::Snapshot;

/// What is known when a request comes.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the checks found.
    pub snapshot: &'a Snapshot,
    /// What `/readyz` asks of the database.
    pub gate: Gate,
    /// SIGTERM has come.
    pub draining: bool,
    /// Readiness was green once.
    pub ever_ready: bool,
    /// The check thread is alive.
    pub live: bool,
    /// The token that `/` and `/metrics` ask for.
    pub token: Option<&'a str>,
    /// The moment.
    pub now: Now,
}

impl View<'_> {
    /// What `/readyz` would say.
    pub fn readiness(&self) -> Readiness {
        readiness::decide(self.gate, self.snapshot, self.draining, self.now.instant)
    }
}
