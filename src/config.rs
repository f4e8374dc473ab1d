//! What the settings mean: everything is read once, here, and everything that is wrong is reported together.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use crate::dsn::{Plan, Secret};
use crate::log;
use crate::redact::Redactor;

pub(crate) mod app_target;
pub(crate) mod parse;
pub(crate) mod ports;
mod read;
mod service_links;
pub(crate) mod settings;
mod statement;
mod warn_at;

use app_target::AppTarget;
use read::{Reader, read_app, read_child, read_database, read_listen, read_log, read_railway, read_thresholds};
use settings::SETTINGS;
pub(crate) use warn_at::WarnAt;

/// The port without `PORT`.
pub(crate) const DEFAULT_PORT: u16 = 9900;

/// Header values of at least this length are masked in what is shown.
const SHORTEST_SECRET: usize = 8;

/// What `/readyz` asks of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It answered once since start.
    Startup,
    /// It is up now.
    Always,
    Never,
}

impl Gate {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Gate::Startup => "startup",
            Gate::Always => "always",
            Gate::Never => "never",
        }
    }
}

/// Whether the database may be kept awake by the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseMode {
    Steady,
    /// Deep queries only while the app itself keeps the database awake.
    Economy,
}

/// How `run` exits when CMD ends with 0 on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCleanExit {
    /// Exit with 1: CMD is a server, and after 0 no platform restarts it.
    Fail,
    Pass,
}

/// What `run` does about an app that no longer answers HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnUnresponsive {
    Report,
    /// Stop it and exit 70, so that the platform restarts the container.
    Exit,
}

#[derive(Clone, Debug)]
pub(crate) struct AppSettings {
    pub(crate) target: AppTarget,
    /// Statuses that count as alive.
    pub(crate) statuses: Vec<RangeInclusive<u16>>,
    /// Extra request headers; values are marked sensitive.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// From the end of one check to the start of the next.
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct DatabaseSettings {
    pub(crate) plan: Plan,
    /// From the end of one check to the start of the next.
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    /// One statement that returns at least one row.
    pub(crate) query: String,
    pub(crate) gate: Gate,
    pub(crate) mode: DatabaseMode,
    /// Name and SQL of each further check.
    pub(crate) sql_checks: Vec<(Arc<str>, String)>,
    /// Economy: a deep query after this time even while idle; `None` = never.
    pub(crate) max_age: Option<Duration>,
    /// Economy: how often to make a handshake without logging in; `None` = total silence.
    pub(crate) idle_handshake: Option<Duration>,
    /// Economy without kernel diagnostics: how often to query.
    pub(crate) economy_interval: Duration,
    /// After a deep query that passed, read the vitals that early warnings rest on; `None` = off.
    pub(crate) early_warnings: Option<WarnAt>,
}

/// How many results in a row change a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Failures that turn an up check down.
    pub(crate) failure: u32,
    /// Successes that turn a down check up.
    pub(crate) success: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildSettings {
    /// The app's port, `PORT` for the child.
    pub(crate) app_port: u16,
    /// From the forwarded signal to SIGKILL.
    pub(crate) stop_timeout: Duration,
    pub(crate) on_clean_exit: OnCleanExit,
    pub(crate) on_unresponsive: OnUnresponsive,
    /// How long it must have been silent.
    pub(crate) unresponsive_after: Duration,
}

/// What Railway's own variables say (source: docs.railway.com, Variables Reference).
#[derive(Clone, Debug, Default)]
pub(crate) struct Railway {
    /// `RAILWAY_ENVIRONMENT_ID` is set.
    pub(crate) present: bool,
    /// `RAILWAY_REPLICA_ID`, for the metrics.
    pub(crate) replica: Option<String>,
    /// `RAILWAY_HEALTHCHECK_TIMEOUT_SEC`, by default 300 s.
    pub(crate) gate_timeout: Duration,
    /// `RAILWAY_DEPLOYMENT_DRAINING_SECONDS`, by default 0.
    pub(crate) draining: Duration,
    /// `RAILWAY_PUBLIC_DOMAIN`.
    pub(crate) public_domain: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) app: AppSettings,
    /// The database check; `None` with `SIDEPULSE_DATABASE=off`, and if the command does not need it.
    pub(crate) database: Option<DatabaseSettings>,
    pub(crate) thresholds: Thresholds,
    /// Bearer token for the details.
    pub(crate) token: Option<Secret>,
    /// From SIGTERM to stopping.
    pub(crate) drain_delay: Duration,
    pub(crate) child: ChildSettings,
    pub(crate) railway: Railway,
    /// Masks every known secret in a text.
    pub(crate) redactor: Arc<Redactor>,
    /// What is odd but does not prevent the start: a sentence each, without values.
    pub(crate) warnings: Vec<String>,
}

/// Which settings a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// All settings; the database URL must not be missing.
    Everything,
    /// No database: `check --only app`.
    App,
}

/// A value as given, and the name by which it was given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// The text; `None` if it is not UTF-8.
    pub(crate) text: Option<String>,
    /// `--database-timeout` or `SIDEPULSE_DATABASE_TIMEOUT`.
    pub(crate) named: String,
}

/// Something that is wrong with a setting. It is shown as one line, and never with the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSetting {
    /// The variable or flag that the value came from.
    pub(crate) named: String,
    pub(crate) fault: String,
    /// A correct value.
    pub(crate) example: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; e.g. {}", self.named, self.fault, self.example)
    }
}

/// Looks a variable up: first among the flags, then in the environment; an empty value counts as unset.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Given>;

impl Config {
    /// Reads every setting that the command needs.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the settings.
    pub(crate) fn load(lookup: Lookup<'_>, need: Need) -> Result<Config, Vec<BadSetting>> {
        let mut r = Reader::new(lookup);
        let listen = read_listen(&mut r);
        let app_port = r.read("SIDEPULSE_APP_PORT", parse::port);
        let app = read_app(&mut r, app_port, listen);
        let database = if need == Need::Everything { read_database(&mut r) } else { None };
        let thresholds = read_thresholds(&mut r);
        let token = r.optional("SIDEPULSE_TOKEN", parse::token).map(Secret::new);
        let drain_delay = r.read("SIDEPULSE_DRAIN_DELAY", parse::duration_or_zero);
        let child = read_child(&mut r, app_port);
        // Only to report what is wrong with them: the log was started before, with `log_settings`.
        read_log(&mut r);
        let railway = read_railway(&mut r);
        if !r.faults.is_empty() {
            return Err(r.faults);
        }
        let warnings = r.warnings;
        let mut secrets: Vec<Secret> = database.iter().flat_map(|d| d.plan.secrets()).collect();
        secrets.extend(token.clone());
        // A short value (`1`, `https`) is not a secret, and masking it would garble every message.
        let values = app.headers.iter().filter_map(|(_, v)| v.to_str().ok()).filter(|v| v.len() >= SHORTEST_SECRET);
        secrets.extend(values.map(|v| Secret::new(v.to_owned())));
        let redactor = Arc::new(Redactor::new(secrets));
        Ok(Config { listen, app, database, thresholds, token, drain_delay, child, railway, redactor, warnings })
    }
}

/// The address on which the daemon listens. Only the settings for it are read, so that a mistake in another one does not
/// stop `ping`.
///
/// # Errors
/// What is wrong with `PORT` and `SIDEPULSE_LISTEN`.
pub(crate) fn listen_address(lookup: Lookup<'_>) -> Result<SocketAddr, Vec<BadSetting>> {
    let mut r = Reader::new(lookup);
    let listen = read_listen(&mut r);
    if r.faults.is_empty() { Ok(listen) } else { Err(r.faults) }
}

/// The log settings: they are needed first, so that mistakes in the other settings are logged as configured.
pub(crate) fn log_settings(lookup: Lookup<'_>) -> log::Settings {
    read_log(&mut Reader::new(lookup))
}

/// One sentence for each `SIDEPULSE_*` variable that does not exist, with the nearest that does. Variables that
/// Kubernetes sets for a Service are left out.
pub(crate) fn unknown_variables<'a>(names: impl Iterator<Item = &'a str>, lookup: Lookup<'_>) -> Vec<String> {
    let of_a_service = |name: &str| {
        let text = lookup(name).and_then(|given| given.text);
        text.is_some_and(|text| service_links::is_one(name, &text))
    };
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.variable).collect();
    let mut sentences: Vec<String> = names
        .filter(|name| name.starts_with("SIDEPULSE_") && !known.contains(name) && !of_a_service(name))
        .map(|name| {
            let near = known.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
            // A variable's name is not a secret, but it may contain anything: show it without control characters.
            let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("{name} is not a setting of sidepulse; did you mean {}?", near.unwrap_or(&"SIDEPULSE_LISTEN"))
        })
        .collect();
    sentences.sort_unstable();
    sentences
}

#[cfg(test)]
mod tests;
