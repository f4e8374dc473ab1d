//! Any server as the database: the whole deep check with its SQL checks ends in time, uses one connection at a time and
//! little memory, never panics, and shows no secret.
//!
//! The first byte says how the conversation begins (see `Plot`), the rest is its script (`src/script.rs`).
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sidepulse::fuzzed::DatabaseCheck;
use sidepulse_fuzz::postgres;
use sidepulse_fuzz::script::{Conversation, Opening};
use sidepulse_fuzz::world::{run, runtime};
use tokio::runtime::Runtime;

const PASSWORD: &str = "Zq7X wKv9";
const CHECK: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_secs(1);

/// How a conversation begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Plot {
    sslmode: &'static str,
    opening: Opening,
    /// The server lets anyone in: the script begins at the query.
    logged_in: bool,
    sql_checks: usize,
    /// No login: the handshake alone.
    handshake: bool,
}

impl Plot {
    fn of(byte: u8) -> Plot {
        let (sslmode, opening) = match byte & 3 {
            0 => ("disable", Opening::None),
            1 => ("prefer", Opening::None),
            2 => ("prefer", Opening::NoTls),
            _ => ("require", Opening::Tls),
        };
        let handshake = byte & 0x20 != 0;
        Plot {
            sslmode,
            opening,
            logged_in: byte & 4 != 0 && !handshake,
            sql_checks: usize::from(byte >> 3 & 3),
            handshake,
        }
    }

    fn probe(self) -> DatabaseCheck {
        let url = format!("postgresql://probe:{}@127.0.0.1/db?sslmode={}", PASSWORD.replace(' ', "%20"), self.sslmode);
        DatabaseCheck::new(&url, PASSWORD, self.sql_checks, CHECK, ATTEMPT)
    }
}

static ANSWERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(postgres::answers);
thread_local! {
    static RUNTIME: Runtime = runtime();
    /// Loading the roots takes longer than everything else, so each is reused, as in the daemon.
    static PROBES: RefCell<HashMap<Plot, DatabaseCheck>> = RefCell::default();
}

fuzz_target!(|input: &[u8]| {
    let Some((first, script)) = input.split_first() else { return };
    let plot = Plot::of(*first);
    let mut server = Conversation::read(script, &ANSWERS, PASSWORD).opened(plot.opening);
    if plot.logged_in {
        server = server.after(Duration::ZERO, &postgres::login());
    }
    PROBES.with_borrow_mut(|probes| {
        let probe = probes.entry(plot).or_insert_with(|| plot.probe());
        probe.forget();
        RUNTIME.with(|runtime| {
            if plot.handshake { handshake(runtime, server, probe) } else { check(runtime, server, probe, plot) }
        });
    });
});

fn check(runtime: &Runtime, server: Conversation, probe: &mut DatabaseCheck, plot: Plot) {
    let run = run(runtime, server, CHECK, probe.check());
    let (query, sql) = (&run.result.query, &run.result.sql);
    assert_eq!((query.attempts, sql.len()), (run.connections, plot.sql_checks));
    match query.reason {
        None => assert_eq!(run.result.plaintext, Some(plot.sslmode == "prefer")),
        Some(_) => assert!(sql.iter().all(|check| check.reason == query.reason)),
    }
    let sent = run.sent.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!sent.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()), "the password in the clear");
}

fn handshake(runtime: &Runtime, server: Conversation, probe: &mut DatabaseCheck) {
    let run = run(runtime, server, CHECK, probe.handshake());
    // A plan without TLS has no handshake.
    assert!(run.connections >= run.result.attempts);
    let sent = run.sent.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!sent.windows(5).any(|part| part == b"probe"), "a login");
}
