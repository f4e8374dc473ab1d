//! `sidepulse run`: beside uvicorn in one container.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::Config;
use crate::lifecycle::Signals;
use crate::log::Log;

/// Serves, with CMD as the child.
pub async fn run(_config: Config, _command: Vec<OsString>, _signals: Signals, _log: Log) -> ExitCode {
    ExitCode::SUCCESS
}
