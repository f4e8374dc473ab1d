//! What a deep check asks the server about itself.

use std::time::Duration;

use crate::probe::session::{Rows, Session};
use crate::probe::{Addition, ServerFacts};

/// All the facts, in the order of the columns.
pub(super) const ALL: [Addition; 3] = [Addition::StartTime, Addition::Recovery, Addition::ReadOnlyDefault];

/// No start time is longer, but a hostile server may send anything.
const LONGEST: usize = 40;

/// The statement that queries these facts.
pub(super) fn select(wanted: &[Addition]) -> String {
    let expressions: Vec<&str> = wanted.iter().map(|fact| expression(*fact)).collect();
    format!("SELECT {}", expressions.join(", "))
}

fn expression(fact: Addition) -> &'static str {
    match fact {
        // As text they would depend on the session's time zone. The second is the server's clock, which need not agree
        // with ours.
        Addition::StartTime => {
            "extract(epoch FROM pg_postmaster_start_time()) || ' ' || extract(epoch FROM clock_timestamp())"
        }
        Addition::Recovery => "pg_is_in_recovery()",
        _ => "current_setting('default_transaction_read_only')",
    }
}

/// The facts as far as they are known.
#[derive(Default)]
pub(super) struct Facts {
    started: Option<String>,
    up_for: Option<Duration>,
    recovery: Option<bool>,
    read_only_default: Option<bool>,
}

impl Facts {
    /// Takes in the result of [`select`].
    pub(super) fn learn(&mut self, wanted: &[Addition], rows: &Rows) {
        for (column, fact) in wanted.iter().enumerate() {
            let value = rows.first().and_then(|row| row.try_get(column).ok().flatten());
            match fact {
                Addition::StartTime => {
                    let mut moments = value.into_iter().flat_map(|text| text.split(' '));
                    let (started, now) = (moments.next(), moments.next());
                    self.up_for = started.zip(now).and_then(|(started, now)| between(started, now));
                    self.started = started.map(|text| text.chars().take(LONGEST).collect());
                }
                Addition::Recovery => self.recovery = value.and_then(truth),
                _ => self.read_only_default = value.and_then(truth),
            }
        }
    }

    /// How long the server had been running when it answered, by its own clock.
    pub(super) fn up_for(&self) -> Option<Duration> {
        self.up_for
    }

    /// As [`ServerFacts`]. Only recovery and default together prove that a server takes writes.
    pub(super) fn of(&self, session: &Session) -> ServerFacts {
        let read_only = match (self.recovery, self.read_only_default) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        ServerFacts {
            read_only,
            started: self.started.clone(),
            version: session.version(),
            ready_after: Duration::ZERO,
            woken: false,
            plaintext: session.is_plaintext(),
        }
    }
}

/// The time between two moments given in seconds.
fn between(from: &str, to: &str) -> Option<Duration> {
    let seconds = to.parse::<f64>().ok()? - from.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "t" | "true" | "on" => Some(true),
        "f" | "false" | "off" => Some(false),
        _ => None,
    }
}
