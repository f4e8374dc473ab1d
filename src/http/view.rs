//! What an answer may depend on.

use crate::config::Gate;
use crate::readiness::{self, Now, Readiness};
use crate::state::Snapshot;

/// What is known when a request comes.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// What `/readyz` asks of the database.
    pub(crate) gate: Gate,
    /// SIGTERM has come.
    pub(crate) draining: bool,
    pub(crate) ever_ready: bool,
    pub(crate) live: bool,
    /// The token that `/` and `/metrics` ask for.
    pub(crate) token: Option<&'a str>,
    pub(crate) now: Now,
}

impl View<'_> {
    /// What `/readyz` would say.
    pub(crate) fn readiness(&self) -> Readiness {
        readiness::decide(self.gate, self.snapshot, self.draining, self.now.instant)
    }
}
