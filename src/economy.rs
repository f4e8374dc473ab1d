//! Economy: is the app using the database, and may the database be woken now?
//!
//! Neon suspends a compute after 5 min without activity, and bills while it is awake. So the deep query runs only while
//! the app itself keeps the compute awake; otherwise the last verdict stands, and at most a handshake without a login
//! shows that the database is reachable. Whether the app uses the database is seen from outside, from the kernel's
//! sockets: the app need not be changed.
//!
//! - While the app is idle no query is sent, except once every `SIDEPULSE_ECONOMY_MAX_AGE`.
//! - Our own connections never count as the app's, nor does one that wakes nothing because it never logs in.
//! - A query that had to wake the compute was a mistake, and the next ones wait longer.
//! - If the app's connections cannot be seen, that is logged, and one query is sent every `SIDEPULSE_ECONOMY_INTERVAL`.

use std::time::Duration;
use std::{io, mem};

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::config::{DatabaseMode, DatabaseSettings};
use crate::dsn::Endpoint;
use crate::probe::ServerFacts;
use crate::probe::app::AppProbe;
use crate::probe::traffic::Traffic;
use crate::retry;
use crate::state::{Snapshot, Verdict};

mod activity;
mod app_connections;
pub(crate) mod app_url;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "economy/no_kernel.rs"]
mod kernel;
mod mistakes;
mod visibility;

pub(crate) use activity::Activity;
pub(crate) use app_connections::AppConnections;
use app_url::AppChecks;
use mistakes::{Compute, Mistakes};
use visibility::Unseen;

/// A server that shuts down closes a connection at most this long after its last message, or after this part of the
/// interval.
const CLOSE_DELAY: Duration = Duration::from_millis(250);
const CLOSE_DELAY_PART: u32 = 2;
/// Between two checks of an app that may use the database for each of them.
const TRIAL: Duration = Duration::from_millis(200);

/// What to ask of the database now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The deep query.
    Query,
    /// DNS, TCP, TLS and the certificate, without a login.
    Handshake,
    /// Nothing that leaves this machine.
    Nothing,
}

/// How long a verdict may stand without a new result; `None` = for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    /// `SIDEPULSE_ECONOMY_MAX_AGE`: for the deep query, whatever the app does.
    max_age: Option<Duration>,
    /// `SIDEPULSE_IDLE_HANDSHAKE`: for a handshake.
    idle_handshake: Option<Duration>,
    /// `SIDEPULSE_ECONOMY_INTERVAL`: for the deep query, while the app's connections cannot be seen.
    economy_interval: Duration,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Situation {
    /// The database check is up, and its newest deep query has passed.
    healthy: bool,
    /// The newest handshake has failed, after that query.
    handshake_failed: bool,
    /// The app has used the database since the newest deep query began.
    active: bool,
    /// The interval since the newest deep query is over.
    rested: bool,
    /// The app's connections cannot be seen.
    unseen: bool,
    /// Time since the newest deep query that passed.
    unverified_for: Duration,
    /// Time since the database was last reached, by a query or a handshake.
    unreached_for: Duration,
}

/// Decides what to do now.
fn decide(policy: &Policy, situation: &Situation) -> Decision {
    let due = |after: Option<Duration>, age: Duration| after.is_some_and(|after| age >= after);
    if !situation.healthy
        || (situation.active && situation.rested)
        || due(policy.max_age, situation.unverified_for)
        || (situation.unseen && due(Some(policy.economy_interval), situation.unverified_for))
    {
        Decision::Query
    } else if situation.handshake_failed || due(policy.idle_handshake, situation.unreached_for) {
        Decision::Handshake
    } else {
        Decision::Nothing
    }
}

/// How long until time alone changes the decision; `None` = never.
fn settled_for(policy: &Policy, situation: &Situation) -> Option<Duration> {
    let left = |after: Option<Duration>, age: Duration| after.map(|after| after.saturating_sub(age));
    [
        left(policy.max_age, situation.unverified_for),
        left(Some(policy.economy_interval).filter(|_| situation.unseen), situation.unverified_for),
        left(policy.idle_handshake, situation.unreached_for),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// Whether the app uses the database whenever it is checked, and only then. Stops at the first check for which it does
/// not.
pub(crate) async fn app_url_uses_database(app: &mut AppProbe, endpoint: &Endpoint, traffic: &Traffic) -> bool {
    let Ok(mut connections) = AppConnections::of(endpoint, traffic) else { return false };
    let trials = async {
        // Whatever happened before the first dump does not count.
        if connections.listen().is_err() || connections.compare().is_err() {
            return false;
        }
        let (mut checks, mut suspicion) = (AppChecks::default(), app_url::Suspicion::default());
        for _ in 0..app_url::IN_A_ROW {
            let started = Instant::now();
            checks.begins(started, TRIAL);
            app.check().await;
            checks.ends(Instant::now());
            // As long again without a check, to see what the app does by itself.
            sleep(TRIAL.max(started.elapsed())).await;
            let Ok(found) = connections.compare() else { return false };
            if !found.is_active() || !suspicion.grows(&found, &checks) {
                return false;
            }
        }
        suspicion.is_certain()
    };
    LocalSet::new().run_until(trials).await
}

/// What was noticed; the scheduler has it recorded.
#[derive(Debug)]
pub(crate) struct Noticed {
    pub(crate) decision: Decision,
    /// The app's open connections to the database, where they can be seen.
    pub(crate) app_connections: Option<usize>,
    pub(crate) app_uses_database: bool,
    /// The app does not use the database, and the last verdict was good, so it stands.
    pub(crate) idle: bool,
    /// To be logged, each once.
    pub(crate) warnings: Vec<String>,
}

/// Remembers what the decisions rest on.
pub(crate) struct Economy {
    policy: Policy,
    interval: Duration,
    traffic: Traffic,
    connections: io::Result<AppConnections>,
    unseen: Option<Unseen>,
    suspicion: app_url::Suspicion,
    /// The app has used the database, and no deep query has followed yet.
    active: bool,
    /// The newest deep query was made because of activity.
    by_activity: bool,
    mistakes: Mistakes,
    /// When the server was started, by its own account.
    server_started: Option<String>,
    handshake_failed: bool,
    /// Activity leads to no deep query before this moment.
    rested_at: Instant,
    verified: Instant,
    reached: Instant,
    app_up_since: Option<Instant>,
    warned_of: Vec<Unseen>,
    warnings: Vec<String>,
}

impl Economy {
    /// For a database in economy mode; `None` in steady mode. Needs a runtime with a local set.
    pub(crate) fn of(settings: &DatabaseSettings, traffic: &Traffic) -> Option<Economy> {
        if settings.mode != DatabaseMode::Economy {
            return None;
        }
        let mut connections = AppConnections::of(&settings.plan.endpoint, traffic);
        let mut warnings = Vec::new();
        if let Ok(Err(_)) = connections.as_mut().map(AppConnections::listen) {
            warnings.push(
                "economy: the kernel does not tell of connections that ended: those of the app that are opened and \
                 closed within one interval are not seen"
                    .to_owned(),
            );
        }
        let now = Instant::now();
        Some(Economy {
            policy: Policy {
                max_age: settings.max_age,
                idle_handshake: settings.idle_handshake,
                economy_interval: settings.economy_interval,
            },
            interval: settings.interval,
            traffic: traffic.clone(),
            connections,
            unseen: None,
            suspicion: app_url::Suspicion::default(),
            active: false,
            by_activity: false,
            mistakes: Mistakes::new(settings.interval, settings.max_age),
            server_started: None,
            handshake_failed: false,
            rested_at: now,
            verified: now,
            reached: now,
            app_up_since: None,
            warned_of: Vec::new(),
            warnings,
        })
    }

    /// What the app has done with the database since the last call; `None` if that cannot be seen.
    pub(crate) async fn observe(&mut self) -> Option<Activity> {
        let pause = CLOSE_DELAY.min(self.interval / CLOSE_DELAY_PART);
        match &mut self.connections {
            Ok(connections) => connections.compare_twice(pause).await.ok(),
            Err(_) => None,
        }
    }

    /// Decides from what was observed, what is known, and when the app was checked.
    pub(crate) fn decide(&mut self, found: Option<&Activity>, snapshot: &Snapshot, checks: &AppChecks) -> Noticed {
        let now = Instant::now();
        // Without an address of the host no socket can be known to lead there.
        let known = self.traffic.has_addresses();
        if snapshot.app.ever_up && known {
            self.app_up_since.get_or_insert(now);
        }
        if let Some(found) = found {
            self.active |= found.is_active();
            self.suspicion.grows(found, checks);
        }
        let ever_seen = self.connections.as_ref().is_ok_and(AppConnections::ever_seen);
        self.unseen = visibility::unseen(found.is_some(), ever_seen, self.app_up_since, now);
        self.warn_of_unseen();
        let query = snapshot.database.as_ref().map(|database| &database.query);
        let healthy =
            query.is_some_and(|check| check.verdict == Verdict::Up && (check.failures == 0 || self.handshake_failed));
        // After a mistake only what is seen after the wait counts: the database may be asleep by then.
        self.active &= self.mistakes.wait().is_none() || now >= self.rested_at;
        let idle = healthy && !self.active && !self.handshake_failed;
        let decision = decide(&self.policy, &self.situation(healthy, now));
        if decision == Decision::Query {
            let active = mem::take(&mut self.active);
            self.by_activity = healthy && active;
        }
        Noticed {
            decision,
            app_connections: found.filter(|_| known).map(|found| found.connections),
            app_uses_database: self.suspicion.is_certain(),
            idle,
            warnings: mem::take(&mut self.warnings),
        }
    }

    /// A deep query has passed; while all is well the next one follows after this wait.
    pub(crate) fn verified(&mut self, facts: Option<&ServerFacts>, wait: Duration) {
        let now = Instant::now();
        if let Some(facts) = facts {
            let compute = self.found(facts);
            self.mistakes.take(compute, self.by_activity, now.saturating_duration_since(self.verified));
        }
        let wait = self.mistakes.wait().map_or(wait, |longer| wait.max(longer));
        (self.verified, self.reached, self.rested_at) = (now, now, now + wait);
        (self.by_activity, self.handshake_failed) = (false, false);
    }

    fn found(&mut self, facts: &ServerFacts) -> Compute {
        let before = mem::replace(&mut self.server_started, facts.started.clone());
        match (before, &self.server_started) {
            _ if facts.woken => Compute::Woken,
            (Some(before), Some(now)) if before != *now => Compute::Restarted,
            _ => Compute::Unchanged,
        }
    }

    /// A handshake has passed.
    pub(crate) fn reached(&mut self) {
        self.reached = Instant::now();
        self.handshake_failed = false;
    }

    /// A query or a handshake has failed. A single failed handshake may be a passing error: the next one follows soon,
    /// and the deep query once the check is down.
    pub(crate) fn failed(&mut self, decision: Decision) {
        self.handshake_failed = decision == Decision::Handshake;
    }

    /// How long to wait until the next decision, where all is well.
    pub(crate) fn wait(&self) -> Duration {
        let now = Instant::now();
        let rest = self.rested_at.saturating_duration_since(now);
        let wait = match (rest.is_zero(), self.mistakes.wait()) {
            (true, _) => retry::spread(self.interval),
            (false, None) => rest,
            // The wait after a mistake is long; the sockets are listed meanwhile all the same.
            (false, Some(_)) => retry::spread(self.interval).min(rest),
        };
        settled_for(&self.policy, &self.situation(true, now)).map_or(wait, |settled| wait.min(settled))
    }

    fn situation(&self, healthy: bool, now: Instant) -> Situation {
        Situation {
            healthy,
            handshake_failed: self.handshake_failed,
            active: self.active,
            rested: now >= self.rested_at,
            unseen: self.unseen.is_some(),
            unverified_for: now.saturating_duration_since(self.verified),
            unreached_for: now.saturating_duration_since(self.reached),
        }
    }

    fn warn_of_unseen(&mut self) {
        let Some(unseen) = self.unseen.filter(|unseen| !self.warned_of.contains(unseen)) else { return };
        self.warned_of.push(unseen);
        let (why, every) = (unseen.as_str(), humantime::format_duration(self.policy.economy_interval));
        self.warnings.push(format!("economy: {why}: one deep query every {every} until one is seen"));
    }
}

#[cfg(test)]
mod tests;
