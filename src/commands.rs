//! The commands that run once and print their result to stdout.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

pub mod check;
pub mod doctor;
pub mod ping;

/// Bad usage, as for every command.
const BAD_USAGE: u8 = 2;

/// Prints help, the version, or what is wrong with the arguments.
pub fn usage(instead: &clap::Error) -> ExitCode {
    let text = instead.render().to_string();
    if instead.use_stderr() {
        let _ = io::stderr().write_all(text.as_bytes());
        return ExitCode::from(BAD_USAGE);
    }
    print(&text, ExitCode::SUCCESS)
}

/// Prints a command's result, and returns the code with which the command ends: a success that nobody could read is none.
/// A reader that has gone (`| head`) has read enough; `print!` would panic.
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
