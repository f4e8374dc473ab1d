//! Where the test servers keep their files, and what cleans up when the test process cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::statvfs;

use super::daemon::{give_to_servers, is_root};

/// A socket's path has 108 bytes: this leaves room for `/postgres-12/.s.PGSQL.54321.lock` and a margin.
const LONGEST_BASE: usize = 50;

/// A server's 1300 files take 40 MB, and on a slow disk half a second. (Docker's own `/dev/shm` has 64 MB.)
const PLENTY: u64 = 4 << 30;

/// Outlives the test process by an instant: at the end of its input it stops the servers that still run in the
/// directory (their working directory) and removes it. So even a killed test process leaves nothing behind.
/// `PR_SET_PDEATHSIG` is no substitute: it fires when the *thread* ends that started the server.
const WATCHER: &str = r#"
cat >/dev/null
inside() {
    for cwd in /proc/[0-9]*/cwd; do
        case "$(readlink "$cwd" 2>/dev/null)" in
            "$1"/*) ;;
            *) continue ;;
        esac
        process=${cwd%/cwd}
        case "$(cat "$process/comm" 2>/dev/null)" in
            postgres|initdb|pg_basebackup|pgbouncer|cp) echo "${process#/proc/}" ;;
        esac
    done
}
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    pids=$(inside "$1")
    [ -n "$pids" ] || break
    if [ "$round" -lt 20 ]; then kill -QUIT $pids; kill -CONT $pids; else kill -KILL $pids; fi
    sleep 0.1
done 2>/dev/null
rm -rf "$1"
"#;

/// The directory of one server, accessible only to that server's user, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Creates an empty directory; `name` is for people who look into `/tmp` during a test.
    pub(crate) fn new(name: &str) -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let path = root().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).expect("make a directory for a test server");
        close_to_others(&path);
        Scratch(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that the server owns and nobody else may read, as PostgreSQL demands of a private key.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("write a file for a test server");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close a test server's file");
        give_to_servers(&path);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The watcher removes what cannot be removed here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// This process's directory, created at first use together with its watcher.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (path, _watcher) = ROOT.get_or_init(|| {
        let path = tempfile::Builder::new()
            .prefix("sidepulse-it-")
            .tempdir_in(base())
            .expect("make a directory for the test servers")
            .keep();
        close_to_others(&path);
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not in the tests' process group, or it would be killed with them.
            .process_group(0)
            .spawn()
            .expect("start the watcher of the test servers");
        (path, watcher)
    });
    path
}

/// TMPDIR, else memory where there is plenty, else `/tmp`.
fn base() -> PathBuf {
    let wanted = std::env::var_os("TMPDIR").filter(|path| path.len() <= LONGEST_BASE);
    // The servers' user must be able to enter it, which a directory of root's may not allow.
    if let Some(path) = wanted.filter(|_| !is_root()) {
        return path.into();
    }
    let memory = Path::new("/dev/shm");
    let free = statvfs(memory).map_or(0, |volume| volume.f_bavail * volume.f_frsize);
    if free >= PLENTY { memory } else { Path::new("/tmp") }.to_owned()
}

fn close_to_others(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("close a test server's directory");
    give_to_servers(path);
}
