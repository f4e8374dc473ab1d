use super::*;

const S: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The defaults.
const POLICY: Policy =
    Policy { max_age: Some(Duration::from_secs(6 * 3600)), idle_handshake: Some(MINUTE), economy_interval: HOUR };
const SILENT: Policy = Policy { max_age: None, idle_handshake: None, ..POLICY };

/// Up, and the app is idle; the newest query and handshake were just now.
const IDLE: Situation = Situation {
    healthy: true,
    handshake_failed: false,
    active: false,
    rested: true,
    unseen: false,
    unverified_for: Duration::ZERO,
    unreached_for: Duration::ZERO,
};

fn later(unverified_for: Duration, unreached_for: Duration) -> Situation {
    Situation { unverified_for, unreached_for, ..IDLE }
}

#[test]
fn what_the_moment_calls_for() {
    use Decision::{Handshake, Nothing, Query};
    let starting = Situation { healthy: false, ..IDLE };
    let active = Situation { active: true, ..IDLE };
    let restless = Situation { rested: false, ..active };
    let unseen = |situation| Situation { unseen: true, ..situation };
    let table = [
        // Failing, down, or not up yet: as in steady mode, whatever else holds.
        ("starting", POLICY, starting, Query),
        ("starting, silent", SILENT, starting, Query),
        ("starting, unseen", POLICY, unseen(starting), Query),
        ("failing soon after a query", POLICY, Situation { rested: false, ..starting }, Query),
        // Within one interval of activity, and no more often.
        ("active", POLICY, active, Query),
        ("active, silent", SILENT, active, Query),
        ("active, but queried just now", POLICY, restless, Nothing),
        ("active, queried just now, not reached", POLICY, Situation { unreached_for: MINUTE, ..restless }, Handshake),
        // Idle.
        ("idle", POLICY, later(59 * S, 59 * S), Nothing),
        ("idle for a minute", POLICY, later(MINUTE, MINUTE), Handshake),
        ("idle for hours, reached", POLICY, later(5 * HOUR, 10 * S), Nothing),
        ("idle for six hours", POLICY, later(6 * HOUR, 10 * S), Query),
        ("silent for a year", SILENT, later(8760 * HOUR, 8760 * HOUR), Nothing),
        ("never by age, with handshakes", Policy { max_age: None, ..POLICY }, later(8760 * HOUR, MINUTE), Handshake),
        ("by age alone", Policy { idle_handshake: None, ..POLICY }, later(6 * HOUR, 6 * HOUR), Query),
        // One handshake that failed is made again, not followed by a query.
        ("not reached just now", POLICY, Situation { handshake_failed: true, ..IDLE }, Handshake),
        ("not reached, active", POLICY, Situation { handshake_failed: true, ..active }, Query),
        // What the app does cannot be seen.
        ("unseen", POLICY, unseen(later(59 * MINUTE, S)), Nothing),
        ("unseen, not reached", POLICY, unseen(later(59 * MINUTE, MINUTE)), Handshake),
        ("unseen for an hour", POLICY, unseen(later(HOUR, S)), Query),
        ("unseen and silent for an hour", SILENT, unseen(later(HOUR, HOUR)), Query),
    ];
    for (name, policy, situation, expected) in table {
        assert_eq!(decide(&policy, &situation), expected, "{name}");
    }
}

#[test]
fn until_the_passing_of_time_changes_the_decision() {
    let table = [
        ("the handshake is next", POLICY, later(10 * S, 10 * S), Some(50 * S)),
        ("the age is next", POLICY, later(6 * HOUR - S, 10 * S), Some(S)),
        ("overdue", POLICY, later(7 * HOUR, 10 * S), Some(Duration::ZERO)),
        ("silent", SILENT, later(HOUR, HOUR), None),
        ("unseen and silent", SILENT, Situation { unseen: true, ..later(HOUR - S, HOUR) }, Some(S)),
    ];
    for (name, policy, situation, expected) in table {
        assert_eq!(settled_for(&policy, &situation), expected, "{name}");
        if let Some(wait) = expected {
            let then = later(situation.unverified_for + wait, situation.unreached_for + wait);
            let then = Situation { unseen: situation.unseen, ..then };
            assert_ne!(decide(&policy, &then), Decision::Nothing, "{name}");
        }
    }
}

/// Paused time, a port that nothing connects to, and no app that uses the database.
mod over_time {
    use tokio::time::advance;

    use super::*;
    use crate::log::{Level as LogLevel, tests::written};
    use crate::probe::Reason;
    use crate::probe::database::{DatabaseReport, Handshake};
    use crate::pulse::Lane;
    use crate::readiness::{self, Now, State};
    use crate::record::Recorder;
    use crate::state::Deep;
    use crate::state::samples::{SQL, config, ended, recorder};

    const ECONOMY: (&str, &str) = ("SIDEPULSE_DATABASE_MODE", "economy");

    struct World {
        economy: Economy,
        recorder: Recorder,
    }

    impl World {
        /// Up, and verified just now.
        fn new(variables: &[(&str, &str)], log: crate::log::Log) -> World {
            let config = config(variables);
            let recorder = recorder(&config, log).0;
            let settings = config.database.unwrap();
            let traffic = Traffic::default();
            traffic.resolved(&["192.0.2.1:5433".parse().unwrap()], Instant::now());
            let economy = Economy::of(&settings, &traffic).unwrap();
            let mut world = World { economy, recorder };
            world.recorder.app(ended(Instant::now(), None));
            world.query(None);
            world
        }

        /// A deep query that ends like this.
        fn query(&mut self, reason: Option<Reason>) {
            let outcome = ended(Instant::now(), reason);
            let sql = self.recorder.snapshot().checks().skip(2).map(|_| outcome.clone()).collect();
            self.recorder.database(DatabaseReport { query: outcome, facts: None, refused: Vec::new(), sql });
            match reason {
                None => self.economy.verified(None, 15 * S),
                Some(_) => self.economy.failed(Decision::Query),
            }
        }

        /// What it decides after this time.
        async fn decide_after(&mut self, time: Duration) -> Decision {
            advance(time).await;
            let found = self.economy.observe().await;
            self.decide_on(found.as_ref())
        }

        /// The same where the app, by all that can be seen, uses the database at that moment.
        async fn decide_on_activity_after(&mut self, time: Duration) -> Decision {
            advance(time).await;
            self.decide_on(Some(&Activity { moments: vec![Instant::now()], ..Activity::default() }))
        }

        /// What it notices is recorded as by the scheduler.
        fn decide_on(&mut self, found: Option<&Activity>) -> Decision {
            self.recorder.plan(Lane::Database, Instant::now() + 15 * S);
            let noticed = self.economy.decide(found, &self.recorder.snapshot(), &AppChecks::default());
            noticed.warnings.iter().for_each(|warning| self.recorder.warn(warning));
            self.recorder.idle(noticed.idle);
            noticed.decision
        }

        /// A handshake that ends like this.
        fn handshake(&mut self, reason: Option<Reason>) {
            self.recorder.handshake(Handshake { outcome: ended(Instant::now(), reason), certificate: None });
            match reason {
                None => self.economy.reached(),
                Some(_) => self.economy.failed(Decision::Handshake),
            }
        }

        fn states(&self) -> Vec<State> {
            let snapshot = self.recorder.snapshot();
            snapshot
                .database
                .iter()
                .flat_map(Deep::checks)
                .map(|check| readiness::judge(check, &snapshot, Now::read()).state)
                .collect()
        }
    }

    /// Runs it in paused time; returns the warnings.
    fn warnings(variables: &[(&str, &str)], work: impl AsyncFnOnce(World)) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let text = written(LogLevel::Warn, false, |log| {
            let world = async { work(World::new(variables, log.clone())).await };
            runtime.block_on(LocalSet::new().run_until(world));
        });
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn an_idle_verdict_stands_gets_old_and_is_renewed() {
        let variables = [ECONOMY, SQL, ("SIDEPULSE_ECONOMY_MAX_AGE", "2h"), ("SIDEPULSE_ECONOMY_INTERVAL", "9h")];
        let said = warnings(&variables, async |mut world| {
            assert_eq!(world.states(), [State::Up, State::Up]);
            assert_eq!(world.decide_after(15 * S).await, Decision::Nothing);
            assert_eq!(world.states(), [State::Idle, State::Idle]);
            assert_eq!(world.decide_after(45 * S).await, Decision::Handshake);
            world.economy.reached();
            assert!((13 * S..17 * S).contains(&world.economy.wait()), "the interval, give or take a tenth");
            for _ in 0..118 {
                assert_eq!(world.decide_after(MINUTE).await, Decision::Handshake);
                world.economy.reached();
            }
            assert_eq!(world.decide_after(MINUTE).await, Decision::Query);
            assert_eq!(world.states(), [State::Idle, State::Idle], "the app is idle all the same");
            world.query(None);
            assert_eq!(world.decide_after(15 * S).await, Decision::Nothing);
        });
        let (old, unseen): (Vec<_>, Vec<_>) = said.iter().partition(|text| text.contains("idle_unverified"));
        assert_eq!((old.len(), unseen.len()), (1, 1), "{said:?}");
    }

    #[test]
    fn a_failure_ends_idle_and_brings_the_deep_query_back() {
        let said = warnings(&[ECONOMY, SQL], async |mut world| {
            assert_eq!(world.decide_after(15 * S).await, Decision::Nothing);
            world.handshake(Some(Reason::DnsFailure));
            assert_eq!(world.states(), [State::Up, State::Idle], "a handshake is no SQL check's result");
            assert_eq!(world.decide_after(S).await, Decision::Handshake, "one that fails is made again");
            world.handshake(Some(Reason::DnsFailure));
            assert_eq!(world.states(), [State::Down, State::Up], "the threshold");
            assert_eq!(world.decide_after(S).await, Decision::Query);
            world.query(Some(Reason::DnsFailure));
            assert_eq!(world.decide_after(S).await, Decision::Query);
            world.query(None);
            assert_eq!(world.decide_after(15 * S).await, Decision::Nothing);
        });
        assert!(said.iter().any(|text| text.contains("dns_failure")), "{said:?}");
    }

    #[test]
    fn handshakes_that_fail_now_and_then_are_not_in_a_row() {
        warnings(&[ECONOMY], async |mut world| {
            for _ in 0..5 {
                assert_eq!(world.decide_after(MINUTE).await, Decision::Handshake);
                world.handshake(Some(Reason::TlsTimeout));
                assert_eq!(world.states(), [State::Up]);
                assert_eq!(world.decide_after(S).await, Decision::Handshake);
                world.handshake(None);
                assert_eq!(world.decide_after(15 * S).await, Decision::Nothing);
                assert_eq!(world.states(), [State::Idle]);
            }
            // Nor does a handshake that passes make good a query that failed.
            assert_eq!(world.decide_on_activity_after(15 * S).await, Decision::Query);
            world.query(Some(Reason::QueryTimeout));
            assert_eq!(world.decide_after(S).await, Decision::Query);
        });
    }

    #[test]
    fn after_a_mistake_activity_counts_when_the_wait_is_over_and_only_then() {
        let facts =
            |started: &str, woken| ServerFacts { started: Some(started.to_owned()), woken, ..ServerFacts::default() };
        warnings(&[ECONOMY, ("SIDEPULSE_IDLE_HANDSHAKE", "0s")], async |mut world| {
            let passed = |world: &mut World, facts: ServerFacts| {
                world.recorder.database(DatabaseReport {
                    query: ended(Instant::now(), None),
                    facts: Some(facts.clone()),
                    refused: Vec::new(),
                    sql: Vec::new(),
                });
                world.economy.verified(Some(&facts), 15 * S);
            };
            assert_eq!(world.decide_on_activity_after(20 * MINUTE).await, Decision::Query);
            passed(&mut world, facts("1", true));
            for _ in 0..2 {
                assert_eq!(world.decide_on_activity_after(14 * S).await, Decision::Nothing, "30 s from now");
                assert_eq!(world.states(), [State::Idle]);
                assert!(world.economy.wait() <= 17 * S, "it goes on to look");
            }
            // What was seen before is forgotten by now.
            assert_eq!(world.decide_after(14 * S).await, Decision::Nothing);
            assert_eq!(world.decide_on_activity_after(MINUTE).await, Decision::Query);
            // Awake, but perhaps because of us.
            passed(&mut world, facts("1", false));
            assert_eq!(world.decide_on_activity_after(59 * S).await, Decision::Nothing);
            assert_eq!(world.decide_on_activity_after(S).await, Decision::Query);
            // Somebody else has started it.
            passed(&mut world, facts("2", false));
            assert_eq!(world.decide_on_activity_after(14 * S).await, Decision::Nothing);
            assert_eq!(world.decide_after(S).await, Decision::Query, "the activity within the interval counts again");
        });
    }

    #[test]
    fn an_app_that_is_never_seen_is_logged_once_and_the_database_queried_now_and_then() {
        let variables = [ECONOMY, ("SIDEPULSE_IDLE_HANDSHAKE", "0s"), ("SIDEPULSE_ECONOMY_INTERVAL", "30m")];
        let said = warnings(&variables, async |mut world| {
            let mut queries = Vec::new();
            for minute in 1..=120 {
                if world.decide_after(MINUTE).await == Decision::Query {
                    queries.push(minute);
                    world.query(None);
                }
            }
            assert_eq!(queries, [30, 60, 90, 120]);
        });
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("never seen") && said[0].contains("every 30m until one is seen"), "{said:?}");
    }

    #[test]
    fn the_wait_is_cut_to_what_comes_next() {
        let variables = [ECONOMY, ("SIDEPULSE_IDLE_HANDSHAKE", "5s"), ("SIDEPULSE_ECONOMY_MAX_AGE", "8s")];
        warnings(&variables, async |mut world| {
            assert_eq!(world.economy.wait(), 5 * S);
            assert_eq!(world.decide_after(5 * S).await, Decision::Handshake);
            world.economy.reached();
            assert_eq!(world.economy.wait(), 3 * S);
        });
    }

    #[test]
    fn steady_mode_lists_no_sockets() {
        let config = config(&[("SIDEPULSE_DATABASE_MODE", "steady")]);
        assert!(Economy::of(&config.database.unwrap(), &Traffic::default()).is_none());
    }
}
