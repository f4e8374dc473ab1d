//! Does what Railway runs start the app, where Railway and sidepulse expect it?

use std::ffi::OsStr;
use std::path::Path;

use super::super::deployment::{self, Backend, Deployment};
use super::super::finding::Finding;
use super::super::read::command::Started;
use super::super::read::layout::Located;
use super::super::read::placeholder;
use super::super::read::python::{self, Binding};
use super::super::read::server::{self, AppServer, Listens, Port, ServedApp};
use super::super::read::shell::Word;
use super::super::read::start::{NoStart, Start};
use crate::config::ports::{Ports, fill_in};

/// The command that is right for both.
const SEED: &str = "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'";
/// uvicorn's, gunicorn's, hypercorn's and granian's.
const USUAL_PORT: u16 = 8000;

/// Railway finds a command, and it starts a server that is known.
pub(super) fn command(deployment: &Deployment<'_>) -> Option<Finding> {
    let backend = deployment.backend.as_ref()?;
    let start = match &backend.start {
        Ok(start) => start,
        Err(NoStart::Nothing) => {
            let message =
                "there is no start command: no Dockerfile, no Procfile, and no main.py or app.py for Railpack";
            return Some(Finding::error(message, format!("write a Procfile with the line web: {SEED}")));
        }
        Err(NoStart::Unknown(name, why)) => {
            let message = format!("the start command is not known: {why}");
            return Some(Finding::unknown(message, format!("check there that it is {SEED}")).at(name, None));
        }
        Err(NoStart::Broken(name, line, what)) => {
            let remedy = match Path::new(name).file_name().and_then(OsStr::to_str) {
                Some("Procfile") => format!("write web: {SEED}"),
                Some("railpack.json") => "correct it, or delete it".to_owned(),
                _ => "begin it with FROM, as in FROM python:3.13-slim".to_owned(),
            };
            return Some(Finding::error(format!("this file {what}"), remedy).at(name, *line));
        }
    };
    let place = |finding: Finding| place(start, finding);
    let Some((_, server)) = backend.server() else { return Some(place(no_server(backend))) };
    if !server.speaks_asgi {
        let message = format!("{} is started without ASGI, which FastAPI needs", server.name);
        let remedy =
            "check that a configuration sets it: gunicorn -k uvicorn.workers.UvicornWorker, granian --interface asgi";
        return Some(place(Finding::unknown(message, remedy)));
    }
    let by = if server.launch.under_run { ", through sidepulse run" } else { "" };
    let guess = if start.place.is_none() { "Railpack would start " } else { "the command starts " };
    Some(place(Finding::ok(format!("{guess}{}{by}", server.name))))
}

/// Why no server is known.
fn no_server(backend: &Backend) -> Finding {
    let mut launches = backend.started.iter().filter_map(|started| match started {
        Started::Program(launch) => Some(launch),
        Started::Sidepulse { .. } | Started::Unknown(_) => None,
    });
    if let Some(file) = launches.clone().find_map(server::python_file) {
        let message = format!("python runs {}, which was not run here", placeholder::shown(file.program(), "a file"));
        let look = "look in it for uvicorn.run(\"main:app\", host=\"0.0.0.0\", port=int(os.environ[\"PORT\"]))";
        return Finding::unknown(message, look);
    }
    let unknown = backend.started.iter().find_map(|started| match started {
        Started::Unknown(what) => Some(what),
        Started::Program(_) | Started::Sidepulse { .. } => None,
    });
    let program = launches.next().and_then(|launch| launch.words.first());
    let message = match (unknown, program) {
        (Some(what), _) => format!("whether a server starts is not known: {what}"),
        (None, Some(program)) => {
            let program = placeholder::shown(program.program(), "a program");
            format!("whether a server starts is not known: {program}")
        }
        (None, None) => "the command starts no server that is known".to_owned(),
    };
    Finding::unknown(message, "check that it starts the app on 0.0.0.0 and $PORT")
}

/// The server's module exists, and binds the named attribute.
pub(super) fn module(deployment: &Deployment<'_>) -> Option<Finding> {
    of_server(deployment, |backend, start, server| {
        let (paths, attribute, factory) = match &server.app {
            ServedApp::Unknown => {
                let message = "what the server is to serve is decided by a variable, a configuration file, or a search";
                return Some(Finding::unknown(message, "check that it finds the app"));
            }
            ServedApp::File(file) => (vec![file.clone()], "app", false),
            ServedApp::Module { module, attribute, factory } => (paths(server, module), attribute.as_str(), *factory),
        };
        if server.app_dir.as_ref().is_some_and(|dir| dir.expands_other) {
            let message = "a variable decides where the module is looked for";
            return Some(Finding::unknown(message, "check that it is there"));
        }
        let shown = placeholder::shown(paths.first().map_or("", String::as_str), "the module");
        Some(match start.layout.find(&backend.files, &server.launch.directories, &paths) {
            Located::Found(file) => defined(&file.name, &file.text, attribute, factory),
            Located::Unknown(why) => {
                let message = format!("{shown} was not found where the command runs, but {why}");
                Finding::unknown(message, "check that it is there")
            }
            Located::Missing => missing(backend, start, &paths, &shown),
        })
    })
}

/// A rule about the server that is started. Its finding is placed where the server's own command stands, in the start
/// command or in a script that it runs, unless the rule has placed it.
fn of_server(
    deployment: &Deployment<'_>,
    judge: impl Fn(&Backend, &Start, &AppServer) -> Option<Finding>,
) -> Option<Finding> {
    let backend = deployment.backend.as_ref()?;
    let (start, server) = backend.server()?;
    let finding = judge(backend, start, &server)?;
    Some(match &server.launch.script {
        _ if finding.file.is_some() => finding,
        Some(script) => finding.at(script, None),
        None => place(start, finding),
    })
}

/// The files that may be the module, relative to the directory where the command runs.
fn paths(server: &AppServer, module: &str) -> Vec<String> {
    let mut roots = vec![server.app_dir.as_ref().map_or_else(String::new, |dir| dir.text.clone())];
    let python_path = server.launch.variables.iter().rev().find(|(name, _)| name == "PYTHONPATH");
    let python_path = python_path.map_or("", |(_, value)| value.text.as_str());
    roots.extend(python_path.split(':').filter(|root| !root.is_empty()).map(str::to_owned));
    let module = module.replace('.', "/");
    let join = |root: &str, below: String| if root.is_empty() { below } else { format!("{root}/{below}") };
    let both = |root: &String| [join(root, format!("{module}.py")), join(root, format!("{module}/__init__.py"))];
    roots.iter().flat_map(both).collect()
}

/// The module is not where the server searches for it: where else is it?
fn missing(backend: &Backend, start: &Start, paths: &[String], shown: &str) -> Finding {
    let installed = start.layout.roots().into_iter().any(|root| {
        let is_project = backend.files.has(&root.join("pyproject.toml")) || backend.files.has(&root.join("setup.py"));
        is_project && paths.iter().any(|path| backend.files.has(&root.join("src").join(path)))
    });
    if installed {
        let message = format!("{shown} is in src: it is found only if the project is installed");
        return Finding::unknown(message, "check that the build installs it, or start with --app-dir src");
    }
    let elsewhere =
        backend.files.python.iter().find(|file| paths.iter().any(|path| file.name.ends_with(&format!("/{path}"))));
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
            format!("check that importing this file gives {attribute_shown} as the app"),
        ),
        Binding::Nested => Finding::error(
            format!("{attribute_shown} is made only inside a function or class, where no server finds it"),
            format!("write {attribute_shown} = … at the top level, or start its function with --factory"),
        ),
        Binding::Missing => Finding::error(
            format!("{attribute_shown} is not defined there"),
            format!("write {attribute_shown} = FastAPI(), or name what defines it in the start command"),
        ),
    };
    finding.at(name, None)
}

/// Railway's edge can reach the app.
pub(super) fn host(deployment: &Deployment<'_>) -> Option<Finding> {
    let remedy = "write --host 0.0.0.0 (gunicorn, hypercorn: --bind 0.0.0.0:$PORT)";
    of_server(deployment, |_, _, server| {
        Some(match &server.listens {
            Listens::Unknown => {
                Finding::unknown("a configuration file decides where the app listens", "check that it is 0.0.0.0")
            }
            Listens::Socket => Finding::unknown(
                "the app listens on a Unix socket",
                "check that something on $PORT passes requests on to it",
            ),
            Listens::Tcp { host: None, loopback: false, .. } => {
                Finding::ok(format!("{} listens on every address", server.name))
            }
            Listens::Tcp { host: None, loopback: true, .. } => {
                Finding::error(format!("{} has no host, and listens on loopback alone", server.name), remedy)
            }
            Listens::Tcp { host: Some(host), .. } => judged_host(host, remedy),
        })
    })
}

fn judged_host(host: &Word, remedy: &str) -> Finding {
    let text = host.text.trim_matches(['[', ']']);
    let is_loopback = text == "localhost" || text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_all = text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if is_loopback {
        Finding::error("the app's host is loopback: it answers only inside its container", remedy)
    } else if is_all {
        Finding::ok("the app listens on every address")
    } else {
        Finding::unknown("the app listens on an address that is not known here", "check that it is 0.0.0.0 or ::")
    }
}

/// The app listens on the port where it is asked, and sidepulse on another one.
pub(super) fn port(deployment: &Deployment<'_>) -> Option<Finding> {
    of_server(deployment, |backend, start, server| {
        let Listens::Tcp { port, .. } = &server.listens else { return None };
        if server.launch.variables.iter().any(deployment::sets_port) {
            let message = "the script gives PORT a value of its own before it starts the app";
            return Some(Finding::unknown(message, "check that the app listens where it is asked"));
        }
        if !server.launch.under_run {
            let asked = deployment.text("PORT").and_then(|text| text.parse().ok());
            let on_port = |started: &Started| matches!(started, Started::Sidepulse { on_port: true, .. });
            return Some(alone(server, port, asked, backend.started.iter().any(on_port)));
        }
        if deployment.port_is_unknown() {
            let message = "a variable that is not known here decides which port sidepulse takes, or asks the app on";
            return Some(place(start, Finding::unknown(message, "check that the app listens where sidepulse asks it")));
        }
        Some(below_run(server, port, deployment.ports?))
    })
}

/// The app's port below `sidepulse run`, which fills it in.
fn below_run(server: &AppServer, port: &Port, ports: Ports) -> Finding {
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
        _ => Finding::unknown("a variable decides the app's port", format!("check that it is {}", ports.app)),
    }
}

/// The app's port without `sidepulse run`: the one that Railway's edge asks.
fn alone(server: &AppServer, port: &Port, asked: Option<u16>, beside: bool) -> Finding {
    let both = || Finding::error("sidepulse and the app would both take PORT", format!("write {SEED}"));
    let right = || if beside { both() } else { Finding::ok("the app takes the port that Railway asks, $PORT") };
    let remedy = "write --port $PORT in a form that a shell reads";
    let fixed = |number: u16| match asked {
        Some(asked) if asked == number => right(),
        // sidepulse has PORT, and the domain's target port may be the app's.
        _ if beside => Finding::unknown(
            format!("the app takes port {number}, sidepulse PORT"),
            "check that the domain's target port is the app's, and SIDEPULSE_APP_PORT too",
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
            Finding::unknown("a variable decides the app's port", "check that it is the one in PORT")
        }
        Err(_) if word.text.contains("$PORT") || word.text.contains("${PORT") => Finding::error(
            format!("nobody expands $PORT here: {} would be given it as it is", server.name),
            format!("write it in the shell form, or CMD [\"sh\", \"-c\", \"exec {} … --port $PORT\"]", server.name),
        ),
        Err(_) => Finding::error("the app's port is not a number", remedy),
    }
}

/// Something watches the app.
pub(super) fn sidepulse(deployment: &Deployment<'_>) -> Option<Finding> {
    of_server(deployment, |backend, start, server| {
        let beside = backend.started.iter().any(|started| matches!(started, Started::Sidepulse { .. }));
        let finding = match server.launch.under_run || beside {
            true => Finding::ok("sidepulse is in the start command"),
            false => Finding::warning(
                "there is no sidepulse in the start command: nothing watches the app",
                format!("write {SEED}"),
            ),
        };
        Some(place(start, finding))
    })
}

/// The server does not end without something that starts it again.
pub(super) fn request_limit(deployment: &Deployment<'_>) -> Option<Finding> {
    of_server(deployment, |_, _, server| {
        let message =
            format!("{} ends the app after so many requests, and nothing starts it again", server.request_limit?);
        let remedy =
            "leave it out, or start with --workers 2 and without --reload: then uvicorn starts its workers again";
        Some(Finding::warning(message, remedy))
    })
}

/// `railway.toml` and `railway.json` will not be read much longer.
pub(super) fn railway_file(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(backend) = &deployment.backend else { return Vec::new() };
    let names = ["railway.toml", "railway.json"];
    let files =
        backend.files.above().flat_map(|dir| names.map(|name| dir.join(name))).filter(|path| backend.files.has(path));
    let remedy = "move it to .railway/railway.ts with `railway config migrate`, and delete this file";
    let warning = || Finding::warning("Railway does not read this file after 2026-12-01", remedy);
    files.map(|path| warning().at(&backend.files.name_of(&path), None)).collect()
}

/// Places a finding where the start command is.
fn place(start: &Start, finding: Finding) -> Finding {
    match &start.place {
        Some((name, line)) => finding.at(name, *line),
        None => finding,
    }
}
