//! Can the app be seen at the database? Pure.

use std::time::Duration;

use tokio::time::Instant;

/// An app that has been up for this long without connecting to the database may do so where we cannot see it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Why the app cannot be seen at the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unseen {
    /// The kernel shows no sockets, or none of those that lead to this database.
    NoDiagnostics,
    /// The app has been up for long, and was never seen connected to the database.
    NeverSeen,
}

impl Unseen {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Unseen::NoDiagnostics => "the kernel does not show the app's connections to the database",
            Unseen::NeverSeen => "the app was never seen connected to the database (another network namespace?)",
        }
    }
}

/// Why the app cannot be seen at the database; `None` if it can be. `ever_seen`: it was seen before.
pub(super) fn unseen(
    diagnostics: bool,
    ever_seen: bool,
    app_up_since: Option<Instant>,
    now: Instant,
) -> Option<Unseen> {
    let patient = app_up_since.is_none_or(|since| now.saturating_duration_since(since) < PATIENCE);
    match diagnostics {
        false => Some(Unseen::NoDiagnostics),
        true if ever_seen || patient => None,
        true => Some(Unseen::NeverSeen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn where_the_app_cannot_be_seen() {
        let now = Instant::now() + HOUR;
        let up_for = |time: Duration| now.checked_sub(time);
        let table = [
            ("no diagnostics", false, false, None, Some(Unseen::NoDiagnostics)),
            ("no diagnostics any more", false, true, up_for(HOUR), Some(Unseen::NoDiagnostics)),
            ("the app is not up", true, false, None, None),
            ("the app is up for nine minutes", true, false, up_for(9 * MINUTE), None),
            ("the app is up for ten minutes", true, false, up_for(10 * MINUTE), Some(Unseen::NeverSeen)),
            ("seen once", true, true, up_for(HOUR), None),
        ];
        for (name, diagnostics, ever_seen, app_up_since, expected) in table {
            assert_eq!(unseen(diagnostics, ever_seen, app_up_since, now), expected, "{name}");
        }
    }
}
