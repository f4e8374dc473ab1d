//! The environment goes in, the exit code comes out: see `commands.rs`.

use std::process::ExitCode;

#[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
fn main() -> ExitCode {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    sidepulse::run(&|variable| std::env::var_os(variable), &names)
}
