//! What a check adds to the user's query, and what of it a server refuses.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::ServerFacts;
use super::diagnosis::server::harmless_sqlstate;

/// A refusal is tried again after this long, even though the server was not seen to restart.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3600);
/// One connection that ended over a message may have met a restart; so many in a row ended because of the message.
const MOST_CUT: u32 = 2;

/// Something that we add to the user's query. The check can do without any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addition {
    /// Several statements in one message, so that a check takes one round trip.
    OneMessage,
    /// A transaction around the query that is read-only.
    ReadOnly,
    /// A transaction at all.
    Transaction,
    /// The server's own time limit for a statement.
    StatementTimeout,
    /// The server's own time limit for a lock.
    LockTimeout,
    /// `pg_postmaster_start_time()`.
    StartTime,
    /// `pg_is_in_recovery()`.
    Recovery,
    /// `default_transaction_read_only`.
    ReadOnlyDefault,
    /// The rollback of the transaction, in place of a commit.
    Rollback,
}

impl Addition {
    /// Its name for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Addition::OneMessage => "several statements in one message",
            Addition::ReadOnly => "a read-only transaction",
            Addition::Transaction => "a transaction",
            Addition::StatementTimeout => "a statement timeout",
            Addition::LockTimeout => "a lock timeout",
            Addition::StartTime => "its start time",
            Addition::Recovery => "its recovery state",
            Addition::ReadOnlyDefault => "its read-only default",
            Addition::Rollback => "a rollback",
        }
    }

    /// The number of its statement in the message of a deep check, from 1; the user's query is the fourth.
    pub(crate) const fn statement(self) -> u8 {
        match self {
            Addition::OneMessage | Addition::ReadOnly | Addition::Transaction => 1,
            Addition::StatementTimeout => 2,
            Addition::LockTimeout => 3,
            Addition::StartTime | Addition::Recovery | Addition::ReadOnlyDefault => 5,
            Addition::Rollback => 6,
        }
    }
}

/// An addition that the server refused and that checks do without until it restarts. Its `Display` is one line for
/// people, without SQL and without the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What was refused.
    pub(crate) addition: Addition,
    /// The SQLSTATE of the refusal: five letters or digits. `00000` where the message did not get one result for each
    /// statement; `08006` where the connection ended over it.
    pub(crate) sqlstate: String,
}

impl Refusal {
    /// `code` is as the server sent it.
    pub(super) fn new(addition: Addition, code: &str) -> Self {
        Refusal { addition, sqlstate: harmless_sqlstate(code) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { addition, sqlstate } = self;
        write!(f, "{} (statement {}, SQLSTATE {sqlstate})", addition.as_str(), addition.statement())
    }
}

/// What a server is known to refuse, for as long as that is believed.
#[derive(Debug, Default)]
pub(super) struct KnownRefusals {
    refused: Vec<Refusal>,
    since: Option<Instant>,
    /// When that server was started.
    started: Option<String>,
    version: Option<String>,
    /// How many connections in a row ended over several statements in one message.
    cut: u32,
}

impl KnownRefusals {
    /// The refusals that a check which begins now takes into account.
    pub(super) fn current(&mut self, now: Instant) -> Vec<Refusal> {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= BELIEVED_FOR) {
            *self = KnownRefusals::default();
        }
        self.refused.clone()
    }

    /// A connection ended over several statements in one message.
    pub(super) fn was_cut(&mut self) {
        self.cut += 1;
    }

    /// A check passed without what is `refused`, which proves that nothing else was wrong with the message. `after_cut`:
    /// it sent one statement a message because the attempt before had lost its connection.
    pub(super) fn passed(&mut self, mut refused: Vec<Refusal>, facts: &ServerFacts, after_cut: bool, now: Instant) {
        if !after_cut {
            self.cut = 0;
        } else if self.cut < MOST_CUT {
            refused.retain(|refusal| refusal.addition != Addition::OneMessage);
        }
        let another = is_another(&self.started, &facts.started) || is_another(&self.version, &facts.version);
        self.started = facts.started.clone().or(self.started.take());
        self.version = facts.version.clone().or(self.version.take());
        if another {
            // It may take what the server before refused: the next check tries.
            refused.clear();
        }
        if self.refused.is_empty() {
            self.since = Some(now);
        }
        self.refused = refused;
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Refusal> {
        self.refused.clone()
    }
}

/// Whether both are known and differ.
fn is_another(before: &Option<String>, now: &Option<String>) -> bool {
    before.is_some() && now.is_some() && before != now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(started: Option<&str>, version: &str) -> ServerFacts {
        ServerFacts { started: started.map(str::to_owned), version: Some(version.to_owned()), ..ServerFacts::default() }
    }

    fn refusal(addition: Addition) -> Refusal {
        Refusal::new(addition, "0A000")
    }

    #[test]
    fn a_refusal_is_shown_without_sql_and_without_the_servers_words() {
        let shown = Refusal::new(Addition::LockTimeout, "42704; DROP TABLE").to_string();
        assert_eq!(shown, "a lock timeout (statement 3, SQLSTATE 42704)");
    }

    #[test]
    fn it_is_believed_until_the_server_is_another_or_a_day_is_over() {
        let start = Instant::now();
        let refused = || vec![refusal(Addition::LockTimeout)];
        for (what, then, later, kept) in [
            ("the same", facts(Some("1"), "16.4"), Duration::ZERO, 1),
            ("nothing known", ServerFacts::default(), Duration::ZERO, 1),
            ("restarted", facts(Some("2"), "16.4"), Duration::ZERO, 0),
            ("another version", facts(None, "17.0"), Duration::ZERO, 0),
            ("almost a day", facts(Some("1"), "16.4"), BELIEVED_FOR - Duration::from_secs(1), 1),
            ("a day", facts(Some("1"), "16.4"), BELIEVED_FOR, 0),
        ] {
            let mut known = KnownRefusals::default();
            known.passed(refused(), &facts(Some("1"), "16.4"), false, start);
            let current = known.current(start + later);
            known.passed(current, &then, false, start + later);
            assert_eq!((known.list().len(), known.current(start + later).len()), (kept, kept), "{what}");
        }
    }

    #[test]
    fn a_message_that_ended_the_connection_is_refused_at_the_second_time_in_a_row() {
        let now = Instant::now();
        let refused = || vec![Refusal::new(Addition::OneMessage, "08006")];
        for (checks, kept) in [(&[true][..], 0), (&[true, true], 1), (&[true, false, true], 0)] {
            let mut known = KnownRefusals::default();
            for cut in checks {
                let refused = if *cut { refused() } else { Vec::new() };
                if *cut {
                    known.was_cut();
                }
                known.passed(refused, &facts(Some("1"), "16.4"), *cut, now);
            }
            assert_eq!(known.list().len(), kept, "{checks:?}");
        }
    }
}
