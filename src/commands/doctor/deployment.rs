//! Everything that the rules judge: what the daemon itself would load, the app's environment, the files.

use std::ffi::OsStr;

use super::read::command::{self, Step};
use super::read::files::{Files, Mention};
use super::read::installed::{self, Installed};
use super::read::layout::Lookup;
use super::read::server::{self, Server};
use super::read::shell::Word;
use super::read::start::{self, Found, Start};
use crate::config::ports::{Ports, fill_in};
use crate::config::settings::{DATABASE_URL, LISTEN, OWN_DATABASE_URL, PORT, SETTINGS};
use crate::config::{BadSetting, Config, DEFAULT_PORT, Given, Lookup as Variables, Need};
use crate::dsn::Plan;

/// Stages that are nobody's production; the backend holds any other name to what production is held to.
const RELAXED: [&str; 2] = ["development", "test"];

/// What decides on the ports of sidepulse and the app.
pub(super) const DECIDE_PORTS: [&str; 4] = [PORT, LISTEN, "SIDEPULSE_APP_PORT", "SIDEPULSE_APP_URL"];

/// Variables by which servers are told what else their options say: these, and all that begin so.
const SERVERS_READ: [&str; 3] = ["WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "PYTHONPATH"];
const SERVERS_PREFIXES: [&str; 2] = ["UVICORN_", "GRANIAN_"];

/// A deployment before it is one.
pub(super) struct Deployment<'a> {
    /// What the daemon would load, or why it would not start.
    pub(super) config: Result<Config, Vec<BadSetting>>,
    /// What does not depend on the database, where the rest cannot be loaded.
    pub(super) ports: Option<Ports>,
    /// What the daemon would say of them.
    pub(super) warnings: Vec<String>,
    /// Settings to which the start command gives a value that is not known here; they count as unset.
    pub(super) untold: Vec<String>,
    pub(super) variables: Variables<'a>,
    /// The names of all variables.
    pub(super) names: &'a [String],
    /// What `--backend DIR` shows.
    pub(super) app: Option<App>,
}

/// The app's files, and what follows from them alone.
pub(super) struct App {
    pub(super) files: Files,
    pub(super) installed: Installed,
    pub(super) start: Found,
    /// What the start command starts.
    pub(super) steps: Vec<Step>,
}

/// What `ENVIRONMENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Unset,
    Relaxed,
    Production,
}

/// Whether the app's code says something. What it does with it was not looked at.
#[derive(Debug)]
pub(super) enum Code {
    /// Without `--backend DIR`, or where a part of the code was left out and the rest says nothing.
    Unread,
    Silent,
    Mentions(Mention),
}

/// `PORT=8000` in the command; `PORT=${PORT:-8080}` leaves it as it is.
pub(super) fn sets_port((name, value): &command::Variable) -> bool {
    name == PORT && !value.text.contains(PORT)
}

/// A variable without blanks around it; a blank one counts as unset.
fn text(variables: Variables<'_>, variable: &str) -> Option<String> {
    let text = variables(variable)?.text?;
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl<'a> Deployment<'a> {
    /// `names` are those of all environment variables.
    pub(super) fn read(variables: Variables<'a>, names: &'a [String], files: Option<Files>) -> Deployment<'a> {
        let app = files.map(|files| App::read(files, &|name| text(variables, name), names));
        let (told, untold) = app.as_ref().map(|app| app.told(variables)).unwrap_or_default();
        let lookup = |name: &str| match told.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) if value.is_empty() => None,
            Some((_, value)) => Some(Given { text: Some(value.clone()), named: name.to_owned() }),
            None => variables(name),
        };
        let config = Config::load(&lookup, Need::Everything);
        let without_database = Config::load(&lookup, Need::App);
        let loaded = config.as_ref().or(without_database.as_ref()).ok();
        let ports = loaded.map(Ports::of);
        let warnings = loaded.map(|config| config.warnings.clone()).unwrap_or_default();
        Deployment { config, ports, warnings, untold, variables, names, app }
    }

    /// The start command decides which ports sidepulse and the app take, by what is not known here.
    pub(super) fn untold_port(&self) -> bool {
        self.untold.iter().any(|variable| DECIDE_PORTS.contains(&variable.as_str()))
    }

    /// A variable without blanks around it; a blank one counts as unset.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        text(self.variables, variable)
    }

    /// Why [`Deployment::text`] has nothing.
    pub(super) fn absence(&self, variable: &str) -> &'static str {
        match (self.variables)(variable) {
            Some(given) if given.text.is_none() => "is not valid UTF-8",
            _ => "is not set",
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.text("ENVIRONMENT") {
            None => Stage::Unset,
            Some(stage) if RELAXED.contains(&stage.to_ascii_lowercase().as_str()) => Stage::Relaxed,
            Some(_) => Stage::Production,
        }
    }

    /// The database that sidepulse checks, where there is one that it can use.
    pub(super) fn plan(&self) -> Option<Plan> {
        match &self.config {
            Ok(config) => config.database.as_ref().map(|database| database.plan.clone()),
            Err(_) => {
                let url = self.text(OWN_DATABASE_URL).or_else(|| self.text(DATABASE_URL))?;
                Plan::parse(&url).ok().map(|(plan, _)| plan)
            }
        }
    }

    /// Why the daemon would not start, as far as these variables or flags go.
    pub(super) fn faults(&self, named: impl Fn(&str) -> bool) -> impl Iterator<Item = &BadSetting> {
        self.config.as_ref().err().into_iter().flatten().filter(move |fault| named(&fault.named))
    }

    /// Whether any file of the app mentions one of these texts, whatever the case.
    pub(super) fn code(&self, texts: &[&str]) -> Code {
        let Some(app) = &self.app else { return Code::Unread };
        match app.files.mention(texts) {
            Some(mention) => Code::Mentions(mention),
            None if app.files.cuts.is_empty() => Code::Silent,
            None => Code::Unread,
        }
    }
}

impl App {
    fn read(files: Files, variable: start::Variable<'_>, names: &[String]) -> App {
        let (installed, start) = (installed::read(&files), start::find(&files, variable));
        let steps = match &start {
            Found::Start(start) => {
                let script =
                    |path: &str, directories: &[_]| match start.layout.find(&files, directories, &[path.to_owned()]) {
                        Lookup::Found(file) => Some((file.name, file.text)),
                        Lookup::Missing | Lookup::Unknown(_) => None,
                    };
                // Railway's own variables win over the image's, PORT among them.
                let is_read = |name: &&String| {
                    SERVERS_READ.contains(&name.as_str())
                        || SERVERS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                };
                let given = names.iter().filter(is_read).filter_map(|name| Some((name.clone(), variable(name)?)));
                let given = given.map(|(name, value)| (name, Word::literal(value)));
                let mut all = start.layout.variables();
                all.retain(|(name, _)| name != PORT && variable(name).is_none());
                all.extend(given);
                command::steps(&start.form, all, &script)
            }
            Found::Unknown(..) | Found::Broken(..) | Found::Nothing => Vec::new(),
        };
        App { files, installed, start, steps }
    }

    /// What the start command and the image tell sidepulse, over the environment; and what of it is not known. A setting
    /// that may hold a secret is not among them.
    fn told(&self, variables: Variables<'_>) -> (Vec<(String, String)>, Vec<String>) {
        let told = self.steps.iter().find_map(|step| match step {
            Step::Program(launch) if launch.under_run => Some(&launch.told),
            Step::Daemon { told, .. } => Some(told),
            Step::Program(_) | Step::Unknown(_) => None,
        });
        let port = text(variables, PORT).unwrap_or_else(|| DEFAULT_PORT.to_string());
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for variable in told.into_iter().flatten() {
            let (name, value) = variable;
            if sets_port(variable) {
                unknown.push(PORT.to_owned());
            }
            if !SETTINGS.iter().any(|setting| setting.variable == name && !setting.secret) {
                continue;
            }
            let filled = match value.expands_port {
                true => fill_in(OsStr::new(&value.text), &port).to_string_lossy().into_owned(),
                false => value.text.clone(),
            };
            unknown.retain(|other| other != name);
            if value.expands_other || value.expands_port && filled.contains('$') {
                unknown.push(name.clone());
                known.push((name.clone(), String::new()));
            } else {
                known.push((name.clone(), filled));
            }
        }
        (known, unknown)
    }

    /// The server that the start command starts, where it is one of those that are known.
    pub(super) fn server(&self) -> Option<(&Start, Server)> {
        let Found::Start(start) = &self.start else { return None };
        let server = self.steps.iter().find_map(|step| match step {
            Step::Program(launch) => server::read(launch),
            Step::Daemon { .. } | Step::Unknown(_) => None,
        })?;
        Some((start, server))
    }
}
