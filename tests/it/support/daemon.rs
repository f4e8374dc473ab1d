//! Server processes that refuse to run as root: their user, and how they are frozen, stopped and killed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::eventually::{SOON, eventually, poll};
use super::scratch::Scratch;

/// How long a dropped server may take to end after the polite signal, before it is killed.
const LAST_GRACE: Duration = Duration::from_secs(5);

/// A running server. Dropping it ends it, frozen or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    parting: Signal,
}

impl Daemon {
    /// Starts `command` inside `home`, with its output appended to `log` there. `parting` is the signal that ends it at
    /// once and lets it clean up after itself.
    pub(crate) fn spawn(mut command: Command, home: &Scratch, log: &str, parting: Signal) -> Daemon {
        let log = home.path().join(log);
        let output = OpenOptions::new().create(true).append(true).open(&log).expect("open a test server's log");
        let errors = output.try_clone().expect("share a test server's log");
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Daemon { child, log, parting }
    }

    /// Everything it has written so far, across restarts.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for a test server's state")
    }

    /// Sends a signal to the process itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal to a test server");
    }

    /// Waits until it has ended.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        poll(SOON, || self.ended()).unwrap_or_else(|| panic!("a test server does not end:\n{}", self.log_text()))
    }

    /// Stops the process and its children where they are: the kernel still accepts connections for them, and nothing
    /// answers. Returns when all of them have stopped.
    pub(crate) fn freeze(&self) {
        // The parent first, so that no more children appear.
        self.signal(Signal::STOP);
        assert!(
            eventually(SOON, || {
                let family = self.family();
                for process in family.iter().filter(|process| !process.stands_still()) {
                    process.send(Signal::STOP);
                }
                family.iter().all(Process::stands_still)
            }),
            "a test server does not stand still"
        );
    }

    /// Continues everything that [`freeze`](Daemon::freeze) stopped.
    pub(crate) fn thaw(&self) {
        for process in self.family().iter().rev() {
            process.send(Signal::CONT);
        }
    }

    /// The process, then its children.
    fn family(&self) -> Vec<Process> {
        let parent = self.child.id();
        let mut family = processes();
        family.retain(|process| process.id == parent || process.parent == parent);
        family.sort_by_key(|process| process.id != parent);
        family
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = &mut self.child;
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(self.parting);
        self.thaw();
        let child = &mut self.child;
        if !eventually(LAST_GRACE, || !matches!(child.try_wait(), Ok(None))) {
            for process in self.family() {
                process.send(Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// One row of `/proc`.
struct Process {
    id: u32,
    parent: u32,
    state: char,
}

impl Process {
    fn stands_still(&self) -> bool {
        matches!(self.state, 'T' | 'Z')
    }

    fn send(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            // It may have ended since /proc was read.
            let _ = kill_process(pid, signal);
        }
    }
}

/// All processes of this machine.
fn processes() -> Vec<Process> {
    let ids = fs::read_dir("/proc").expect("read /proc").flatten();
    ids.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name is in parentheses and may contain anything: the fields begin after the last parenthesis.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        Some(Process { id, state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
    })
    .collect()
}

/// A command that runs as the servers' user, without our own PostgreSQL settings in its environment.
pub(crate) fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGOPTIONS", "PGSERVICE", "PGTZ"] {
        command.env_remove(name);
    }
    // A signal from the terminal is meant for the tests; they end their servers themselves.
    command.env("LC_ALL", "C").env("TZ", "UTC").process_group(0);
    if let Some((uid, gid)) = servers_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs a preparatory command to its end inside `home`; panics with its output unless it succeeds.
pub(crate) fn run(mut command: Command, home: &Path, input: Option<File>) {
    command.current_dir(home).stdin(input.map_or_else(Stdio::null, Stdio::from));
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// Gives a file or directory to the servers' user.
pub(crate) fn give_to_servers(path: &Path) {
    if let Some((uid, gid)) = servers_user() {
        chown(path, Some(uid), Some(gid)).expect("give a file to the test servers' user");
    }
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The servers' user when the tests run as root: `postgres`, or `nobody` where PostgreSQL did not come as a package.
fn servers_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        is_root().then(|| {
            let text = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
            let users: HashMap<&str, (u32, u32)> = text
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split(':');
                    let name = fields.next()?;
                    Some((name, (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))
                })
                .collect();
            *users.get("postgres").or_else(|| users.get("nobody")).expect("a user `postgres` or `nobody`")
        })
    })
}
