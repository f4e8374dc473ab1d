//! Any server as the database: the whole deep check with its SQL checks ends in time, holds one connection at a time
//! and little memory, never breaks, and shows no secret.
//!
//! The first byte says how the conversation begins (see `Plot`), the rest is its script (`src/script.rs`).
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sidepulse::config::{DatabaseMode, DatabaseSettings, Gate, WarnAt};
use sidepulse::dsn::Plan;
use sidepulse::probe::database::DatabaseProbe;
use sidepulse::redact::Redactor;
use sidepulse_fuzz::postgres;
use sidepulse_fuzz::script::{Conversation, Opening};
use sidepulse_fuzz::world::{look_at, run, runtime};
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

    fn probe(self) -> DatabaseProbe {
        let url = format!("postgresql://probe:{}@127.0.0.1/db?sslmode={}", PASSWORD.replace(' ', "%20"), self.sslmode);
        let (plan, _) = Plan::parse(&url).expect("a URL");
        let redactor = Arc::new(Redactor::new(plan.secrets()));
        let settings = DatabaseSettings {
            plan,
            interval: CHECK,
            timeout: CHECK,
            attempt_timeout: ATTEMPT,
            query: "SELECT 1".to_owned(),
            gate: Gate::Always,
            mode: DatabaseMode::Steady,
            sql_checks: vec![(Arc::from("check"), "SELECT true".to_owned()); self.sql_checks],
            max_age: None,
            idle_handshake: None,
            economy_interval: CHECK,
            early_warnings: Some(WarnAt::default()),
        };
        DatabaseProbe::new(settings, redactor)
    }
}

static ANSWERS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(postgres::answers);
thread_local! {
    static RUNTIME: Runtime = runtime();
    /// Loading the roots takes longer than everything else: each is used again, as in the daemon.
    static PROBES: RefCell<HashMap<Plot, DatabaseProbe>> = RefCell::default();
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

fn check(runtime: &Runtime, server: Conversation, probe: &mut DatabaseProbe, plot: Plot) {
    let asked = async {
        let report = probe.check().await;
        // In the session of a check that passed, and its end.
        probe.vitals().await;
        report
    };
    let run = run(runtime, server, CHECK, asked);
    let (query, sql) = (&run.result.query, &run.result.sql);
    assert_eq!((query.attempts, sql.len()), (run.connections, plot.sql_checks));
    for outcome in sql.iter().chain([query]) {
        look_at(outcome, CHECK, PASSWORD);
    }
    match &query.result {
        Ok(()) => {
            let facts = run.result.facts.as_ref().expect("facts");
            let version = facts.version.as_deref().unwrap_or_default();
            assert!(version.len() <= 16 && version.bytes().all(|c| c.is_ascii_digit() || c == b'.'), "{version}");
            assert!(facts.started.as_ref().is_none_or(|started| started.chars().count() <= 40));
            assert!(facts.ready_after <= CHECK);
            assert!(run.result.refused.iter().all(|refusal| refusal.sqlstate.len() <= 5), "{:?}", run.result.refused);
            assert_eq!(facts.plaintext, plot.sslmode == "prefer");
        }
        Err(failure) => assert!(sql.iter().all(|outcome| outcome.reason() == Some(failure.reason))),
    }
    let sent = run.sent.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!sent.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()), "the password in the clear");
}

fn handshake(runtime: &Runtime, server: Conversation, probe: &mut DatabaseProbe) {
    let run = run(runtime, server, CHECK, probe.handshake());
    let outcome = &run.result.outcome;
    look_at(outcome, CHECK, PASSWORD);
    // A plan without TLS has nothing to shake hands for.
    assert!(run.connections >= outcome.attempts);
    let sent = run.sent.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!sent.windows(5).any(|part| part == b"probe"), "a login");
}
