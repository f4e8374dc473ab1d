//! When checks run: one loop for the app, one for the database, never two checks of a kind at once, and nothing that a
//! check does (hang, panic) ends its loop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{AppSettings, DatabaseSettings};
use crate::probe::app::AppProbe;
use crate::probe::database::{DatabaseProbe, Report};
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
pub async fn app_loop(settings: AppSettings, on_railway: bool, pulse: &Pulse, recorder: &std::cell::RefCell<Recorder>) {
    let make = || AppProbe::new(settings.clone(), on_railway);
    let mut rhythm = Rhythm::of_app(settings.interval, Instant::now());
    let mut probe = make();
    loop {
        let started = Instant::now();
        pulse.begin(Lane::App, started, settings.timeout);
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
    recorder: &std::cell::RefCell<Recorder>,
) {
    let make = || DatabaseProbe::new(settings.clone(), Arc::clone(&redactor));
    let mut rhythm = Rhythm::of_database(settings.interval);
    let mut probe = make();
    let mut certificate_due = Instant::now();
    loop {
        let started = Instant::now();
        pulse.begin(Lane::Database, started, settings.timeout);
        let report;
        let work = async move {
            let report = probe.check().await;
            (probe, report)
        };
        (probe, report) = guarded(settings.timeout, work).await.unwrap_or_else(|| {
            let deep = broken(started);
            let sql = vec![deep.clone(); settings.sql_checks.len()];
            (make(), Report { deep, sql })
        });
        pulse.end(Lane::Database);
        let reason = report.deep.reason();
        let mut due = Instant::now() + rhythm.after(reason, Instant::now());
        recorder.borrow_mut().database(report);
        recorder.borrow().plan(1, due);
        if reason.is_none() && Instant::now() >= certificate_due {
            pulse.begin(Lane::Database, Instant::now(), settings.attempt_timeout);
            let until = Instant::now() + settings.attempt_timeout;
            let work = async move {
                let greeting = probe.greet(until).await;
                (probe, greeting.result.ok())
            };
            let certificate;
            (probe, certificate) = guarded(settings.attempt_timeout, work).await.unwrap_or_else(|| (make(), None));
            pulse.end(Lane::Database);
            // A failure here needs no report of its own: the next deep check meets it as well.
            if let Some(end) = certificate {
                recorder.borrow().certificate(end);
                certificate_due = Instant::now() + CERTIFICATE_INTERVAL;
            }
            // What the handshake took does not make the next result overdue.
            due = due.max(Instant::now());
            recorder.borrow().plan(1, due);
        }
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests;
