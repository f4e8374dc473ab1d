//! `sidepulse check`: each check once, with everything it found out, for a person or a machine.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::print;
use crate::cli::Only;
use crate::config::{Config, DatabaseMode, DatabaseSettings, WarnAt};
use crate::dsn::Plan;
use crate::early_warnings::{self, EarlyWarnings};
use crate::economy::{app_url, app_url_uses_database};
use crate::log::{Level, Log, timestamp};
use crate::millis;
use crate::probe::app::AppProbe;
use crate::probe::database::DatabaseProbe;
use crate::probe::traffic::Traffic;
use crate::probe::vitals::OwnSession;
use crate::probe::{CheckId, Phases, Reason, Refusal};
use crate::readiness::{self, Now, Status};
use crate::state::{CheckState, Snapshot};

mod numbers;

/// Between two rounds of `--wait`.
const ROUND: Duration = Duration::from_secs(1);
/// A round of `--wait` has at least this long, even if it begins when the time is nearly over.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);
/// Between two log lines that say what `--wait` is waiting for, where there is no terminal.
const WAITING_INTERVAL: Duration = Duration::from_secs(10);

/// Runs the checks; with `wait` repeatedly, until all pass or the time is over.
pub(crate) async fn run(
    config: &Config,
    only: Option<Only>,
    wait: Option<Duration>,
    json: bool,
    log: &Log,
) -> ExitCode {
    let until = wait.map(|wait| Instant::now() + wait);
    let checks = wait_until_all_pass(&mut Probes::new(config, only), until, log).await;
    let code = if worst(&checks) == Status::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    print(&if json { as_json(&checks) } else { as_table(&checks, io::stdout().is_terminal()) }, code)
}

/// Returns what the last round found. Without `until` there is only one.
async fn wait_until_all_pass(probes: &mut Probes<'_>, until: Option<Instant>, log: &Log) -> Vec<PrintedCheck> {
    let mut next_line = Instant::now();
    loop {
        if let Some(until) = until {
            probes.end_by(until);
        }
        let round = probes.check().await;
        let printed = |check| PrintedCheck::of(check, &round, probes.config);
        let checks: Vec<PrintedCheck> = round.snapshot.checks().filter_map(printed).collect();
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if worst(&checks) != Status::Fail || left.is_zero() {
            clear_progress();
            return checks;
        }
        let waiting_for = failing(&checks);
        if io::stderr().is_terminal() {
            // Each time over the line before.
            let _ = write!(io::stderr(), "\r\x1b[Kwaiting for {waiting_for} ({} s left)", left.as_secs());
        } else if Instant::now() >= next_line {
            next_line = Instant::now() + WAITING_INTERVAL;
            log.line(Level::Info, "waiting", format!("waiting for {waiting_for}"))
                .field("waiting_for", waiting_for)
                .field("gate_left_s", left.as_secs())
                .send();
        }
        // So that the last round begins when the time is over.
        sleep(ROUND.min(left)).await;
    }
}

fn worst(checks: &[PrintedCheck]) -> Status {
    checks.iter().map(|check| check.status).max().unwrap_or(Status::Pass)
}

/// The settings of a probe that asks for the vitals in each round, not once a minute.
fn asking_always(settings: &DatabaseSettings) -> DatabaseSettings {
    let early_warnings = settings.early_warnings.clone();
    let early_warnings =
        early_warnings.map(|at| WarnAt { read_every: Duration::ZERO, storage_every: Duration::ZERO, ..at });
    DatabaseSettings { early_warnings, ..settings.clone() }
}

struct Round {
    snapshot: Snapshot,
    now: Now,
    /// Those of the role's own sessions that do most harm.
    sessions: Vec<OwnSession>,
}

/// The checks that were asked for.
struct Probes<'a> {
    config: &'a Config,
    traffic: Traffic,
    app: Option<AppProbe>,
    database: Option<DatabaseProbe>,
}

impl<'a> Probes<'a> {
    fn new(config: &'a Config, only: Option<Only>) -> Self {
        let traffic = Traffic::default();
        let app = (only != Some(Only::Database)).then(|| AppProbe::new(config.app.clone(), config.railway.present));
        let database = config.database.as_ref().filter(|_| only != Some(Only::App)).map(|settings| {
            DatabaseProbe::new(asking_always(settings), Arc::clone(&config.redactor)).recording(&traffic)
        });
        Probes { config, traffic, app, database }
    }

    /// Limits the checks of the next round to the time that is left.
    fn end_by(&mut self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).max(SHORTEST_ROUND);
        if let Some(probe) = &mut self.app {
            probe.set_timeout(self.config.app.timeout.min(left));
        }
        if let (Some(probe), Some(settings)) = (&mut self.database, &self.config.database) {
            probe.set_timeout(settings.timeout.min(left));
        }
    }

    /// Runs each check once. A check that was not asked for has no result.
    async fn check(&mut self) -> Round {
        let app = match &mut self.app {
            Some(probe) => Some(probe.check().await),
            None => None,
        };
        let found = match &mut self.database {
            Some(probe) => Some(probe.check().await),
            None => None,
        };
        let read = match &mut self.database {
            Some(probe) => probe.vitals_and_sessions().await,
            None => None,
        };
        let certificate = match (&found, &mut self.database, &self.config.database) {
            // One connection after the other, and none to ask a server that does not answer for its certificate.
            (Some(found), Some(probe), Some(settings)) if found.query.result.is_ok() => {
                probe.certificate(Instant::now() + settings.attempt_timeout).await.ok().flatten()
            }
            _ => None,
        };
        let now = Now::read();
        let mut snapshot = Snapshot::new(self.config, now.instant);
        if let Some(outcome) = app {
            snapshot.app.record(outcome);
        }
        if let (Some(found), Some(database)) = (found, &mut snapshot.database) {
            if let Some(facts) = &found.facts {
                database.learn(facts);
            }
            database.certificate_expiry = certificate;
            database.refused = found.refused;
            database.query.record(found.query);
            for (check, outcome) in database.sql.iter_mut().zip(found.sql) {
                check.record(outcome);
            }
        }
        let (vitals, sessions) = read.unzip();
        let warn_at = self.config.database.as_ref().and_then(|settings| settings.early_warnings.as_ref());
        if let (Some(Ok(vitals)), Some(warn_at), Some(database)) = (vitals, warn_at, &mut snapshot.database) {
            database.early = EarlyWarnings::of_one_reading(vitals, warn_at);
        }
        snapshot.app_uses_database = self.app_uses_database(&snapshot, now).await;
        Round { snapshot, now, sessions: sessions.unwrap_or_default() }
    }

    /// Whether our own app checks would keep awake a database that should sleep. Tried only if every check passed.
    async fn app_uses_database(&mut self, snapshot: &Snapshot, now: Now) -> bool {
        let passed = |check| readiness::judge(check, snapshot, now).status == Status::Pass;
        match (&mut self.app, &self.database, &self.config.database) {
            (Some(app), Some(_), Some(settings))
                if settings.mode == DatabaseMode::Economy && snapshot.checks().all(passed) =>
            {
                app_url_uses_database(app, &settings.plan.endpoint, &self.traffic).await
            }
            _ => false,
        }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    status: Status,
    checks: &'a [PrintedCheck],
}

#[derive(Serialize)]
struct PrintedCheck {
    name: String,
    status: Status,
    reason: Option<&'static str>,
    remedy: Option<String>,
    attempts: u32,
    duration_ms: f64,
    #[serde(serialize_with = "millis::of_phases")]
    phases_ms: Phases,
    server_version: Option<String>,
    certificate_expiry: Option<String>,
    message: Option<String>,
    /// The server's vitals and the sessions that harm it: name and text of each line.
    #[serde(skip)]
    numbers: Vec<(String, String)>,
    #[serde(skip)]
    kind: Option<&'static str>,
    /// A SQL check that did not run, because the database check failed.
    #[serde(skip)]
    not_run: bool,
}

impl PrintedCheck {
    /// `None` without a result.
    fn of(check: &CheckState, round: &Round, config: &Config) -> Option<PrintedCheck> {
        let Round { snapshot, now, sessions } = round;
        let outcome = check.newest.as_ref()?;
        let judged = readiness::judge(check, snapshot, *now);
        let failure = outcome.result.as_ref().err();
        let server = snapshot.database.as_ref().filter(|_| check.id == CheckId::Database);
        let detail = failure.and_then(|failure| failure.detail.clone());
        let refused = server.and_then(|server| refused(&server.refused));
        let hint = (check.id == CheckId::App && snapshot.app_uses_database).then(|| app_url::REMEDY.to_owned());
        let server_version = server.and_then(|server| server.server_version.clone());
        let plan = config.database.as_ref().map(|settings| &settings.plan);
        Some(PrintedCheck {
            name: check.id.name(),
            status: judged.status,
            reason: judged.reason.map(Reason::as_str),
            remedy: judged.reason.map(|reason| {
                let vitals = server.and_then(|server| server.early.vitals());
                let with_numbers = vitals.and_then(|vitals| early_warnings::remedy(reason, vitals));
                with_numbers.unwrap_or_else(|| check.remedy(reason).to_owned())
            }),
            attempts: outcome.attempts,
            duration_ms: millis::exact(outcome.duration),
            phases_ms: outcome.phases,
            numbers: server.map_or(Vec::new(), |server| numbers::lines(&server.early, sessions)),
            kind: plan.filter(|_| server_version.is_some()).map(kind),
            server_version,
            certificate_expiry: server.and_then(|server| server.certificate_expiry).map(timestamp),
            message: detail.or(hint).or(refused),
            not_run: matches!(check.id, CheckId::Sql(_)) && failure.is_some() && outcome.phases == Phases::default(),
        })
    }
}

/// One line about what the server refuses of what we send, if anything.
fn refused(refused: &[Refusal]) -> Option<String> {
    let each: Vec<String> = refused.iter().map(Refusal::to_string).collect();
    (!each.is_empty()).then(|| format!("the server refuses {}: its checks do without", each.join(", ")))
}

fn kind(plan: &Plan) -> &'static str {
    match (plan.pooled, plan.neon) {
        (true, _) => "Neon, pooled",
        (false, true) => "Neon, direct",
        (false, false) => "PostgreSQL",
    }
}

fn as_json(checks: &[PrintedCheck]) -> String {
    let summary = Summary { status: worst(checks), checks };
    format!("{}\n", serde_json::to_string(&summary).unwrap_or_default())
}

fn as_table(checks: &[PrintedCheck], colour: bool) -> String {
    let mut text = String::new();
    let mut printed = None;
    for check in checks {
        let (sign, code) = match check.status {
            Status::Pass => ("✓", "32"),
            Status::Warn => ("!", "33"),
            Status::Fail => ("✗", "31"),
        };
        let status = check.status.as_str();
        let verdict = check.reason.map_or(status.to_owned(), |reason| format!("{status}: {reason}"));
        let verdict = if colour { format!("\x1b[{code}m{sign} {verdict}\x1b[0m") } else { format!("{sign} {verdict}") };
        text.push_str(&format!("{:<12} {verdict}\n", check.name));
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<12} {value}\n"));
        if check.not_run {
            line("not run", "the database check failed");
            continue;
        }
        let phases: Vec<String> = check
            .phases_ms
            .iter()
            .map(|(phase, took)| format!("{} {:.1}", phase.as_str(), millis::exact(took)))
            .collect();
        line("took", &format!("{:.1} ms  ({})", check.duration_ms, phases.join(", ")));
        if check.attempts > 1 {
            line("attempts", &check.attempts.to_string());
        }
        let server: Vec<&str> = check.kind.into_iter().chain(check.server_version.as_deref()).collect();
        if !server.is_empty() {
            line("server", &server.join(" "));
        }
        if let Some(end) = &check.certificate_expiry {
            line("certificate", &format!("ends {end}"));
        }
        for (name, text) in &check.numbers {
            line(name, text);
        }
        if let Some(message) = &check.message {
            line("message", message);
        }
        if let Some(remedy) = &check.remedy
            && printed != Some(remedy)
        {
            line("what to do", remedy);
        }
        printed = check.remedy.as_ref();
    }
    text
}

/// The failing checks and their reasons, as in `/readyz`.
fn failing(checks: &[PrintedCheck]) -> String {
    let failing = checks.iter().filter(|check| check.status == Status::Fail);
    let parts: Vec<String> = failing.filter_map(|check| Some(format!("{}: {}", check.name, check.reason?))).collect();
    parts.join("; ")
}

fn clear_progress() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests;
