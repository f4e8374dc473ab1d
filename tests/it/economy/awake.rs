//! What economy costs: how long the database is awake without a sidecar, with one in steady mode, and with one in
//! economy mode, for the ways in which apps use databases. Scaled down: the database suspends after 2 s instead of 5
//! min, and the sidecar's interval is 300 ms instead of 15 s.

use std::thread;

use super::*;

const INTERVAL: Duration = Duration::from_millis(300);
const SLEEP: Sleep = Sleep { after: Duration::from_secs(2), waking: Duration::from_millis(100) };
/// Long enough for a burst, the sleep after it, and some idle time.
const WINDOW: Duration = Duration::from_secs(5);
/// How late a busy machine may be with the suspend.
const LATE: Duration = Duration::from_millis(700);

/// A metric that only early warnings set.
const SESSIONS: &str = r#"sidepulse_database_sessions{state="idle"}"#;

/// A way of using the database.
struct Traffic {
    name: &'static str,
    /// Whether the database is used at all.
    used: bool,
    start: fn(Sleep) -> Sleepy,
    /// What is held open throughout the window.
    hold: fn(&DatabaseUrl) -> Vec<Session>,
    /// Returns what it holds open to the end.
    run: fn(&DatabaseUrl, Instant) -> Vec<Session>,
}

const IDLE: Traffic =
    Traffic { name: "idle", used: false, start: Sleepy::start, hold: |_| Vec::new(), run: |_, _| Vec::new() };

fn pool(url: &DatabaseUrl) -> Vec<Session> {
    let pool: Vec<_> = (0..5).map(|_| session(url)).collect();
    pool.iter().for_each(|session| drop(session.sql("SELECT 1").expect("a query")));
    pool
}

/// A new connection for each query, during most of a second.
fn short_connections(url: &DatabaseUrl, start: Instant) -> Vec<Session> {
    while start.elapsed() < Duration::from_millis(800) {
        session(url).sql("SELECT 1").expect("a query");
        wait_until(Instant::now() + Duration::from_millis(100));
    }
    Vec::new()
}

fn wait_until(moment: Instant) {
    let _ = poll(moment.saturating_duration_since(Instant::now()), || None::<()>);
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// How long the database was awake …
    awake: Duration,
    /// … and how long the app, and the looks that it draws, would have kept it awake.
    explained: Duration,
    /// Logins of the sidecar.
    probes: usize,
}

/// What happened while the app did what it does.
fn run(traffic: &Traffic, mode: Option<&str>, early_warnings: &str) -> Run {
    let (database, app) = ((traffic.start)(SLEEP), WebApp::start());
    let url = database.url();
    let held = (traffic.hold)(&url);
    let sidecar = mode.map(|mode| {
        let sidecar = economy(&url, &app)
            .set("SIDEPULSE_DATABASE_MODE", mode)
            .set("SIDEPULSE_DATABASE_INTERVAL", format!("{}ms", INTERVAL.as_millis()))
            .set("SIDEPULSE_IDLE_HANDSHAKE", "500ms")
            .set("SIDEPULSE_EARLY_WARNINGS", early_warnings)
            .start();
        sidecar.wait_for_check(CHECK, |check| check["status"] == "pass");
        sidecar
    });
    if mode != Some("steady") {
        database.wait_until_asleep();
    }
    let so_far = || Run { awake: database.awake(), explained: database.explained(), probes: database.counts().probes };
    let (start, before) = (Instant::now(), so_far());
    let opened = (traffic.run)(&url, start);
    wait_until(start + WINDOW);
    let after = so_far();
    drop((held, opened));
    if let Some(sidecar) = sidecar {
        assert_eq!(failures(&sidecar), 0.0, "{}", sidecar.log_text());
        assert_eq!(sidecar.metric(SESSIONS).is_some(), early_warnings == "on", "{}", sidecar.log_text());
    }
    Run {
        awake: after.awake - before.awake,
        explained: after.explained - before.explained,
        probes: after.probes - before.probes,
    }
}

fn compare(traffic: &Traffic) {
    let [alone, steady, economy] = thread::scope(|scope| {
        [None, Some("steady"), Some("economy")]
            .map(|mode| scope.spawn(move || run(traffic, mode, "on")))
            .map(|run| run.join().expect("a run"))
    });
    let seconds = |run: Run| format!("{:.2} s", run.awake.as_secs_f64());
    println!(
        "awake in {WINDOW:?} | {:<42} | no sidecar {} | steady {} ({} probes) | economy {} ({} probes)",
        traffic.name,
        seconds(alone),
        seconds(steady),
        steady.probes,
        seconds(economy),
        economy.probes
    );
    let extra = |run: Run| run.awake.saturating_sub(run.explained);
    assert!(extra(alone) <= LATE, "{}: {alone:?}", traffic.name);
    assert!(extra(economy) <= LATE, "{}: {economy:?}", traffic.name);
    assert!(steady.awake >= WINDOW.mul_f64(0.9), "{}: {steady:?}", traffic.name);
    if traffic.used {
        assert!(economy.probes > 0, "{}: never looked at while the app used it", traffic.name);
    } else {
        assert_eq!((economy.awake, economy.probes), (Duration::ZERO, 0), "{}", traffic.name);
    }
}

/// The database is restarted at each wake-up, and its numbers are read again after it.
#[test]
fn early_warnings_keep_nothing_awake() {
    let traffic = Traffic { name: "early warnings", used: true, run: short_connections, ..IDLE };
    let [on, off] = thread::scope(|scope| {
        ["on", "off"]
            .map(|early_warnings| scope.spawn(|| run(&traffic, Some("economy"), early_warnings)))
            .map(|run| run.join().expect("a run"))
    });
    println!("awake in {WINDOW:?} | economy, a burst | early warnings {:.2?}, without {:.2?}", on.awake, off.awake);
    for (what, run) in [("with", on), ("without", off)] {
        let extra = run.awake.saturating_sub(run.explained);
        assert!(run.probes > 0 && extra <= LATE, "{what} early warnings: {run:?}");
    }
}

#[test]
fn an_idle_app() {
    compare(&IDLE);
}

#[test]
fn a_pool_held_open_and_idle() {
    compare(&Traffic { name: "a pool, held open and idle", hold: pool, ..IDLE });
}

#[test]
fn a_burst_through_a_pool_that_is_held_open() {
    compare(&Traffic {
        name: "a burst through a pool, held open after it",
        used: true,
        run: |url, _| pool(url),
        ..IDLE
    });
}

#[test]
fn a_burst_of_short_connections() {
    compare(&Traffic { name: "a burst of short connections", used: true, run: short_connections, ..IDLE });
}

#[test]
fn a_burst_through_pgbouncer() {
    let start = Sleepy::start_pooled;
    compare(&Traffic { name: "a burst through PgBouncer", used: true, start, run: |url, _| pool(url), ..IDLE });
}

#[test]
fn steady_traffic() {
    let run = |url: &DatabaseUrl, start: Instant| {
        let session = session(url);
        while start.elapsed() < WINDOW {
            session.sql("SELECT 1").expect("a query");
            wait_until(Instant::now() + Duration::from_millis(200));
        }
        vec![session]
    };
    compare(&Traffic { name: "steady traffic", used: true, run, ..IDLE });
}
