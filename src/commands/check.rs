//! `sidepulse check`: each check once, with everything it found out, for a person or a machine.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep};

use super::print;
use crate::cli::Only;
use crate::config::{Config, DatabaseMode, DatabaseSettings};
use crate::economy::{app_url, app_url_uses_database};
use crate::log::timestamp;
use crate::probe::app::AppProbe;
use crate::probe::database::DatabaseProbe;
use crate::probe::traffic::Traffic;
use crate::probe::{CheckId, Failure, Outcome, Phases, Reason};
use crate::readiness::{CERTIFICATE_WARNING, Status};

/// Between two rounds of `--wait`.
const ROUND: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Result_<'a> {
    status: &'static str,
    checks: &'a [Row],
}

/// One check's result.
#[derive(Serialize)]
struct Row {
    name: String,
    status: &'static str,
    reason: Option<&'static str>,
    remedy: Option<&'static str>,
    attempts: u32,
    duration_ms: f64,
    #[serde(serialize_with = "in_ms")]
    phases_ms: Phases,
    server_version: Option<String>,
    certificate_expiry: Option<String>,
    message: Option<String>,
    #[serde(skip)]
    notes: Vec<String>,
}

fn in_ms<S: Serializer>(phases: &Phases, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(phases.iter().map(|(phase, took)| (phase.as_str(), millis(took))))
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Runs the checks; with `wait` again and again until all pass or the time is over.
pub async fn run(config: &Config, only: Option<Only>, wait: Option<Duration>, json: bool) -> ExitCode {
    let until = wait.map(|wait| Instant::now() + wait);
    let mut app = AppProbe::new(config.app.clone(), config.railway.present);
    let traffic = Traffic::default();
    let mut database = config.database.clone().map(|settings| {
        let probe = DatabaseProbe::new(settings.clone(), Arc::clone(&config.redactor)).recording(&traffic);
        (settings, probe)
    });
    loop {
        let mut rows = Vec::new();
        if only != Some(Only::Database) {
            rows.push(Row::of(&CheckId::App, app.check().await));
        }
        if only != Some(Only::App)
            && let Some((settings, probe)) = &mut database
        {
            rows.extend(look_deep(settings, probe).await);
            let economy = settings.mode == DatabaseMode::Economy && rows.iter().all(|row| row.reason.is_none());
            if economy && only.is_none() && app_url_uses_database(&mut app, &settings.plan.endpoint, &traffic).await {
                rows[0].message = Some(app_url::REMEDY.to_owned());
            }
        }
        let failed = rows.iter().any(|row| row.status == Status::Fail.as_str());
        let again = until.is_some_and(|until| Instant::now() + ROUND < until);
        if failed && again {
            progress(&rows, until);
            sleep(ROUND).await;
            continue;
        }
        clear_progress();
        print(&if json { as_json(&rows) } else { as_table(&rows, io::stdout().is_terminal()) });
        return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
}

/// The database check, then its certificate's handshake: one connection after the other.
async fn look_deep(settings: &DatabaseSettings, probe: &mut DatabaseProbe) -> Vec<Row> {
    let report = probe.check().await;
    let mut row = Row::of(&CheckId::Database, report.query);
    let certificate = probe.certificate(Instant::now() + settings.attempt_timeout).await;
    if let Ok(Some(end)) = certificate {
        row.certificate_expiry = Some(timestamp(end));
        if end < SystemTime::now() + CERTIFICATE_WARNING {
            row.warn(Reason::CertificateExpiring);
        }
    }
    if let Some(facts) = report.facts {
        row.server_version = facts.version;
        if facts.read_only == Some(true) {
            row.warn(Reason::ReadOnly);
        }
    }
    let kind = match (settings.plan.pooled, settings.plan.neon) {
        (true, _) => "Neon, pooled",
        (false, true) => "Neon, direct",
        (false, false) => "PostgreSQL",
    };
    if row.server_version.is_some() {
        row.notes.push(kind.to_owned());
    }
    let names = settings.sql_checks.iter().map(|(name, _)| CheckId::Sql(Arc::clone(name)));
    let sql: Vec<Row> = names.zip(report.sql).map(|(id, outcome)| Row::of(&id, outcome)).collect();
    std::iter::once(row).chain(sql).collect()
}

impl Row {
    fn of(id: &CheckId, outcome: Outcome) -> Row {
        let retried = outcome.attempts > 1;
        let failure: Option<Failure> = outcome.result.err();
        let mut row = Row {
            name: id.name(),
            status: if failure.is_some() { Status::Fail } else { Status::Pass }.as_str(),
            reason: failure.as_ref().map(|failure| failure.reason.as_str()),
            remedy: failure.as_ref().map(Failure::remedy),
            attempts: outcome.attempts,
            duration_ms: millis(outcome.duration),
            phases_ms: outcome.phases,
            server_version: None,
            certificate_expiry: None,
            message: failure.and_then(|failure| failure.detail),
            notes: Vec::new(),
        };
        if retried && row.reason.is_none() {
            row.warn(Reason::RecoveredAfterRetry);
        }
        row
    }

    /// A SQL check that took the database check's failure.
    fn is_repeated(&self) -> bool {
        self.name.starts_with("sql_") && self.reason.is_some() && self.phases_ms == Phases::default()
    }

    /// Warnings come in the order of their weight; the last one said is the heaviest.
    fn warn(&mut self, reason: Reason) {
        if self.status != Status::Fail.as_str() {
            self.status = Status::Warn.as_str();
            self.reason = Some(reason.as_str());
            self.remedy = Some(reason.remedy());
        }
    }
}

fn as_json(rows: &[Row]) -> String {
    let has = |status: Status| rows.iter().any(|row| row.status == status.as_str());
    let worst = [Status::Fail, Status::Warn].into_iter().find(|status| has(*status)).unwrap_or(Status::Pass);
    let result = Result_ { status: worst.as_str(), checks: rows };
    format!("{}\n", serde_json::to_string(&result).unwrap_or_default())
}

fn as_table(rows: &[Row], colour: bool) -> String {
    let mut text = String::new();
    let mut said = None;
    for row in rows {
        let (sign, code) = match row.status {
            "pass" => ("✓", "32"),
            "warn" => ("!", "33"),
            _ => ("✗", "31"),
        };
        let verdict = row.reason.map_or(row.status.to_owned(), |reason| format!("{}: {reason}", row.status));
        let verdict = if colour { format!("\x1b[{code}m{sign} {verdict}\x1b[0m") } else { format!("{sign} {verdict}") };
        let phases: Vec<String> =
            row.phases_ms.iter().map(|(phase, took)| format!("{} {:.1}", phase.as_str(), millis(took))).collect();
        text.push_str(&format!("{:<12} {verdict}\n", row.name));
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<12} {value}\n"));
        if row.is_repeated() {
            line("not run", "the database check failed");
            continue;
        }
        line("took", &format!("{:.1} ms  ({})", row.duration_ms, phases.join(", ")));
        if row.attempts > 1 {
            line("attempts", &row.attempts.to_string());
        }
        let server: Vec<&str> = row.notes.iter().map(String::as_str).chain(row.server_version.as_deref()).collect();
        if !server.is_empty() {
            line("server", &server.join(" "));
        }
        for (name, value) in [
            ("certificate", &row.certificate_expiry.as_ref().map(|end| format!("ends {end}"))),
            ("message", &row.message),
        ] {
            value.iter().for_each(|value| line(name, value));
        }
        row.remedy.iter().filter(|remedy| said != Some(**remedy)).for_each(|remedy| line("what to do", remedy));
        said = row.remedy;
    }
    text
}

/// One line on a terminal's stderr, written over each time.
fn progress(rows: &[Row], until: Option<Instant>) {
    if io::stderr().is_terminal() {
        let failing: Vec<String> =
            rows.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.reason?))).collect();
        let left = until.map_or(0, |until| until.saturating_duration_since(Instant::now()).as_secs());
        let _ = write!(io::stderr(), "\r\x1b[Kwaiting for {} ({left} s left)", failing.join("; "));
    }
}

fn clear_progress() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
