//! CMD as it was typed → a command that can be started: `$PORT` filled in, and no port that both would take.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use crate::config::Config;
use crate::config::app_target::Reach;
use crate::config::settings::{OWN_DATABASE_URL, PORT};

/// sidepulse's own secrets: the child has no use for them.
const WITHHELD: [&str; 2] = ["SIDEPULSE_TOKEN", OWN_DATABASE_URL];
/// How a shell and people write the variable; `${PORT:-8000}` is the start command that Railpack itself writes.
const SPELLINGS: [(&[u8], Tail); 3] =
    [(b"${PORT}", Tail::None), (b"${PORT:-", Tail::ToBrace), (b"$PORT", Tail::NoWordCharacter)];
/// As much of a program's name is shown.
const LONGEST_NAME: usize = 60;

#[derive(Clone, Copy)]
enum Tail {
    None,
    ToBrace,
    NoWordCharacter,
}

/// Why CMD was not started: the exit code, and one line.
pub(super) type Refusal = (u8, String);

/// Both must not take the same port, and the shell must have left `$PORT` to us.
///
/// # Errors
/// Exit code 2, and how to write it instead.
pub(super) fn check_ports(command: &[OsString], config: &Config) -> Result<(), Refusal> {
    let own = config.listen.port();
    let app = config.child.app_port;
    let over_tcp = matches!(config.app.target.reach, Reach::Tcp { .. });
    if own == app && over_tcp {
        return Err((
            2,
            format!(
                "SIDEPULSE_APP_PORT: sidepulse and the app would both take port {own}; give the app another one, e.g. \
                 SIDEPULSE_APP_PORT={}",
                if own == 8000 { 8001 } else { 8000 }
            ),
        ));
    }
    // Port 0 is any free one, which no shell can have known.
    if own != 0 && command.iter().skip(1).any(|argument| names_port(argument.as_bytes(), own)) {
        return Err((
            2,
            format!(
                "CMD names port {own}, which is sidepulse's own: the shell has filled $PORT in before sidepulse ran. \
                 Quote it, e.g. sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'; it becomes the app's \
                 port, {app}"
            ),
        ));
    }
    Ok(())
}

/// Starts CMD. `own_group`: as the leader of a process group of its own.
///
/// # Errors
/// 127 where there is no such program, 126 where it cannot be executed, 1 where the machine has nothing left.
pub(super) fn start(command: &[OsString], config: &Config, own_group: bool) -> Result<Child, Refusal> {
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
    process.spawn().map_err(|error| refusal(program, &error))
}

/// The program's name for messages: a path or arguments may say more than a log should.
pub(super) fn name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    program.to_string_lossy().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

/// A literal `$PORT` or `${PORT}` becomes the port, also inside a longer argument.
fn fill_in(argument: &OsStr, port: &str) -> OsString {
    let mut rest = argument.as_bytes();
    let mut filled = Vec::with_capacity(rest.len());
    while let Some((&first, others)) = rest.split_first() {
        match SPELLINGS.iter().find_map(|(head, tail)| after(rest.strip_prefix(*head)?, *tail)) {
            Some(after) => {
                filled.extend_from_slice(port.as_bytes());
                rest = after;
            }
            None => {
                filled.push(first);
                rest = others;
            }
        }
    }
    OsString::from_vec(filled)
}

/// What follows a spelling of the variable, if it is one.
fn after(rest: &[u8], tail: Tail) -> Option<&[u8]> {
    match tail {
        Tail::None => Some(rest),
        Tail::ToBrace => rest.iter().position(|byte| *byte == b'}').map(|brace| &rest[brace + 1..]),
        Tail::NoWordCharacter => rest.first().is_none_or(|byte| !is_word(*byte)).then_some(rest),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the argument holds the port as a number of its own: `8080`, `--port=8080`, `0.0.0.0:8080`, `-p8080`, or in
/// the middle of a shell's script; not `18080`, `v1.8080` or `/srv/8080/app`.
fn names_port(argument: &[u8], port: u16) -> bool {
    let digits = port.to_string();
    let digits = digits.as_bytes();
    let joins = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-' | b'/');
    (0..argument.len()).filter(|at| argument[*at..].starts_with(digits)).any(|at| {
        let (before, after) = (&argument[..at], &argument[at + digits.len()..]);
        let short_option = matches!(before, [b'-', letter] if letter.is_ascii_alphabetic());
        let begins = before.last().is_none_or(|byte| !joins(*byte)) || short_option;
        // A sentence or a host may end in a full stop; 8080.5 is another number.
        let ends = match after {
            [] | [b'.' | b'/'] => true,
            [b'.', next, ..] => !is_word(*next),
            [next, ..] => !is_word(*next) && *next != b'-',
        };
        begins && ends
    })
}

/// Why the system would not start the program.
fn refusal(program: &OsStr, error: &io::Error) -> Refusal {
    use io::ErrorKind::{
        ArgumentListTooLong, ExecutableFileBusy, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    /// ENOEXEC, ELOOP: `ErrorKind` has no stable word for them.
    const NOT_EXECUTABLE: [Option<i32>; 2] = [Some(8), Some(if cfg!(target_os = "linux") { 40 } else { 62 })];
    let name = name(&[program.to_owned()]);
    match error.kind() {
        // It is there, so what is missing is what runs it. Typical of a virtual environment that was moved.
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
