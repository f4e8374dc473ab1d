//! Arguments → settings → log → runtime → command → exit code. What runs once and prints its result is in `commands/`;
//! the daemon is `lifecycle.rs`, with a child `supervise.rs`.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::cli::{CommandLine, Only, Task};
use crate::config::{self, BadSetting, Config, Lookup, Need};
use crate::lifecycle::{self, Signals};
use crate::log::{Level, Log};
use crate::supervise;

mod check;
pub(crate) mod doctor;
mod ping;

/// The exit code of bad usage, and of a configuration that cannot be used.
const BAD_USAGE: u8 = 2;

/// Does what the program's arguments say. `variable` looks up an environment variable; `names` are those of all of them.
pub fn run(variable: &dyn Fn(&str) -> Option<OsString>, names: &[String]) -> ExitCode {
    let line = match CommandLine::parse() {
        Ok(line) => line,
        Err(instead) => return usage(&instead),
    };
    let lookup = |name: &str| line.lookup(name, variable);
    // Before there is a second thread: each inherits it.
    let held = if matches!(line.task, Task::Run { .. }) { lifecycle::hold_terminal_signals() } else { Ok(()) };
    let log = Log::start(config::log_settings(&lookup));
    log_panics(&log);
    let invocation = Invocation { lookup: &lookup, names, log: &log };
    if let Err(error) = held {
        return invocation.fail(1, &format!("cannot hold the terminal's signals: {error}"));
    }
    let code = match lifecycle::runtime() {
        Ok(runtime) => runtime.block_on(invocation.perform(line.task.clone())).unwrap_or_else(|code| code),
        Err(error) => invocation.fail(1, &error.to_string()),
    };
    lifecycle::flush(&log);
    code
}

/// What every command has.
#[derive(Clone, Copy)]
struct Invocation<'a> {
    lookup: Lookup<'a>,
    /// Of all environment variables.
    names: &'a [String],
    log: &'a Log,
}

impl Invocation<'_> {
    /// Runs a command; as `Err` the exit code where it could not begin, and why is logged.
    async fn perform(self, task: Task) -> Result<ExitCode, ExitCode> {
        Ok(match task {
            Task::Serve => {
                let (config, signals) = self.prepare(Signals::listen)?;
                lifecycle::serve(config, signals, self.log.clone()).await
            }
            Task::Run { command } => {
                let (config, signals) = self.prepare(Signals::listen_with_child)?;
                supervise::run(config, command, self.lookup, signals, self.log.clone()).await
            }
            Task::Check { wait, only, json } => {
                let config = self.load(if only == Some(Only::App) { Need::App } else { Need::Everything })?;
                if only == Some(Only::Database) && config.database.is_none() {
                    let why =
                        "--only database: SIDEPULSE_DATABASE=off leaves no database to check; leave one of them out";
                    return Err(self.fail(BAD_USAGE, why));
                }
                check::run(&config, only, wait, json, self.log).await
            }
            Task::Ping { path } => {
                let listen = config::listen_address(self.lookup).map_err(|faults| self.refuse(&faults))?;
                ping::run(listen, &path).await
            }
            Task::Doctor { explain: Some(rule), .. } => doctor::explain(&rule),
            Task::Doctor { json, backend, explain: None } => {
                doctor::run(self.lookup, self.names, backend.as_deref(), json)
            }
        })
    }

    /// What `serve` and `run` need. The handlers come first, so that a signal during the start is not lost.
    fn prepare(self, listen: fn() -> io::Result<Signals>) -> Result<(Config, Signals), ExitCode> {
        let signals = listen().map_err(|error| self.fail(1, &format!("cannot listen for signals: {error}")))?;
        Ok((self.load(Need::Everything)?, signals))
    }

    /// Reads the settings, and logs what is odd about them.
    fn load(self, need: Need) -> Result<Config, ExitCode> {
        for warning in config::unknown_variables(self.names.iter().map(String::as_str), self.lookup) {
            self.log.warning(warning);
        }
        let config = Config::load(self.lookup, need).map_err(|faults| self.refuse(&faults))?;
        for warning in &config.warnings {
            self.log.warning(warning.as_str());
        }
        Ok(config)
    }

    /// Logs everything that is wrong with the settings.
    fn refuse(self, faults: &[BadSetting]) -> ExitCode {
        for fault in faults {
            self.log.line(Level::Error, "stopped", fault.to_string()).send();
        }
        ExitCode::from(BAD_USAGE)
    }

    fn fail(self, code: u8, message: &str) -> ExitCode {
        self.log.line(Level::Error, "stopped", message).send();
        ExitCode::from(code)
    }
}

/// Logs only the location of a panic: its message may contain anything.
fn log_panics(log: &Log) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        log.line(Level::Error, "warning", format!("internal error{place}; this is a bug in sidepulse")).send();
    }));
}

/// Prints help, the version, or what is wrong with the arguments.
fn usage(instead: &clap::Error) -> ExitCode {
    let text = instead.render().to_string();
    if instead.use_stderr() {
        let _ = io::stderr().write_all(text.as_bytes());
        return ExitCode::from(BAD_USAGE);
    }
    print(&text, ExitCode::SUCCESS)
}

/// Prints a command's result. Returns the exit code of the command: success, if nobody could read it, is failure. A reader
/// that has gone (`| head`) has read enough; `print!` would panic.
fn print(text: &str, code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "cannot write to stdout: {error}");
            if code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
        }
        _ => code,
    }
}
