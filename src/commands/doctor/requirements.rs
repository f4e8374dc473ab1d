//! The rule about requirements: two builds of one commit are the same, and asyncpg is new enough.

use std::path::{Path, PathBuf};

use super::backend::{Backend, Unreadable, read};
use super::environment::Environment;
use super::requirement::{Line, logical_lines, understand};
use super::{Finding, literal, printable};

/// The first for Python 3.12 (its release notes), and the contract's floor.
const OLDEST_ASYNCPG: [u32; 3] = [0, 29, 0];
/// What else pins everything.
const LOCK_FILES: [&str; 4] = ["uv.lock", "poetry.lock", "Pipfile.lock", "pylock.toml"];
/// Files that name each other in a circle end here.
const MOST_FILES: usize = 20;
/// A longer name is none.
const LONGEST_NAME: usize = 40;

/// A requirement or constraint and where it stands.
struct Entry {
    file: PathBuf,
    line: u32,
    asks: Line,
    constraint: bool,
}

/// A file to read, and where it is named.
#[derive(Clone)]
struct Source {
    file: PathBuf,
    constraint: bool,
    named_at: (PathBuf, Option<u32>),
}

/// Every requirement is pinned; asyncpg is there and not too old.
pub(super) fn judge(_: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let first = backend.dir.join("requirements.txt");
    if read(&first) == Err(Unreadable::Missing) {
        if let Some(lock) = LOCK_FILES.iter().find(|lock| backend.dir.join(lock).is_file()) {
            return vec![Finding::ok(format!("there is no requirements.txt, but {lock} pins what is installed"))];
        }
        let remedy = "write one with every requirement as name==version (`pip freeze > requirements.txt`)";
        return vec![Finding::error("requirements.txt is missing", remedy).at(&backend.name_of(&first), None)];
    }
    let mut found = Vec::new();
    let entries = collect(backend, first, &mut found);
    let all_read = found.is_empty();
    let pins: Vec<(&str, &str)> = entries.iter().filter(|entry| entry.constraint).filter_map(|e| e.pin()).collect();
    let mut asyncpg = false;
    let mut count = 0;
    for entry in entries.iter().filter(|entry| !entry.constraint) {
        let at = |finding: Finding| finding.at(&backend.name_of(&entry.file), entry.line);
        count += 1;
        match &entry.asks {
            Line::Package { name, version } => {
                let constrained = pins.iter().find(|(pinned, _)| pinned == name).map(|(_, version)| *version);
                let version = version.as_deref().or(constrained);
                asyncpg |= name == "asyncpg";
                if version.is_none() {
                    let remedy = format!("write {}==VERSION, with the version that you tested", shown(name));
                    found.push(at(Finding::error(format!("{} is not pinned", shown(name)), remedy)));
                } else if name == "asyncpg" && version.is_some_and(is_too_old) {
                    found.push(at(Finding::error("asyncpg is older than 0.29.0", "write asyncpg==0.30.0 or newer")));
                }
            }
            Line::Url { pinned: false } => {
                let remedy = "name a commit (…@<40 characters>), or a file with its version or hash";
                found.push(at(Finding::error("a requirement by URL is not pinned", remedy)));
            }
            Line::Unreadable => {
                found.push(at(Finding::error("this line is no requirement", "write name==version")));
            }
            Line::Url { pinned: true } | Line::Nothing | Line::Include(_) | Line::Constraints(_) => {}
        }
    }
    if !asyncpg && all_read {
        let name = backend.name_of(&backend.dir.join("requirements.txt"));
        let remedy = "add asyncpg==0.30.0 or newer: postgresql+asyncpg:// needs it";
        found.push(Finding::warning("asyncpg is not among the requirements", remedy).at(&name, None));
    }
    if found.is_empty() {
        found.push(Finding::ok(format!("all {count} requirements are pinned, and asyncpg is 0.29.0 or newer")));
    }
    found
}

/// Reads a file of requirements and those that it names.
fn collect(backend: &Backend, first: PathBuf, found: &mut Vec<Finding>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut files = vec![Source { named_at: (first.clone(), None), file: first, constraint: false }];
    let mut next = 0;
    while next < files.len() {
        let Source { file, constraint, named_at: (by, at) } = files[next].clone();
        next += 1;
        let text = match read(&file) {
            Ok(text) => text,
            Err(Unreadable::Missing) => {
                // Told by where it is named: a name that is no file's could be anything.
                let fault = Finding::error("the file named here is missing", "mend its name: pip would stop here");
                found.push(fault.at(&backend.name_of(&by), at));
                continue;
            }
            Err(Unreadable::Unfit(what)) => {
                let fault = Finding::error(format!("this file {what}"), "mend it: pip could not read it");
                found.push(fault.at(&backend.name_of(&file), None));
                continue;
            }
        };
        for (line, logical) in logical_lines(&text) {
            let asks = understand(&logical);
            match &asks {
                Line::Include(name) | Line::Constraints(name) => {
                    let named = file.parent().unwrap_or(Path::new("")).join(name);
                    let constraint = constraint || matches!(asks, Line::Constraints(_));
                    let is_new = !files.iter().any(|known| known.file == named && known.constraint == constraint);
                    if is_new && files.len() < MOST_FILES {
                        files.push(Source { file: named, constraint, named_at: (file.clone(), Some(line)) });
                    }
                }
                Line::Nothing => {}
                _ => entries.push(Entry { file: file.clone(), line, asks, constraint }),
            }
        }
    }
    entries
}

impl Entry {
    fn pin(&self) -> Option<(&str, &str)> {
        match &self.asks {
            Line::Package { name, version: Some(version) } => Some((name, version)),
            _ => None,
        }
    }
}

/// A package's name, unless it could be something else that landed in the file.
fn shown(name: &str) -> String {
    let fits = name.len() <= LONGEST_NAME && literal::is_wordy(name);
    if fits { printable(name) } else { "a requirement".to_owned() }
}

/// PEP 440, as far as it decides: the first three numbers, and whether the oldest that fits is a pre-release.
fn is_too_old(version: &str) -> bool {
    let mut numbers = [0; 3];
    let mut suffix = "";
    for (number, part) in numbers.iter_mut().zip(version.trim_start_matches('v').split('.')) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        *number = part[..digits].parse().unwrap_or(0);
        suffix = &part[digits..];
        if !suffix.is_empty() {
            break;
        }
    }
    let is_before =
        ["a", "b", "rc", "dev", ".dev"].iter().any(|sign| suffix.starts_with(sign)) || version.contains(".dev");
    numbers < OLDEST_ASYNCPG || numbers == OLDEST_ASYNCPG && is_before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asyncpg_versions() {
        for old in ["0.28.0", "0.9", "0.29.0rc1", "0.29.0.dev1", "0"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["0.29.0", "0.29", "0.29.0.post1", "0.30.0rc1", "0.32.0", "1.0"] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
