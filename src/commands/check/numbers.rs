//! What `check` prints of the server's vitals and of the role's own sessions: no SQL, and nothing about other roles.

use std::time::Duration;

use crate::early_warnings::EarlyWarnings;
use crate::probe::Reason;
use crate::probe::vitals::{OwnSession, Vitals};

/// A shorter transaction is simply at work.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Name and text of each line.
pub(super) fn lines(early: &EarlyWarnings, sessions: &[OwnSession]) -> Vec<(String, String)> {
    let Some(vitals) = early.vitals() else { return Vec::new() };
    let mut lines = vec![("sessions".to_owned(), counts(vitals))];
    if let Some(age) = vitals.oldest_transaction.filter(|age| *age >= WORTH_TELLING) {
        lines.push(("transaction".to_owned(), format!("the oldest is {} s old", age.as_secs())));
    }
    if vitals.lock_waiters > 0 {
        let longest = vitals.lock_wait.map_or(String::new(), |wait| format!(", the longest for {} s", wait.as_secs()));
        lines.push(("locks".to_owned(), format!("{} waiting{longest}", vitals.lock_waiters)));
    }
    if let (Some(stored), Some(limit)) = (vitals.stored, vitals.storage_limit) {
        lines.push(("storage".to_owned(), format!("{} of {} MB", stored >> 20, limit >> 20)));
    }
    let scarce = early.shows(Reason::ConnectionsScarce);
    let told = sessions.iter().filter(|session| scarce || harms(session));
    lines.extend(told.map(|session| (format!("pid {}", session.pid), what_it_does(session))));
    lines
}

fn counts(vitals: &Vitals) -> String {
    let sessions = vitals.sessions;
    let open = vitals.room.map_or("open".to_owned(), |room| format!("{} of {}", room.used, room.limit));
    let states = [
        (sessions.active, "active"),
        (sessions.idle, "idle"),
        (sessions.idle_in_transaction, "idle in transaction"),
        (sessions.other, "of other roles"),
    ];
    let states: Vec<String> =
        states.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}")).collect();
    if states.is_empty() { open } else { format!("{open}  ({})", states.join(", ")) }
}

fn harms(session: &OwnSession) -> bool {
    session.waits_for.is_some() || session.transaction_age.is_some_and(|age| age >= WORTH_TELLING)
}

fn what_it_does(session: &OwnSession) -> String {
    let since = |age: Option<Duration>| age.map_or(String::new(), |age| format!(" for {} s", age.as_secs()));
    let mut text = format!("{}: {}{}", session.application_name, session.state, since(session.state_age));
    if let Some(age) = session.transaction_age {
        text.push_str(&format!(", transaction {} s old", age.as_secs()));
    }
    if let Some(lock) = &session.waits_for {
        let blocked_by = session.blocked_by.as_ref().map_or(String::new(), |pids| format!(" held by pid {pids}"));
        text.push_str(&format!(", waits for a lock ({lock}){blocked_by}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WarnAt;
    use crate::probe::vitals::{Limit, Room, Sessions};

    fn session(pid: u32, state: &str, age: Option<u64>) -> OwnSession {
        OwnSession {
            pid,
            application_name: "web".to_owned(),
            state: state.to_owned(),
            transaction_age: age.map(Duration::from_secs),
            state_age: Some(Duration::from_secs(70)),
            waits_for: None,
            blocked_by: None,
        }
    }

    fn printed(vitals: Vitals, sessions: &[OwnSession]) -> String {
        let lines = lines(&EarlyWarnings::of_one_reading(vitals, &WarnAt::default()), sessions);
        lines.into_iter().map(|(name, text)| format!("{name}: {text}\n")).collect()
    }

    #[test]
    fn what_harms_is_named_with_its_process() {
        let vitals = Vitals {
            sessions: Sessions { active: 1, idle: 2, idle_in_transaction: 1, other: 3 },
            room: Some(Room { of: Limit::Server, limit: 97, used: 7 }),
            oldest_transaction: Some(Duration::from_secs(75)),
            idle_in_transaction: Some(Duration::from_secs(70)),
            lock_waiters: 1,
            lock_wait: Some(Duration::from_secs(12)),
            storage_limit: Some(512 << 20),
            stored: Some(100 << 20),
        };
        let waiting = OwnSession {
            waits_for: Some("relation".to_owned()),
            blocked_by: Some("12".to_owned()),
            ..session(13, "active", Some(12))
        };
        let sessions = [session(12, "idle in transaction", Some(75)), waiting, session(14, "idle", None)];
        assert_eq!(
            printed(vitals, &sessions),
            "sessions: 7 of 97  (1 active, 2 idle, 1 idle in transaction, 3 of other roles)\n\
             transaction: the oldest is 75 s old\n\
             locks: 1 waiting, the longest for 12 s\n\
             storage: 100 of 512 MB\n\
             pid 12: web: idle in transaction for 70 s, transaction 75 s old\n\
             pid 13: web: active for 70 s, transaction 12 s old, waits for a lock (relation) held by pid 12\n"
        );
    }

    #[test]
    fn where_connections_are_scarce_every_session_is_named_that_was_asked_for() {
        let vitals = Vitals { room: Some(Room { of: Limit::Role, limit: 5, used: 4 }), ..Vitals::default() };
        assert_eq!(printed(vitals, &[session(14, "idle", None)]), "sessions: 4 of 5\npid 14: web: idle for 70 s\n");
        assert_eq!(printed(Vitals::default(), &[session(14, "idle", None)]), "sessions: open\n");
    }
}
