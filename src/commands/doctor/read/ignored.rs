//! What git would not commit, by git's own rules: global and local lists, negations, and what is tracked already.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// git answers for a thousand paths in a few milliseconds.
const LONGEST: Duration = Duration::from_secs(5);
/// Variables that would make git use another repository.
const ELSEWHERE: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES"];

#[derive(Debug, Default)]
pub(crate) enum Ignored {
    /// There is no repository, or git did not answer.
    #[default]
    Unknown,
    Known(HashSet<PathBuf>),
}

impl Ignored {
    /// Whether git ignores the file; `None` if that is not known.
    pub(crate) fn has(&self, path: &Path) -> Option<bool> {
        match self {
            Ignored::Unknown => None,
            Ignored::Known(paths) => Some(paths.contains(path)),
        }
    }
}

pub(super) fn ask_git(root: &Path, paths: &[&Path]) -> Ignored {
    let mut git = Command::new("git");
    // fsmonitor is a program that the repository chooses.
    git.arg("-C").arg(root).args(["-c", "core.fsmonitor=false", "check-ignore", "--stdin", "-z"]);
    for name in ELSEWHERE {
        git.env_remove(name);
    }
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = git.spawn() else { return Ignored::Unknown };
    let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Ignored::Unknown;
    };
    let asked: Vec<u8> = paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    thread::spawn(move || {
        let _ = stdin.write_all(&asked);
    });
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let whole = stdout.read_to_end(&mut bytes).is_ok();
        let _ = sender.send(whole.then_some(bytes));
    });
    let answer = answer.recv_timeout(LONGEST).ok().flatten();
    if answer.is_none() {
        let _ = child.kill();
    }
    // 0: some are ignored, 1: none is, 128: no answer (git's manual).
    let answered = child.wait().is_ok_and(|status| matches!(status.code(), Some(0 | 1)));
    match answer {
        Some(bytes) if answered => {
            let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            Ignored::Known(names.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()))).collect())
        }
        _ => Ignored::Unknown,
    }
}
