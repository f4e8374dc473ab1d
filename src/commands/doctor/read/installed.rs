//! The installed packages: `requirements.txt` and the files that it names, or a lock file; in DIR or above it.

use std::path::{Path, PathBuf};

use super::files::{Files, Unreadable};
use super::lock::{self, Locked};
use super::requirement::{self, Requirement};

/// Other files that pin everything.
const LOCKS: [&str; 5] = ["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock"];
/// Limits files that name each other.
const MOST_FILES: usize = 20;

/// A line of a requirements file, or a package of a lock file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) asks: Requirement,
    pub(crate) constraint: bool,
}

/// Why pip cannot read a file, or find it.
#[derive(Debug)]
pub(crate) struct PipError {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    /// A text that follows "this file", or a sentence if `line` is where the file is named.
    pub(crate) what: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Installed {
    /// The file with which it begins.
    pub(crate) source: Option<String>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) pip_errors: Vec<PipError>,
    /// How many files were left out because of [`MOST_FILES`].
    pub(crate) left_out: usize,
}

/// Reads the nearest `requirements.txt`, else the nearest lock file.
pub(crate) fn read(files: &Files) -> Installed {
    for dir in files.above() {
        // Railpack prefers it to any lock file (railwayapp/railpack, `core/providers/python/python.go`).
        let path = dir.join("requirements.txt");
        if files.bytes(&path) != Err(Unreadable::Missing) {
            return requirements(files, &path);
        }
        if let Some(path) = LOCKS.iter().map(|name| dir.join(name)).find(|path| files.has(path)) {
            return locked(files, &path);
        }
    }
    Installed::default()
}

impl Installed {
    /// Whether a package of this name is installed, by itself or as an extra; `None` if not everything could be read.
    pub(crate) fn has(&self, name: &str) -> Option<bool> {
        let is_it = |asks: &Requirement| match asks {
            Requirement::Package { name: known, extras, .. } => {
                known == name || extras.iter().any(|extra| brings(extra, name))
            }
            Requirement::Url { name: Some(known), .. } | Requirement::LocalFile { name: known } => known == name,
            _ => false,
        };
        if self.entries.iter().any(|entry| !entry.constraint && is_it(&entry.asks)) {
            return Some(true);
        }
        (self.source.is_some() && self.pip_errors.is_empty() && self.left_out == 0).then_some(false)
    }
}

/// `SQLAlchemy[postgresql-asyncpg]`, `databases[asyncpg]` (sqlalchemy's pyproject.toml).
fn brings(extra: &str, name: &str) -> bool {
    let driver = extra.strip_prefix("postgresql-").unwrap_or(extra);
    driver == name || extra == "postgresql-psycopg2binary" && name == "psycopg2-binary"
}

fn locked(files: &Files, path: &Path) -> Installed {
    let file = files.name_of(path);
    let mut installed = Installed { source: Some(file.clone()), ..Installed::default() };
    let lock = match files.file(path) {
        Ok(lock) => lock,
        Err(Unreadable::Missing) => return installed,
        Err(Unreadable::Unfit(what)) => {
            installed.pip_errors.push(PipError { file, line: None, what });
            return installed;
        }
    };
    let is_pipfile = file.ends_with("Pipfile.lock");
    let packages = if is_pipfile { lock::of_pipfile(&lock.text) } else { lock::packages(&lock.text) };
    for Locked { line, name, version } in packages {
        // A lock file may have one version for each platform.
        let marked = !is_pipfile;
        let asks = Requirement::Package { name: name.to_lowercase(), extras: Vec::new(), version, marked };
        installed.entries.push(Entry { file: file.clone(), line, asks, constraint: false });
    }
    installed
}

/// A file to read, and where it is named.
struct Named {
    path: PathBuf,
    constraint: bool,
    by: (PathBuf, Option<u32>),
}

fn requirements(files: &Files, first: &Path) -> Installed {
    let mut installed = Installed { source: Some(files.name_of(first)), ..Installed::default() };
    let mut named = vec![Named { path: first.to_owned(), constraint: false, by: (first.to_owned(), None) }];
    let mut next = 0;
    while next < named.len() {
        let Named { path, constraint, by } = &named[next];
        let (path, constraint, by) = (path.clone(), *constraint, by.clone());
        next += 1;
        let lines = match files.bytes(&path) {
            Ok(bytes) => requirement::read(&bytes),
            Err(Unreadable::Unfit(what)) => Err(what),
            Err(Unreadable::Missing) => {
                // Reported where it is named, without the name, which could be anything.
                let what = "the file named here is missing";
                installed.pip_errors.push(PipError { file: files.name_of(&by.0), line: by.1, what });
                continue;
            }
        };
        let lines = match lines {
            Ok(lines) => lines,
            Err(what) => {
                installed.pip_errors.push(PipError { file: files.name_of(&path), line: None, what });
                continue;
            }
        };
        for (line, asks) in lines {
            if let Requirement::Include(name) | Requirement::Constraints(name) = &asks {
                let new = Named {
                    path: path.parent().unwrap_or(Path::new("")).join(name),
                    constraint: constraint || matches!(asks, Requirement::Constraints(_)),
                    by: (path.clone(), Some(line)),
                };
                let is_known = named.iter().any(|old| old.path == new.path && old.constraint == new.constraint);
                match is_known {
                    true => {}
                    false if named.len() < MOST_FILES => named.push(new),
                    false => installed.left_out += 1,
                }
            } else if asks != Requirement::Nothing {
                installed.entries.push(Entry { file: files.name_of(&path), line, asks, constraint });
            }
        }
    }
    installed
}
