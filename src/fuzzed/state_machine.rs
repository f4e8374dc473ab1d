//! Any sequence of results, moments and settings: the verdicts are those of docs/reference.md, and every endpoint gives
//! the same.
//!
//! The first four bytes are the settings, every two after them an event.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use crate::config::{Config, Gate, Given, Need};
use crate::http::View;
use crate::http::routes::{Ask, respond};
use crate::probe::{Class, Failure, Outcome, Phase, Phases, Reason};
use crate::readiness::{Judgement, Now, Scope, State, Status, health, judge};
use crate::schedule::Rhythm;
use crate::state::{CheckState, KEPT, STARTING_FOR, Snapshot, Verdict};
use hyper::Method;
use tokio::time::Instant;

const THRESHOLDS: u8 = 5;
const GATES: [(&str, Gate); 3] = [("startup", Gate::Startup), ("always", Gate::Always), ("never", Gate::Never)];
/// Neon caches these answers: the check is not repeated before they expire.
const CACHED: [Reason; 5] =
    [Reason::QuotaExceeded, Reason::EndpointDisabled, Reason::RateLimited, Reason::AuthFailed, Reason::AccessDenied];

/// What docs/reference.md says of one check, as simply as possible.
#[derive(Clone, Default)]
struct Model {
    /// `None`: starting.
    up: Option<bool>,
    ever_up: bool,
    in_a_row: (u32, u32),
    last: Option<Reason>,
    results: usize,
    failures: usize,
}

impl Model {
    fn take(&mut self, failure: Option<Reason>, thresholds: (u32, u32), since_start: Duration) {
        self.results += 1;
        match failure {
            None => {
                self.in_a_row = (0, self.in_a_row.1 + 1);
                // One success suffices at the start.
                if self.up.is_none() || self.in_a_row.1 >= thresholds.1 {
                    (self.up, self.ever_up) = (Some(true), true);
                }
            }
            Some(reason) => {
                self.in_a_row = (self.in_a_row.0 + 1, 0);
                (self.last, self.failures) = (Some(reason), self.failures + 1);
                let enough = self.up == Some(true) && self.in_a_row.0 >= thresholds.0;
                // A start that goes on for too long is an outage.
                let late = self.up.is_none() && since_start >= STARTING_FOR;
                if enough || late || reason.class() == Class::Permanent {
                    self.up = Some(false);
                }
            }
        }
    }

    fn verdict(&self) -> Verdict {
        match self.up {
            None => Verdict::Starting,
            Some(true) => Verdict::Up,
            Some(false) => Verdict::Down,
        }
    }
}

/// The program's state beside the model's.
struct World {
    config: Config,
    gate: Gate,
    snapshot: Snapshot,
    models: Vec<Model>,
    rhythms: [Rhythm; 2],
    start: Instant,
    now: Now,
    draining: bool,
    ever_ready: bool,
}

impl World {
    fn new(settings: [u8; 4]) -> World {
        let [failure, success, gate, sql] = settings;
        let (failure, success) = ((failure % THRESHOLDS + 1).to_string(), (success % THRESHOLDS + 1).to_string());
        let (gate_name, gate) = GATES[usize::from(gate) % GATES.len()];
        let names = ["one: SELECT true", "two: SELECT true"][..usize::from(sql % 3)].join("\n");
        let lookup = |name: &str| {
            let text = match name {
                "DATABASE_URL" => "postgresql://probe:pw@localhost/db",
                "SIDEPULSE_DATABASE" if sql & 0x80 != 0 => "off",
                "SIDEPULSE_DATABASE_GATE" => gate_name,
                "SIDEPULSE_FAILURE_THRESHOLD" => &failure,
                "SIDEPULSE_SUCCESS_THRESHOLD" => &success,
                "SIDEPULSE_SQL_CHECKS" if sql % 3 > 0 => &names,
                _ => return None,
            };
            Some(Given { text: Some(text.to_owned()), named: name.to_owned() })
        };
        let config = Config::load(&lookup, Need::Everything).expect("good settings");
        // As in the program without a database.
        let gate = if config.database.is_some() { gate } else { Gate::Never };
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
        let snapshot = Snapshot::new(&config, now.instant);
        let interval = config.database.as_ref().map_or(config.app.interval, |database| database.interval);
        let rhythms = [Rhythm::of_app(config.app.interval, now.instant), Rhythm::of_database(interval)];
        let models = vec![Model::default(); snapshot.checks().count()];
        World { config, gate, snapshot, models, rhythms, start: now.instant, now, draining: false, ever_ready: false }
    }

    /// Overdue: now > due + timeout + 2 × interval.
    fn is_stale(&self, index: usize) -> bool {
        let (app, database) = (&self.config.app, &self.config.database);
        let (timeout, interval) = match database {
            Some(database) if index > 0 => (database.timeout, database.interval),
            _ => (app.timeout, app.interval),
        };
        self.now.instant > self.check(index).due + timeout + 2 * interval
    }

    fn check(&self, index: usize) -> &CheckState {
        self.snapshot.checks().nth(index).expect("as many as models")
    }

    fn check_mut(&mut self, index: usize) -> &mut CheckState {
        self.snapshot.checks_mut().nth(index).expect("as many as models")
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
    }

    /// A result of a check, and the plan that follows it.
    fn result(&mut self, index: usize, failure: Option<Reason>, attempts: u32, read_only: bool) {
        let failed = |reason| Failure::new(reason, Phase::Query);
        let outcome = Outcome {
            result: failure.map_or(Ok(()), |reason| Err(failed(reason))),
            attempts,
            duration: Duration::from_millis(3),
            phases: Phases::default(),
            ended: (self.now.instant, self.now.wall),
        };
        let thresholds = (self.config.thresholds.failure, self.config.thresholds.success);
        let before = self.models[index].verdict();
        let since_start = self.now.instant.duration_since(self.start);
        self.models[index].take(failure, thresholds, since_start);
        let after = self.models[index].verdict();
        let change = self.check_mut(index).record(outcome);
        if failure.is_none()
            && index == 1
            && let Some(database) = &mut self.snapshot.database
        {
            database.read_only = read_only;
        }
        let told = change.map(|change| (change.from, change.to));
        assert_eq!(told, (before != after).then_some((before, after)), "a change, and only a change");
        if index < 2 {
            self.plan(index, failure);
        }
    }

    /// When the next one is due: soon after a failure, later the longer it lasts, never later than the interval and
    /// a tenth, but not before Neon has forgotten its answer.
    fn plan(&mut self, index: usize, failure: Option<Reason>) {
        let interval = match &self.config.database {
            Some(database) if index == 1 => database.interval,
            _ => self.config.app.interval,
        };
        let wait = self.rhythms[index].after(failure, self.now.instant);
        let longest = interval.mul_f64(1.1);
        let cached = failure.is_some_and(|reason| CACHED.contains(&reason));
        let eager = index == 0 && wait == Duration::from_millis(250);
        if cached && !eager {
            assert!(wait >= Duration::from_secs(30) && wait <= longest.max(Duration::from_secs(30)), "{wait:?}");
        } else {
            assert!(wait <= longest, "{wait:?} of {interval:?}");
        }
        assert!(wait >= Duration::from_millis(250).min(interval), "{wait:?}: no pause");
        assert!(failure.is_some() || wait >= interval.mul_f64(0.9), "{wait:?} after a success");
        let due = self.now.instant + wait;
        match &mut self.snapshot.database {
            Some(database) if index > 0 => database.checks_mut().for_each(|check| check.due = due),
            _ => self.snapshot.app.due = due,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            snapshot: &self.snapshot,
            gate: self.gate,
            draining: self.draining,
            ever_ready: self.ever_ready,
            live: true,
            token: None,
            now: self.now,
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let reply = respond(Ask { method: &Method::GET, path, query, authorization: None }, self.view());
        (reply.code, String::from_utf8(reply.body.bytes().expect("not the metrics").to_vec()).expect("text"))
    }

    /// What holds at any moment. Returns whether it is ready.
    fn judge_all(&mut self) -> bool {
        let now = self.now;
        for (index, (check, model)) in self.snapshot.checks().zip(&self.models).enumerate() {
            compare_one(check, model, self.is_stale(index), judge(check, &self.snapshot, now));
        }
        let fine = |index: usize| self.models[index].up == Some(true) && !self.is_stale(index);
        let gate = match self.gate {
            Gate::Never => true,
            Gate::Startup => self.models.get(1).is_none_or(|database| database.results > database.failures),
            Gate::Always => self.models.len() == 1 || fine(1),
        };
        let ready = fine(0) && gate && !self.draining;
        let readiness = self.view().readiness();
        assert_eq!(readiness.is_ready(), ready, "{readiness:?}");
        for (scope, good) in [
            (Scope::All, (0..self.models.len()).all(fine) && !self.draining),
            (Scope::Shallow, fine(0)),
            (Scope::Deep, (1..self.models.len()).all(fine)),
        ] {
            let status = health(scope, &self.snapshot, self.draining, now);
            assert_eq!(status != Status::Fail, good, "{scope:?}");
        }
        self.ever_ready |= ready;
        ready
    }

    /// What the endpoints answer. Only after the last event: a shorter input ends earlier.
    fn ask(&self, ready: bool) {
        let (code, body) = self.get("/readyz");
        assert_eq!((code, body == "ok\n"), (if ready { 200 } else { 503 }, ready), "{body}");
        assert_eq!(body.lines().count(), 1);
        let (code, body) = self.get("/readyz?verbose");
        assert_eq!(code, if ready { 200 } else { 503 });
        assert!(body.ends_with(if ready { "readyz check passed\n" } else { "readyz check failed\n" }), "{body}");
        assert_eq!(self.get("/startupz").0, if self.models[0].ever_up { 200 } else { 503 });
        assert_eq!(self.get("/livez").0, 200);

        for (path, scope) in
            [("/health", Scope::All), ("/health/shallow", Scope::Shallow), ("/health/deep", Scope::Deep)]
        {
            if scope == Scope::Deep && self.models.len() == 1 {
                assert_eq!(self.get(path).0, 404);
                continue;
            }
            let status = health(scope, &self.snapshot, self.draining, self.now);
            let (code, body) = self.get(path);
            assert_eq!(code, if status == Status::Fail { 503 } else { 200 }, "{path}: {body}");
            assert!(body.starts_with(&format!("{{\"status\":\"{}\",", status.as_str())), "{path}: {body}");
            // What is not simply passing says why.
            assert_eq!(body.contains("\"output\":\""), status != Status::Pass, "{path}: {body}");
        }
        assert_eq!(self.get("/").0, 200);
    }
}

fn compare_one(check: &CheckState, model: &Model, stale: bool, judged: Judgement) {
    assert_eq!((check.verdict, check.ever_up), (model.verdict(), model.ever_up), "{}", check.name);
    assert_eq!((check.failures, check.successes), model.in_a_row);
    assert!(check.verdict != Verdict::Up || check.last_success.is_some(), "up without a success");
    assert_eq!(check.recent.len(), model.results.min(KEPT));
    assert_eq!(check.recent_failures.len(), model.failures.min(KEPT));
    let state = match model.verdict() {
        _ if stale => State::Stale,
        Verdict::Starting => State::Starting,
        Verdict::Down => State::Down,
        Verdict::Up if check.idle_since.is_some() => State::Idle,
        Verdict::Up => State::Up,
    };
    assert_eq!(judged.state, state);
    match judged.status {
        Status::Pass => assert_eq!(judged.reason, None),
        Status::Warn => assert!(judged.reason.is_some_and(|reason| Reason::WARNINGS.contains(&reason))),
        Status::Fail if stale => assert_eq!(judged.reason, Some(Reason::Stale)),
        Status::Fail => assert_eq!(judged.reason, Some(model.last.unwrap_or(Reason::NotRun))),
    }
    assert_eq!(judged.status == Status::Fail, !matches!(state, State::Up | State::Idle));
}

/// What a check can report.
fn reasons() -> Vec<Reason> {
    Reason::ALL.iter().copied().filter(|reason| reason.class() != Class::NotAFailure).collect()
}

static REASONS: LazyLock<Vec<Reason>> = LazyLock::new(reasons);

/// Plays the events of `input`, and compares the program with the model after each.
pub fn state_machine(input: &[u8]) {
    let Some((settings, events)) = input.split_first_chunk::<4>() else { return };
    let mut world = World::new(*settings);
    let mut ready = world.judge_all();
    for event in events.chunks_exact(2) {
        let [what, value] = [event[0], event[1]];
        let index = usize::from(what >> 4) % world.models.len();
        match what & 0xf {
            0..=3 => world.result(index, None, u32::from(what & 3) + 1, value & 1 == 1),
            4..=8 => world.result(index, Some(REASONS[usize::from(value) % REASONS.len()]), 1, false),
            9 => world.pass(Duration::from_millis(u64::from(value) * 100)),
            10 => world.pass(Duration::from_secs(u64::from(value) * 60)),
            // The next result is not overdue, however long it took to come here.
            11 => world.snapshot.checks_mut().for_each(|check| check.due = world.now.instant),
            12 => world.draining = true,
            13 => {
                // The app does not use the database, or does again.
                let since = (value & 1 == 1).then_some(world.now.instant);
                let deep = world.snapshot.checks_mut().skip(1).filter(|check| check.verdict == Verdict::Up);
                deep.for_each(|check| check.idle_since = since);
            }
            14 => {
                let end = world.now.wall + Duration::from_secs(u64::from(value) * 12 * 3600);
                if let Some(database) = &mut world.snapshot.database {
                    database.certificate_expiry = Some(end);
                }
            }
            // Just before it is overdue, and just after.
            _ => {
                let check = world.check(index);
                let edge = check.due + check.grace + Duration::from_millis(u64::from(value & 1));
                world.pass(edge.saturating_duration_since(world.now.instant));
            }
        }
        ready = world.judge_all();
    }
    world.ask(ready);
}
