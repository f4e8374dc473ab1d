//! Arguments → settings → log → runtime → run → exit code.

use std::process::ExitCode;

use sidepulse::cli::{CommandLine, Only, Task};
use sidepulse::commands::{self, check, doctor, ping};
use sidepulse::config::{self, BadSetting, Config, Lookup, Need};
use sidepulse::lifecycle::{self, Signals};
use sidepulse::log::{Level, Log};
use sidepulse::supervise;

/// Bad configuration.
const BAD_CONFIGURATION: u8 = 2;

#[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
fn main() -> ExitCode {
    let line = match CommandLine::parse() {
        Ok(line) => line,
        Err(instead) => return commands::usage(&instead),
    };
    let lookup = |variable: &str| line.lookup(variable, |name| std::env::var_os(name));
    let held = if matches!(line.task, Task::Run { .. }) { lifecycle::hold_terminal_signals() } else { Ok(()) };
    let log = Log::start(config::log_settings(&lookup));
    log_panics(&log);
    if let Err(error) = held {
        return fail(&log, 1, &format!("cannot hold the terminal's signals: {error}"));
    }
    let code = match lifecycle::runtime() {
        Ok(runtime) => runtime.block_on(perform(line.task.clone(), &lookup, &log)),
        Err(error) => fail(&log, 1, &error.to_string()),
    };
    lifecycle::flush(&log);
    code
}

async fn perform(task: Task, lookup: Lookup<'_>, log: &Log) -> ExitCode {
    match task {
        Task::Serve => match prepare(Signals::listen, lookup, log) {
            Ok((config, signals)) => lifecycle::serve(config, signals, log.clone()).await,
            Err(code) => code,
        },
        Task::Run { command } => match prepare(Signals::listen_with_child, lookup, log) {
            Ok((config, signals)) => supervise::run(config, command, lookup, signals, log.clone()).await,
            Err(code) => code,
        },
        Task::Check { wait, only, json } => {
            let need = if only == Some(Only::App) { Need::App } else { Need::Everything };
            match load(lookup, need, log) {
                Ok(config) if only == Some(Only::Database) && !config.has_database() => fail(
                    log,
                    BAD_CONFIGURATION,
                    "--only database: SIDEPULSE_DATABASE=off leaves no database to check; leave one of them out",
                ),
                Ok(config) => check::run(&config, only, wait, json, log).await,
                Err(code) => code,
            }
        }
        Task::Ping { path } => match config::listen_address(lookup) {
            Ok(listen) => ping::run(listen, &path).await,
            Err(faults) => refuse(&faults, log),
        },
        Task::Doctor { explain: Some(rule), .. } => doctor::explain(&rule),
        Task::Doctor { json, backend, explain: None } => {
            doctor::run(lookup, &variable_names(), backend.as_deref(), json)
        }
    }
}

/// What `serve` and `run` need.
fn prepare(
    listen: fn() -> std::io::Result<Signals>,
    lookup: Lookup<'_>,
    log: &Log,
) -> Result<(Config, Signals), ExitCode> {
    // First of all, so that a signal during start is not lost.
    let signals = listen().map_err(|error| fail(log, 1, &format!("cannot listen for signals: {error}")))?;
    Ok((load(lookup, Need::Everything, log)?, signals))
}

fn variable_names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// Reads the settings, and logs what is odd about them.
fn load(lookup: Lookup<'_>, need: Need, log: &Log) -> Result<Config, ExitCode> {
    let names = variable_names();
    for warning in config::unknown_variables(names.iter().map(String::as_str), lookup) {
        log.warning(warning);
    }
    let config = Config::load(lookup, need).map_err(|faults| refuse(&faults, log))?;
    for warning in &config.warnings {
        log.warning(warning.as_str());
    }
    Ok(config)
}

/// Logs everything that is wrong with the settings.
fn refuse(faults: &[BadSetting], log: &Log) -> ExitCode {
    for fault in faults {
        log.line(Level::Error, "stopped", fault.to_string()).send();
    }
    ExitCode::from(BAD_CONFIGURATION)
}

fn fail(log: &Log, code: u8, message: &str) -> ExitCode {
    log.line(Level::Error, "stopped", message).send();
    ExitCode::from(code)
}

/// Logs panics by their location alone: their text may hold anything.
fn log_panics(log: &Log) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        log.line(Level::Error, "warning", format!("internal error{place}; this is a bug in sidepulse")).send();
    }));
}
