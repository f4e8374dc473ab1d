use proptest::prelude::*;

use super::*;
use crate::http::View;
use crate::http::routes::{Ask, respond};
use crate::probe::Outcome;
use crate::state::samples::{NO_DATABASE, SQL, config, deep, ended, query, wall};

const S: Duration = Duration::from_secs(1);
const GATES: [Gate; 3] = [Gate::Startup, Gate::Always, Gate::Never];

/// Where a check can be.
#[derive(Clone, Copy, Debug)]
enum Place {
    NotRun,
    Refused,
    Up,
    Fell,
    Wrong,
}

use Place::{Fell, NotRun, Refused, Up, Wrong};

fn put(check: &mut CheckState, place: Place, now: Instant) {
    let results: &[Option<Reason>] = match place {
        NotRun => &[],
        Refused => &[Some(Reason::ConnectRefused)],
        Up => &[None],
        Fell => &[None, Some(Reason::BadStatus), Some(Reason::QueryTimeout)],
        Wrong => &[Some(Reason::AuthFailed)],
    };
    for reason in results {
        check.record(ended(now, *reason));
    }
}

fn judge_query(snapshot: &Snapshot, now: Now) -> Judgement {
    judge(&snapshot.database.as_ref().unwrap().query, snapshot, now)
}

fn query_has(warning: Reason, snapshot: &Snapshot, now: Now) -> bool {
    applies(warning, &snapshot.database.as_ref().unwrap().query, snapshot, now)
}

/// A moment, and a snapshot whose checks are there; `late` = their next results are overdue.
fn known(variables: &[(&str, &str)], places: &[Place], late: &[bool]) -> (Snapshot, Now) {
    let start = Instant::now();
    let now = Now { instant: start + 1000 * S, wall: wall() };
    let mut snapshot = Snapshot::new(&config(variables), now.instant);
    for ((check, place), late) in snapshot.checks_mut().zip(places).zip(late) {
        put(check, *place, now.instant);
        check.due = if *late { now.instant - 60 * S } else { now.instant };
    }
    (snapshot, now)
}

#[test]
fn the_gate_decides_what_readiness_asks_of_the_database() {
    use Reason::{AuthFailed, ConnectRefused, QueryTimeout, Stale};
    // Where the database is, whether its result is overdue; what Startup and Always say. Never says nothing.
    for (place, late, startup, always) in [
        (NotRun, false, Some(Reason::NotRun), Some(Reason::NotRun)),
        (NotRun, true, Some(Stale), Some(Stale)),
        (Refused, false, Some(ConnectRefused), Some(ConnectRefused)),
        (Refused, true, Some(Stale), Some(Stale)),
        (Wrong, false, Some(AuthFailed), Some(AuthFailed)),
        (Wrong, true, Some(Stale), Some(Stale)),
        (Up, false, None, None),
        (Up, true, None, Some(Stale)),
        (Fell, false, None, Some(QueryTimeout)),
        (Fell, true, None, Some(Stale)),
    ] {
        let (snapshot, now) = known(&[], &[Up, place], &[false, late]);
        for (gate, database) in GATES.into_iter().zip([startup, always, None]) {
            for draining in [false, true] {
                let expected = Readiness { draining, app: None, database };
                let found = decide(gate, &snapshot, draining, now.instant);
                assert_eq!(found, expected, "{gate:?}: {place:?}, late: {late}");
                assert_eq!(found.is_ready(), !draining && database.is_none());
            }
        }
    }
}

#[test]
fn without_the_app_it_is_not_ready_whatever_the_gate() {
    for (place, late, expected) in [
        (NotRun, false, Some(Reason::NotRun)),
        (Refused, false, Some(Reason::ConnectRefused)),
        (Wrong, false, Some(Reason::AuthFailed)),
        (Fell, false, Some(Reason::QueryTimeout)),
        (Up, true, Some(Reason::Stale)),
        (Fell, true, Some(Reason::Stale)),
        (Up, false, None),
    ] {
        for variables in [&[][..], &[NO_DATABASE]] {
            let (snapshot, now) = known(variables, &[place, Up], &[late, false]);
            for gate in GATES {
                let found = decide(gate, &snapshot, false, now.instant);
                assert_eq!(found, Readiness { draining: false, app: expected, database: None }, "{place:?}, {late}");
            }
        }
    }
}

#[test]
fn one_answer_satisfies_the_gate_startup_though_more_are_needed_to_be_up() {
    let (mut snapshot, now) = known(&[("SIDEPULSE_SUCCESS_THRESHOLD", "2")], &[Up, Wrong], &[false; 2]);
    assert!(!decide(Gate::Startup, &snapshot, false, now.instant).is_ready());
    put(query(&mut snapshot), Up, now.instant);
    assert_eq!(query(&mut snapshot).verdict, Verdict::Down);
    assert!(decide(Gate::Startup, &snapshot, false, now.instant).is_ready());
    assert!(!decide(Gate::Always, &snapshot, false, now.instant).is_ready());
}

#[test]
fn sql_checks_are_never_asked_by_readiness() {
    let (snapshot, now) = known(&[SQL], &[Up, Up, Wrong], &[false, false, true]);
    for gate in GATES {
        assert!(decide(gate, &snapshot, false, now.instant).is_ready(), "{gate:?}");
    }
}

#[test]
fn the_failing_parts_come_in_order() {
    let (app, database) = (Some(Reason::ConnectRefused), Some(Reason::AuthFailed));
    for (draining, app, database, text) in [
        (false, None, None, ""),
        (true, None, None, "draining"),
        (false, app, None, "app: connect_refused"),
        (false, None, database, "database: auth_failed"),
        (false, app, database, "app: connect_refused; database: auth_failed"),
        (true, None, database, "draining; database: auth_failed"),
        (true, app, database, "draining; app: connect_refused; database: auth_failed"),
    ] {
        assert_eq!(Readiness { draining, app, database }.to_string(), text);
    }
}

#[test]
fn a_check_is_judged_by_its_verdict_unless_it_is_overdue() {
    for (place, idle, late, state, reason) in [
        (NotRun, false, false, State::Starting, Some(Reason::NotRun)),
        (Refused, false, false, State::Starting, Some(Reason::ConnectRefused)),
        (Wrong, false, false, State::Down, Some(Reason::AuthFailed)),
        (Fell, false, false, State::Down, Some(Reason::QueryTimeout)),
        (Fell, true, false, State::Down, Some(Reason::QueryTimeout)),
        (Up, false, false, State::Up, None),
        (Up, true, false, State::Idle, None),
        (Up, false, true, State::Stale, Some(Reason::Stale)),
        (Up, true, true, State::Stale, Some(Reason::Stale)),
        (Fell, false, true, State::Stale, Some(Reason::Stale)),
        (NotRun, false, true, State::Stale, Some(Reason::Stale)),
    ] {
        let (mut snapshot, now) = known(&[], &[Up, place], &[false, late]);
        query(&mut snapshot).idle_since = idle.then_some(now.instant);
        let status = if reason.is_some() { Status::Fail } else { Status::Pass };
        let expected = Judgement { state, status, reason };
        assert_eq!(judge_query(&snapshot, now), expected, "{place:?}, idle: {idle}, late: {late}");
    }
}

/// A database that is up, with these four warnings.
fn warned(read_only: bool, expiring: bool, unverified: bool, retried: bool) -> (Snapshot, Now) {
    let (mut snapshot, mut now) = known(&[SQL], &[Up, NotRun, Up], &[false; 3]);
    let attempts = if retried { 2 } else { 1 };
    query(&mut snapshot).record(Outcome { attempts, ..ended(now.instant, None) });
    deep(&mut snapshot).read_only = read_only;
    if expiring {
        deep(&mut snapshot).certificate_expiry = Some(now.wall + 13 * 24 * 3600 * S);
    }
    if unverified {
        query(&mut snapshot).idle_since = Some(now.instant);
        now.instant += 3601 * S;
        snapshot.checks_mut().for_each(|check| check.due = now.instant);
    }
    (snapshot, now)
}

#[test]
fn of_the_warnings_the_first_that_applies_is_shown() {
    for bits in 0..16_u8 {
        let flags: Vec<bool> = (0..4).map(|i| bits & (1 << i) != 0).collect();
        let (snapshot, now) = warned(flags[0], flags[1], flags[2], flags[3]);
        let order =
            [Reason::ReadOnly, Reason::CertificateExpiring, Reason::IdleUnverified, Reason::RecoveredAfterRetry];
        let expected = order.into_iter().zip(&flags).find(|(_, set)| **set).map(|(reason, _)| reason);
        let judged = judge_query(&snapshot, now);
        assert_eq!(judged.reason, expected, "{flags:?}");
        assert_eq!(judged.status, if expected.is_some() { Status::Warn } else { Status::Pass });
        assert_eq!(judged.state, if flags[2] { State::Idle } else { State::Up });
        for other in snapshot.checks().filter(|check| check.id != CheckId::Database) {
            assert_eq!(judge(other, &snapshot, now).status, Status::Pass, "the warning is another's");
        }
        // A warning is not a failure: the gates ignore it.
        assert!(decide(Gate::Always, &snapshot, false, now.instant).is_ready());
    }
}

#[test]
fn a_check_that_is_not_up_shows_its_failure_and_no_warning() {
    let (mut snapshot, now) = warned(true, true, false, true);
    put(query(&mut snapshot), Wrong, now.instant);
    let judged = judge_query(&snapshot, now);
    assert_eq!((judged.status, judged.reason), (Status::Fail, Some(Reason::AuthFailed)));
}

#[test]
fn warnings_begin_at_their_limits() {
    let day = 24 * 3600 * S;
    let (mut snapshot, now) = known(&[], &[Up, Up], &[false; 2]);
    for (end, warns) in [(15 * day, false), (14 * day, false), (14 * day - S, true), (S, true), (Duration::ZERO, true)]
    {
        deep(&mut snapshot).certificate_expiry = Some(now.wall + end);
        assert_eq!(query_has(Reason::CertificateExpiring, &snapshot, now), warns, "{end:?}");
    }
    deep(&mut snapshot).certificate_expiry = Some(now.wall - day);
    assert!(query_has(Reason::CertificateExpiring, &snapshot, now), "it has ended");

    for (age, idle, warns) in [(3600, true, false), (3601, true, true), (9999, false, false)] {
        let later = Now { instant: now.instant + age * S, ..now };
        query(&mut snapshot).idle_since = idle.then_some(now.instant);
        let found = query_has(Reason::IdleUnverified, &snapshot, later);
        assert_eq!(found, warns, "{age} s, idle: {idle}");
    }
}

#[test]
fn health_is_the_worst_of_its_scope() {
    use Status::{Fail, Pass, Warn};
    // App, database (with a warning or not) and SQL check; what all, shallow and deep say.
    for (app, database, warns, sql, all, shallow, deep) in [
        (Up, Up, false, Up, Pass, Pass, Pass),
        (Up, Up, true, Up, Warn, Pass, Warn),
        (Fell, Up, true, Up, Fail, Fail, Warn),
        (Up, Fell, false, Up, Fail, Pass, Fail),
        (Up, Up, true, Wrong, Fail, Pass, Fail),
        (NotRun, NotRun, false, NotRun, Fail, Fail, Fail),
        (Up, NotRun, false, NotRun, Fail, Pass, Fail),
    ] {
        let (mut snapshot, now) = known(&[SQL], &[app, database, sql], &[false; 3]);
        query(&mut snapshot).retried = warns;
        for (scope, expected) in [(Scope::All, all), (Scope::Shallow, shallow), (Scope::Deep, deep)] {
            assert_eq!(health(scope, &snapshot, false, now), expected, "{scope:?}: {app:?} {database:?} {sql:?}");
            let draining = if scope == Scope::All { Fail } else { expected };
            assert_eq!(health(scope, &snapshot, true, now), draining, "{scope:?} while draining");
        }
    }
    let (alone, now) = known(&[NO_DATABASE], &[Up], &[false]);
    assert_eq!(health(Scope::All, &alone, false, now), Pass);
}

#[test]
fn the_overall_state_tells_a_start_from_an_outage() {
    let readiness = |draining, app| Readiness { draining, app, database: None };
    for (draining, app, ever_ready, state) in [
        (false, Some(Reason::NotRun), false, "starting"),
        (false, None, false, "ready"),
        (false, None, true, "ready"),
        (false, Some(Reason::BadStatus), true, "unready"),
        (true, None, true, "draining"),
        (true, Some(Reason::BadStatus), false, "draining"),
    ] {
        assert_eq!(overall_state(&readiness(draining, app), ever_ready), state);
    }
}

/// What may happen: a result of the check with this number, planned to be followed this much later, after some time.
#[derive(Clone, Debug)]
struct Event {
    check: usize,
    reason: Option<Reason>,
    passed: Duration,
    next: Duration,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let failures: Vec<Reason> =
        Reason::ALL.iter().copied().filter(|r| r.class() != crate::probe::Class::NotAFailure).collect();
    let reason = prop_oneof![Just(None), prop::sample::select(failures).prop_map(Some)];
    // Short times mostly; sometimes so long that results are overdue.
    let passed = prop_oneof![3 => 0_u64..20_000, 1 => 0_u64..200_000].prop_map(Duration::from_millis);
    let event = (0_usize..3, reason, passed, 0_u32..40).prop_map(|(check, reason, passed, next)| Event {
        check,
        reason,
        passed,
        next: next * S,
    });
    prop::collection::vec(event, 0..40)
}

/// Status and body of a path.
fn ask(path: &str, snapshot: &Snapshot, gate: Gate, draining: bool, now: Now) -> (u16, String) {
    let view = View { snapshot, gate, draining, ever_ready: true, live: true, token: None, now };
    let ask = Ask { method: &hyper::Method::GET, path, query: "", authorization: None };
    let reply = respond(ask, view);
    (reply.code, String::from_utf8(reply.body.bytes().unwrap().to_vec()).unwrap())
}

proptest! {
    #[test]
    fn whatever_happens_the_endpoints_keep_their_promises(
        events in events(), gate in prop::sample::select(&GATES[..]), draining: bool,
        failure in 1_u32..4, success in 1_u32..4,
    ) {
        let (failure, success) = (failure.to_string(), success.to_string());
        let variables =
            [SQL, ("SIDEPULSE_FAILURE_THRESHOLD", &*failure), ("SIDEPULSE_SUCCESS_THRESHOLD", &*success)];
        let start = Instant::now();
        let mut snapshot = Snapshot::new(&config(&variables), start);
        let mut app_alone = snapshot.clone();
        let mut instant = start;
        let mut answered = false;
        for event in events {
            instant += event.passed;
            answered |= event.check == 1 && event.reason.is_none();
            for board in [Some(&mut snapshot), Some(&mut app_alone).filter(|_| event.check == 0)].into_iter().flatten() {
                let check = board.checks_mut().nth(event.check).unwrap();
                check.record(ended(instant, event.reason));
                check.due = instant + event.next;
            }
            for now in [instant, instant + 30 * S, instant + 300 * S].map(|instant| Now { instant, wall: wall() }) {
                let code = |path| ask(path, &snapshot, gate, draining, now).0;
                let healthy = |check: &CheckState| judge(check, &snapshot, now).status != Status::Fail;
                let readiness = decide(gate, &snapshot, draining, now.instant);
                let database = snapshot.database.as_ref().unwrap();

                // What has no result, is overdue or is red is never reported as healthy.
                for check in snapshot.checks() {
                    let good = check.newest.is_some() && now.instant <= check.due + check.grace
                        && check.verdict == Verdict::Up;
                    prop_assert_eq!(healthy(check), good);
                }
                prop_assert_eq!(code("/health") == 200, snapshot.checks().all(healthy) && !draining);
                prop_assert_eq!(code("/health/shallow") == 200, healthy(&snapshot.app));
                prop_assert_eq!(code("/health/deep") == 200, database.checks().all(healthy));

                // Ready means: app up, gate satisfied, not draining.
                let gated = match gate {
                    Gate::Startup => answered,
                    Gate::Always => healthy(&database.query),
                    Gate::Never => true,
                };
                prop_assert_eq!(readiness.is_ready(), healthy(&snapshot.app) && gated && !draining);
                prop_assert_eq!(code("/readyz") == 200, readiness.is_ready());

                // No database ever changes liveness or startup.
                for path in ["/livez", "/startupz"] {
                    let with = ask(path, &snapshot, gate, draining, now);
                    prop_assert_eq!(with, ask(path, &app_alone, gate, draining, now), "{}", path);
                }
                prop_assert_eq!(code("/livez"), 200);
            }
        }
    }
}
