//! What will hurt soon: the early warnings that the database's vitals call for. Pure: no clock, no lock, no await.
//!
//! A warning shows at the second reading in a row that calls for it: during a deploy there are twice as many sessions for a
//! moment, which is nothing to wake anybody for.

use std::time::Duration;

use crate::config::WarnAt;
use crate::probe::Reason;
use crate::probe::vitals::{Limit, Room, Vitals};

/// The warnings that one reading calls for, in the order in which they are shown.
fn seen(vitals: &Vitals, at: &WarnAt) -> Vec<Reason> {
    let longer = |wait: Option<Duration>, limit: Duration| wait.is_some_and(|wait| wait > limit);
    let scarce = vitals.room.is_some_and(|room| {
        room.free() < at.scarce_sessions || room.free().saturating_mul(at.scarce_part) < room.limit
    });
    let full = vitals
        .stored
        .zip(vitals.storage_limit)
        .is_some_and(|(stored, limit)| u128::from(stored) * 100 >= u128::from(limit) * u128::from(at.storage_percent));
    let warnings = [
        (Reason::ConnectionsScarce, scarce),
        (Reason::TransactionStuck, longer(vitals.idle_in_transaction, at.stuck_after)),
        (Reason::LockWait, longer(vitals.lock_wait, at.lock_wait_after)),
        (Reason::StorageScarce, full),
    ];
    warnings.into_iter().filter(|(_, seen)| *seen).map(|(reason, _)| reason).collect()
}

/// After so many readings in a row that failed nothing is known any more.
const MOST_MISSED: u32 = 2;

/// The early warnings, in the order in which the first that applies is shown.
pub(crate) const ALL: [Reason; 4] =
    [Reason::ConnectionsScarce, Reason::TransactionStuck, Reason::LockWait, Reason::StorageScarce];

/// A server behind a balancer is forgotten after so many readings of others in a row.
const MOST_ELSEWHERE: u32 = 10;

/// What the readings so far call for.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyWarnings {
    /// The servers that answer under the URL's name, behind a balancer more than one; that of the newest reading is last.
    servers: Vec<Server>,
    /// When the server of the next reading was started, in its own words.
    started: Option<String>,
    /// Readings in a row that failed.
    missed: u32,
}

/// What the readings of one server call for.
#[derive(Clone, Debug)]
struct Server {
    started: Option<String>,
    newest: Vitals,
    seen: Vec<Reason>,
    standing: Vec<Reason>,
    /// Readings of others since its newest one.
    elsewhere: u32,
}

impl EarlyWarnings {
    /// Of one reading alone, for the person who asks now.
    pub(crate) fn of_one_reading(vitals: Vitals, warn_at: &WarnAt) -> Self {
        let seen = seen(&vitals, warn_at);
        let server = Server { started: None, newest: vitals, standing: seen.clone(), seen, elsewhere: 0 };
        EarlyWarnings { servers: vec![server], ..EarlyWarnings::default() }
    }

    /// The next readings are of the server that was started then. If it was started after all the servers that are known,
    /// it is one of them after a restart, and what is known no longer holds. Otherwise it is behind the same balancer.
    pub(crate) fn of_server(&mut self, started: &str) {
        if self.started.as_deref() == Some(started) {
            return;
        }
        self.started = Some(started.to_owned());
        let time = |text: &str| text.parse::<f64>().ok();
        let is_later = |known: &Server| known.started.as_deref().and_then(time) < time(started);
        if self.servers.iter().all(is_later) {
            self.servers.clear();
        }
    }

    /// Takes in a reading. Not every one has the size: what was known of it stands until the next that has.
    pub(crate) fn take(&mut self, mut vitals: Vitals, warn_at: &WarnAt) {
        let at = self.servers.iter().position(|server| server.started == self.started);
        let before = at.map(|at| self.servers.remove(at));
        if vitals.stored.is_none() && vitals.storage_limit.is_some() {
            vitals.stored = before.as_ref().and_then(|before| before.newest.stored);
        }
        let seen = seen(&vitals, warn_at);
        let seen_before = |reason: &Reason| before.as_ref().is_some_and(|before| before.seen.contains(reason));
        let standing = seen.iter().copied().filter(seen_before).collect();
        for server in &mut self.servers {
            server.elsewhere += 1;
        }
        self.servers.retain(|server| server.elsewhere < MOST_ELSEWHERE);
        let started = self.started.clone();
        self.servers.push(Server { started, newest: vitals, seen, standing, elsewhere: 0 });
        self.missed = 0;
    }

    /// A reading failed. One may have come at a bad moment; after the second the vitals are no longer known.
    pub(crate) fn miss(&mut self) {
        self.missed += 1;
        if self.missed >= MOST_MISSED {
            self.forget();
        }
    }

    /// Forgets everything: the server does not answer any more.
    pub(crate) fn forget(&mut self) {
        *self = EarlyWarnings::default();
    }

    /// The newest reading of a server that is warned of, else of any.
    pub(crate) fn vitals(&self) -> Option<&Vitals> {
        let mut newest_first = self.servers.iter().rev();
        let warned_of = newest_first.clone().find(|server| !server.standing.is_empty());
        warned_of.or_else(|| newest_first.next()).map(|server| &server.newest)
    }

    /// Whether two readings in a row of one server call for it.
    pub(crate) fn shows(&self, warning: Reason) -> bool {
        self.servers.iter().any(|server| server.standing.contains(&warning))
    }
}

/// What to do, with this server's numbers.
pub(crate) fn remedy(warning: Reason, vitals: &Vitals) -> Option<String> {
    let seconds = |duration: Option<Duration>| duration.unwrap_or_default().as_secs();
    Some(match warning {
        Reason::ConnectionsScarce => {
            let Room { of, limit, used } = vitals.room?;
            let of = match of {
                Limit::Server => "the server (max_connections less the reserved ones)",
                Limit::Role => "this role (its CONNECTION LIMIT)",
                Limit::Database => "this database (its CONNECTION LIMIT)",
            };
            format!(
                "{used} of {limit} sessions of {of} are open: make (pool_size + max_overflow) × workers × replicas stay \
                 well below {limit}, or connect through a pooler"
            )
        }
        Reason::TransactionStuck => format!(
            "a session has been idle in a transaction for {} s: end it with SELECT pg_terminate_backend(PID), find the \
             code that neither commits nor rolls back, and set idle_in_transaction_session_timeout; behind a pooler PID \
             is the pooler's session: look for the client that it serves (PgBouncer: SHOW CLIENTS)",
            seconds(vitals.idle_in_transaction)
        ),
        Reason::LockWait => format!(
            "a session has waited for a lock for {} s: see what pg_blocking_pids(PID) names, and end that with \
             SELECT pg_terminate_backend(…) if it will not end by itself; give migrations a lock_timeout",
            seconds(vitals.lock_wait)
        ),
        Reason::StorageScarce => {
            let (stored, limit) = (vitals.stored?, vitals.storage_limit?);
            format!(
                "{} of {} MB are used: at the limit every write fails; delete rows and VACUUM FULL, or raise the \
                 project's limit",
                stored >> 20,
                limit >> 20
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::vitals::Sessions;

    fn with_room(limit: u64, used: u64) -> Vitals {
        Vitals { room: Some(Room { of: Limit::Server, limit, used }), ..Vitals::default() }
    }

    #[test]
    fn connections_are_scarce_below_a_tenth_or_below_three() {
        let scarce = |limit, used| seen(&with_room(limit, used), &WarnAt::default()) == [Reason::ConnectionsScarce];
        assert!(!scarce(97, 87));
        assert!(scarce(97, 88));
        assert!(!scarce(20, 17));
        assert!(scarce(20, 18));
        assert!(scarce(20, 25));
        assert!(!scarce(5, 2));
        assert!(scarce(5, 3));
        assert!(seen(&Vitals::default(), &WarnAt::default()).is_empty());
    }

    #[test]
    fn what_lasts_too_long_is_warned_of_and_what_is_short_is_not() {
        let warn_at = WarnAt::default();
        let stuck = |seconds| Vitals { idle_in_transaction: Some(Duration::from_secs(seconds)), ..Vitals::default() };
        assert!(seen(&stuck(60), &warn_at).is_empty());
        assert_eq!(seen(&stuck(61), &warn_at), [Reason::TransactionStuck]);
        let waits = |seconds| Vitals { lock_wait: Some(Duration::from_secs(seconds)), ..Vitals::default() };
        assert!(seen(&waits(10), &warn_at).is_empty());
        assert_eq!(seen(&waits(11), &warn_at), [Reason::LockWait]);
        let old = Vitals { oldest_transaction: Some(Duration::from_secs(9999)), ..Vitals::default() };
        assert!(seen(&old, &warn_at).is_empty(), "a long transaction that works is not stuck");
    }

    #[test]
    fn storage_is_scarce_from_nine_tenths_on() {
        let full = |stored, limit| {
            let vitals = Vitals { stored: Some(stored), storage_limit: limit, ..Vitals::default() };
            !seen(&vitals, &WarnAt::default()).is_empty()
        };
        assert!(!full(899, Some(1000)));
        assert!(full(900, Some(1000)));
        assert!(full(u64::MAX, Some(u64::MAX)));
        assert!(!full(900, None));
    }

    #[test]
    fn a_warning_shows_at_the_second_reading_in_a_row() {
        let mut warnings = EarlyWarnings::default();
        let shows = |warnings: &EarlyWarnings| warnings.shows(Reason::ConnectionsScarce);
        let readings =
            [(19, false), (19, true), (19, true), (5, false), (19, false), (5, false), (19, false), (19, true)];
        for (used, expected) in readings {
            warnings.take(with_room(20, used), &WarnAt::default());
            assert_eq!(shows(&warnings), expected, "{used}");
        }
        warnings.forget();
        assert!(!shows(&warnings) && warnings.vitals().is_none());
    }

    #[test]
    fn vitals_that_can_no_longer_be_read_are_no_longer_known() {
        let mut warnings = EarlyWarnings::default();
        for _ in 0..2 {
            warnings.take(with_room(20, 19), &WarnAt::default());
        }
        warnings.miss();
        assert!(warnings.shows(Reason::ConnectionsScarce), "one reading that failed");
        warnings.miss();
        assert!(!warnings.shows(Reason::ConnectionsScarce) && warnings.vitals().is_none());
    }

    /// What shows after these readings: whose each is, and how many of its 20 sessions are used.
    fn after(readings: &[(&str, u64)]) -> (bool, Option<u64>) {
        let mut warnings = EarlyWarnings::default();
        for (server, used) in readings {
            warnings.of_server(server);
            warnings.take(with_room(20, *used), &WarnAt::default());
        }
        let used = warnings.vitals().and_then(|vitals| vitals.room).map(|room| room.used);
        (warnings.shows(Reason::ConnectionsScarce), used)
    }

    #[test]
    fn behind_a_balancer_each_server_is_judged_by_its_own_readings() {
        let (calm, full) = (("100.5", 3), ("99.25", 19));
        // Whichever comes first, and however they alternate: two readings of the full one, and the numbers are its own.
        for readings in [
            &[calm, full, calm, full][..],
            &[full, calm, full, calm, full],
            &[calm, calm, full, calm, calm, full, calm],
        ] {
            assert_eq!(after(readings), (true, Some(19)), "{readings:?}");
        }
        // One of each is not two in a row, and a full one that is calm again is not warned of, whatever the other says.
        assert_eq!(after(&[calm, full, calm, calm]), (false, Some(3)));
        assert_eq!(after(&[full, full, calm, ("99.25", 3), calm]), (false, Some(3)));
        assert_eq!(after(&[full, ("100.5", 19)]), (false, Some(19)), "the second is a server that was started later");
        // It has left the balancer.
        let gone: Vec<_> = [full; 2].into_iter().chain([calm; 2]).chain([full; 2]).chain([calm; 10]).collect();
        assert_eq!(after(&gone), (false, Some(3)));
    }

    #[test]
    fn a_server_that_was_restarted_is_another() {
        assert_eq!(after(&[("99", 19), ("99", 19), ("100", 3)]), (false, Some(3)));
        assert_eq!(after(&[("99", 19), ("100", 19)]), (false, Some(19)), "the first reading of the new one");
        assert_eq!(after(&[("99", 19), ("100", 19), ("100", 19)]), (true, Some(19)));
        let mut warnings = EarlyWarnings::default();
        let asked = Vitals { stored: Some(95), storage_limit: Some(100), ..Vitals::default() };
        for (server, stored) in [("100", Some(95)), ("99", None)] {
            warnings.of_server(server);
            warnings.take(Vitals { stored, ..asked.clone() }, &WarnAt::default());
        }
        assert_eq!(warnings.vitals().and_then(|vitals| vitals.stored), None, "the size of another server");
    }

    #[test]
    fn a_size_stands_until_the_next_is_read() {
        let mut warnings = EarlyWarnings::default();
        let asked = Vitals { stored: Some(95), storage_limit: Some(100), ..Vitals::default() };
        let not_asked = Vitals { stored: None, ..asked.clone() };
        warnings.take(asked, &WarnAt::default());
        warnings.take(not_asked, &WarnAt::default());
        assert!(warnings.shows(Reason::StorageScarce));
        assert_eq!(warnings.vitals().and_then(|vitals| vitals.stored), Some(95));
        warnings.take(Vitals { sessions: Sessions::default(), ..Vitals::default() }, &WarnAt::default());
        assert!(!warnings.shows(Reason::StorageScarce), "a server without a limit");
    }

    #[test]
    fn each_remedy_holds_the_numbers() {
        let vitals = Vitals {
            room: Some(Room { of: Limit::Role, limit: 20, used: 19 }),
            idle_in_transaction: Some(Duration::from_secs(75)),
            lock_wait: Some(Duration::from_secs(12)),
            storage_limit: Some(512 << 20),
            stored: Some(500 << 20),
            ..Vitals::default()
        };
        for (warning, part) in [
            (Reason::ConnectionsScarce, "19 of 20 sessions of this role"),
            (Reason::TransactionStuck, "for 75 s"),
            (Reason::LockWait, "for 12 s"),
            (Reason::StorageScarce, "500 of 512 MB"),
        ] {
            let remedy = remedy(warning, &vitals).unwrap_or_default();
            assert!(remedy.contains(part), "{remedy}");
        }
        assert_eq!(remedy(Reason::ReadOnly, &vitals), None);
    }
}
