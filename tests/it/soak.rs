//! Soak: checks every 100 ms, random faults in the app, the database and the network between, and clients throughout.
//! Every fault is seen and none invented; log, metrics and fault log agree; nothing grows.
//!
//! `SOAK_SECONDS` is the length (60; in the long form, 1800, the clients make a million requests). `SOAK_SEED` repeats
//! the faults of another run.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::sidecar::Sidecar;

mod account;
mod app;
mod database;
mod door;
mod lane;
mod ledger;
mod load;
mod measure;

use account::Account;
use app::App;
use database::Database;
use ledger::{Check, Ledger};
use load::{Line, Tally};
use measure::Curve;

/// Between two checks.
const INTERVAL: Duration = Duration::from_millis(100);
/// Short, so that a fault is found quickly; long enough for a machine that is busy with other builds.
const APP_TIMEOUT: Duration = Duration::from_millis(1500);
const DATABASE_TIMEOUT: Duration = Duration::from_millis(2500);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Between two requests of `/health`: four for each check.
const LOOK: Duration = Duration::from_millis(25);
/// What the long form must reach.
const LONG_FORM: Duration = Duration::from_secs(1800);
const REQUESTS: u64 = 1_000_000;
const SCRAPES: u64 = 10_000;
/// Keep-alive connections of the clients.
const CLIENTS: u64 = 3;
/// `/metrics` is written at most once a second.
const FRESH: Duration = Duration::from_millis(1100);
/// All but one in a thousand answers take no longer than this on the busiest machine.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

/// What all threads of a run share.
struct Run<'a> {
    address: SocketAddr,
    seed: u64,
    started: Instant,
    length: Duration,
    tally: Tally,
    ledger: Ledger,
    /// How many lanes still draw faults.
    lanes: AtomicUsize,
    failed: &'a AtomicBool,
}

impl Run<'_> {
    /// There is time for another fault.
    fn has_time(&self) -> bool {
        self.started.elapsed() < self.length
    }

    /// Faults are still drawn, or under way.
    fn goes_on(&self) -> bool {
        self.lanes.load(Ordering::SeqCst) > 0
    }

    /// A thread has panicked: the others end, and the test with them.
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Tells the other threads of a panic.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[test]
fn every_fault_is_seen_none_invented_and_nothing_grows() {
    let seed = setting("SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let length = Duration::from_secs(setting("SOAK_SECONDS").unwrap_or(60));
    println!("SOAK_SEED={seed} SOAK_SECONDS={}", length.as_secs());

    let (mut app, mut database) = (App::start(), Database::start());
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let mut sidecar = Sidecar::on(database.url())
        .app(app.door.port())
        .set("SIDEPULSE_APP_INTERVAL", millis(INTERVAL))
        .set("SIDEPULSE_APP_TIMEOUT", millis(APP_TIMEOUT))
        .set("SIDEPULSE_DATABASE_INTERVAL", millis(INTERVAL))
        .set("SIDEPULSE_DATABASE_TIMEOUT", millis(DATABASE_TIMEOUT))
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", millis(ATTEMPT_TIMEOUT))
        .set("SIDEPULSE_DATABASE_GATE", "always")
        .set("SIDEPULSE_DATABASE_QUERY", database::QUERY)
        .set("SIDEPULSE_SQL_CHECKS", database::SQL_CHECKS)
        // Every failure, not only the first of a fault.
        .set("SIDEPULSE_LOG", "debug")
        .start();

    let failed = AtomicBool::new(false);
    let run = Run {
        address: sidecar.address(),
        seed,
        started: Instant::now(),
        length,
        tally: Tally::default(),
        ledger: Ledger::default(),
        lanes: AtomicUsize::new(2),
        failed: &failed,
    };
    let curve = Curve::default();
    let pid = sidecar.pid();
    wait_until_green(&run);
    live_through(&run, &curve, pid, &mut app, &mut database);

    let faults = run.ledger.entries();
    println!("{}\n{}", curve.table(), account::table(&faults));
    let (longest, usual) = run.tally.latency();
    println!(
        "{} faults, {} requests, {} scrapes, the longest answer {longest:?}, 99.9 % under {usual:?}",
        faults.len(),
        run.tally.total(),
        run.tally.scrapes(),
    );
    agree(&run, &sidecar, &faults, database.restarts);
    curve.assert_flat();
    assert!(usual <= LONGEST_ANSWER, "answers take {usual:?}");
    let most = [app.door.most_at_once(), database.door.most_at_once()];
    assert_eq!(most, [1, 1], "connections at once, to the app and to the database");

    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.wait().code(), Some(0), "{}", sidecar.log_text());
    assert_eq!(sidecar.events("stopped").len(), 1);
    measure::assert_no_session(&database.maintenance());
    assert_eq!([app.door.connections_now(), database.door.connections_now()], [0, 0]);
}

/// Before its first answer `/health` may say that nothing is known yet.
fn wait_until_green(run: &Run<'_>) {
    let mut line = Line::open(run.address, &run.tally);
    let green = crate::support::eventually::eventually(crate::support::eventually::SOON, || {
        line.get("/health").json()["status"] == "pass" && line.get("/readyz").status == 200
    });
    assert!(green, "it does not become green");
}

/// Everything that happens at the same time.
fn live_through(run: &Run<'_>, curve: &Curve, pid: u32, app: &mut App, database: &mut Database) {
    let part = |whole: u64| (whole as f64 * run.length.as_secs_f64() / LONG_FORM.as_secs_f64()).ceil() as u64;
    let maintenance = database.maintenance();
    let mut works: Vec<Box<dyn FnOnce() + Send + '_>> = vec![
        Box::new(|| {
            lane::draw_faults(run, app, "app");
            run.lanes.fetch_sub(1, Ordering::SeqCst);
        }),
        Box::new(|| {
            lane::draw_faults(run, database, "database");
            run.lanes.fetch_sub(1, Ordering::SeqCst);
        }),
        Box::new(|| load::scrape(run, part(SCRAPES))),
        Box::new(|| curve.follow(run, pid)),
        Box::new(|| curve.follow_sessions(run, &maintenance)),
    ];
    for _ in 0..CLIENTS {
        works.push(Box::new(|| load::ask_for_health(run, part(REQUESTS).div_ceil(CLIENTS))));
    }
    thread::scope(|scope| {
        for work in works {
            scope.spawn(move || {
                let _alarm = Alarm(run.failed);
                work();
            });
        }
    });
}

/// Reads the metrics once more, when no other requests come.
fn agree(run: &Run<'_>, sidecar: &Sidecar, faults: &[ledger::Entry], restarts: usize) {
    load::wait_until(Instant::now() + FRESH);
    let metrics = Line::open(run.address, &run.tally).get("/metrics").body;
    let account = Account::new(faults, sidecar.events("transition"), sidecar.events("warning"), &metrics);
    for check in Check::ALL {
        account.transitions_agree(check);
        account.failures_agree(check);
    }
    account.requests_agree(&run.tally);
    account.nothing_else_happened(restarts);
}
