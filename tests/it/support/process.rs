//! What the kernel says about a process.

use std::fs;

/// A number of `/proc/PID/status`: `VmRSS`, `VmHWM` (both in KB), `Threads`.
pub(crate) fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{name} in {text}"))
}

/// Descriptors that a process has open; 0 when it is gone.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
