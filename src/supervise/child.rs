//! The child as a process: signals to it, the processes that it leaves behind, and the only place that reaps it.

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpgid, getpgrp, kill_process, kill_process_group, test_kill_process_group, wait,
};

use super::course::{Ended, Rest};
use super::processes;

#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// It leads its own process group: always, except at a terminal.
    leads: bool,
    /// Its status was collected: the PID may be another process's by now.
    reaped: bool,
    /// Those that were asked to stop and have not ended: the child itself, then what it left behind.
    asked: Vec<AskedToStop>,
    /// The commands behind it when it was asked, if it is a shell that handles the signal itself.
    behind_trap: Option<BehindTrap>,
    /// A server that was asked to stop has done so: it did not wait for whatever is left.
    server_has_ended: bool,
    /// The whole group was asked, since the kernel does not say who is in it.
    group_was_asked: bool,
}

#[derive(Clone, Copy, Debug)]
struct AskedToStop {
    pid: Pid,
    /// It handles the signal itself, and so ends once it has finished its work. A shell ends at once, and the server
    /// that it started goes on.
    is_server: bool,
}

/// The commands of a shell with a trap, at the time of the signal. The shell runs the trap when its foreground command
/// has ended, which did not get the signal; until then it can do nothing. What it starts from then on is left to it.
#[derive(Debug)]
struct BehindTrap {
    all: Vec<Pid>,
    in_foreground: Vec<Pid>,
}

impl BehindTrap {
    fn of(shell: Pid) -> Self {
        let all = processes::children_of(shell);
        let in_foreground = all.iter().copied().filter(|pid| !processes::is_in_background(*pid)).collect();
        BehindTrap { all, in_foreground }
    }
}

impl Child {
    /// Takes the process over. Nothing else may wait for it.
    #[expect(clippy::needless_pass_by_value, reason = "its own wait would race with ours")]
    pub(super) fn new(process: std::process::Child, leads: bool) -> Self {
        let pid = Pid::from_child(&process);
        Child {
            pid,
            leads,
            reaped: false,
            asked: Vec::new(),
            behind_trap: None,
            server_has_ended: false,
            group_was_asked: false,
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal only to the child itself: a server signals its own workers, and a subprocess that got the signal too would
    /// fail the request that is waiting for it.
    ///
    /// # Errors
    /// The system's. That the child has ended is not an error.
    pub(super) fn send(&self, signal: Signal) -> Result<(), Errno> {
        if self.reaped { Ok(()) } else { ignore_gone(kill_process(self.pid, signal)) }
    }

    /// Notes that it is asked to stop with this signal; to be called before it can have ended.
    pub(super) fn note_asked(&mut self, signal: Signal) {
        if !self.reaped && self.asked.is_empty() {
            self.asked.push(AskedToStop { pid: self.pid, is_server: processes::stops_by_itself(self.pid, signal) });
            if self.is_shell() && processes::catches(self.pid, signal) {
                self.behind_trap = Some(BehindTrap::of(self.pid));
            }
        }
    }

    /// Whether it is a shell, which does not pass signals on.
    pub(super) fn is_shell(&self) -> bool {
        !self.reaped && processes::is_shell(self.pid)
    }

    /// Asks the commands that a shell waits for to stop, and if they are shells, those that they wait for. A shell that
    /// handles the signal does so only when its foreground command has ended, which did not get it; dash handles SIGINT
    /// like this even without a trap.
    pub(super) fn ask_behind_shell(&mut self) {
        let mut commands = self.commands_to_ask();
        while let Some(pid) = commands.pop() {
            if processes::is_shell(pid) {
                if processes::catches(pid, Signal::TERM) {
                    commands.extend(BehindTrap::of(pid).in_foreground);
                } else {
                    commands.extend(processes::children_of(pid));
                }
            }
            self.ask(pid);
        }
    }

    fn commands_to_ask(&self) -> Vec<Pid> {
        let mut commands = processes::children_of(self.pid);
        if let Some(before) = &self.behind_trap {
            // A new command was started by the trap.
            let trap_runs = commands.iter().any(|pid| !before.all.contains(pid));
            commands.retain(|pid| !trap_runs && before.in_foreground.contains(pid));
        }
        commands
    }

    /// Asks what it left behind to stop: each process once, and only those whose parent has ended. The others are left
    /// to their parents.
    pub(super) fn ask_rest(&mut self) {
        let Some(orphans) = self.orphans() else {
            if self.leads && !self.group_was_asked {
                self.group_was_asked = true;
                let _ = kill_process_group(self.pid, Signal::TERM);
            }
            return;
        };
        for pid in orphans {
            self.ask(pid);
        }
    }

    /// Asks a process to stop, if it was not asked before.
    fn ask(&mut self, pid: Pid) {
        if self.asked.iter().all(|asked| asked.pid != pid) {
            // What a server left behind does not count as one.
            let is_server = !self.server_has_ended && processes::stops_by_itself(pid, Signal::TERM);
            let _ = kill_process(pid, Signal::TERM);
            self.asked.push(AskedToStop { pid, is_server });
        }
    }

    /// SIGKILL for the child and everything in its group.
    ///
    /// # Errors
    /// The system's. That none is left is not an error.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        for pid in self.orphans().unwrap_or_default() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let group = if self.leads { ignore_gone(kill_process_group(self.pid, Signal::KILL)) } else { Ok(()) };
        // It may have left its group, and at a terminal it leads none.
        self.send(Signal::KILL).and(group)
    }

    /// What is left of its group.
    pub(super) fn rest(&self) -> Rest {
        let somebody = if self.leads {
            test_kill_process_group(self.pid) != Err(Errno::SRCH)
        } else {
            self.orphans().is_some_and(|orphans| !orphans.is_empty())
        };
        if !somebody {
            Rest::Nobody
        } else if self.server_has_ended && !self.asked.iter().any(|asked| asked.is_server) {
            Rest::OfServer
        } else {
            Rest::OfShell
        }
    }

    /// The processes of its group whose parent has ended, so that they are our own children now.
    fn orphans(&self) -> Option<Vec<Pid>> {
        let group = if self.leads { self.pid } else { getpgrp() };
        let mut children = processes::children()?;
        children.retain(|pid| getpgid(Some(*pid)) == Ok(group) && (*pid != self.pid || self.reaped));
        Some(children)
    }

    /// Reaps every child that has ended, orphans included: as PID 1 or subreaper, only we can. Returns how our own child
    /// ended.
    ///
    /// # Errors
    /// If its status was collected elsewhere.
    pub(super) fn reap(&mut self) -> Result<Option<Ended>, Errno> {
        let mut how = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                    let signal = status.terminating_signal().and_then(|number| u8::try_from(number).ok());
                    let ended = code.map(Ended::Code).or(signal.map(Ended::Signal));
                    if ended.is_some() {
                        self.has_ended(pid);
                    }
                    if pid == self.pid && !self.reaped {
                        how = ended;
                        self.reaped = how.is_some();
                    }
                }
                Err(Errno::INTR) => {}
                Ok(None) => return Ok(how),
                Err(error) if self.reaped => {
                    debug_assert_eq!(error, Errno::CHILD);
                    return Ok(how);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn has_ended(&mut self, pid: Pid) {
        if let Some(at) = self.asked.iter().position(|asked| asked.pid == pid) {
            self.server_has_ended |= self.asked.swap_remove(at).is_server;
        }
    }
}

fn ignore_gone(sent: Result<(), Errno>) -> Result<(), Errno> {
    if sent == Err(Errno::SRCH) { Ok(()) } else { sent }
}

/// Makes us the parent of what the child leaves behind, as PID 1 is anyway: so it is reaped even if PID 1 is a shell that
/// does not reap, and we see when nothing is left.
pub(super) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}
