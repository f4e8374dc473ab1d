//! The backend's files: where they are, what they say, and the two rules about which of them are there.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::python::{self, Kind};
use super::{Finding, printable};

/// What a person writes is smaller; what is larger is data.
const LARGEST: u64 = 1024 * 1024;
/// Packages in packages: deep enough for `app/api/routes/x.py`.
const DEEPEST: usize = 4;
const MOST_FILES: usize = 500;
/// Not the app's own code, or made-up secrets on purpose.
const SKIPPED: [&str; 8] = ["tests", "test", "venv", "env", "node_modules", "site-packages", "__pycache__", "target"];
/// What beside Python holds settings, and so sometimes a secret. Files of the repository's root are among them.
const CONFIGURATION: [&str; 14] = [
    "Procfile",
    "Dockerfile",
    "alembic.ini",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "fly.toml",
    "nixpacks.toml",
    "pyproject.toml",
    "railpack.json",
    "railway.json",
    "railway.toml",
    "vercel.json",
];

/// A file as text.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// As it is shown.
    pub(super) name: String,
    pub(super) text: String,
    /// Python without blanks and comments; empty for other files.
    pub(super) code: String,
}

/// What was read of `--backend DIR`.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) dir: PathBuf,
    /// What names are relative to: the repository's root, else DIR.
    pub(super) base: PathBuf,
    /// The app's own code, tests left out.
    pub(super) python: Vec<File>,
    /// Settings and the like, of DIR and the directories above it.
    pub(super) configuration: Vec<File>,
}

/// Why a file has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Missing,
    /// What is wrong with it.
    Unfit(&'static str),
}

impl Backend {
    /// Reads the files.
    ///
    /// # Errors
    /// One sentence, where DIR is no directory.
    pub(super) fn read(dir: &Path) -> Result<Backend, String> {
        let shown = printable(&dir.display().to_string());
        let dir = dir.canonicalize().map_err(|error| format!("{shown} cannot be opened: {}", error.kind()))?;
        fs::read_dir(&dir).map_err(|error| format!("{shown} is not a directory that can be read: {}", error.kind()))?;
        let root = dir.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned);
        let base = root.clone().unwrap_or_else(|| dir.clone());
        let mut backend = Backend { base, python: Vec::new(), configuration: Vec::new(), dir };
        let mut found = Vec::new();
        python_files(&backend.dir, 0, &mut found);
        backend.python = found.into_iter().filter_map(|path| backend.file(path).ok()).collect();
        backend.configuration = backend.above().flat_map(|dir| backend.configuration_of(dir)).collect();
        Ok(backend)
    }

    /// DIR and what is above it, up to the repository's root where there is one.
    pub(super) fn above(&self) -> impl Iterator<Item = &Path> {
        let root = self.base.join(".git").exists().then_some(self.base.as_path());
        let mut passed = false;
        self.dir.ancestors().take_while(move |dir| !std::mem::replace(&mut passed, root == Some(*dir)))
    }

    /// The nearest file of this name.
    pub(super) fn nearest(&self, name: &str) -> Option<&File> {
        self.above().find_map(|dir| self.configuration.iter().find(|file| file.path == dir.join(name)))
    }

    /// `deploy/backend/main.py`, or `../Procfile` for what is above the base.
    pub(super) fn name_of(&self, path: &Path) -> String {
        let mut up = String::new();
        for base in self.base.ancestors() {
            if let Ok(below) = path.strip_prefix(base) {
                return printable(&format!("{up}{}", below.display()));
            }
            up.push_str("../");
        }
        printable(&path.display().to_string())
    }

    pub(super) fn file(&self, path: PathBuf) -> Result<File, Unreadable> {
        let text = read(&path)?;
        let is_python = path.extension().is_some_and(|extension| extension == "py");
        let code = if is_python { python::code(&text) } else { String::new() };
        Ok(File { name: self.name_of(&path), path, text, code })
    }

    /// The app's code says so, comments and blanks left out.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.python.iter().any(|file| file.code.contains(text))
    }

    /// The same, but not right after one of these characters.
    pub(super) fn mentions_unless_after(&self, text: &str, before: &[char]) -> bool {
        let mentioned = |code: &str| code.match_indices(text).any(|(at, _)| !code[..at].ends_with(before));
        self.python.iter().any(|file| mentioned(&file.code))
    }

    fn configuration_of(&self, dir: &Path) -> Vec<File> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let is_requirements = |name: &str| name.starts_with("requirements") && name.ends_with(".txt");
        let is_ours = |name: &&String| {
            CONFIGURATION.contains(&name.as_str())
                || is_requirements(name)
                || name.starts_with(".env") && !self.is_ignored(dir, name)
        };
        names.iter().filter(is_ours).filter_map(|name| self.file(dir.join(name)).ok()).collect()
    }

    /// A `.gitignore` from `dir` up to the root leaves the name out: it is on this machine alone.
    fn is_ignored(&self, dir: &Path, name: &str) -> bool {
        let lists = self
            .above()
            .filter(|above| dir.starts_with(above))
            .filter_map(|above| read(&above.join(".gitignore")).ok());
        // The nearest list speaks last, and its last line that fits decides.
        let verdicts = lists.map(|list| {
            list.lines().rev().find_map(|line| {
                let (pattern, ignored) =
                    line.trim().strip_prefix('!').map_or((line.trim(), true), |rest| (rest, false));
                let last = pattern.rsplit('/').next().unwrap_or(pattern);
                fits(last, name).then_some(ignored)
            })
        });
        verdicts.flatten().next().unwrap_or(false)
    }
}

/// `.env*` and the like: `*` alone stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits(after, &rest[at..]))
        }),
    }
}

/// A file's text, whatever its byte order mark. Pipes and devices are never opened.
pub(super) fn read(path: &Path) -> Result<String, Unreadable> {
    let metadata = fs::metadata(path).map_err(|_| Unreadable::Missing)?;
    if !metadata.is_file() {
        return Err(Unreadable::Unfit("is not a file"));
    }
    if metadata.len() > LARGEST {
        return Err(Unreadable::Unfit("is larger than 1 MiB"));
    }
    let bytes = fs::read(path).map_err(|_| Unreadable::Unfit("cannot be read"))?;
    // `pip freeze > requirements.txt` in PowerShell.
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unreadable::Unfit("is saved as UTF-16; save it as UTF-8"));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

fn python_files(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // Of the entry itself: a link to a directory could lead round in a circle.
        let Ok(kind) = entry.file_type() else { continue };
        if found.len() >= MOST_FILES {
            return;
        }
        if kind.is_dir() {
            if depth < DEEPEST && !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) {
                python_files(&path, depth + 1, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
}

/// `uvicorn main:app` has something to start.
pub(super) fn app_file(_: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let path = backend.dir.join("main.py");
    let name = backend.name_of(&path);
    let remedy = "uvicorn main:app wants a main.py with `app = FastAPI()`";
    let file = match backend.file(path) {
        Ok(file) => file,
        Err(Unreadable::Missing) => return vec![Finding::error("main.py is missing", remedy).at(&name, None)],
        Err(Unreadable::Unfit(what)) => return vec![Finding::error(format!("main.py {what}"), remedy).at(&name, None)],
    };
    let defines = python::statements(&file.text).iter().filter(|statement| !statement.commented).any(|statement| {
        let tokens = &statement.tokens;
        let is_app = |at: usize| tokens.get(at).is_some_and(|t| t.kind == Kind::Name && t.text == "app");
        let assigned = is_app(0) && tokens.get(1).is_some_and(|t| t.is("=") || t.is(":"));
        let imported = tokens.iter().any(|t| t.kind == Kind::Name && t.text == "import");
        assigned || imported && (0..tokens.len()).any(is_app)
    });
    vec![if defines {
        Finding::ok("main.py defines app").at(&name, None)
    } else {
        Finding::error("main.py defines no app", remedy).at(&name, None)
    }]
}

/// Railway reads `railway.toml` and `railway.json` no longer (its docs, config-as-code/reference).
pub(super) fn railway_file(_: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let files = ["railway.toml", "railway.json"].into_iter().filter_map(|name| backend.nearest(name));
    let found: Vec<Finding> = files
        .map(|file| {
            let remedy = "move it to .railway/railway.ts with `railway config migrate`, and delete this file";
            Finding::warning("Railway does not read this file after 2026-12-01", remedy).at(&file.name, None)
        })
        .collect();
    if found.is_empty() { vec![Finding::ok("there is no railway.toml or railway.json")] } else { found }
}
