//! The fault table: everything that a database server can do wrong, and what sidepulse makes of it, row by row.
//!
//! Each row has a daemon and a scripted server of its own. Whatever the fault: never two connections at a time, at most
//! one login an attempt, a verdict within the check's timeout, and log, `/health`, `/readyz` and metrics agree.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::certificates::{Authority, Claims, ServerCertificate};
use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, eventually, poll};
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::sidecar::Sidecar;

mod causes;
mod hostile;
mod passing;
pub(crate) mod table;
mod words;

/// The whole check, and one attempt of it: long enough for a machine that is busy with other builds.
const CHECK: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_millis(1400);
/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(700);
/// Rows that run at once: they mostly wait.
const WORKERS: usize = 8;

/// How the conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// `sslmode=disable`.
    Plain,
    /// No sslmode, and a server that has no TLS.
    Prefer,
    /// `sslmode=require`, and a server that has no TLS.
    Refused,
    /// `sslmode=require`.
    Tls,
    /// The same with `channel_binding=require`.
    Bound,
    /// The same with `sslnegotiation=direct`.
    Direct,
}

/// One row: what the server does, and what must come of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) channel: Channel,
    pub(crate) behaviour: Behaviour,
    /// In place of the right one.
    password: Option<&'static str>,
    reason: &'static str,
    /// Alternatives where the kernel decides when the bad news arrives.
    phase: &'static str,
    /// The class, as in docs/reference.md: R is retried within the check, C is not, P is down at once.
    class: char,
    /// StartupMessages in each attempt.
    logins: usize,
    /// A piece of the remedy on the status page, without apostrophes.
    remedy: &'static str,
}

impl Channel {
    pub(crate) fn serve(
        self,
        certificate: &ServerCertificate,
        script: impl IntoIterator<Item = Behaviour>,
    ) -> FakePostgres {
        match self {
            Channel::Plain | Channel::Prefer | Channel::Refused => FakePostgres::start(script),
            Channel::Tls | Channel::Bound | Channel::Direct => FakePostgres::start_tls(certificate, script),
        }
    }

    pub(crate) fn url(self, url: DatabaseUrl) -> DatabaseUrl {
        match self {
            Channel::Plain => url.param("sslmode", "disable"),
            Channel::Prefer => url,
            Channel::Refused | Channel::Tls => url.param("sslmode", "require"),
            Channel::Bound => url.param("sslmode", "require").param("channel_binding", "require"),
            Channel::Direct => url.param("sslmode", "require").param("sslnegotiation", "direct"),
        }
    }
}

pub(crate) fn server_certificate() -> ServerCertificate {
    Authority::new().issue(&Claims::right())
}

/// Works through rows side by side; returns what `examine` made of each, in their order.
pub(crate) fn side_by_side<C: Sync, T: Send>(cases: &[C], examine: impl Fn(&C) -> T + Sync) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(cases.iter().map(|_| None).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let index = cases.iter().position(|other| std::ptr::eq(other, case)).expect("one of them");
                    // A row that panics has shown its log; the others still run.
                    let done = catch_unwind(AssertUnwindSafe(|| examine(case))).ok();
                    results.lock().expect("no panic holds it")[index] = done;
                }
            });
        }
    });
    results.into_inner().expect("no panic holds it")
}

#[test]
fn every_fault_has_its_reason_its_phase_and_its_price() {
    let (cases, certificate) = (every_case(), server_certificate());
    let lines = side_by_side(&cases, |case| examine(case, &certificate));
    let mut wrong = Vec::new();
    println!("| case | channel | reason | phase | found after | attempts | connections at once |");
    for (case, line) in cases.iter().zip(lines) {
        match line {
            Some(Ok(line)) => println!("{line}"),
            Some(Err(error)) => wrong.push(format!("{} ({:?}): {error}", case.name, case.channel)),
            None => wrong.push(format!("{} ({:?}): panicked", case.name, case.channel)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn every_case() -> Vec<Case> {
    table::cases().into_iter().chain(words::cases()).collect()
}

/// The first check of a fresh daemon, from all sides.
fn examine(case: &Case, certificate: &ServerCertificate) -> Result<String, String> {
    let fake = case.channel.serve(certificate, [case.behaviour.clone()]);
    let url = case.channel.url(fake.url());
    let url = case.password.map_or(url.clone(), |password| url.password(password));
    let sidecar = Sidecar::on(url)
        .app(1)
        .set("SIDEPULSE_LOG", "debug")
        .set("SIDEPULSE_DATABASE_INTERVAL", "1h")
        .set("SIDEPULSE_DATABASE_TIMEOUT", format!("{}ms", CHECK.as_millis()))
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", format!("{}ms", ATTEMPT.as_millis()))
        .start();
    let Some(first) = poll(SOON, || failures(&sidecar).into_iter().next()) else {
        return Err(format!("no failure\n{}", sidecar.log_text()));
    };
    let found = |key: &str| first[key].as_str().unwrap_or("-").to_owned();
    let told = (found("reason"), found("phase"));
    if told.0 != case.reason || !case.phase.split('|').any(|phase| phase == told.1) {
        return Err(format!("{told:?} instead of {:?} in {first}", (case.reason, case.phase)));
    }
    let attempts = first["attempts"].as_u64().unwrap_or(0);
    if (attempts > 1) != (case.class == 'R') || attempts == 0 {
        return Err(format!("{attempts} attempts of class {}", case.class));
    }
    let took = Duration::from_millis(first["duration_ms"].as_u64().unwrap_or(u64::MAX));
    if took > if case.class == 'R' { CHECK } else { ATTEMPT } + SLACK {
        return Err(format!("{took:?} is over the deadline"));
    }
    agree(case, &sidecar, &fake)?;
    let most = fake.counts().max_concurrent;
    Ok(format!(
        "| {} | {:?} | {} | {} | {} ms | {attempts} | {most} |",
        case.name,
        case.channel,
        told.0,
        told.1,
        took.as_millis()
    ))
}

/// What the endpoints, the metrics and the server must say about it.
fn agree(case: &Case, sidecar: &Sidecar, fake: &FakePostgres) -> Result<(), String> {
    let health = sidecar.check("database:query");
    let state = if case.class == 'P' { "down" } else { "starting" };
    if health["reason"] != case.reason || health["state"] != state || health["status"] != "fail" {
        return Err(format!("/health: {health}"));
    }
    let readyz = sidecar.get("/readyz");
    if readyz.status != 503 || readyz.body != format!("fail: app: connect_refused; database: {}\n", case.reason) {
        return Err(format!("/readyz: {readyz:?}"));
    }
    let page = sidecar.get("/").body;
    if !page.contains(case.remedy) {
        return Err(format!("{:?} is not what the page says:\n{page}", case.remedy));
    }
    if sidecar.get("/livez").status != 200 {
        return Err("/livez fails".to_owned());
    }
    // A check may be under way: only between two checks do the numbers of both sides match.
    let mut last = String::new();
    let fits = eventually(SOON, || {
        let metrics = sidecar.get("/metrics").body;
        let counts = fake.counts();
        let of_reason =
            sum(&metrics, &format!("check_failures_total{{check=\"database\",reason=\"{}\"}}", case.reason));
        let of_all = sum(&metrics, "check_failures_total{check=\"database\"");
        let checks = sum(&metrics, "checks_total{check=\"database\"");
        let attempts = sum(&metrics, "check_attempts_total{check=\"database\"");
        last = format!("{checks} checks, {of_reason} of {of_all} failures, {attempts} attempts, {counts:?}");
        checks > 0.0
            && of_reason == checks
            && of_all == checks
            && counts.accepted as f64 == attempts
            && counts.startups.len() as f64 == attempts * case.logins as f64
            // The kernel's table is long, so it is read only once the rest matches.
            && fake.connections_now() == 0
    });
    let counts = fake.counts();
    if !fits || counts.max_concurrent != 1 || counts.cancels != 0 || !counts.clear_passwords.is_empty() {
        return Err(format!("the numbers do not fit: {last}, {counts:?}"));
    }
    Ok(())
}

/// The log lines of failed database checks, oldest first.
pub(crate) fn failures(sidecar: &Sidecar) -> Vec<Value> {
    let mut lines = sidecar.events("warning");
    lines.retain(|line| line["check"] == "database" && line["attempts"].is_u64());
    lines
}

/// The sum of the `sidepulse_…` series that begin like this.
fn sum(metrics: &str, series: &str) -> f64 {
    let series = format!("sidepulse_{series}");
    let values = metrics.lines().filter(|line| line.starts_with(&series)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}
