//! `sidepulse run` as a process with a child: what it logs, what the child prints, how both end. A failing test shows
//! all of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use super::eventually::{SOON, poll};

/// Says why a test did nothing, bypassing the test harness, which would hide it.
pub(crate) fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// The search path of this process.
#[expect(clippy::disallowed_methods, reason = "a test's child finds its programs where the test would")]
pub(crate) fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// A sidepulse that is not started yet.
pub(crate) struct Builder {
    environment: BTreeMap<String, String>,
    before: Vec<String>,
    command: Vec<String>,
    deaf: bool,
}

/// `sidepulse run -- CMD`, without a database and on a free port.
pub(crate) fn run(command: &[&str]) -> Builder {
    let fixed = [("SIDEPULSE_DATABASE", "off"), ("SIDEPULSE_LISTEN", "127.0.0.1:0")];
    let mut environment: BTreeMap<_, _> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    environment.insert("PATH".to_owned(), search_path());
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Builder { environment, before: Vec::new(), command, deaf: false }
}

/// `sidepulse run -- sh -c SCRIPT`.
pub(crate) fn run_script(script: &str) -> Builder {
    run(&["sh", "-c", script])
}

impl Builder {
    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Display) -> Builder {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// What starts sidepulse, such as `unshare …`.
    pub(crate) fn under(mut self, before: &[&str]) -> Builder {
        self.before = before.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Stdout and stderr are no longer read once CMD has started.
    pub(crate) fn deaf(mut self) -> Builder {
        self.deaf = true;
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Run {
        let own = [env!("CARGO_BIN_EXE_sidepulse"), "run", "--"].map(str::to_owned);
        let words: Vec<String> = self.before.into_iter().chain(own).chain(self.command).collect();
        let mut process = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let lines = Lines::default();
        let (out, err) = (process.stdout.take().expect("stdout"), process.stderr.take().expect("stderr"));
        let readers = if self.deaf {
            // The test keeps both open, and stops reading.
            lines.read_until(err, "child_started");
            vec![Box::new(out) as Box<dyn Send>]
        } else {
            lines.read(out);
            lines.read(err);
            Vec::new()
        };
        let input = process.stdin.take();
        Run { process, lines, input, _unread: readers }
    }

    /// Starts it and waits for its end.
    pub(crate) fn finish(self) -> (ExitStatus, String) {
        let mut run = self.start();
        let status = run.end();
        (status, run.lines.text())
    }

    /// The exit code, if it ends by itself.
    pub(crate) fn exit_code(self) -> Option<i32> {
        self.finish().0.code()
    }
}

/// Lines of both streams, in the order in which they came.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<(Vec<String>, usize)>>);

impl Lines {
    fn with<T>(&self, look: impl FnOnce(&mut (Vec<String>, usize)) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, stream: impl Read + Send + 'static) {
        self.with(|(_, open)| *open += 1);
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                lines.with(|(all, _)| all.push(String::from_utf8_lossy(&line).into_owned()));
            }
            lines.with(|(_, open)| *open -= 1);
        });
    }

    fn read_until(&self, stream: impl Read + Send + 'static, last: &'static str) {
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::with_capacity(1, stream);
            let mut line = String::new();
            while !line.contains(last) && stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                lines.with(|(all, _)| all.extend(line.lines().last().map(str::to_owned)));
            }
            // Kept open, but never read again.
            std::mem::forget(stream);
        });
    }

    fn text(&self) -> String {
        self.with(|(all, _)| all.join("\n"))
    }
}

/// A running `sidepulse run`. Dropping it ends it and its child.
pub(crate) struct Run {
    process: Child,
    lines: Lines,
    input: Option<ChildStdin>,
    _unread: Vec<Box<dyn Send>>,
}

impl Run {
    /// Its process ID, or that of the program it was started under.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("send a signal");
    }

    /// Writes a line to the child's stdin.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("stdin is open");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("write to the child");
    }

    /// Everything that it and its child have written so far.
    pub(crate) fn text(&self) -> String {
        self.lines.text()
    }

    /// How many lines contain this text so far.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines.with(|(all, _)| all.iter().filter(|line| line.contains(text)).count())
    }

    /// Waits for a line that contains this text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let found = || self.lines.with(|(all, _)| all.iter().find(|line| line.contains(text)).cloned());
        poll(SOON, found).unwrap_or_else(|| panic!("no line with {text:?} in\n{}", self.text()))
    }

    /// Waits for a log line with this event.
    pub(crate) fn wait_for_event(&self, event: &str) -> Value {
        let line = self.wait_for(&format!(r#""event":"{event}""#));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// Waits until CMD has started; returns its process ID.
    pub(crate) fn child(&self) -> i32 {
        let started = self.wait_for_event("child_started");
        let message = started["message"].as_str().expect("a message");
        let number = message.split(" as process ").nth(1).and_then(|rest| rest.split(',').next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {message}"))
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let ended = poll(SOON + SOON, || self.process.try_wait().expect("ask for its state"));
        let status = ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.text()));
        // What is left in the pipes. Another process may hold them open, which is the test's business.
        let _ = poll(SOON, || self.lines.with(|(_, open)| *open == 0).then_some(()));
        status
    }

    /// Waits until it ends by itself; returns the exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let status = self.end();
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}:\n{}", status.signal(), self.text()))
    }

    /// GETs a path; `None` without an answer.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        self.get_as("sidepulse.test", path)
    }

    /// GETs a path of this host.
    pub(crate) fn get_as(&self, host: &str, path: &str) -> Option<(u16, String)> {
        let started = self.wait_for_event("started");
        let address = started["message"].as_str().and_then(|message| message.rsplit(' ').next()).expect("an address");
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(SOON)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.trim_end().to_owned()))
    }

    /// Waits until a path answers with this status.
    pub(crate) fn wait_for_status(&self, path: &str, status: u16) {
        let answers = || self.get(path).filter(|(code, _)| *code == status);
        poll(SOON, answers).unwrap_or_else(|| panic!("{path} is not {status}:\n{}", self.text()));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- sidepulse and its child ---\n{}", self.text());
        }
        // The second signal kills it at once, together with the child.
        for _ in 0..2 {
            if matches!(self.process.try_wait(), Ok(None)) {
                self.signal(Signal::INT);
                let _ = poll(Duration::from_millis(300), || self.process.try_wait().ok().flatten());
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
