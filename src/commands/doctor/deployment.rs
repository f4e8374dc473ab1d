//! Everything that the rules judge: the daemon's own configuration, the app's environment, the files.

use std::ffi::OsStr;

use super::read::command::{self, Started};
use super::read::files::{Files, Mention};
use super::read::installed::{self, Installed};
use super::read::layout::Located;
use super::read::server::{self, AppServer};
use super::read::shell::Word;
use super::read::start::{self, NoStart, Start};
use crate::config::ports::{Ports, fill_in};
use crate::config::settings::{DATABASE_URL, LISTEN, OWN_DATABASE_URL, PORT, SETTINGS};
use crate::config::{BadSetting, Config, DEFAULT_PORT, Given, Lookup, Need};
use crate::dsn::Plan;

/// Environments that are not production. With any other name the backend applies the rules for production.
const RELAXED: [&str; 2] = ["development", "test"];

/// The settings that decide on the ports of sidepulse and the app.
pub(super) const DECIDE_PORTS: [&str; 4] = [PORT, LISTEN, "SIDEPULSE_APP_PORT", "SIDEPULSE_APP_URL"];

/// Variables that servers read in place of options: these, and all with these prefixes.
const SERVERS_READ: [&str; 3] = ["WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "PYTHONPATH"];
const SERVERS_PREFIXES: [&str; 2] = ["UVICORN_", "GRANIAN_"];

/// A deployment, before it is deployed.
pub(super) struct Deployment<'a> {
    /// What the daemon would load, or why it would not start.
    pub(super) config: Result<Config, Vec<BadSetting>>,
    /// Known even if only the database's settings cannot be loaded.
    pub(super) ports: Option<Ports>,
    pub(super) warnings: Vec<String>,
    /// Settings to which the start command gives a value that is not known here; they count as unset.
    pub(super) unknown_settings: Vec<String>,
    pub(super) variables: Lookup<'a>,
    /// The names of all variables.
    pub(super) names: &'a [String],
    pub(super) backend: Option<Backend>,
}

/// The app's files, and what follows from them.
pub(super) struct Backend {
    pub(super) files: Files,
    pub(super) installed: Installed,
    pub(super) start: Result<Start, NoStart>,
    pub(super) started: Vec<Started>,
}

/// What the start command sets, over the environment.
#[derive(Default)]
struct Overrides {
    values: Vec<(String, String)>,
    /// Settings whose value is not known here.
    unknown: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    Unset,
    Relaxed,
    Production,
}

/// Whether the app's code mentions something. What it does with it is not examined.
#[derive(Debug)]
pub(super) enum Code {
    /// Without `--backend DIR`, or if a part of the code was left out and the rest does not mention it.
    Unread,
    Silent,
    Mentions(Mention),
}

/// Whether it is like `PORT=8000`; `PORT=${PORT:-8080}` leaves the port as it is.
pub(super) fn sets_port((name, value): &command::Assignment) -> bool {
    name == PORT && !value.text.contains(PORT)
}

/// A variable without blanks around it; a blank one counts as unset.
fn text(variables: Lookup<'_>, variable: &str) -> Option<String> {
    let text = variables(variable)?.text?;
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl<'a> Deployment<'a> {
    /// `names` are those of all environment variables.
    pub(super) fn read(variables: Lookup<'a>, names: &'a [String], files: Option<Files>) -> Deployment<'a> {
        let backend = files.map(|files| Backend::read(files, &|name| text(variables, name), names));
        let overrides = backend.as_ref().map(|backend| backend.overrides(variables)).unwrap_or_default();
        let Overrides { values, unknown } = overrides;
        let lookup = |name: &str| match values.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) if value.is_empty() => None,
            Some((_, value)) => Some(Given { text: Some(value.clone()), named: name.to_owned() }),
            None => variables(name),
        };
        let config = Config::load(&lookup, Need::Everything);
        let without_database = Config::load(&lookup, Need::App);
        let loaded = config.as_ref().or(without_database.as_ref()).ok();
        let ports = loaded.map(Ports::of);
        let warnings = loaded.map(|config| config.warnings.clone()).unwrap_or_default();
        Deployment { config, ports, warnings, unknown_settings: unknown, variables, names, backend }
    }

    /// The start command decides on the ports of sidepulse and the app by a value that is not known here.
    pub(super) fn port_is_unknown(&self) -> bool {
        self.unknown_settings.iter().any(|variable| DECIDE_PORTS.contains(&variable.as_str()))
    }

    /// A variable without blanks around it; a blank one counts as unset.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        text(self.variables, variable)
    }

    /// Why [`Deployment::text`] returns nothing.
    pub(super) fn absence(&self, variable: &str) -> &'static str {
        match (self.variables)(variable) {
            Some(given) if given.text.is_none() => "is not valid UTF-8",
            _ => "is not set",
        }
    }

    pub(super) fn environment(&self) -> Environment {
        match self.text("ENVIRONMENT") {
            None => Environment::Unset,
            Some(stage) if RELAXED.contains(&stage.to_ascii_lowercase().as_str()) => Environment::Relaxed,
            Some(_) => Environment::Production,
        }
    }

    /// The database that sidepulse would check, if it can.
    pub(super) fn plan(&self) -> Option<Plan> {
        match &self.config {
            Ok(config) => config.database.as_ref().map(|database| database.plan.clone()),
            Err(_) => {
                let url = self.text(OWN_DATABASE_URL).or_else(|| self.text(DATABASE_URL))?;
                Plan::parse(&url).ok().map(|(plan, _)| plan)
            }
        }
    }

    /// Why the daemon would not start, of the settings with these names.
    pub(super) fn faults(&self, named: impl Fn(&str) -> bool) -> impl Iterator<Item = &BadSetting> {
        self.config.as_ref().err().into_iter().flatten().filter(move |fault| named(&fault.named))
    }

    /// Whether a file of the app mentions one of these texts, in upper or lower case.
    pub(super) fn code(&self, texts: &[&str]) -> Code {
        let Some(backend) = &self.backend else { return Code::Unread };
        match backend.files.mention(texts) {
            Some(mention) => Code::Mentions(mention),
            None if backend.files.cuts.is_empty() => Code::Silent,
            None => Code::Unread,
        }
    }
}

impl Backend {
    fn read(files: Files, variable: start::Variable<'_>, names: &[String]) -> Backend {
        let (installed, start) = (installed::read(&files), start::find(&files, variable));
        let started = start.as_ref().map_or(Vec::new(), |start| started(start, &files, variable, names));
        Backend { files, installed, start, started }
    }

    /// What the start command and the image set for sidepulse, over the environment. Settings that may contain a secret
    /// are left out.
    fn overrides(&self, lookup: Lookup<'_>) -> Overrides {
        let settings = self.started.iter().find_map(|started| match started {
            Started::Program(launch) if launch.under_run => Some(&launch.settings),
            Started::Sidepulse { settings, .. } => Some(settings),
            Started::Program(_) | Started::Unknown(_) => None,
        });
        let port = text(lookup, PORT).unwrap_or_else(|| DEFAULT_PORT.to_string());
        let mut overrides = Overrides::default();
        for variable in settings.into_iter().flatten() {
            let (name, value) = variable;
            if sets_port(variable) {
                overrides.unknown.push(PORT.to_owned());
            }
            if !SETTINGS.iter().any(|setting| setting.variable == name && !setting.secret) {
                continue;
            }
            let filled = match value.expands_port {
                true => fill_in(OsStr::new(&value.text), &port).to_string_lossy().into_owned(),
                false => value.text.clone(),
            };
            overrides.unknown.retain(|other| other != name);
            let is_unknown = value.expands_other || value.expands_port && filled.contains('$');
            if is_unknown {
                overrides.unknown.push(name.clone());
            }
            overrides.values.push((name.clone(), if is_unknown { String::new() } else { filled }));
        }
        overrides
    }

    /// The server that the start command starts, if it is one of those that are known.
    pub(super) fn server(&self) -> Option<(&Start, AppServer)> {
        let start = self.start.as_ref().ok()?;
        let server = self.started.iter().find_map(|started| match started {
            Started::Program(launch) => server::read(launch),
            Started::Sidepulse { .. } | Started::Unknown(_) => None,
        })?;
        Some((start, server))
    }
}

/// What a start command starts.
fn started(start: &Start, files: &Files, variable: start::Variable<'_>, names: &[String]) -> Vec<Started> {
    let script = |path: &str, directories: &[_]| match start.layout.find(files, directories, &[path.to_owned()]) {
        Located::Found(file) => Some((file.name, file.text)),
        Located::Missing | Located::Unknown(_) => None,
    };
    // Railway's own variables win over the image's, PORT among them.
    let mut variables = start.layout.variables();
    variables.retain(|(name, _)| name != PORT && variable(name).is_none());
    for name in names {
        let is_read =
            SERVERS_READ.contains(&name.as_str()) || SERVERS_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if let Some(value) = variable(name).filter(|_| is_read) {
            variables.push((name.clone(), Word::literal(value)));
        }
    }
    command::started(&start.form, variables, &script)
}
