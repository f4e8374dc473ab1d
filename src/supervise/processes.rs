//! What `/proc` says about processes: which are our children, and whether one handles a signal itself. It is memory, not
//! a disk, and read only when a process is asked to stop or has ended.

#[cfg(target_os = "linux")]
use procfs::process::{Process, Status};
use rustix::process::{Pid, Signal};

/// A script that traps the signal usually ends before the server that it started does.
#[cfg(target_os = "linux")]
const SHELLS: [&str; 8] = ["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"];

/// Our own children; `None` if the kernel does not show them (`CONFIG_PROC_CHILDREN`).
#[cfg(target_os = "linux")]
pub(super) fn children() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    // Each belongs to one of our threads.
    for task in Process::myself().and_then(|process| process.tasks()).ok()?.flatten() {
        children.extend(task.children().ok()?);
    }
    Some(children.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect())
}

#[cfg(target_os = "linux")]
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let tasks = Process::new(parent.as_raw_nonzero().get()).and_then(|process| process.tasks());
    let children = tasks.into_iter().flatten().flatten().filter_map(|task| task.children().ok()).flatten();
    children.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

/// Whether a process handles this signal and is not a shell: then it ends when it has finished its work.
#[cfg(target_os = "linux")]
pub(super) fn stops_by_itself(pid: Pid, signal: Signal) -> bool {
    // By a handler, or with sigwait or signalfd, for which it is blocked.
    signals_of(pid).is_some_and(|signals| (signals.sigcgt | signals.sigblk) & bit(signal) != 0) && !is_shell(pid)
}

/// Whether a process has a handler for this signal.
#[cfg(target_os = "linux")]
pub(super) fn catches(pid: Pid, signal: Signal) -> bool {
    signals_of(pid).is_some_and(|signals| signals.sigcgt & bit(signal) != 0)
}

/// Whether a shell started it with `&`: such a command ignores SIGQUIT (POSIX, Shell Command Language, "2.11 Signals and
/// Error Handling"), and servers seldom handle it.
#[cfg(target_os = "linux")]
pub(super) fn is_in_background(pid: Pid) -> bool {
    signals_of(pid).is_some_and(|signals| signals.sigign & bit(Signal::QUIT) != 0)
}

#[cfg(target_os = "linux")]
fn signals_of(pid: Pid) -> Option<Status> {
    Process::new(pid.as_raw_nonzero().get()).and_then(|process| process.status()).ok()
}

/// A signal's bit in the masks of `/proc/PID/status`.
#[cfg(target_os = "linux")]
fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[cfg(target_os = "linux")]
pub(super) fn is_shell(pid: Pid) -> bool {
    let program = Process::new(pid.as_raw_nonzero().get()).and_then(|process| process.exe()).unwrap_or_default();
    program.file_name().and_then(|name| name.to_str()).is_some_and(|name| SHELLS.contains(&name))
}

// Elsewhere nothing is known.
#[cfg(not(target_os = "linux"))]
pub(super) fn children() -> Option<Vec<Pid>> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stops_by_itself(_: Pid, _: Signal) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn catches(_: Pid, _: Signal) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_in_background(_: Pid) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn children_of(_: Pid) -> Vec<Pid> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_shell(_: Pid) -> bool {
    false
}
