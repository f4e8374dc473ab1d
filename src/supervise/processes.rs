//! What the kernel says of processes in `/proc`: which are our children, and whether one handles its own stop. That is
//! memory, not a disk, and is read only when a process is asked to stop or has ended.

#[cfg(target_os = "linux")]
use procfs::process::Process;
use rustix::process::{Pid, Signal};

/// A script that traps the signal usually ends before the server that it started does.
#[cfg(target_os = "linux")]
const SHELLS: [&str; 8] = ["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"];

/// Our own children; `None` where the kernel does not say (`CONFIG_PROC_CHILDREN`).
#[cfg(target_os = "linux")]
pub(super) fn children() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    // Each belongs to one of our threads.
    for task in Process::myself().and_then(|process| process.tasks()).ok()?.flatten() {
        children.extend(task.children().ok()?);
    }
    Some(children.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect())
}

/// The children of another process.
#[cfg(target_os = "linux")]
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let tasks = Process::new(parent.as_raw_nonzero().get()).and_then(|process| process.tasks());
    let children = tasks.into_iter().flatten().flatten().filter_map(|task| task.children().ok()).flatten();
    children.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}

/// Whether a process handles this signal and is not a shell: then it ends once it has finished its work.
#[cfg(target_os = "linux")]
pub(super) fn stops_by_itself(pid: Pid, signal: Signal) -> bool {
    let Ok(process) = Process::new(pid.as_raw_nonzero().get()) else { return false };
    let bit = 1 << (signal.as_raw() - 1);
    // With a handler, or blocked for sigwait and signalfd.
    process.status().is_ok_and(|status| (status.sigcgt | status.sigblk) & bit != 0) && !is_shell(pid)
}

/// Whether it runs a shell.
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
pub(super) fn children_of(_: Pid) -> Vec<Pid> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_shell(_: Pid) -> bool {
    false
}
