//! The child as a process: signals to it and its group, and the one place that learns how it ended.

use std::io::IsTerminal;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpgrp, kill_process, kill_process_group, test_kill_process_group, wait,
};
use rustix::termios::tcgetpgrp;

use super::course::Ended;

/// A child that was started, and not yet taken leave of.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// It leads a process group of its own: everywhere but on a terminal.
    leads: bool,
    /// The kernel has given its number back.
    reaped: bool,
}

impl Child {
    /// Takes the process over. Nobody else may wait for it.
    #[expect(clippy::needless_pass_by_value, reason = "its own wait would race with ours")]
    pub(super) fn new(process: std::process::Child, leads: bool) -> Self {
        Child { pid: Pid::from_child(&process), leads, reaped: false }
    }

    /// Its number.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// It leads a process group of its own.
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Sends a signal: to the group it leads, else to it alone.
    ///
    /// # Errors
    /// As the system says; that nobody is left is none.
    pub(super) fn send(&self, signal: Signal) -> Result<(), Errno> {
        let mut sent = if self.leads { kill_process_group(self.pid, signal) } else { Err(Errno::SRCH) };
        if sent == Err(Errno::SRCH) && !self.reaped {
            // It left its group, or never led one.
            sent = kill_process(self.pid, signal);
        }
        if sent == Err(Errno::SRCH) { Ok(()) } else { sent }
    }

    /// Somebody is left in the group that it led.
    pub(super) fn remains(&self) -> bool {
        self.leads && test_kill_process_group(self.pid) != Err(Errno::SRCH)
    }

    /// Takes in every child that has ended, orphans included: as PID 1, or as their reaper, nobody else does. Gives back
    /// how our own ended.
    ///
    /// # Errors
    /// Its status was taken by somebody else.
    pub(super) fn reap(&mut self) -> Result<Option<Ended>, Errno> {
        let mut how = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid && !self.reaped => {
                    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                    let signal = status.terminating_signal().and_then(|number| u8::try_from(number).ok());
                    how = code.map(Ended::Code).or(signal.map(Ended::Signal));
                    self.reaped = how.is_some();
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return Ok(how),
                Err(error) if self.reaped || how.is_some() => {
                    debug_assert_eq!(error, Errno::CHILD);
                    return Ok(how);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the child leaves behind becomes ours instead of PID 1's: so it is taken in where PID 1 is a shell that does not,
/// and its group is seen to be empty. As PID 1 that is so anyway.
pub(super) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Somebody may sit at a terminal: then the child stays in our group, where Ctrl-C reaches it.
pub(super) fn at_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Whether the terminal itself gives INT, QUIT and WINCH to our whole group: only to the one in the foreground.
pub(super) fn terminal_signals_us() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}
