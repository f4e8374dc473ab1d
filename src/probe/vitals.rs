//! Numbers that show trouble before it stops the database: how many sessions are open and may be open, how long
//! transactions have been idle, who waits for a lock, how full the storage is. One statement, which an ordinary role may
//! run on PostgreSQL 14 to 18.
//!
//! Columns of `pg_stat_activity` that a role may not see of other roles' sessions are null (documentation, "The
//! Cumulative Statistics System"), so that only sessions of the check's own role are counted by state.

use std::time::Duration;

pub(super) mod reader;

/// Longer than any session name that helps to find the program.
const LONGEST_NAME: usize = 64;

/// All client sessions but this one. Background processes and parallel workers do not count against a client's limits;
/// `backend_type` is null in other roles' sessions.
const SESSIONS: &str = "\
WITH me AS (SELECT oid, rolsuper, rolconnlimit FROM pg_roles WHERE rolname = session_user),
here AS (SELECT oid, datconnlimit FROM pg_database WHERE datname = current_database()),
sessions AS (
SELECT a.pid, a.usesysid = me.oid AS own, a.datid = here.oid AS here, a.application_name, a.state, a.wait_event_type,
a.wait_event, clock_timestamp() - a.xact_start AS transaction_age, clock_timestamp() - a.state_change AS state_age
FROM pg_stat_activity a, me, here
WHERE a.pid <> pg_backend_pid() AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL
AND coalesce(a.backend_type, 'client backend') = 'client backend')";

/// One row with the columns that [`Vitals::read`] reads. `pg_locks` is read only where a session waits, since reading it
/// takes the lock manager's own locks for a moment.
const NUMBERS: &str = "
SELECT count(*), count(*) FILTER (WHERE own), count(*) FILTER (WHERE here),
count(*) FILTER (WHERE own AND state = 'active'), count(*) FILTER (WHERE own AND state = 'idle'),
count(*) FILTER (WHERE own AND state LIKE 'idle in transaction%'),
extract(epoch FROM max(transaction_age) FILTER (WHERE own)),
extract(epoch FROM max(state_age) FILTER (WHERE own AND state LIKE 'idle in transaction%')),
count(*) FILTER (WHERE own AND wait_event_type = 'Lock'),
CASE WHEN bool_or(own AND wait_event_type = 'Lock') THEN
(SELECT extract(epoch FROM clock_timestamp() - min(waitstart)) FROM pg_locks
WHERE NOT granted AND pid IN (SELECT pid FROM sessions WHERE own)) END,
current_setting('max_connections')::bigint - CASE WHEN (SELECT rolsuper FROM me) THEN 0 ELSE
current_setting('superuser_reserved_connections')::bigint
+ CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections'
AND pg_has_role(session_user, oid, 'usage')) THEN 0
ELSE coalesce(current_setting('reserved_connections', true)::bigint, 0) END END,
CASE WHEN (SELECT rolsuper FROM me) THEN -1 ELSE (SELECT rolconnlimit FROM me) END,
CASE WHEN (SELECT rolsuper FROM me) THEN -1 ELSE (SELECT datconnlimit FROM here) END,
current_setting('neon.max_cluster_size', true)";

/// Read only where the server has a limit: it has to go through all of its files.
const SIZE: &str = "CASE WHEN current_setting('neon.max_cluster_size', true) NOT IN ('', '0', '-1') THEN
(SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')) END";

/// The role's own sessions that do most harm.
const WORST: &str = "
SELECT pid, application_name, state, extract(epoch FROM transaction_age), extract(epoch FROM state_age),
CASE WHEN wait_event_type = 'Lock' THEN wait_event END,
CASE WHEN wait_event_type = 'Lock' THEN array_to_string(pg_blocking_pids(pid), ', ') END
FROM sessions WHERE own
ORDER BY coalesce(state LIKE 'idle in transaction%', false) DESC, coalesce(wait_event_type = 'Lock', false) DESC,
transaction_age DESC NULLS LAST, state_age DESC NULLS LAST
LIMIT 10";

/// The statement that reads the [`Vitals`]; with `storage` also the size, which costs more.
fn statement(storage: bool) -> String {
    let size = if storage { SIZE } else { "NULL" };
    format!("{SESSIONS}{NUMBERS},\n{size}\nFROM sessions")
}

/// The statement that reads the [`OwnSession`]s, the most harmful first.
fn sessions_statement() -> String {
    format!("{SESSIONS}{WORST}")
}

/// The numbers of one reading; this session is in none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Open sessions.
    pub(crate) sessions: Sessions,
    /// How many sessions the role may have; `None` where the server does not say.
    pub(crate) room: Option<Room>,
    /// The oldest transaction of a session of this role.
    pub(crate) oldest_transaction: Option<Duration>,
    /// The longest that a session of this role has been idle in a transaction.
    pub(crate) idle_in_transaction: Option<Duration>,
    /// Sessions of this role that wait for a lock.
    pub(crate) lock_waiters: u64,
    /// The longest of these waits.
    pub(crate) lock_wait: Option<Duration>,
    /// The server's limit of storage; `None` where it has none.
    pub(crate) storage_limit: Option<u64>,
    /// What is stored, in bytes; `None` where there is no limit, or it was not read.
    pub(crate) stored: Option<u64>,
}

/// Sessions of this role by state, and those of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// Running a statement.
    pub(crate) active: u64,
    /// Waiting for a statement.
    pub(crate) idle: u64,
    /// Waiting for a statement in an open transaction.
    pub(crate) idle_in_transaction: u64,
    /// Of other roles, or in a state that the server does not show.
    pub(crate) other: u64,
}

/// Whose limit leaves the least room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `max_connections` without the places that are reserved.
    Server,
    /// The role's `CONNECTION LIMIT`.
    Role,
    /// The database's `CONNECTION LIMIT`.
    Database,
}

/// The limit that is reached first, and how far it is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Whose limit it is.
    pub(crate) of: Limit,
    /// Sessions that may be open.
    pub(crate) limit: u64,
    /// Sessions that are open and count against it.
    pub(crate) used: u64,
}

impl Room {
    /// Sessions that may still be opened.
    pub(crate) const fn free(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Vitals {
    /// Reads the row of [`statement`]; `None` where it is not such a row.
    fn read(columns: &[Option<&str>]) -> Option<Vitals> {
        let column = |index: usize| columns.get(index).copied().flatten();
        let count = |index: usize| column(index)?.parse::<u64>().ok();
        let (all, own, here) = (count(0)?, count(1)?, count(2)?);
        let (active, idle, idle_in_transaction) = (count(3)?, count(4)?, count(5)?);
        let known = active.saturating_add(idle).saturating_add(idle_in_transaction);
        let rooms = [(Limit::Server, 10, all), (Limit::Role, 11, own), (Limit::Database, 12, here)];
        let rooms = rooms.into_iter().filter_map(|(of, index, used)| Some(Room { of, limit: count(index)?, used }));
        Some(Vitals {
            sessions: Sessions { active, idle, idle_in_transaction, other: all.saturating_sub(known) },
            room: rooms.min_by_key(|room| room.free()),
            oldest_transaction: column(6).and_then(seconds),
            idle_in_transaction: column(7).and_then(seconds),
            lock_waiters: count(8)?,
            lock_wait: column(9).and_then(seconds),
            storage_limit: column(13).and_then(megabytes),
            stored: count(14),
        })
    }
}

/// One session of this role, for the person who runs `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnSession {
    /// Its process on the server.
    pub(crate) pid: u32,
    /// The program's name, as it set it.
    pub(crate) application_name: String,
    /// The state, as the server names it.
    pub(crate) state: String,
    /// The age of its transaction.
    pub(crate) transaction_age: Option<Duration>,
    /// How long it has been in its state.
    pub(crate) state_age: Option<Duration>,
    /// The kind of lock that it waits for.
    pub(crate) waits_for: Option<String>,
    /// The processes that hold it up.
    pub(crate) blocked_by: Option<String>,
}

impl OwnSession {
    /// Reads one row of [`sessions_statement`]; `None` where it is not such a row.
    fn read(columns: &[Option<&str>]) -> Option<OwnSession> {
        let column = |index: usize| columns.get(index).copied().flatten();
        let text = |index: usize| column(index).map(plain).filter(|text| !text.is_empty());
        Some(OwnSession {
            pid: column(0)?.parse().ok()?,
            application_name: text(1).unwrap_or_else(|| "no name".to_owned()),
            state: text(2).unwrap_or_else(|| "unknown".to_owned()),
            transaction_age: column(3).and_then(seconds),
            state_age: column(4).and_then(seconds),
            waits_for: text(5),
            blocked_by: text(6),
        })
    }
}

/// Text from other programs, fit for a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

/// A number of seconds as PostgreSQL writes it; negative where a clock was set back.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

/// A size as PostgreSQL shows a setting whose unit is MB: `512MB`, `3GB`, `16TB`; 0 and less mean no limit.
fn megabytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "B" => 0,
        "kB" => 10,
        "" | "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&'static str]) -> Vec<Option<&'static str>> {
        values.iter().map(|value| Some(*value).filter(|value| !value.is_empty())).collect()
    }

    #[test]
    fn the_numbers_of_a_row_are_read() {
        let vitals = Vitals::read(&row(&[
            "14",
            "6",
            "9",
            "1",
            "2",
            "3",
            "75.25",
            "61",
            "1",
            "12.5",
            "97",
            "-1",
            "-1",
            "512MB",
            "500000000",
        ]));
        let expected = Vitals {
            sessions: Sessions { active: 1, idle: 2, idle_in_transaction: 3, other: 8 },
            room: Some(Room { of: Limit::Server, limit: 97, used: 14 }),
            oldest_transaction: Some(Duration::from_millis(75_250)),
            idle_in_transaction: Some(Duration::from_secs(61)),
            lock_waiters: 1,
            lock_wait: Some(Duration::from_millis(12_500)),
            storage_limit: Some(512 << 20),
            stored: Some(500_000_000),
        };
        assert_eq!(vitals, Some(expected));
    }

    #[test]
    fn the_limit_that_is_reached_first_counts() {
        let room = |limits: [&'static str; 3]| {
            let mut values = vec!["20", "4", "9", "0", "0", "0", "", "", "0", ""];
            values.extend(limits);
            Vitals::read(&row(&values)).and_then(|vitals| vitals.room)
        };
        assert_eq!(room(["97", "-1", "-1"]), Some(Room { of: Limit::Server, limit: 97, used: 20 }));
        assert_eq!(room(["97", "5", "-1"]), Some(Room { of: Limit::Role, limit: 5, used: 4 }));
        assert_eq!(room(["97", "50", "10"]), Some(Room { of: Limit::Database, limit: 10, used: 9 }));
        assert_eq!(room(["18", "2", "-1"]).map(Room::free), Some(0));
        assert_eq!(room(["", "", ""]), None);
    }

    #[test]
    fn a_row_of_another_kind_is_not_read() {
        assert_eq!(Vitals::read(&[]), None);
        assert_eq!(Vitals::read(&row(&["many", "6", "9", "1", "2", "3", "", "", "1", ""])), None);
        let endless = row(&["1", "1", "1", "0", "0", "0", "inf", "NaN", "0", "1e300", "5"]);
        let vitals = Vitals::read(&endless).expect("the counts are numbers");
        assert_eq!((vitals.oldest_transaction, vitals.lock_wait), (None, None));
    }

    #[test]
    fn sizes_are_read_as_the_server_shows_them() {
        for (text, bytes) in [
            ("512MB", Some(512 << 20)),
            ("3GB", Some(3 << 30)),
            ("16TB", Some(16 << 40)),
            ("500", Some(500 << 20)),
            ("-1", None),
            ("0", None),
            ("", None),
            ("many", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(megabytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_session_is_shown_without_control_characters() {
        let session = OwnSession::read(&row(&["77", "web\u{1b}[31m", "idle in transaction", "9.5", "8", "", ""]));
        let session = session.expect("a row of a session");
        assert_eq!((session.pid, session.application_name.as_str()), (77, "web[31m"));
        assert_eq!(session.transaction_age, Some(Duration::from_millis(9_500)));
        assert_eq!(OwnSession::read(&row(&["no pid"])), None);
    }
}
