//! A program and its arguments → the ASGI server that it is: which app, where it listens. Options and defaults are those
//! of uvicorn 0.54, gunicorn 23, fastapi-cli 0.0.8, hypercorn 0.17 and granian 2.5.

use super::command::Launch;
use super::shell::Word;

/// A server as it was started.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) launch: Launch,
    pub(crate) name: &'static str,
    pub(crate) app: App,
    /// Where its modules are looked for, below the directory in which it runs.
    pub(crate) app_dir: Option<Word>,
    pub(crate) listens: Listens,
    /// False where it would need another worker class or interface for FastAPI.
    pub(crate) speaks_asgi: bool,
    /// It ends by itself after so many requests, and nothing of its own starts it again.
    pub(crate) request_limit: bool,
}

/// What it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum App {
    /// `app.main:app`; `factory` where the name is that of a function which makes it.
    Module { module: String, attribute: String, factory: bool },
    /// `fastapi run app/main.py`.
    File(String),
    /// A variable, a configuration file or a search decides.
    Unknown,
}

/// Where it accepts.
#[derive(Clone, Debug)]
pub(crate) enum Listens {
    /// `None`: its default, which is loopback where `loopback` says so.
    Tcp { host: Option<Word>, loopback: bool, port: Port },
    /// A Unix socket, or a descriptor that it inherits.
    Socket,
    /// A configuration file decides.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) enum Port {
    Given(Word),
    /// 8000 for every one of them.
    Default,
    /// It takes `PORT` from the environment by itself.
    FromPort,
}

/// The program as a server; `None` for any other.
pub(crate) fn read(launch: &Launch) -> Option<Server> {
    let mut launch = launch.clone();
    let program = launch.words.first()?.program().to_owned();
    if is_python(&program) {
        let module = module_of_python(&launch.words)?;
        launch.words.drain(..module);
    }
    let options = Options { words: &launch.words[1..] };
    match launch.words.first()?.program() {
        "uvicorn" => Some(uvicorn(&launch, &options)),
        "gunicorn" => Some(gunicorn(&launch, &options)),
        "fastapi" => fastapi(&launch, &options),
        "hypercorn" => Some(hypercorn(&launch, &options)),
        "granian" => Some(granian(&launch, &options)),
        _ => None,
    }
}

/// The file that `python FILE` runs.
pub(crate) fn python_file(launch: &Launch) -> Option<&Word> {
    if !is_python(launch.words.first()?.program()) {
        let file = launch.words.first()?;
        return file.text.ends_with(".py").then_some(file);
    }
    let options = launch.words[1..].iter().take_while(|word| word.text.starts_with('-')).count();
    launch.words.get(options + 1).filter(|word| word.text.ends_with(".py"))
}

fn is_python(program: &str) -> bool {
    program.strip_prefix("python").is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Where the module's name stands in `python -u -m uvicorn …`.
fn module_of_python(words: &[Word]) -> Option<usize> {
    let options = words[1..].iter().take_while(|word| word.text.starts_with('-') && word.text != "-m").count();
    let at = options + 1;
    (words.get(at)?.text == "-m" && words.len() > at + 1).then_some(at + 1)
}

fn uvicorn(launch: &Launch, options: &Options<'_>) -> Server {
    const FLAGS: [&str; 15] = [
        "--reload",
        "--access-log",
        "--no-access-log",
        "--use-colors",
        "--no-use-colors",
        "--proxy-headers",
        "--no-proxy-headers",
        "--server-header",
        "--no-server-header",
        "--date-header",
        "--no-date-header",
        "--factory",
        "--reset-contextvars",
        "--version",
        "--help",
    ];
    let listens = match options.value(&["--uds", "--fd"]) {
        Some(_) => Listens::Socket,
        None => {
            let host = options.value(&["--host"]).or_else(|| given(launch, "UVICORN_HOST"));
            let port = options.value(&["--port"]).or_else(|| given(launch, "UVICORN_PORT"));
            Listens::Tcp { host, loopback: true, port: port.map_or(Port::Default, Port::Given) }
        }
    };
    let workers = options.value(&["--workers"]).or_else(|| given(launch, "WEB_CONCURRENCY"));
    // With `--reload` or more than one worker, a process of its own starts them again.
    let supervised = options.has("--reload") || workers.is_some_and(|workers| workers.text != "1");
    Server {
        name: "uvicorn",
        app: module(options.positional(&FLAGS).first().copied(), "app", options.has("--factory")),
        app_dir: options.value(&["--app-dir"]),
        listens,
        speaks_asgi: true,
        request_limit: options.value(&["--limit-max-requests"]).is_some() && !supervised,
        launch: launch.clone(),
    }
}

fn gunicorn(launch: &Launch, options: &Options<'_>) -> Server {
    const FLAGS: [&str; 9] = [
        "--reload",
        "--preload",
        "--daemon",
        "-D",
        "--no-sendfile",
        "--capture-output",
        "--enable-stdio-inheritance",
        "--check-config",
        "--print-config",
    ];
    let worker = options.value(&["-k", "--worker-class"]);
    let configured = options.value(&["-c", "--config"]).is_some() || given(launch, "GUNICORN_CMD_ARGS").is_some();
    let listens = match options.value(&["-b", "--bind"]) {
        Some(bind) => address(&bind),
        None if configured => Listens::Unknown,
        // Its default is 0.0.0.0:$PORT where PORT is set (gunicorn, `config.py`).
        None => Listens::Tcp { host: None, loopback: false, port: Port::FromPort },
    };
    Server {
        name: "gunicorn",
        app: module(options.positional(&FLAGS).first().copied(), "application", false),
        app_dir: options.value(&["--chdir", "--pythonpath"]),
        listens,
        // Its default worker speaks WSGI.
        speaks_asgi: configured || worker.is_some_and(|class| class.text.contains("uvicorn") || class.text == "asgi"),
        // Its master starts workers again.
        request_limit: false,
        launch: launch.clone(),
    }
}

fn fastapi(launch: &Launch, options: &Options<'_>) -> Option<Server> {
    const FLAGS: [&str; 7] =
        ["--reload", "--no-reload", "--proxy-headers", "--no-proxy-headers", "--help", "--verbose", "-v"];
    let positional = options.positional(&FLAGS);
    let development = match positional.first()?.text.as_str() {
        "run" => false,
        "dev" => true,
        _ => return None,
    };
    let file = positional.get(1).map(|word| word.text.clone());
    let host = options.value(&["--host"]);
    let port = options.value(&["--port"]).map_or(Port::FromPort, Port::Given);
    let entry = options.value(&["--entrypoint", "-e"]);
    Some(Server {
        name: if development { "fastapi dev" } else { "fastapi run" },
        app: match (entry, file) {
            (Some(entry), _) => module(Some(&entry), "app", false),
            (None, Some(file)) if file.ends_with(".py") => App::File(file),
            _ => App::Unknown,
        },
        app_dir: None,
        listens: Listens::Tcp { host, loopback: development, port },
        speaks_asgi: true,
        request_limit: false,
        launch: launch.clone(),
    })
}

fn hypercorn(launch: &Launch, options: &Options<'_>) -> Server {
    const FLAGS: [&str; 3] = ["--debug", "--reload", "--help"];
    let configured = options.value(&["-c", "--config"]).is_some();
    let listens = match options.value(&["-b", "--bind"]) {
        Some(bind) => address(&bind),
        None if configured => Listens::Unknown,
        None => Listens::Tcp { host: None, loopback: true, port: Port::Default },
    };
    Server {
        name: "hypercorn",
        app: module(options.positional(&FLAGS).first().copied(), "app", false),
        app_dir: None,
        listens,
        speaks_asgi: true,
        request_limit: false,
        launch: launch.clone(),
    }
}

fn granian(launch: &Launch, options: &Options<'_>) -> Server {
    const FLAGS: [&str; 9] = [
        "--ws",
        "--no-ws",
        "--reload",
        "--factory",
        "--no-factory",
        "--access-log",
        "--no-access-log",
        "--log",
        "--no-log",
    ];
    let listens = match options.value(&["--uds"]) {
        Some(_) => Listens::Socket,
        None => {
            let host = options.value(&["--host"]).or_else(|| given(launch, "GRANIAN_HOST"));
            let port = options.value(&["--port"]).or_else(|| given(launch, "GRANIAN_PORT"));
            Listens::Tcp { host, loopback: true, port: port.map_or(Port::Default, Port::Given) }
        }
    };
    Server {
        name: "granian",
        app: module(options.positional(&FLAGS).first().copied(), "app", options.has("--factory")),
        app_dir: options.value(&["--working-dir"]),
        listens,
        // Its default interface is its own, RSGI.
        speaks_asgi: options.value(&["--interface"]).is_some_and(|interface| interface.text.starts_with("asgi")),
        request_limit: false,
        launch: launch.clone(),
    }
}

/// `app.main:app`, `app.main`, or gunicorn's `app:create_app()`.
fn module(word: Option<&Word>, usual: &str, factory: bool) -> App {
    let Some(word) = word.filter(|word| !word.expands_other) else { return App::Unknown };
    let (module, attribute) = word.text.split_once(':').unwrap_or((&word.text, usual));
    let (attribute, called) = attribute.split_once('(').map_or((attribute, false), |(name, _)| (name, true));
    let is_name = |text: &str| {
        let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        text.split('.').all(part)
    };
    if !is_name(module) || !is_name(attribute) {
        return App::Unknown;
    }
    App::Module { module: module.to_owned(), attribute: attribute.to_owned(), factory: factory || called }
}

/// `0.0.0.0:$PORT`, `:8000`, `[::]:8000`, `unix:…`.
fn address(bind: &Word) -> Listens {
    if bind.text.starts_with("unix:") || bind.text.starts_with("fd://") {
        return Listens::Socket;
    }
    let colon = match bind.text.rfind(']') {
        Some(end) => bind.text[end..].find(':').map(|at| end + at),
        // The first: `${PORT:-8000}` has one of its own.
        None => bind.text.find(':'),
    };
    let part = |text: &str| Word { text: text.to_owned(), ..bind.clone() };
    let Some(colon) = colon.filter(|at| !bind.text[..*at].contains('$')) else {
        return Listens::Tcp { host: Some(part(&bind.text)), loopback: false, port: Port::Default };
    };
    // An empty host is every address.
    let host = if colon == 0 { "0.0.0.0" } else { &bind.text[..colon] };
    Listens::Tcp { host: Some(Word::literal(host)), loopback: false, port: Port::Given(part(&bind.text[colon + 1..])) }
}

/// A variable that stands before the command, or that was exported.
fn given(launch: &Launch, name: &str) -> Option<Word> {
    let (_, value) = launch.variables.iter().rev().find(|(known, _)| known == name)?;
    let expands = launch.by_shell && value.starts_with('$');
    Some(Word { text: value.clone(), expands_port: expands && value.contains("PORT"), expands_other: false })
}

/// Arguments behind a program's name.
struct Options<'a> {
    words: &'a [Word],
}

impl Options<'_> {
    fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word.text == name)
    }

    /// `--name value`, `--name=value`, `-bvalue`; the last one counts.
    fn value(&self, names: &[&str]) -> Option<Word> {
        let mut found = None;
        for (at, word) in self.words.iter().enumerate() {
            for name in names {
                let Some(rest) = word.text.strip_prefix(name) else { continue };
                if rest.is_empty() {
                    found = self.words.get(at + 1).cloned().or(found);
                } else if let Some(value) = rest.strip_prefix('=') {
                    found = Some(Word { text: value.to_owned(), ..word.clone() });
                } else if !name.starts_with("--") {
                    found = Some(Word { text: rest.to_owned(), ..word.clone() });
                }
            }
        }
        found
    }

    /// What is no option and no option's value. An option that is none of `flags` takes the word behind it.
    fn positional(&self, flags: &[&str]) -> Vec<&Word> {
        let mut found = Vec::new();
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if !word.text.starts_with('-') {
                found.push(word);
            } else if !word.text.contains('=') && !flags.contains(&word.text.as_str()) {
                words.next();
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::{command, dockerfile::Form};
    use super::*;

    /// Server, app and where it listens: `uvicorn main:app 0.0.0.0 $PORT`.
    fn shown(line: &str) -> String {
        let steps = command::steps(&Form::Shell(line.to_owned()), &|_, _| None);
        let server = steps.iter().find_map(|step| match step {
            command::Step::Program(launch) => read(launch),
            _ => None,
        });
        let Some(server) = server else { return "none".into() };
        let app = match server.app {
            App::Module { module, attribute, factory } => {
                format!("{module}:{attribute}{}", if factory { "()" } else { "" })
            }
            App::File(file) => file,
            App::Unknown => "?".into(),
        };
        let listens = match server.listens {
            Listens::Socket => "socket".into(),
            Listens::Unknown => "?".into(),
            Listens::Tcp { host, loopback, port } => {
                let host = host.map_or(if loopback { "loopback" } else { "all" }.into(), |host| host.text);
                let port = match port {
                    Port::Given(word) => word.text,
                    Port::Default => "8000".into(),
                    Port::FromPort => "PORT".into(),
                };
                format!("{host} {port}")
            }
        };
        let run = if server.launch.under_run { " run" } else { "" };
        format!("{} {app} {listens}{run}", server.name)
    }

    #[test]
    fn servers_as_people_start_them() {
        for (line, expected) in [
            ("uvicorn app.main:app --host 0.0.0.0 --port $PORT", "uvicorn app.main:app 0.0.0.0 $PORT"),
            ("echo starting uvicorn && uvicorn main:app", "uvicorn main:app loopback 8000"),
            (
                "exec python3.12 -u -m uvicorn --factory src.api.main:make --port=80",
                "uvicorn src.api.main:make() loopback 80",
            ),
            (
                "gunicorn -k uvicorn.workers.UvicornWorker -w 4 main:app -b 0.0.0.0:$PORT",
                "gunicorn main:app 0.0.0.0 $PORT",
            ),
            ("gunicorn 'app:create_app()' --bind :${PORT:-8000}", "gunicorn app:create_app() 0.0.0.0 ${PORT:-8000}"),
            ("gunicorn main -c conf.py", "gunicorn main:application ?"),
            ("gunicorn main:app", "gunicorn main:app all PORT"),
            ("uv run --no-dev fastapi run app/main.py --port 8000", "fastapi run app/main.py all 8000"),
            ("fastapi run", "fastapi run ? all PORT"),
            ("hypercorn main:app --bind '[::]:8000'", "hypercorn main:app [::] 8000"),
            ("granian --interface asgi main:app --host 0.0.0.0", "granian main:app 0.0.0.0 8000"),
            ("UVICORN_HOST=0.0.0.0 uvicorn main:app --uds /run/app.sock", "uvicorn main:app socket"),
            ("poetry run uvicorn $APP --host ::", "uvicorn ? :: 8000"),
            (
                "tini -g -- sidepulse run --app-port 9 -- sh -c 'cd x && exec uvicorn a:b'",
                "uvicorn a:b loopback 8000 run",
            ),
            ("python main.py", "none"),
            ("python -m app", "none"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }
}
