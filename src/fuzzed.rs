//! The entry points of the fuzz targets (only with `--cfg fuzzing`), so that nothing else need be public for them.

use std::time::Duration;

mod app;
mod database;
mod dsn;
mod state_machine;

use crate::probe::{Class, Outcome, Reason};

pub use crate::commands::doctor::read_anything;
pub use crate::probe::fuzzed::{Duplex, Stream, serve};
pub use app::AppCheck;
pub use database::{Checked, DatabaseCheck};
pub use dsn::database_url;
pub use state_machine::state_machine;

/// Timers tick in milliseconds and are rounded up.
pub const TICK: Duration = Duration::from_millis(5);

/// The result of a check.
pub struct CheckResult {
    /// How many attempts it took.
    pub attempts: u32,
    /// Why it failed, as the program writes it.
    pub reason: Option<&'static str>,
}

impl CheckResult {
    /// Asserts what holds for every outcome.
    fn of(outcome: &Outcome, limit: Duration, secret: &str) -> CheckResult {
        assert!(outcome.attempts >= 1);
        assert!(outcome.duration <= limit + TICK, "{:?} of {limit:?}", outcome.duration);
        let phases: Duration = outcome.phases.iter().map(|(_, took)| took).sum();
        assert!(phases <= outcome.duration + TICK, "{phases:?} of {:?}", outcome.duration);
        let seen = CheckResult { attempts: outcome.attempts, reason: outcome.reason().map(Reason::as_str) };
        let Err(failure) = &outcome.result else { return seen };
        assert_ne!(failure.reason, Reason::Internal, "the prober broke: {failure:?}");
        assert_ne!(failure.reason.class(), Class::NotAFailure, "{failure:?}");
        if let Some(detail) = &failure.detail {
            assert!(detail.chars().count() <= 300, "too long: {detail}");
            assert!(!detail.chars().any(char::is_control), "not one line: {detail:?}");
            assert!(!detail.contains(secret), "it shows the secret: {detail}");
        }
        if let Some(code) = &failure.unclassified {
            assert!(code.len() <= 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code:?}");
        }
        seen
    }
}
