//! A program and its arguments → an ASGI server: which app it serves, where it listens. Options and defaults are those of
//! uvicorn 0.54, gunicorn 23, fastapi-cli 0.0.8, hypercorn 0.17 and granian 2.5.

use super::command::Launch;
use super::shell::{self, Word};

/// uvicorn's option that ends it after so many requests.
const REQUEST_LIMIT: &str = "--limit-max-requests";

#[derive(Clone, Debug)]
pub(crate) struct AppServer {
    pub(crate) launch: Launch,
    pub(crate) name: &'static str,
    pub(crate) app: ServedApp,
    /// Where it searches for modules, relative to the directory in which it runs.
    pub(crate) app_dir: Option<Word>,
    pub(crate) listens: Listens,
    /// False if it needs another worker class or interface for FastAPI.
    pub(crate) speaks_asgi: bool,
    /// What makes it end after so many requests, if it has no supervisor that starts it again.
    pub(crate) request_limit: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServedApp {
    /// `app.main:app`; `factory` if the name is that of a function that makes the app.
    Module { module: String, attribute: String, factory: bool },
    /// `fastapi run app/main.py`.
    File(String),
    /// It depends on a variable, a configuration file or a search.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) enum Listens {
    /// Without `host` it is the default: loopback if `loopback`, else every address.
    Tcp { host: Option<Word>, loopback: bool, port: Port },
    /// A Unix socket, or an inherited file descriptor.
    Socket,
    /// It depends on a configuration file.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) enum Port {
    Given(Word),
    /// 8000 for all of them.
    Default,
    /// It reads `PORT` itself.
    Environment,
}

/// The program as a server; `None` for any other.
pub(crate) fn read(launch: &Launch) -> Option<AppServer> {
    let mut launch = launch.clone();
    if is_python(launch.words.first()?.program()) {
        let module = module_of_python(&launch.words)?;
        launch.words.drain(..module);
    }
    let name = launch.words.first()?.program();
    let words = &launch.words[1..];
    let positional = positional(words);
    // Those of the command come last, and count.
    let words = if name == "gunicorn" { [gunicorns_more(&launch), words.to_vec()].concat() } else { words.to_vec() };
    let prefix = match name {
        "uvicorn" => Some("UVICORN"),
        "granian" => Some("GRANIAN"),
        _ => None,
    };
    let options = Options { words: &words, launch: &launch, prefix };
    let by_variable = options.variable("UVICORN_APP").filter(|_| name == "uvicorn");
    let first = positional.first().copied().or(by_variable.as_ref());
    let app = |usual| module(first, usual, options.has("--factory"));
    let mut server = match name {
        "uvicorn" => AppServer::of("uvicorn", app("app"), options.host_and_port()),
        "gunicorn" => AppServer::of("gunicorn", app("application"), options.bind(false)),
        "hypercorn" => AppServer::of("hypercorn", app("app"), options.bind(true)),
        "granian" => AppServer::of("granian", app("app"), options.host_and_port()),
        "fastapi" => fastapi(&options, &positional)?,
        _ => return None,
    };
    server.app_dir = options.value(&["--app-dir", "--chdir", "--pythonpath", "--working-dir"]);
    match server.name {
        "uvicorn" => {
            // More than one worker has a supervisor that starts it again. With `--reload` there are no workers, and the
            // reloader starts again only what has changed (uvicorn/main.py; supervisors/basereload.py).
            let workers = options.value(&["--workers"]).or_else(|| options.variable("WEB_CONCURRENCY"));
            let supervised = !options.has("--reload") && workers.is_some_and(|workers| workers.text != "1");
            let (in_words, anywhere) = (options.word(&[REQUEST_LIMIT]), options.value(&[REQUEST_LIMIT]));
            let named = if in_words.is_some() { REQUEST_LIMIT } else { "UVICORN_LIMIT_MAX_REQUESTS" };
            server.request_limit = anywhere.filter(|_| !supervised).map(|_| named);
        }
        "gunicorn" => {
            // Its default worker speaks WSGI.
            let worker = options.value(&["-k", "--worker-class"]).map(|worker| worker.text);
            let speaks = worker.is_some_and(|worker| worker.contains("uvicorn") || worker == "asgi");
            server.speaks_asgi = speaks || options.is_configured();
        }
        // Its default interface is its own, RSGI.
        "granian" => {
            let interface = options.value(&["--interface"]).map(|interface| interface.text);
            server.speaks_asgi = interface.is_some_and(|interface| interface.starts_with("asgi"));
        }
        _ => {}
    }
    server.launch = launch.clone();
    Some(server)
}

/// Arguments that gunicorn takes from a variable as it takes those of its command (its `config.py`); nothing expands them.
fn gunicorns_more(launch: &Launch) -> Vec<Word> {
    let more = variable(launch, "GUNICORN_CMD_ARGS").filter(|more| !more.expands_other);
    let words = more.map(|more| shell::commands(&more.text).concat()).unwrap_or_default();
    words.into_iter().map(|word| unexpanded(Word::literal(word.text))).collect()
}

/// A variable's value, in which `$PORT` is not filled in: what the server makes of it is not known.
fn unexpanded(value: Word) -> Word {
    let is_left = value.text.contains('$') && !value.expands_port;
    Word { expands_other: value.expands_other || is_left, ..value }
}

/// A variable set before the command, exported, or set by the image or the environment.
fn variable(launch: &Launch, name: &str) -> Option<Word> {
    let (_, value) = launch.variables.iter().rev().find(|(known, _)| known == name)?;
    Some(value.clone()).filter(|value| !value.text.is_empty())
}

impl AppServer {
    fn of(name: &'static str, app: ServedApp, listens: Listens) -> AppServer {
        let launch = Launch::default();
        AppServer { launch, name, app, app_dir: None, listens, speaks_asgi: true, request_limit: None }
    }
}

/// `fastapi run` reads PORT itself and listens on every address, `fastapi dev` on loopback.
fn fastapi(options: &Options<'_>, positional: &[&Word]) -> Option<AppServer> {
    let name = match positional.first()?.text.as_str() {
        "run" => "fastapi run",
        "dev" => "fastapi dev",
        _ => return None,
    };
    let app = match (options.value(&["--entrypoint", "-e"]), positional.get(1)) {
        (Some(entry), _) => module(Some(&entry), "app", false),
        (None, Some(file)) if file.text.ends_with(".py") => ServedApp::File(file.text.clone()),
        _ => ServedApp::Unknown,
    };
    let port = options.value(&["--port"]).map_or(Port::Environment, Port::Given);
    let host = options.value(&["--host"]);
    Some(AppServer::of(name, app, Listens::Tcp { host, loopback: name == "fastapi dev", port }))
}

/// The file that `python FILE` runs.
pub(crate) fn python_file(launch: &Launch) -> Option<&Word> {
    let options = match is_python(launch.words.first()?.program()) {
        true => 1 + launch.words[1..].iter().take_while(|word| word.text.starts_with('-')).count(),
        false => 0,
    };
    launch.words.get(options).filter(|word| word.text.ends_with(".py"))
}

fn is_python(program: &str) -> bool {
    program.strip_prefix("python").is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The position of the module's name in `python -u -m uvicorn …`.
fn module_of_python(words: &[Word]) -> Option<usize> {
    let options = words[1..].iter().take_while(|word| word.text.starts_with('-') && word.text != "-m").count();
    let at = options + 1;
    (words.get(at)?.text == "-m" && words.len() > at + 1).then_some(at + 1)
}

/// `app.main:app`, `app.main`, or gunicorn's `app:create_app()`.
fn module(word: Option<&Word>, usual: &str, factory: bool) -> ServedApp {
    let Some(word) = word.filter(|word| !word.expands_other) else { return ServedApp::Unknown };
    let (module, attribute) = word.text.split_once(':').unwrap_or((&word.text, usual));
    let (attribute, called) = attribute.split_once('(').map_or((attribute, false), |(name, _)| (name, true));
    let is_name = |text: &str| {
        let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        text.split('.').all(part)
    };
    if !is_name(module) || !is_name(attribute) {
        return ServedApp::Unknown;
    }
    ServedApp::Module { module: module.to_owned(), attribute: attribute.to_owned(), factory: factory || called }
}

/// `0.0.0.0:$PORT`, `:8000`, `[::]:8000`, `unix:…`.
fn address(bind: &Word) -> Listens {
    if bind.text.starts_with("unix:") || bind.text.starts_with("fd://") {
        return Listens::Socket;
    }
    let colon = match bind.text.rfind(']') {
        Some(end) => bind.text[end..].find(':').map(|at| end + at),
        // The first one, since `${PORT:-8000}` contains another.
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

/// The options of all of them that take no value. Any other option takes the next word.
const FLAGS: &str = "--reload --no-reload --access-log --no-access-log --use-colors --no-use-colors --proxy-headers \
    --no-proxy-headers --server-header --no-server-header --date-header --no-date-header --factory --no-factory \
    --reset-contextvars --version --help --preload --daemon -D --no-sendfile --capture-output \
    --enable-stdio-inheritance --check-config --print-config --debug --verbose -v --ws --no-ws --log --no-log";

/// A server's arguments, and the variables that it reads in place of some.
struct Options<'a> {
    words: &'a [Word],
    launch: &'a Launch,
    /// Each option `--name` is a variable with this prefix as well, `UVICORN_NAME` (click's `auto_envvar_prefix`).
    prefix: Option<&'static str>,
}

impl Options<'_> {
    /// A flag; click's words for a true one are 1, true, t, yes, y and on.
    fn has(&self, name: &str) -> bool {
        let is_true = |word: Word| ["1", "true", "t", "yes", "y", "on"].contains(&word.text.to_lowercase().as_str());
        self.words.iter().any(|word| word.text == name) || self.by_variable(&[name]).is_some_and(is_true)
    }

    /// What one of these options is given, by a word or else by its variable.
    fn value(&self, names: &[&str]) -> Option<Word> {
        self.word(names).or_else(|| self.by_variable(names))
    }

    /// `--name value`, `--name=value`, `-bvalue`; the last one counts.
    fn word(&self, names: &[&str]) -> Option<Word> {
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

    fn by_variable(&self, names: &[&str]) -> Option<Word> {
        let prefix = self.prefix?;
        let long = names.iter().filter_map(|name| name.strip_prefix("--"));
        let mut variables = long.map(|name| format!("{prefix}_{}", name.to_ascii_uppercase().replace('-', "_")));
        variables.find_map(|name| self.variable(&name)).map(unexpanded)
    }

    fn variable(&self, name: &str) -> Option<Word> {
        variable(self.launch, name)
    }

    /// A configuration file may decide as well, or a variable that is not known.
    fn is_configured(&self) -> bool {
        self.value(&["-c", "--config"]).is_some()
            || self.variable("GUNICORN_CMD_ARGS").is_some_and(|more| more.expands_other)
    }

    /// As uvicorn and granian take them.
    fn host_and_port(&self) -> Listens {
        if self.value(&["--uds", "--fd"]).is_some() {
            return Listens::Socket;
        }
        let port = self.value(&["--port"]).map_or(Port::Default, Port::Given);
        Listens::Tcp { host: self.value(&["--host"]), loopback: true, port }
    }

    /// As gunicorn and hypercorn take them. gunicorn's default is 0.0.0.0:$PORT if PORT is set (its `config.py`).
    fn bind(&self, loopback: bool) -> Listens {
        match self.value(&["-b", "--bind"]) {
            Some(bind) => address(&bind),
            None if self.is_configured() => Listens::Unknown,
            None => {
                Listens::Tcp { host: None, loopback, port: if loopback { Port::Default } else { Port::Environment } }
            }
        }
    }
}

/// The words that are neither an option nor an option's value.
fn positional(words: &[Word]) -> Vec<&Word> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.text.starts_with('-') {
            found.push(word);
        } else if !word.text.contains('=') && !FLAGS.split(' ').any(|flag| flag == word.text) {
            words.next();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{command, dockerfile::Form};
    use super::*;

    /// Server, app and where it listens: `uvicorn main:app 0.0.0.0 $PORT`.
    fn shown(line: &str) -> String {
        let started = command::started(&Form::Shell(line.to_owned()), Vec::new(), &|_, _| None);
        let server = started.iter().find_map(|started| match started {
            command::Started::Program(launch) => read(launch),
            _ => None,
        });
        let Some(server) = server else { return "none".into() };
        let app = match server.app {
            ServedApp::Module { module, attribute, factory } => {
                format!("{module}:{attribute}{}", if factory { "()" } else { "" })
            }
            ServedApp::File(file) => file,
            ServedApp::Unknown => "?".into(),
        };
        let listens = match server.listens {
            Listens::Socket => "socket".into(),
            Listens::Unknown => "?".into(),
            Listens::Tcp { host, loopback, port } => {
                let host = host.map_or(if loopback { "loopback" } else { "all" }.into(), |host| host.text);
                let port = match port {
                    Port::Given(word) => word.text,
                    Port::Default => "8000".into(),
                    Port::Environment => "PORT".into(),
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
