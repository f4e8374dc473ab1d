//! Economy: is the app using the database, and may the database be woken now?
//!
//! Neon suspends a compute after 5 min without activity and bills while it is awake. So the deep query runs only while
//! the app itself keeps the compute awake; else the last verdict stands, and at most a handshake without login proves
//! the way. That the app uses the database is seen from outside, at the kernel's sockets: the app need not be changed.
//!
//! - While the app is idle no query is sent, except once in `SIDEPULSE_ECONOMY_MAX_AGE`.
//! - What we do ourselves is never taken for the app's doing.
//! - Where nothing can be seen, that is said, and the database is asked once in `SIDEPULSE_ECONOMY_INTERVAL`.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::config::{DatabaseMode, DatabaseSettings};
use crate::dsn::Endpoint;
use crate::probe::app::AppProbe;
use crate::probe::traffic::Traffic;
use crate::record::Recorder;
use crate::retry;
use crate::state::Level;

pub mod activity;
pub mod app_url;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "economy/no_kernel.rs"]
mod kernel;
mod sight;

pub use sight::Sight;

/// An app that is up and has not connected to the database by then may do so where we cannot see it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A server that has said farewell closes the connection when its process ends. A second look need not be later than
/// this part of the interval.
const FAREWELL: Duration = Duration::from_millis(250);
const FAREWELL_PART: u32 = 2;
/// Between two checks of an app that is suspected of using the database for each.
const TRIAL: Duration = Duration::from_millis(200);

/// What the next moment calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The deep query.
    Deep,
    /// The way alone: DNS, TCP, TLS and the certificate, without a login.
    Handshake,
    /// Nothing that leaves this machine.
    Stay,
}

/// How long a verdict may stand unproven; `None` = for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `SIDEPULSE_ECONOMY_MAX_AGE`: for the deep query, whatever the app does.
    pub max_age: Option<Duration>,
    /// `SIDEPULSE_IDLE_HANDSHAKE`: for the way.
    pub idle_handshake: Option<Duration>,
    /// `SIDEPULSE_ECONOMY_INTERVAL`: for the deep query, where the app cannot be seen.
    pub blind_interval: Duration,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The database check is up, and its newest result is good.
    pub healthy: bool,
    /// The app has used the database since the newest deep query began.
    pub active: bool,
    /// The interval since the newest deep query is over.
    pub rested: bool,
    /// What the app does cannot be seen.
    pub blind: bool,
    /// Since the newest deep query that passed.
    pub unverified_for: Duration,
    /// Since the way was last proven, by a query or a handshake.
    pub unproven_for: Duration,
}

/// Decides what to do now.
pub fn decide(policy: &Policy, situation: &Situation) -> Look {
    let due = |after: Option<Duration>, age: Duration| after.is_some_and(|after| age >= after);
    if !situation.healthy
        || (situation.active && situation.rested)
        || due(policy.max_age, situation.unverified_for)
        || (situation.blind && due(Some(policy.blind_interval), situation.unverified_for))
    {
        Look::Deep
    } else if due(policy.idle_handshake, situation.unproven_for) {
        Look::Handshake
    } else {
        Look::Stay
    }
}

/// How long the passing of time alone changes nothing about the decision; `None` = for ever.
pub fn settled_for(policy: &Policy, situation: &Situation) -> Option<Duration> {
    let left = |after: Option<Duration>, age: Duration| after.map(|after| after.saturating_sub(age));
    [
        left(policy.max_age, situation.unverified_for),
        left(Some(policy.blind_interval).filter(|_| situation.blind), situation.unverified_for),
        left(policy.idle_handshake, situation.unproven_for),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// Why the app cannot be seen at the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// The kernel shows no sockets, or none of those that lead to this database.
    NoDiagnostics,
    /// The app has been up for long, and was never seen with the database.
    NeverSeen,
}

/// Whether the app can be seen at the database: `ever_seen` is whether it was, up to now.
pub fn blindness(diagnostics: bool, ever_seen: bool, app_up_since: Option<Instant>, now: Instant) -> Option<Blindness> {
    let patient = app_up_since.is_none_or(|since| now.saturating_duration_since(since) < PATIENCE);
    match diagnostics {
        false => Some(Blindness::NoDiagnostics),
        true if ever_seen || patient => None,
        true => Some(Blindness::NeverSeen),
    }
}

/// Whether the app uses the database whenever it is checked, and only then. Stops at the first check without.
pub async fn app_url_uses_database(app: &mut AppProbe, endpoint: &Endpoint, traffic: &Traffic) -> bool {
    let Ok(mut sight) = Sight::of(endpoint, traffic) else { return false };
    let trials = async {
        // What happened before the first look is nobody's.
        if sight.listen().is_err() || sight.glance().is_err() {
            return false;
        }
        let (mut checks, mut suspicion) = (app_url::AppChecks::default(), app_url::Suspicion::default());
        for _ in 0..app_url::IN_A_ROW {
            let started = Instant::now();
            checks.begins(started, TRIAL);
            app.check().await;
            checks.ends(Instant::now());
            // As long again without a check, for what the app does by itself.
            sleep(TRIAL.max(started.elapsed())).await;
            let Ok(found) = sight.glance() else { return false };
            if !found.is_active() || !suspicion.grows(&found, &checks) {
                return false;
            }
        }
        suspicion.is_certain()
    };
    LocalSet::new().run_until(trials).await
}

/// Keeps what the decisions rest on.
pub struct Economy {
    policy: Policy,
    interval: Duration,
    traffic: Traffic,
    sight: io::Result<Sight>,
    blindness: Option<Blindness>,
    suspicion: app_url::Suspicion,
    /// Use of the database that no deep query has followed yet.
    active: bool,
    /// A deep query that activity causes starts no sooner.
    rested_at: Instant,
    verified: Instant,
    proven: Instant,
    app_up_since: Option<Instant>,
    said: Vec<Blindness>,
}

impl Economy {
    /// For a database in economy mode; `None` in steady mode. Needs a runtime with a local set.
    pub fn of(settings: &DatabaseSettings, traffic: &Traffic, recorder: &RefCell<Recorder>) -> Option<Economy> {
        if settings.mode != DatabaseMode::Economy {
            return None;
        }
        let mut sight = Sight::of(&settings.plan.endpoint, traffic);
        if let Ok(Err(_)) = sight.as_mut().map(Sight::listen) {
            recorder.borrow().say(
                "economy: the kernel does not tell of connections that ended: those of the app that are opened and \
                 closed between two looks are not seen",
            );
        }
        let now = Instant::now();
        Some(Economy {
            policy: Policy {
                max_age: settings.max_age,
                idle_handshake: settings.idle_handshake,
                blind_interval: settings.blind_interval,
            },
            interval: settings.interval,
            traffic: traffic.clone(),
            sight,
            blindness: None,
            suspicion: app_url::Suspicion::default(),
            active: false,
            rested_at: now,
            verified: now,
            proven: now,
            app_up_since: None,
            said: Vec::new(),
        })
    }

    /// Looks at the app's connections, and decides what to do now.
    pub async fn look(&mut self, recorder: &RefCell<Recorder>) -> Look {
        let pause = FAREWELL.min(self.interval / FAREWELL_PART);
        let found = match &mut self.sight {
            Ok(sight) => sight.look(pause).await.ok(),
            Err(_) => None,
        };
        let now = Instant::now();
        let mut recorder = recorder.borrow_mut();
        let snapshot = recorder.snapshot();
        // A host without an address is nobody's peer, whatever the app does.
        let known = self.traffic.has_addresses();
        if snapshot.app().ever_up && known {
            self.app_up_since.get_or_insert(now);
        }
        if let Some(found) = &found {
            self.active |= found.is_active();
            if known {
                recorder.app_connections(found.connections);
            }
            self.suspicion.grows(found, recorder.app_checks());
            if self.suspicion.is_certain() {
                recorder.app_uses_database();
            }
        }
        let ever_seen = self.sight.as_ref().is_ok_and(Sight::ever_seen);
        self.blindness = blindness(found.is_some(), ever_seen, self.app_up_since, now);
        self.say_blindness(&recorder);
        let healthy = snapshot.database().is_some_and(|check| check.level == Level::Up && check.failures == 0);
        recorder.idle(healthy && !self.active);
        let look = decide(&self.policy, &self.situation(healthy, now));
        if look == Look::Deep {
            self.active = false;
        }
        look
    }

    /// A deep query has passed; while all is well the next follows after this wait.
    pub fn verified(&mut self, wait: Duration) {
        let now = Instant::now();
        (self.verified, self.proven, self.rested_at) = (now, now, now + wait);
    }

    /// The way was proven.
    pub fn proven(&mut self) {
        self.proven = Instant::now();
    }

    /// How long to wait until the next look, where all is well.
    pub fn wait(&self) -> Duration {
        let now = Instant::now();
        let rest = self.rested_at.saturating_duration_since(now);
        let wait = if rest.is_zero() { retry::spread(self.interval) } else { rest };
        settled_for(&self.policy, &self.situation(true, now)).map_or(wait, |settled| wait.min(settled))
    }

    fn situation(&self, healthy: bool, now: Instant) -> Situation {
        Situation {
            healthy,
            active: self.active,
            rested: now >= self.rested_at,
            blind: self.blindness.is_some(),
            unverified_for: now.saturating_duration_since(self.verified),
            unproven_for: now.saturating_duration_since(self.proven),
        }
    }

    fn say_blindness(&mut self, recorder: &Recorder) {
        let Some(blindness) = self.blindness.filter(|blindness| !self.said.contains(blindness)) else { return };
        self.said.push(blindness);
        let why = match blindness {
            Blindness::NoDiagnostics => "the kernel does not show the app's connections to the database",
            Blindness::NeverSeen => "the app was never seen connected to the database (another network namespace?)",
        };
        let every = humantime::format_duration(self.policy.blind_interval);
        recorder.say(&format!("economy: {why}: one deep query every {every} until one is seen"));
    }
}

#[cfg(test)]
mod tests;
