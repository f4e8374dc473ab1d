//! Everything that the rules judge: what the daemon itself would load, the app's environment, the files.

use super::read::command::{self, Step};
use super::read::files::{Files, Mention};
use super::read::installed::{self, Installed};
use super::read::layout::Lookup;
use super::read::server::{self, Server};
use super::read::start::{self, Found, Start};
use crate::config::ports::Ports;
use crate::config::settings::{DATABASE_URL, OWN_DATABASE_URL};
use crate::config::{BadSetting, Config, Lookup as Variables, Need};
use crate::dsn::Plan;

/// Stages that are nobody's production; the backend holds any other name to what production is held to.
const RELAXED: [&str; 2] = ["development", "test"];

/// Variables by which servers are told what else their options say.
const SERVERS_READ: [&str; 7] = [
    "UVICORN_HOST",
    "UVICORN_PORT",
    "WEB_CONCURRENCY",
    "GUNICORN_CMD_ARGS",
    "GRANIAN_HOST",
    "GRANIAN_PORT",
    "PYTHONPATH",
];

/// A deployment before it is one.
pub(super) struct Deployment<'a> {
    /// What the daemon would load, or why it would not start.
    pub(super) config: Result<Config, Vec<BadSetting>>,
    /// What does not depend on the database, where the rest cannot be loaded.
    pub(super) ports: Option<Ports>,
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

impl<'a> Deployment<'a> {
    /// `names` are those of all environment variables.
    pub(super) fn read(variables: Variables<'a>, names: &'a [String], files: Option<Files>) -> Deployment<'a> {
        let config = Config::load(variables, Need::Everything);
        let ports = match &config {
            Ok(config) => Some(Ports::of(config)),
            Err(_) => Config::load(variables, Need::App).ok().map(|config| Ports::of(&config)),
        };
        let mut deployment = Deployment { config, ports, variables, names, app: None };
        deployment.app = files.map(|files| App::read(files, &|name| deployment.text(name)));
        deployment
    }

    /// A variable without blanks around it; a blank one counts as unset.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        let text = (self.variables)(variable)?.text?;
        Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
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
    fn read(files: Files, variable: start::Variable<'_>) -> App {
        let (installed, start) = (installed::read(&files), start::find(&files, variable));
        let steps = match &start {
            Found::Start(start) => {
                let script =
                    |path: &str, directories: &[_]| match start.layout.find(&files, directories, &[path.to_owned()]) {
                        Lookup::Found(file) => Some(file.text),
                        Lookup::Missing | Lookup::Unknown(_) => None,
                    };
                // Railway's own variables win over the image's, PORT among them.
                let given = SERVERS_READ.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?)));
                let of_image = start.layout.variables().iter().filter(|(name, _)| name != "PORT").cloned();
                command::steps(&start.form, of_image.chain(given).collect(), &script)
            }
            Found::Unknown(..) | Found::Broken(..) | Found::Nothing => Vec::new(),
        };
        App { files, installed, start, steps }
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
