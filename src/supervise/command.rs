//! CMD as typed → a command that can be started: with `$PORT` filled in, and no port used twice.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use super::server_options::{ServerOptions, Variable};
use crate::config::Config;
use crate::config::ports::{Ports, fill_in};
use crate::config::settings::{OWN_DATABASE_URL, PORT};
use crate::lifecycle;

/// sidepulse's own secrets, which are not for the child.
const WITHHELD: [&str; 2] = ["SIDEPULSE_TOKEN", OWN_DATABASE_URL];
/// At most so many characters of a program's name are shown.
const LONGEST_NAME: usize = 60;

/// Why CMD was not started: the exit code, and one line.
pub(super) type NotStarted = (u8, String);

/// Servers, their options for the port, and the variable that stands for these.
const PORT_VARIABLES: [(&str, &[&str], &str); 3] = [
    ("uvicorn", &["--port", "--uds", "--fd"], "UVICORN_PORT"),
    ("granian", &["--port", "--uds"], "GRANIAN_PORT"),
    ("gunicorn", &["--bind", "-b"], "GUNICORN_CMD_ARGS"),
];

/// Fails if both would use the same port, or a shell has already filled `$PORT` in.
///
/// # Errors
/// What is wrong, and how to write it instead: bad usage.
pub(super) fn check_ports(command: &[OsString], config: &Config, environment: Variable<'_>) -> Result<(), String> {
    let ports = Ports::of(config);
    let Ports { own, app, .. } = ports;
    if ports.clash() {
        return Err(format!(
            "SIDEPULSE_APP_PORT: sidepulse and the app would both take port {own}; give the app another one, e.g. \
                 SIDEPULSE_APP_PORT={}",
            ports.other()
        ));
    }
    if command.iter().skip(1).any(|argument| ports.names_own(argument.as_bytes())) {
        return Err(format!(
            "CMD names port {own}, which is sidepulse's own: the shell has filled $PORT in before sidepulse ran. \
                 Quote it, e.g. sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'; it becomes the app's \
                 port, {app}"
        ));
    }
    let given = ServerOptions::new(command, environment);
    let names_own = |value: &str| ports.names_own(value.as_bytes());
    let own_by_variable = PORT_VARIABLES.iter().find(|(server, options, variable)| {
        let by_another = |option: &&str| {
            let other = format!("{server}_{}", option.trim_start_matches('-')).to_uppercase();
            given.option(option).is_some() || other != *variable && given.variable(&other).is_some()
        };
        given.starts(server)
            && !options.iter().any(by_another)
            && given.variable(variable).is_some_and(|value| match *server {
                // Arguments, as in a command.
                "gunicorn" => {
                    let more = ServerOptions::new(&[value.into()], environment);
                    options.iter().filter_map(|option| more.option(option)).any(names_own)
                }
                _ => names_own(&value),
            })
    });
    if let Some((server, _, variable)) = own_by_variable {
        let option = if *server == "gunicorn" { "--bind '0.0.0.0:$PORT'" } else { "--port '$PORT'" };
        return Err(format!(
            "{variable}: it names port {own}, which is sidepulse's own, and {server} would take it. Leave it out, and \
                 give CMD {option}, which becomes the app's port, {app}"
        ));
    }
    Ok(())
}

/// Starts CMD. `own_group`: as leader of a process group of its own.
///
/// # Errors
/// 127 if there is no such program, 126 if it cannot be executed, 1 if resources are exhausted.
pub(super) fn start(command: &[OsString], config: &Config, own_group: bool) -> Result<Child, NotStarted> {
    let port = config.child.app_port.to_string();
    let Some((program, arguments)) = command.split_first() else {
        return Err((2, "no CMD; e.g. sidepulse run -- uvicorn main:app --port '$PORT'".into()));
    };
    let mut process = Command::new(program);
    process.args(arguments.iter().map(|argument| fill_in(argument, &port))).env(PORT, &port);
    for name in WITHHELD {
        process.env_remove(name);
    }
    if own_group {
        process.process_group(0);
    }
    lifecycle::with_none_held(|| process.spawn()).map_err(|error| not_started(program, &error))
}

/// The program's name for messages: a path or arguments may say more than a log should.
pub(super) fn name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    program.to_string_lossy().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

/// Why the system did not start the program.
fn not_started(program: &OsStr, error: &io::Error) -> NotStarted {
    use io::ErrorKind::{
        ArgumentListTooLong, ExecutableFileBusy, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    /// ENOEXEC and ELOOP, for which `ErrorKind` has no stable variants.
    const NOT_EXECUTABLE: [Option<i32>; 2] = [Some(8), Some(if cfg!(target_os = "linux") { 40 } else { 62 })];
    let name = name(&[program.to_owned()]);
    match error.kind() {
        // The file exists, so its interpreter is missing: typical of a virtual environment that was moved.
        NotFound if is_there(program) => {
            let missing = "the interpreter that its first line names, or the loader of this program, does not exist";
            (126, format!("cannot start {name}: {missing}"))
        }
        NotFound | NotADirectory => {
            (127, format!("cannot start {name}: no such program; is it installed, and its directory in PATH?"))
        }
        PermissionDenied | ArgumentListTooLong | ExecutableFileBusy | IsADirectory => {
            (126, format!("cannot start {name}: {error}"))
        }
        _ if error.raw_os_error() == NOT_EXECUTABLE[0] => {
            (126, format!("cannot start {name}: it is no program of this machine; a script needs #! in its first line"))
        }
        _ if NOT_EXECUTABLE.contains(&error.raw_os_error()) => (126, format!("cannot start {name}: {error}")),
        _ => (1, format!("cannot start {name}: {error}")),
    }
}

/// Whether the file exists where the system looked for it.
#[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours; the system has just read it as well")]
fn is_there(program: &OsStr) -> bool {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests;
