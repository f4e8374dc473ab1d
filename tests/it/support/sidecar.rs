//! The real binary under test: started with a clean environment on a free port, read through its log and its
//! endpoints, ended with the test. A failing test shows its log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::eventually::{SOON, eventually, poll};
use super::http::{self, Answer};

/// Settings that make a test short; each can be overridden.
const QUICK: [(&str, &str); 8] = [
    ("SIDEPULSE_LISTEN", "127.0.0.1:0"),
    ("SIDEPULSE_APP_INTERVAL", "200ms"),
    ("SIDEPULSE_APP_TIMEOUT", "1s"),
    ("SIDEPULSE_DATABASE_INTERVAL", "200ms"),
    ("SIDEPULSE_DATABASE_TIMEOUT", "2s"),
    ("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "1s"),
    ("SIDEPULSE_DATABASE_MODE", "steady"),
    // Loading the system's roots takes 60 ms, and no test server's root is among them.
    ("SSL_CERT_FILE", "/dev/null"),
];

/// A sidepulse that is not started yet.
#[derive(Debug)]
pub(crate) struct Builder {
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    /// Prepares a mount namespace.
    preparation: Option<String>,
    /// `ulimit -n`.
    open_files: Option<u32>,
    /// The program that runs it, such as `unshare --pid`.
    under: &'static [&'static str],
}

/// A running sidepulse. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Sidecar {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
    output: Arc<Mutex<Vec<String>>>,
}

impl Builder {
    /// Sets a variable.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Checks the app on this port of 127.0.0.1.
    pub(crate) fn app(self, port: u16) -> Self {
        self.set("SIDEPULSE_APP_URL", format!("http://127.0.0.1:{port}/"))
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs it in a mount namespace of its own, after these commands; see [`super::namespace::allowed`].
    pub(crate) fn within(mut self, preparation: impl Into<String>) -> Self {
        self.preparation = Some(preparation.into());
        self
    }

    /// Allows it this many open files.
    pub(crate) fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Runs it under another program, whose arguments sidepulse's path follows.
    pub(crate) fn under(mut self, program: &'static [&'static str]) -> Self {
        self.under = program;
        self
    }

    /// The command, ready to be run in another way.
    pub(crate) fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_sidepulse");
        let mut command = match (&self.preparation, self.open_files) {
            (None, None) => match self.under.split_first() {
                None => Command::new(program),
                Some((first, arguments)) => {
                    let mut command = Command::new(first);
                    command.args(arguments).arg(program);
                    command
                }
            },
            (None, Some(most)) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), program]);
                shell
            }
            (Some(preparation), _) => {
                let mut unshare = Command::new("unshare");
                let path = "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
                let script = format!("{path}; {preparation} && exec \"$0\" \"$@\"");
                unshare.args(["--mount", "sh", "-c", &script, program]);
                unshare
            }
        };
        command.env_clear().envs(&self.environment).args(&self.arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command that ends by itself; returns exit code, stdout and stderr.
    pub(crate) fn finish(&self) -> (Option<i32>, String, String) {
        let output = self.command().output().expect("run sidepulse");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// The same with its stdout in another place: exit code and stderr.
    pub(crate) fn finish_into(&self, output: impl Into<Stdio>) -> (Option<i32>, String) {
        let child = self.command().stdout(output).stderr(Stdio::piped()).spawn().expect("start sidepulse");
        let output = child.wait_with_output().expect("wait for sidepulse");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// `sidepulse check --only database --json`: its exit code and the object of the database check.
    pub(crate) fn check_database(self) -> (Option<i32>, Value) {
        let (code, output, log) = self.arg("check").arg("--only").arg("database").arg("--json").finish();
        let result: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output:?}\n{log}"));
        (code, result["checks"][0].clone())
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(&self) -> Sidecar {
        let mut child = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start sidepulse");
        let (log, reader) = collect(child.stderr.take().expect("its stderr"));
        let (output, _) = collect(child.stdout.take().expect("its stdout"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sidecar = Sidecar { child, address, log, reader, output };
        let found = poll(SOON, || {
            let line = sidecar.events("started").into_iter().next()?;
            line["message"].as_str()?.rsplit(' ').next()?.parse::<SocketAddr>().ok()
        });
        let address = found.unwrap_or_else(|| panic!("it does not listen:\n{}", sidecar.log_text()));
        sidecar.address = if address.ip().is_unspecified() { ([127, 0, 0, 1], address.port()).into() } else { address };
        sidecar
    }
}

impl Sidecar {
    /// A daemon that checks this database.
    pub(crate) fn on(database_url: impl ToString) -> Builder {
        Sidecar::bare().set("DATABASE_URL", database_url.to_string())
    }

    /// A daemon without a database check.
    pub(crate) fn without_database() -> Builder {
        Sidecar::bare().set("SIDEPULSE_DATABASE", "off")
    }

    /// Only the settings that make a test short.
    pub(crate) fn bare() -> Builder {
        let environment = QUICK.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Builder { environment, arguments: Vec::new(), preparation: None, open_files: None, under: &[] }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// GETs a path.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// Sends these bytes over a fresh connection and reads until the end.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        self.try_ask(request).unwrap_or_else(|error| panic!("{error} for {request:?}\n{}", self.log_text()))
    }

    /// The same, for tests in which an error may occur.
    pub(crate) fn try_ask(&self, request: &str) -> std::io::Result<Answer> {
        http::ask(self.address, request)
    }

    /// One check's object in `/health`.
    pub(crate) fn check(&self, key: &str) -> Value {
        self.get("/health").json()["checks"][key][0].clone()
    }

    /// The value of one series in `/metrics`.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until `/health` says this about a check; panics with the log if it does not.
    pub(crate) fn wait_for_check(&self, key: &str, what: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = poll(SOON, || {
            last = self.check(key);
            what(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{key} stays {last}\n{}", self.log_text()))
    }

    /// Waits until a path answers with a status.
    pub(crate) fn wait_for_status(&self, path: &str, status: u16) {
        let mut last = 0;
        let came = eventually(SOON, || {
            last = self.get(path).status;
            last == status
        });
        assert!(came, "{path} stays {last}, not {status}\n{}", self.log_text());
    }

    /// The log lines with this event.
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line["event"] == event).collect()
    }

    /// Everything it logged.
    pub(crate) fn log_text(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Everything it printed: a daemon writes nothing to stdout.
    pub(crate) fn output_text(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal to sidepulse");
    }

    /// Waits for its end, and until its last line is read.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = poll(SOON, || self.child.try_wait().expect("ask for its state"));
        let read = eventually(SOON, || self.reader.is_finished());
        assert!(read, "somebody holds its stderr open");
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log_text()))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of sidepulse ---\n{}", self.log_text());
        }
    }
}

/// Reads lines until the end, on a thread of its own.
fn collect(stream: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let collected: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&collected);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    (collected, reader)
}
