//! When checks run: one loop for the app, one for the database. Two checks of a kind never run at once, and a check that
//! hangs or panics does not end its loop.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{AppSettings, DatabaseSettings};
use crate::economy::app_url::{self, AppChecks};
use crate::economy::{Decision, Economy};
use crate::probe::app::AppProbe;
use crate::probe::database::{DatabaseProbe, DatabaseReport, Handshake};
use crate::probe::traffic::Traffic;
use crate::probe::{Failure, Outcome, Phases, Reason, ServerFacts};
use crate::pulse::{Lane, OVERRUN, Pulse};
use crate::record::Recorder;
use crate::redact::Redactor;
use crate::retry::{self, Waits};

/// Railway polls the gate after 1, 2, 4, 8, 16 and 30 s: a start must be seen at once.
const EAGER_INTERVAL: Duration = Duration::from_millis(250);
/// An app that is not up by then is broken, not starting.
const EAGER_FOR: Duration = Duration::from_secs(5 * 60);
/// Neon caches these answers for 30 s: an earlier check only reads the cache again.
const CACHED_ANSWER: Duration = Duration::from_secs(30);
const CACHED_REASONS: [Reason; 5] =
    [Reason::QuotaExceeded, Reason::EndpointDisabled, Reason::RateLimited, Reason::AuthFailed, Reason::AccessDenied];
/// Certificates are renewed weeks before they end, so seldom is enough.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// When the next check of a kind is due.
#[derive(Debug)]
pub(crate) struct Rhythm {
    interval: Duration,
    waits: Waits,
    /// Until the first success, or this moment, the next check follows almost at once.
    eager_until: Option<Instant>,
}

impl Rhythm {
    /// For the app: eager until it is up for the first time.
    pub(crate) fn of_app(interval: Duration, now: Instant) -> Self {
        Rhythm { eager_until: Some(now + EAGER_FOR), ..Rhythm::of_database(interval) }
    }

    pub(crate) fn of_database(interval: Duration) -> Self {
        Rhythm { interval, waits: Waits::after_failures(interval), eager_until: None }
    }

    /// How long to wait after a check that ended like this.
    pub(crate) fn after(&mut self, failure: Option<Reason>, now: Instant) -> Duration {
        let Some(reason) = failure else {
            self.waits.reset();
            self.eager_until = None;
            return retry::spread(self.interval);
        };
        if self.eager_until.is_some_and(|until| now < until) {
            return EAGER_INTERVAL.min(self.interval);
        }
        let wait = self.waits.draw();
        let wait = if wait == self.interval { retry::spread(wait) } else { wait };
        if CACHED_REASONS.contains(&reason) { wait.max(CACHED_ANSWER) } else { wait }
    }
}

/// Runs work in a task of its own. `None`: it panicked, or was dropped because it ran far beyond its limit.
async fn guarded<T: 'static>(limit: Duration, work: impl Future<Output = T> + 'static) -> Option<T> {
    let mut task = tokio::task::spawn_local(work);
    match timeout(limit + OVERRUN, &mut task).await {
        Ok(done) => done.ok(),
        Err(_) => {
            task.abort();
            // Wait until it is dropped, and its sockets with it, so that no second check runs beside it.
            let _ = task.await;
            None
        }
    }
}

/// The result of a check that broke.
fn broken(started: Instant) -> Outcome {
    Outcome::now(Err(Failure::internal()), 1, started, Phases::default())
}

/// The checks of one process: two loops, and what they share.
pub(crate) struct Schedule<'a> {
    pulse: &'a Pulse,
    recorder: &'a RefCell<Recorder>,
    /// For economy: what the app does during a check was caused by us.
    app_checks: RefCell<AppChecks>,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(pulse: &'a Pulse, recorder: &'a RefCell<Recorder>) -> Self {
        Schedule { pulse, recorder, app_checks: RefCell::default() }
    }

    /// The app's loop. Never ends.
    pub(crate) async fn check_app(&self, settings: AppSettings, on_railway: bool) {
        let make = || AppProbe::new(settings.clone(), on_railway);
        let mut rhythm = Rhythm::of_app(settings.interval, Instant::now());
        let mut probe = make();
        loop {
            let started = Instant::now();
            self.pulse.begin(Lane::App, started, settings.timeout);
            self.app_checks.borrow_mut().begins(started, settings.interval);
            let outcome;
            let work = async move {
                let outcome = probe.check().await;
                (probe, outcome)
            };
            (probe, outcome) = guarded(settings.timeout, work).await.unwrap_or_else(|| (make(), broken(started)));
            self.pulse.end(Lane::App);
            self.app_checks.borrow_mut().ends(outcome.ended.0);
            let due = Instant::now() + rhythm.after(outcome.reason(), Instant::now());
            self.recorder.borrow_mut().app(outcome);
            self.recorder.borrow().plan(Lane::App, due);
            sleep_until(due).await;
        }
    }

    /// The database's loop. Never ends.
    pub(crate) async fn check_database(&self, settings: DatabaseSettings, redactor: Arc<Redactor>) {
        let traffic = Traffic::default();
        let make = || DatabaseProbe::new(settings.clone(), Arc::clone(&redactor)).recording(&traffic);
        let mut lane = DatabaseLane { settings: &settings, schedule: self, make: &make, probe: None };
        let mut rhythm = Rhythm::of_database(settings.interval);
        let mut economy = Economy::of(&settings, &traffic);
        let mut certificate_due = Instant::now();
        loop {
            let decision = match &mut economy {
                Some(economy) => self.decide(economy).await,
                None => Decision::Query,
            };
            let contact = match decision {
                Decision::Query => lane.query().await,
                Decision::Handshake => lane.handshake().await,
                Decision::Nothing => Contact::default(),
            };
            if contact.saw_certificate {
                certificate_due = Instant::now() + CERTIFICATE_INTERVAL;
            }
            let failure = contact.failure;
            let mut wait = rhythm.after(failure, Instant::now());
            if let Some(economy) = &mut economy {
                match (failure, decision) {
                    (Some(_), _) => economy.failed(decision),
                    (None, Decision::Query) => economy.verified(contact.facts.as_ref(), wait),
                    (None, Decision::Handshake) => economy.reached(),
                    (None, Decision::Nothing) => {}
                }
                if failure.is_none() {
                    wait = economy.wait();
                }
            }
            let mut due = Instant::now() + wait;
            self.recorder.borrow().plan(Lane::Database, due);
            if decision == Decision::Query && failure.is_none() {
                lane.vitals().await;
                // A failure here need not be reported: the next deep check meets it as well.
                if Instant::now() >= certificate_due && lane.read_certificate().await {
                    certificate_due = Instant::now() + CERTIFICATE_INTERVAL;
                }
                // If these took longer than the wait, that was planned and does not make the next check late.
                due = due.max(Instant::now());
                self.recorder.borrow().plan(Lane::Database, due);
            }
            sleep_until(due).await;
        }
    }

    /// Lets economy decide, and records what it noticed.
    async fn decide(&self, economy: &mut Economy) -> Decision {
        let found = economy.observe().await;
        let mut recorder = self.recorder.borrow_mut();
        let noticed = economy.decide(found.as_ref(), &recorder.snapshot(), &self.app_checks.borrow());
        for warning in &noticed.warnings {
            recorder.warn(warning);
        }
        if let Some(count) = noticed.app_connections {
            recorder.app_connections(count);
        }
        if noticed.app_uses_database {
            recorder.app_uses_database(app_url::REMEDY);
        }
        recorder.idle(noticed.idle);
        noticed.decision
    }
}

/// How a deep query or a handshake ended.
#[derive(Default)]
struct Contact {
    failure: Option<Reason>,
    /// What a deep query that passed learned.
    facts: Option<ServerFacts>,
    /// A handshake showed the server's certificate.
    saw_certificate: bool,
}

/// Everything that is asked of the database, one after the other.
struct DatabaseLane<'a> {
    settings: &'a DatabaseSettings,
    schedule: &'a Schedule<'a>,
    make: &'a dyn Fn() -> DatabaseProbe,
    /// `None` before the first check, and after one that broke.
    probe: Option<DatabaseProbe>,
}

impl DatabaseLane<'_> {
    /// The deep query with its SQL checks.
    async fn query(&mut self) -> Contact {
        let started = Instant::now();
        let report = self.run(self.settings.timeout, async |probe| probe.check().await).await;
        let report = report.unwrap_or_else(|| {
            let query = broken(started);
            let sql = vec![query.clone(); self.settings.sql_checks.len()];
            DatabaseReport { query, facts: None, refused: Vec::new(), sql }
        });
        let contact = Contact { failure: report.query.reason(), facts: report.facts.clone(), saw_certificate: false };
        self.schedule.recorder.borrow_mut().database(report);
        contact
    }

    /// Reads the vitals in the session of the deep query that has just passed; its result is already recorded.
    async fn vitals(&mut self) {
        let Some(warn_at) = &self.settings.early_warnings else { return };
        let read = self.run(self.settings.attempt_timeout, async |probe| probe.vitals().await).await;
        if let Some(Some(read)) = read {
            self.schedule.recorder.borrow_mut().vitals(read, warn_at);
        }
    }

    /// A handshake without a login, as a check of its own.
    async fn handshake(&mut self) -> Contact {
        let started = Instant::now();
        let checked = self.run(self.settings.timeout, async |probe| probe.handshake().await).await;
        let handshake = checked.unwrap_or_else(|| Handshake { outcome: broken(started), certificate: None });
        let failure = handshake.outcome.reason();
        let contact = Contact { failure, facts: None, saw_certificate: handshake.certificate.is_some() };
        self.schedule.recorder.borrow_mut().handshake(handshake);
        contact
    }

    /// A handshake without a login, only for the certificate. True if it passed.
    async fn read_certificate(&mut self) -> bool {
        let limit = self.settings.attempt_timeout;
        let until = Instant::now() + limit;
        let certificate = self.run(limit, async move |probe| probe.certificate(until).await).await;
        let Some(Ok(end)) = certificate else { return false };
        self.schedule.recorder.borrow().certificate(end);
        true
    }

    /// Lets the probe work in a task of its own. `None`: it broke.
    async fn run<T: 'static>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut DatabaseProbe) -> T + 'static,
    ) -> Option<T> {
        let mut probe = self.probe.take().unwrap_or_else(self.make);
        self.schedule.pulse.begin(Lane::Database, Instant::now(), limit);
        let done = guarded(limit, async move {
            let result = work(&mut probe).await;
            (probe, result)
        });
        let done = done.await;
        self.schedule.pulse.end(Lane::Database);
        let (probe, result) = done?;
        self.probe = Some(probe);
        Some(result)
    }
}

#[cfg(test)]
mod tests;
