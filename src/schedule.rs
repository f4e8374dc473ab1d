//! When checks run: one loop for the app, one for the database, never two checks of a kind at once, and nothing that a
//! check does (hang, panic) ends its loop.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{AppSettings, DatabaseSettings};
use crate::economy::{Economy, Look};
use crate::probe::app::AppProbe;
use crate::probe::database::{DatabaseProbe, DatabaseReport, Handshake};
use crate::probe::traffic::Traffic;
use crate::probe::{Failure, Outcome, Phases, Reason};
use crate::pulse::{Lane, OVERRUN, Pulse};
use crate::record::Recorder;
use crate::redact::Redactor;
use crate::retry::{self, Waits};

/// Railway polls the gate after 1, 2, 4, 8, 16 and 30 s: a start must be seen at once.
const EAGER_INTERVAL: Duration = Duration::from_millis(250);
/// An app that has not come up by then is broken, not starting.
const EAGER_FOR: Duration = Duration::from_secs(5 * 60);
/// Neon caches these answers for 30 s: asking sooner only reads the cache again.
const CACHED_ANSWER: Duration = Duration::from_secs(30);
const CACHED_REASONS: [Reason; 5] =
    [Reason::QuotaExceeded, Reason::EndpointDisabled, Reason::RateLimited, Reason::AuthFailed, Reason::AccessDenied];
/// Certificates are renewed weeks before they end.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// When the next check of a kind is due.
#[derive(Debug)]
pub struct Rhythm {
    interval: Duration,
    waits: Waits,
    /// Until the first success, but not after this moment, the next check follows at once.
    eager_until: Option<Instant>,
}

impl Rhythm {
    /// For the app: eager until it has been up once.
    pub fn of_app(interval: Duration, now: Instant) -> Self {
        Rhythm { eager_until: Some(now + EAGER_FOR), ..Rhythm::of_database(interval) }
    }

    /// For the database.
    pub fn of_database(interval: Duration) -> Self {
        Rhythm { interval, waits: Waits::after_failures(interval), eager_until: None }
    }

    /// How long to wait after a check that ended like this.
    pub fn after(&mut self, failure: Option<Reason>, now: Instant) -> Duration {
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

/// Runs work in a task of its own. `None`: it panicked, or had not ended long after its limit and was dropped.
async fn guarded<T: 'static>(limit: Duration, work: impl Future<Output = T> + 'static) -> Option<T> {
    let mut task = tokio::task::spawn_local(work);
    match timeout(limit + OVERRUN, &mut task).await {
        Ok(done) => done.ok(),
        Err(_) => {
            task.abort();
            // Its sockets are closed when it is dropped: wait, so that no second check runs beside it.
            let _ = task.await;
            None
        }
    }
}

/// What a check that broke reports.
fn broken(started: Instant) -> Outcome {
    Outcome::now(Err(Failure::internal()), 1, started, Phases::default())
}

/// The app's loop. Never ends.
pub async fn app_loop(settings: AppSettings, on_railway: bool, pulse: &Pulse, recorder: &RefCell<Recorder>) {
    let make = || AppProbe::new(settings.clone(), on_railway);
    let mut rhythm = Rhythm::of_app(settings.interval, Instant::now());
    let mut probe = make();
    loop {
        let started = Instant::now();
        pulse.begin(Lane::App, started, settings.timeout);
        recorder.borrow_mut().app_begins(settings.interval);
        let outcome;
        let work = async move {
            let outcome = probe.check().await;
            (probe, outcome)
        };
        (probe, outcome) = guarded(settings.timeout, work).await.unwrap_or_else(|| (make(), broken(started)));
        pulse.end(Lane::App);
        let due = Instant::now() + rhythm.after(outcome.reason(), Instant::now());
        recorder.borrow_mut().app(outcome);
        recorder.borrow().plan(0, due);
        sleep_until(due).await;
    }
}

/// The database's loop. Never ends.
pub async fn database_loop(
    settings: DatabaseSettings,
    redactor: Arc<Redactor>,
    pulse: &Pulse,
    recorder: &RefCell<Recorder>,
) {
    let traffic = Traffic::default();
    let make = || DatabaseProbe::new(settings.clone(), Arc::clone(&redactor)).recording(&traffic);
    let mut lane = DatabaseLane { settings: &settings, pulse, recorder, make: &make, probe: None };
    let mut rhythm = Rhythm::of_database(settings.interval);
    let mut economy = Economy::of(&settings, &traffic, recorder);
    let mut certificate_due = Instant::now();
    loop {
        let look = match &mut economy {
            Some(economy) => economy.look(recorder).await,
            None => Look::Deep,
        };
        let failure = match look {
            Look::Deep => lane.look_deep().await,
            Look::Handshake => {
                let (failure, certificate) = lane.handshake().await;
                if certificate {
                    certificate_due = Instant::now() + CERTIFICATE_INTERVAL;
                }
                failure
            }
            Look::Stay => None,
        };
        let wait = match &mut economy {
            Some(economy) if failure.is_none() => {
                match look {
                    Look::Deep => economy.verified(rhythm.after(None, Instant::now())),
                    Look::Handshake => economy.proven(),
                    Look::Stay => {}
                }
                economy.wait()
            }
            _ => rhythm.after(failure, Instant::now()),
        };
        let mut due = Instant::now() + wait;
        recorder.borrow().plan(1, due);
        if look == Look::Deep && failure.is_none() && Instant::now() >= certificate_due {
            // A failure here needs no report of its own: the next deep check meets it as well.
            if lane.read_certificate().await {
                certificate_due = Instant::now() + CERTIFICATE_INTERVAL;
            }
            // The handshake may have taken longer than the wait: that is a plan, not a delay.
            due = due.max(Instant::now());
            recorder.borrow().plan(1, due);
        }
        sleep_until(due).await;
    }
}

/// Everything that goes to the database, one after the other.
struct DatabaseLane<'a> {
    settings: &'a DatabaseSettings,
    pulse: &'a Pulse,
    recorder: &'a RefCell<Recorder>,
    make: &'a dyn Fn() -> DatabaseProbe,
    /// None before the first check, and after one that broke.
    probe: Option<DatabaseProbe>,
}

impl DatabaseLane<'_> {
    /// The deep query with its SQL checks. Gives back why it failed.
    async fn look_deep(&mut self) -> Option<Reason> {
        let started = Instant::now();
        let report = self.run(self.settings.timeout, async |probe| probe.check().await).await;
        let report = report.unwrap_or_else(|| {
            let query = broken(started);
            let sql = vec![query.clone(); self.settings.sql_checks.len()];
            DatabaseReport { query, facts: None, refused: Vec::new(), sql }
        });
        let reason = report.query.reason();
        self.recorder.borrow_mut().database(report);
        reason
    }

    /// The handshake without a login, as a check of its own. Gives back why it failed, and whether a certificate was seen.
    async fn handshake(&mut self) -> (Option<Reason>, bool) {
        let started = Instant::now();
        let checked = self.run(self.settings.timeout, async |probe| probe.handshake().await).await;
        let handshake = checked.unwrap_or_else(|| Handshake { outcome: broken(started), certificate: None });
        let (reason, certificate) = (handshake.outcome.reason(), handshake.certificate.is_some());
        self.recorder.borrow_mut().handshake(handshake);
        (reason, certificate)
    }

    /// The handshake without a login, for the certificate alone. True where it passed.
    async fn read_certificate(&mut self) -> bool {
        let limit = self.settings.attempt_timeout;
        let until = Instant::now() + limit;
        let certificate = self.run(limit, async move |probe| probe.certificate(until).await).await;
        let Some(Ok(end)) = certificate else { return false };
        self.recorder.borrow().certificate(end);
        true
    }

    /// Lets the prober work in a task of its own. `None`: it broke.
    async fn run<T: 'static>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut DatabaseProbe) -> T + 'static,
    ) -> Option<T> {
        let mut probe = self.probe.take().unwrap_or_else(self.make);
        self.pulse.begin(Lane::Database, Instant::now(), limit);
        let done = guarded(limit, async move {
            let result = work(&mut probe).await;
            (probe, result)
        });
        let done = done.await;
        self.pulse.end(Lane::Database);
        let (probe, result) = done?;
        self.probe = Some(probe);
        Some(result)
    }
}

#[cfg(test)]
mod tests;
