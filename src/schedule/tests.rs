use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use hyper::header::{HeaderName, HeaderValue};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::config::Config;
use crate::probe::Class;
use crate::probe::diagnosis::server::{ErrorResponse, Stage, classify};
use crate::process_state::ProcessState;
use crate::state::samples::{NO_DATABASE, SQL, config, recorder, silent};
use crate::state::{CheckState, Verdict};

const S: Duration = Duration::from_secs(1);
const REFUSED: Option<Reason> = Some(Reason::ConnectRefused);

/// Whether a wait is this one, spread by a tenth.
fn is_about(wait: Duration, interval: Duration) -> bool {
    (interval.mul_f64(0.9)..=interval.mul_f64(1.1)).contains(&wait)
}

#[test]
fn after_failures_the_next_check_follows_soon_then_at_the_interval() {
    for (interval, waits) in [(15, &[1, 2, 4, 8][..]), (5, &[1, 2, 4]), (60, &[1, 2, 4, 8, 16, 32]), (1, &[])] {
        let mut rhythm = Rhythm::of_database(interval * S);
        for round in 0..3 {
            for wait in waits {
                assert_eq!(rhythm.after(REFUSED, Instant::now()), *wait * S, "round {round} of {interval} s");
            }
            let spread: Vec<_> = (0..5).map(|_| rhythm.after(REFUSED, Instant::now())).collect();
            assert!(spread.iter().all(|wait| is_about(*wait, interval * S) && *wait != interval * S), "{spread:?}");
            // After a success it starts over.
            assert!(is_about(rhythm.after(None, Instant::now()), interval * S));
        }
    }
    let short = Duration::from_millis(200);
    assert!(
        is_about(Rhythm::of_database(short).after(REFUSED, Instant::now()), short),
        "never later than the interval"
    );
}

/// How many logins a server sees within 90 s that answers each of them at once with this FATAL.
fn logins_in_90_seconds(sqlstate: &str, message: &str) -> usize {
    let said = ErrorResponse { severity: "FATAL", sqlstate, message };
    let reason = classify(Stage::Login, &said).reason;
    // The defaults: a check every 15 s, of 20 s at most, whose last attempt begins with a tenth of them left.
    let (mut rhythm, mut now, mut logins) = (Rhythm::of_database(15 * S), Duration::ZERO, 0);
    while now < 90 * S {
        let (mut waits, latest) = (Waits::between_attempts(), now + 18 * S);
        loop {
            logins += 1;
            let next = now + waits.draw();
            if reason.class() != Class::Retry || next > latest {
                break;
            }
            now = next;
        }
        now += rhythm.after(Some(reason), Instant::now());
    }
    logins
}

#[test]
fn a_full_pool_of_any_pooler_draws_no_more_logins_than_a_full_postgres() {
    // At 0, 1, 3, 7, 15, 30, 45, 60, 75 s and, by jitter, perhaps once more.
    let postgres = logins_in_90_seconds("53300", "sorry, too many clients already");
    assert!((9..=10).contains(&postgres), "{postgres}");
    for (sqlstate, message) in [
        ("XX000", "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15"),
        ("XX000", "(EMAXCONN) max client connections reached, limit: 200"),
        ("XX000", "Max client connections reached"),
        ("XX000", "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked"),
        ("08P01", "no more connections allowed (max_client_conn)"),
        ("58000", "checkout timeout"),
        ("53300", "odyssey: c8dd3b1c3d7e0: too many client tcp connections (global client_max)"),
        ("08000", "Timed-out waiting to acquire database connection."),
    ] {
        // Each draws its own jitter.
        assert!(logins_in_90_seconds(sqlstate, message) <= 10, "{message}");
    }
    assert!(logins_in_90_seconds("XX000", "something new") > 20, "what is not known is tried again");
}

#[test]
fn the_app_is_asked_eagerly_until_it_was_up_once_but_not_for_ever() {
    let start = Instant::now();
    let mut rhythm = Rhythm::of_app(5 * S, start);
    for at in [0, 1, 100, 299] {
        assert_eq!(rhythm.after(REFUSED, start + at * S), Duration::from_millis(250), "after {at} s");
    }
    for wait in [1, 2, 4] {
        assert_eq!(rhythm.after(REFUSED, start + 300 * S), wait * S);
    }
    assert!(is_about(rhythm.after(REFUSED, start + 300 * S), 5 * S));

    let mut rhythm = Rhythm::of_app(5 * S, start);
    assert!(is_about(rhythm.after(None, start), 5 * S));
    assert_eq!(rhythm.after(REFUSED, start + S), S, "it was up once");

    let short = Duration::from_millis(100);
    assert_eq!(Rhythm::of_app(short, start).after(REFUSED, start), short, "never later than the interval");
}

#[test]
fn an_answer_that_neon_caches_is_not_asked_for_again_within_30_seconds() {
    use Reason::{AccessDenied, AuthFailed, EndpointDisabled, QuotaExceeded, RateLimited};
    let cached = [QuotaExceeded, EndpointDisabled, RateLimited, AuthFailed, AccessDenied];
    for reason in Reason::ALL {
        for interval in [100, 5_000, 15_000, 30_000].map(Duration::from_millis) {
            let mut rhythm = Rhythm::of_database(interval);
            let least = (0..12).map(|_| rhythm.after(Some(*reason), Instant::now())).min().unwrap();
            assert_eq!(least >= 30 * S, cached.contains(reason), "{reason} every {interval:?}");
        }
    }
    let mut rhythm = Rhythm::of_database(60 * S);
    let waits: Vec<_> = (0..6).map(|_| rhythm.after(Some(AuthFailed), Instant::now()).as_secs()).collect();
    assert_eq!(waits, [30, 30, 30, 30, 30, 32]);
    assert!(is_about(rhythm.after(Some(AuthFailed), Instant::now()), 60 * S));
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_or_never_ends_returns_nothing_and_is_dropped() {
    struct Gone(Rc<Cell<bool>>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let work = async {
        assert_eq!(guarded(S, async { 7 }).await, Some(7));
        assert_eq!(guarded(S, async { assert_eq!(1, 2, "on purpose") }).await, None);
        let (gone, start) = (Rc::new(Cell::new(false)), Instant::now());
        let socket = Gone(Rc::clone(&gone));
        let endless = async move {
            let _socket = socket;
            std::future::pending::<()>().await;
        };
        assert_eq!(guarded(2 * S, endless).await, None);
        assert!(is_about(start.elapsed(), 2 * S + OVERRUN), "{:?}", start.elapsed());
        assert!(gone.get(), "a second check would run beside it");
    };
    LocalSet::new().run_until(work).await;
}

/// The loops, and what they write to.
struct Bench {
    config: Config,
    recorder: RefCell<Recorder>,
    process: Arc<ProcessState>,
}

impl Bench {
    fn new(variables: &[(&str, &str)]) -> Bench {
        let config = config(variables);
        let (recorder, process, _) = recorder(&config, silent());
        Bench { config, recorder: RefCell::new(recorder), process }
    }

    /// Runs both loops until the observer has seen enough.
    async fn watch(&self, observe: impl Future<Output = ()>) {
        let schedule = Schedule::new(&self.process.pulse, &self.recorder);
        let app = schedule.check_app(self.config.app.clone(), false);
        let database = async {
            let Some(settings) = self.config.database.clone() else { return std::future::pending().await };
            schedule.check_database(settings, Arc::clone(&self.config.redactor)).await;
        };
        let work = async {
            tokio::select! {
                biased;
                () = app => unreachable!("the loop of the app ended"),
                () = database => unreachable!("the loop of the database ended"),
                () = observe => {}
            }
        };
        LocalSet::new().run_until(work).await;
    }

    fn checks(&self) -> Vec<CheckState> {
        self.recorder.borrow().snapshot().checks().cloned().collect()
    }

    fn app(&self) -> CheckState {
        self.recorder.borrow().snapshot().app.clone()
    }

    fn query(&self) -> CheckState {
        self.recorder.borrow().snapshot().database.clone().unwrap().query
    }
}

/// A port on which nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(start_paused = true)]
async fn an_app_that_refuses_is_asked_four_times_a_second_for_five_minutes() {
    let url = format!("http://127.0.0.1:{}/", closed_port());
    let bench = Bench::new(&[NO_DATABASE, ("SIDEPULSE_APP_URL", &url)]);
    let observe = async {
        sleep(100 * S).await;
        let app = bench.app();
        assert!((395..=401).contains(&app.failures), "{} checks in 100 s", app.failures);
        assert_eq!((app.verdict, app.newest_failure), (Verdict::Starting, Some(Reason::ConnectRefused)));
        sleep(201 * S).await;
        let before = bench.app().failures;
        sleep(100 * S).await;
        let later = bench.app().failures - before;
        assert!((17..=25).contains(&later), "{later} checks in 100 s of every 5 s");
        assert!(!bench.app().is_stale(Instant::now()));
        assert_eq!(bench.app().verdict, Verdict::Down, "after five minutes");
    };
    bench.watch(observe).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_refuses_is_tried_again_inside_the_check_and_after_it() {
    let url = format!("postgresql://u:p@127.0.0.1:{}/d", closed_port());
    let bench = Bench::new(&[("DATABASE_URL", &url), SQL]);
    let observe = async {
        sleep(60 * S).await;
        let [_, database, sql] = bench.checks().try_into().unwrap();
        let newest = database.newest.unwrap();
        // 0.25, 0.5, 1, 2 and then 4 s, halved or half as much again, until 2 s before the end of 20.
        assert!((8..=13).contains(&newest.attempts), "{} attempts", newest.attempts);
        assert!((14 * S..=18 * S).contains(&newest.duration), "{:?}", newest.duration);
        assert_eq!((database.verdict, newest.reason()), (Verdict::Starting, Some(Reason::ConnectRefused)));
        assert_eq!(database.failures, 3, "in 60 s");
        let reason = sql.newest.unwrap().reason();
        assert_eq!((sql.failures, reason), (database.failures, Some(Reason::ConnectRefused)), "not run");
        sleep(239 * S).await;
        assert!(bench.checks().iter().all(|check| check.verdict == Verdict::Starting), "299 s after the start");
        // The interval, a tenth of it, and a whole check.
        sleep(38 * S).await;
        let checks = bench.checks();
        assert!(checks[1..].iter().all(|check| check.verdict == Verdict::Down), "{checks:?}");
    };
    bench.watch(observe).await;
}

#[tokio::test(start_paused = true)]
async fn checking_goes_on_after_a_panic() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut bench = Bench::new(&[SQL, ("SIDEPULSE_APP_URL", &url)]);
    // More headers than a request can hold, and a deadline that no clock can show: both panic inside a check.
    let header = |i| (HeaderName::try_from(format!("x-{i}")).unwrap(), HeaderValue::from_static("1"));
    bench.config.app.headers = (0..40_000).map(header).collect();
    bench.config.database.as_mut().unwrap().attempt_timeout = Duration::MAX;
    let observe = async {
        for _ in 0..4 {
            sleep(S).await;
            bench.process.pulse.tick(Instant::now(), Duration::ZERO);
            assert!(bench.process.pulse.is_live(Instant::now()));
        }
        let checks = bench.checks();
        assert_eq!(checks.len(), 3);
        for check in checks {
            assert_eq!((check.verdict, check.newest_failure), (Verdict::Starting, Some(Reason::Internal)));
            assert!(check.failures >= 3, "{}: {} checks", check.name, check.failures);
        }
    };
    bench.watch(observe).await;
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// The answer to one statement; with values, one row of text columns.
fn completed(values: &[&str]) -> Vec<u8> {
    let column = [b"c\0".as_slice(), &[0; 4], &[0; 2], &25_u32.to_be_bytes(), &[0xff, 0xff], &[0; 4], &[0; 2]].concat();
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let value = |v: &&str| [&u32::try_from(v.len()).unwrap().to_be_bytes(), v.as_bytes()].concat();
    let rows = [
        message(b'T', &[&count[..], &column.repeat(values.len())].concat()),
        message(b'D', &[count.to_vec(), values.iter().flat_map(value).collect()].concat()),
    ];
    [if values.is_empty() { Vec::new() } else { rows.concat() }, message(b'C', b"DONE\0")].concat()
}

/// A server without TLS: lets one client in and answers its deep query, then leaves the next without an answer.
fn one_good_check_then_silence(listener: &TcpListener) -> TcpStream {
    let (mut client, _) = listener.accept().unwrap();
    client.read_exact(&mut [0; 8]).unwrap();
    client.write_all(b"N").unwrap();
    let _ = client.read(&mut [0; 4096]).unwrap();
    let ready = message(b'Z', b"I");
    client.write_all(&[message(b'R', &[0; 4]), ready.clone()].concat()).unwrap();
    let _ = client.read(&mut [0; 4096]).unwrap();
    let [none, one, facts]: [&[&str]; 3] = [&[], &["1"], &["1000.5", "f", "off"]];
    client.write_all(&[[none, none, none, one, facts, none].map(completed).concat(), ready].concat()).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    listener.accept().unwrap().0
}

#[tokio::test(start_paused = true)]
async fn the_next_check_is_planned_after_a_handshake_that_takes_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://u@{}/d", listener.local_addr().unwrap());
    let app = format!("http://127.0.0.1:{}/", closed_port());
    let bench =
        // This server answers one message.
        Bench::new(&[("DATABASE_URL", &url), ("SIDEPULSE_DATABASE_INTERVAL", "1s"), ("SIDEPULSE_APP_URL", &app), ("SIDEPULSE_EARLY_WARNINGS", "off")]);
    let observe = async {
        let start = Instant::now();
        // While a blocking task runs, paused time stands still: the server's answers take no time.
        let _silent = tokio::task::spawn_blocking(move || one_good_check_then_silence(&listener)).await.unwrap();
        assert!(start.elapsed() < S && bench.query().verdict == Verdict::Up, "{:?}", bench.query());
        sleep(8 * S + S / 2).await;
        let due = bench.query().due - start;
        assert!(due >= 8 * S, "due after {due:?}, while the handshake took 8 s");
    };
    bench.watch(observe).await;
}
