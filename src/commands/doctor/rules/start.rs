//! Does what Railway runs start the app, where Railway and sidepulse expect it?

use std::ffi::OsStr;
use std::path::Path;

use super::super::deployment::{self, App as AppFiles, Deployment};
use super::super::finding::Finding;
use super::super::read::command::Step;
use super::super::read::layout::Lookup;
use super::super::read::placeholder;
use super::super::read::python::{self, Binding};
use super::super::read::server::{self, App, Listens, Port, Server};
use super::super::read::shell::Word;
use super::super::read::start::{Found, Start};
use crate::config::ports::{Ports, fill_in};

/// The form that is right for both.
const SEED: &str = "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'";
/// uvicorn's, gunicorn's, hypercorn's and granian's.
const USUAL_PORT: u16 = 8000;

/// Railway finds a command, and it starts a server that is known.
pub(super) fn command(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(app) = &deployment.app else { return Vec::new() };
    let start = match &app.start {
        Found::Start(start) => start,
        Found::Nothing => {
            let message =
                "there is no start command: no Dockerfile, no Procfile, and no main.py or app.py for Railpack";
            return vec![Finding::error(message, format!("write a Procfile with the line web: {SEED}"))];
        }
        Found::Unknown(name, why) => {
            let message = format!("the start command is not known: {why}");
            return vec![Finding::unknown(message, format!("look there that it is {SEED}")).at(name, None)];
        }
        Found::Broken(name, line, what) => {
            let remedy = match Path::new(name).file_name().and_then(OsStr::to_str) {
                Some("Procfile") => format!("write web: {SEED}"),
                Some("railpack.json") => "correct it, or delete it".to_owned(),
                _ => "begin it with FROM, as in FROM python:3.13-slim".to_owned(),
            };
            return vec![Finding::error(format!("this file {what}"), remedy).at(name, *line)];
        }
    };
    let place = |finding: Finding| place(start, finding);
    let Some((_, server)) = app.server() else { return vec![place(no_server(app))] };
    if !server.speaks_asgi {
        let message = format!("{} starts without a word of ASGI, which FastAPI speaks", server.name);
        let remedy =
            "look that a configuration says it: gunicorn -k uvicorn.workers.UvicornWorker, granian --interface asgi";
        return vec![place(Finding::unknown(message, remedy))];
    }
    let by = if server.launch.under_run { ", through sidepulse run" } else { "" };
    let guess = if start.place.is_none() { "Railpack would start " } else { "the command starts " };
    vec![place(Finding::ok(format!("{guess}{}{by}", server.name)))]
}

/// Why no server is known.
fn no_server(app: &AppFiles) -> Finding {
    let programs = app.steps.iter().filter_map(|step| match step {
        Step::Program(launch) => Some(launch),
        Step::Daemon { .. } | Step::Unknown(_) => None,
    });
    if let Some(file) = programs.clone().find_map(server::python_file) {
        let message = format!("python runs {}, which was not run here", placeholder::shown(file.program(), "a file"));
        let look = "look in it for uvicorn.run(\"main:app\", host=\"0.0.0.0\", port=int(os.environ[\"PORT\"]))";
        return Finding::unknown(message, look);
    }
    let unknown = app.steps.iter().find_map(|step| match step {
        Step::Unknown(what) => Some(what.clone()),
        Step::Program(_) | Step::Daemon { .. } => None,
    });
    let what =
        unknown.or_else(|| Some(placeholder::shown(programs.clone().next()?.words.first()?.program(), "a program")));
    let message = match what {
        Some(what) => format!("whether a server starts is not known: {what}"),
        None => "the command starts no server that is known".to_owned(),
    };
    Finding::unknown(message, "look that it starts the app on 0.0.0.0 and $PORT")
}

/// The module that the server is given is there, and has what it names.
pub(super) fn module(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(app) = &deployment.app else { return Vec::new() };
    let Some((start, server)) = app.server() else { return Vec::new() };
    let place = |finding: Finding| place_of(start, &server, finding);
    let (paths, attribute, factory) = match &server.app {
        App::Unknown => {
            let message = "what the server is to serve is decided by a variable, a configuration file, or a search";
            return vec![place(Finding::unknown(message, "look that it finds the app"))];
        }
        App::File(file) => (vec![file.clone()], "app", false),
        App::Module { module, attribute, factory } => (paths(&server, module), attribute.as_str(), *factory),
    };
    let Some(paths) = Some(paths).filter(|_| !server.app_dir.as_ref().is_some_and(|dir| dir.expands_other)) else {
        return vec![place(Finding::unknown(
            "a variable decides where the module is looked for",
            "look that it is there",
        ))];
    };
    let shown = placeholder::shown(paths.first().map_or("", String::as_str), "the module");
    match start.layout.find(&app.files, &server.launch.directories, &paths) {
        Lookup::Found(file) => vec![defined(&file.name, &file.text, attribute, factory)],
        Lookup::Unknown(why) => {
            let message = format!("{shown} was not found where the command runs, but {why}");
            vec![place(Finding::unknown(message, "look that it is there"))]
        }
        Lookup::Missing => vec![place(missing(app, start, &paths, &shown))],
    }
}

/// The files that may be the module, from the directory where the command runs.
fn paths(server: &Server, module: &str) -> Vec<String> {
    let mut roots = vec![server.app_dir.as_ref().map_or_else(String::new, |dir| dir.text.clone())];
    let python_path = server.launch.variables.iter().rev().find(|(name, _)| name == "PYTHONPATH");
    let python_path = python_path.map_or("", |(_, value)| value.text.as_str());
    roots.extend(python_path.split(':').filter(|root| !root.is_empty()).map(str::to_owned));
    let module = module.replace('.', "/");
    let join = |root: &str, below: String| if root.is_empty() { below } else { format!("{root}/{below}") };
    let both = |root: &String| [join(root, format!("{module}.py")), join(root, format!("{module}/__init__.py"))];
    roots.iter().flat_map(both).collect()
}

/// The module is not where it is looked for: where else is it?
fn missing(app: &AppFiles, start: &Start, paths: &[String], shown: &str) -> Finding {
    let installed = start.layout.roots().into_iter().any(|root| {
        let is_project = app.files.has(&root.join("pyproject.toml")) || app.files.has(&root.join("setup.py"));
        is_project && paths.iter().any(|path| app.files.has(&root.join("src").join(path)))
    });
    if installed {
        let message = format!("{shown} is in src: it is found only if the project is installed");
        return Finding::unknown(message, "look that the build installs it, or start with --app-dir src");
    }
    let elsewhere =
        app.files.python.iter().find(|file| paths.iter().any(|path| file.name.ends_with(&format!("/{path}"))));
    let remedy = match elsewhere {
        Some(file) => {
            format!("{} is there: go into its directory first (cd, --app-dir), or name the module from here", file.name)
        }
        None => "name the module that defines app, as in uvicorn app.main:app".to_owned(),
    };
    Finding::error(format!("{shown} is not there, which the start command names"), remedy)
}

/// The module binds the attribute.
fn defined(name: &str, text: &str, attribute: &str, factory: bool) -> Finding {
    let attribute_shown = placeholder::shown(attribute, "what the start command names");
    let finding = match python::binding(text, attribute) {
        Binding::Constructed if factory => Finding::error(
            format!("{attribute_shown} is an app, but the start command says that it makes one"),
            "leave --factory and the brackets out",
        ),
        Binding::Constructed => Finding::ok(format!("{attribute_shown} is made there")),
        Binding::ByCode => Finding::unknown(
            format!("{attribute_shown} comes from code that was not run"),
            format!("look that importing this file gives {attribute_shown} as the app"),
        ),
        Binding::Nested => Finding::error(
            format!("{attribute_shown} is made inside a function or class alone, where no server finds it"),
            format!("write {attribute_shown} = … at the top level, or start its function with --factory"),
        ),
        Binding::Missing => Finding::error(
            format!("{attribute_shown} is not defined there"),
            format!("write {attribute_shown} = FastAPI(), or name what defines it in the start command"),
        ),
    };
    finding.at(name, None)
}

/// The edge can reach it.
pub(super) fn host(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some((start, server)) = deployment.app.as_ref().and_then(AppFiles::server) else { return Vec::new() };
    let remedy = "write --host 0.0.0.0 (gunicorn, hypercorn: --bind 0.0.0.0:$PORT)";
    let finding = match &server.listens {
        Listens::Unknown => {
            Finding::unknown("a configuration file decides where the app listens", "look that it is 0.0.0.0")
        }
        Listens::Socket => Finding::unknown(
            "the app listens on a Unix socket",
            "look that something on $PORT passes requests on to it",
        ),
        Listens::Tcp { host: None, loopback: false, .. } => {
            Finding::ok(format!("{} listens on every address", server.name))
        }
        Listens::Tcp { host: None, loopback: true, .. } => {
            Finding::error(format!("{} has no host, and listens on loopback alone", server.name), remedy)
        }
        Listens::Tcp { host: Some(host), .. } => judged_host(host, remedy),
    };
    vec![place_of(start, &server, finding)]
}

fn judged_host(host: &Word, remedy: &str) -> Finding {
    let text = host.text.trim_matches(['[', ']']);
    let is_loopback = text == "localhost" || text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_all = text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if is_loopback {
        Finding::error("the app's host is loopback: it answers inside its container alone", remedy)
    } else if is_all {
        Finding::ok("the app listens on every address")
    } else {
        Finding::unknown("the app listens on an address that is not known here", "look that it is 0.0.0.0 or ::")
    }
}

/// The app takes the port where it is asked, and sidepulse another one.
pub(super) fn port(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(app) = &deployment.app else { return Vec::new() };
    let Some((start, server)) = app.server() else { return Vec::new() };
    let Listens::Tcp { port, .. } = &server.listens else { return Vec::new() };
    let asked = deployment.text("PORT").and_then(|text| text.parse().ok());
    if server.launch.variables.iter().any(deployment::sets_port) {
        let message = "the script gives PORT a value of its own before it starts the app";
        let finding = Finding::unknown(message, "look that the app listens where it is asked");
        return vec![place_of(start, &server, finding)];
    }
    let finding = if server.launch.under_run {
        if deployment.untold_port() {
            let message = "a variable that is not known here decides which port sidepulse takes, or asks the app on";
            return vec![place(start, Finding::unknown(message, "look that the app listens where sidepulse asks it"))];
        }
        let Some(ports) = deployment.ports else { return Vec::new() };
        below_run(&server, port, ports)
    } else {
        let beside = app.steps.iter().any(|step| matches!(step, Step::Daemon { on_port: true, .. }));
        alone(&server, port, asked, beside)
    };
    vec![place_of(start, &server, finding)]
}

/// The port below `sidepulse run`, which fills it in.
fn below_run(server: &Server, port: &Port, ports: Ports) -> Finding {
    let right = Finding::ok(format!("the app takes the port that sidepulse asks, {}", ports.app));
    let remedy = format!("write it in single quotes, as in {SEED}");
    if server.launch.expanded_too_early {
        let message = "the shell expands $PORT before sidepulse runs: the app would be given sidepulse's own port";
        return Finding::error(message, remedy);
    }
    let fixed = |number: u16| match number {
        _ if number == ports.app => right.clone(),
        _ if number == ports.own => {
            Finding::error(format!("the app would take port {number}, sidepulse's own"), remedy.clone())
        }
        _ => Finding::error(
            format!("the app takes port {number}, but sidepulse asks it on {}", ports.app),
            format!("{remedy}; or set SIDEPULSE_APP_PORT={number}"),
        ),
    };
    let word = match port {
        Port::Environment => return right,
        Port::Default => return fixed(USUAL_PORT),
        Port::Given(word) => word,
    };
    if word.expands_port {
        return right;
    }
    let filled = fill_in(OsStr::new(&word.text), &ports.app.to_string());
    match filled.to_str().and_then(|text| text.parse().ok()) {
        Some(number) if !word.expands_other => fixed(number),
        _ => Finding::unknown("a variable decides the app's port", format!("look that it is {}", ports.app)),
    }
}

/// The port without `sidepulse run`: the one that the edge asks.
fn alone(server: &Server, port: &Port, asked: Option<u16>, beside: bool) -> Finding {
    let both = || Finding::error("sidepulse and the app would both take PORT", format!("write {SEED}"));
    let right = || if beside { both() } else { Finding::ok("the app takes the port that Railway asks, $PORT") };
    let remedy = "write --port $PORT in a form that a shell reads";
    let fixed = |number: u16| match asked {
        Some(asked) if asked == number => right(),
        // sidepulse has PORT, and the domain's target port may be the app's.
        _ if beside => Finding::unknown(
            format!("the app takes port {number}, sidepulse PORT"),
            "look that the domain's target port is the app's, and SIDEPULSE_APP_PORT too",
        ),
        _ => Finding::error(format!("{} takes port {number}, but Railway asks the one in PORT", server.name), remedy),
    };
    let word = match port {
        Port::Environment => return right(),
        Port::Default => return fixed(USUAL_PORT),
        Port::Given(word) => word,
    };
    match word.text.parse() {
        Ok(number) => fixed(number),
        Err(_) if word.expands_port => right(),
        Err(_) if word.expands_other => {
            Finding::unknown("a variable decides the app's port", "look that it is the one in PORT")
        }
        Err(_) if word.text.contains("$PORT") || word.text.contains("${PORT") => Finding::error(
            format!("nobody expands $PORT here: {} would be given it as it is", server.name),
            format!("write it in the shell form, or CMD [\"sh\", \"-c\", \"exec {} … --port $PORT\"]", server.name),
        ),
        Err(_) => Finding::error("the app's port is no number", remedy),
    }
}

/// Something watches the app.
pub(super) fn sidepulse(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(app) = &deployment.app else { return Vec::new() };
    let Some((start, server)) = app.server() else { return Vec::new() };
    let beside = app.steps.iter().any(|step| matches!(step, Step::Daemon { .. }));
    vec![place(
        start,
        match server.launch.under_run || beside {
            true => Finding::ok("sidepulse is in the start command"),
            false => Finding::warning(
                "there is no sidepulse in the start command: nothing watches the app",
                format!("write {SEED}"),
            ),
        },
    )]
}

/// Nothing ends the server without another to start it again.
pub(super) fn request_limit(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some((start, server)) = deployment.app.as_ref().and_then(AppFiles::server) else { return Vec::new() };
    let Some(named) = server.request_limit else { return Vec::new() };
    let message = format!("{named} ends the app after so many requests, and nothing starts it again");
    let remedy = "leave it out, or start with --workers 2 and without --reload: then uvicorn starts its workers again";
    vec![place_of(start, &server, Finding::warning(message, remedy))]
}

/// `railway.toml` and `railway.json` end on a known day.
pub(super) fn railway_file(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(app) = &deployment.app else { return Vec::new() };
    let names = ["railway.toml", "railway.json"];
    let files = app.files.above().flat_map(|dir| names.map(|name| dir.join(name))).filter(|path| app.files.has(path));
    let remedy = "move it to .railway/railway.ts with `railway config migrate`, and delete this file";
    let warning = || Finding::warning("Railway does not read this file after 2026-12-01", remedy);
    files.map(|path| warning().at(&app.files.name_of(&path), None)).collect()
}

/// Where the server's own command stands: in the start command, or in a script that it runs.
fn place_of(start: &Start, server: &Server, finding: Finding) -> Finding {
    match &server.launch.script {
        Some(script) => finding.at(script, None),
        None => place(start, finding),
    }
}

/// Where the start command stands.
fn place(start: &Start, finding: Finding) -> Finding {
    match &start.place {
        Some((name, line)) => finding.at(name, *line),
        None => finding,
    }
}
