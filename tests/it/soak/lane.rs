//! One fault after another: each lasts until it is seen, and the next begins once its checks have passed for a while.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;

use super::Run;
use super::ledger::{Check, Entry, Signs};
use super::load::Line;
use crate::support::eventually::poll;
use crate::support::random::Random;

/// How long the checks are left alone, and must pass throughout.
const HEALTHY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2500));
/// How much longer a fault may last than it takes to see it.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// What a busy machine may add to the limits in docs/reference.md.
const SLACK: Duration = Duration::from_secs(5);
/// After these the next check comes this late (docs/reference.md, Timing: Neon caches its answer for as long).
const CACHED: ([&str; 2], Duration) = (["auth_failed", "access_denied"], Duration::from_secs(30));
/// A shorter run has no time for those.
const LONG: Duration = Duration::from_secs(300);

/// One fault of a deck.
pub(super) struct Fault<D> {
    pub(super) signs: Signs,
    pub(super) deed: D,
}

/// What can be made to fail.
pub(super) trait Stage {
    /// How.
    type Deed;
    /// Its checks when everything passes.
    const CHECKS: &'static [Check];
    /// A whole check's timeout.
    const TIMEOUT: Duration;

    /// All its faults.
    fn deck() -> Vec<Fault<Self::Deed>>;
    /// Begins one.
    fn inflict(&mut self, deed: &Self::Deed, random: &mut Random);
    /// Ends it.
    fn heal(&mut self, deed: &Self::Deed);
}

/// Draws faults until the time is over: every one in the deck, in random order, then all of them again.
pub(super) fn draw_faults<S: Stage>(run: &Run<'_>, stage: &mut S, name: &str) {
    let mut random = Random::new(run.seed, name);
    let mut deck = S::deck();
    deck.retain(|fault| run.length >= LONG || !is_cached(&fault.signs));
    let mut lane = Lane { run, line: Line::open(run.address, &run.tally), checks: S::CHECKS };
    loop {
        for index in random.order(deck.len()) {
            let healthy = random.between(HEALTHY.0, HEALTHY.1);
            lane.watch_it_being_well(healthy);
            if !run.has_time() || run.has_failed() {
                return;
            }
            let hold = random.between(Duration::ZERO, LONGEST_HOLD);
            lane.live_through(stage, &deck[index], hold, &mut random);
        }
    }
}

fn is_cached(signs: &Signs) -> bool {
    signs.proof.iter().any(|reason| CACHED.0.contains(reason))
}

struct Lane<'a> {
    run: &'a Run<'a>,
    line: Line<'a>,
    checks: &'static [Check],
}

impl Lane<'_> {
    /// What `/health` says about the checks.
    fn health(&mut self) -> Value {
        self.line.get("/health").json()["checks"].take()
    }

    /// No failure may be invented.
    fn watch_it_being_well(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.run.has_failed() {
            let health = self.health();
            for check in self.checks {
                assert!(is_well(&health, *check), "nothing is wrong, but {}", health[check.key()]);
            }
            super::load::wait_until(Instant::now() + super::LOOK);
        }
    }

    fn live_through<S: Stage>(&mut self, stage: &mut S, fault: &Fault<S::Deed>, hold: Duration, random: &mut Random) {
        let signs = fault.signs;
        // Both before the fault, so that none of its effects come too early.
        let begun = SystemTime::now();
        self.run.ledger.begin(&signs);
        stage.inflict(&fault.deed, random);
        let inflicted = Instant::now();
        // The worst case to red in docs/reference.md.
        let limit = super::INTERVAL + 2 * S::TIMEOUT + Duration::from_secs(1) + SLACK;
        self.wait(limit, &signs, "is not seen", |health, check| {
            let reason = health[check.key()][0]["reason"].as_str().unwrap_or_default();
            is_down(health, check) && signs.proof.contains(&reason)
        });
        let found_after = inflicted.elapsed();
        super::load::wait_until(Instant::now() + hold);
        stage.heal(&fault.deed);
        let healed = Instant::now();
        // The rest of a check, the wait after it, and a check that passes; one more if that took a retry.
        let wait = if is_cached(&signs) { CACHED.1 } else { super::INTERVAL };
        let limit = wait + super::INTERVAL + 2 * S::TIMEOUT + SLACK;
        let passed = self.wait(limit, &signs, "does not end", is_well);
        let recovered_after = healed.elapsed();
        // The next result is in the log after the line that says `up`: from then on nothing belongs to the fault.
        self.wait(super::INTERVAL + S::TIMEOUT + SLACK, &signs, "comes back", |health, check| {
            assert!(is_well(health, check), "{} comes back: {}", signs.fault, health[check.key()]);
            health[check.key()][0]["time"] != passed[check.key()][0]["time"]
        });
        self.run.ledger.end(Entry { signs, begun, ended: SystemTime::now(), found_after, recovered_after });
    }

    /// Waits until all checks of the fault are like that.
    fn wait(
        &mut self,
        limit: Duration,
        signs: &Signs,
        complaint: &str,
        is_so: impl Fn(&Value, Check) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let came = poll(limit, || {
            super::load::wait_until(Instant::now() + super::LOOK);
            last = self.health();
            signs.checks.iter().all(|check| is_so(&last, *check)).then_some(())
        });
        assert!(came.is_some(), "{} {complaint} within {limit:?}: {signs:?}\n{last}", signs.fault);
        last
    }
}

fn is_down(health: &Value, check: Check) -> bool {
    health[check.key()][0]["state"] == "down"
}

/// Up, without a failure since, and without a retry.
fn is_well(health: &Value, check: Check) -> bool {
    let check = &health[check.key()][0];
    check["state"] == "up" && check["status"] == "pass" && check["consecutiveFailures"] == 0
}
