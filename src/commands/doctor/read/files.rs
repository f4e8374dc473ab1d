//! The backend's files: where they are, and their text. Nothing outside the repository is read, and whatever is left out
//! is noted.

use std::fs;
use std::path::{Path, PathBuf};

use super::ignored::{self, Ignored};
use crate::commands::doctor::finding::printable;

/// Files that people write are smaller; what is larger is data.
const LARGEST: u64 = 1024 * 1024;
/// Packages in packages: deeper than any seen so far.
const DEEPEST: usize = 8;
const MOST_FILES: usize = 1000;
/// Of all files together; an app's code is smaller.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// A directory of data may have any number of entries.
const MOST_ENTRIES: usize = 20_000;
/// Not the app's own code, or with made-up secrets.
const SKIPPED: [&str; 8] = ["tests", "test", "venv", "env", "node_modules", "site-packages", "__pycache__", "target"];
/// Files other than Python that hold settings, and so sometimes a secret.
const SETTINGS: &str = "Procfile Dockerfile alembic.ini compose.yaml compose.yml docker-compose.yaml \
    docker-compose.yml fly.toml nixpacks.toml pyproject.toml railpack.json railway.json railway.toml vercel.json";
/// An app's own settings: `config.yaml`, `secrets.json`.
const STEMS: [&str; 3] = ["config", "settings", "secrets"];
const EXTENSIONS: [&str; 6] = ["cfg", "ini", "json", "toml", "yaml", "yml"];

/// A file as text; bytes that are not UTF-8 are replaced.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What was read of `--backend DIR`.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    /// Names are relative to it, and nothing above it is read: the repository's root, else DIR.
    pub(crate) base: PathBuf,
    /// The app's own code, without tests.
    pub(crate) python: Vec<File>,
    /// The same in lower case, in the same order.
    lower: Vec<String>,
    /// Settings and the like, of DIR and the directories above it.
    pub(crate) settings: Vec<File>,
    /// What git would not commit, if it could be asked.
    pub(crate) ignored: Ignored,
    /// A sentence for each thing that was left out.
    pub(crate) cuts: Vec<String>,
}

/// Why a file has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Missing,
    /// What is wrong with it.
    Unfit(&'static str),
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// One sentence, if DIR is not a directory.
    pub(crate) fn read(dir: &Path) -> Result<Files, String> {
        let shown = printable(&dir.display().to_string());
        let dir = dir.canonicalize().map_err(|error| format!("{shown} cannot be opened: {}", error.kind()))?;
        fs::read_dir(&dir).map_err(|error| format!("{shown} is not a directory that can be read: {}", error.kind()))?;
        let root = dir.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned);
        let base = root.clone().unwrap_or_else(|| dir.clone());
        let mut files = Files { dir, base, ..Files::default() };
        let mut walk = Walk::default();
        walk.visit(&files.dir, 0);
        for above in files.above().skip(1) {
            // Code there belongs to other services.
            walk.list(above, is_settings);
        }
        files.cuts = walk.cuts();
        let (mut too_large, mut beyond, mut bytes) = (0, 0, 0);
        for path in walk.found {
            if bytes > MOST_BYTES {
                beyond += 1;
                continue;
            }
            let file = files.file(&path);
            bytes += file.as_ref().map_or(0, |file| file.text.len());
            match file {
                Ok(file) if is_python(&path) => files.python.push(file),
                Ok(file) => files.settings.push(file),
                Err(Unreadable::Unfit(_)) => too_large += 1,
                Err(Unreadable::Missing) => {}
            }
        }
        if too_large > 0 {
            files.cuts.push(format!("{too_large} files were not read: larger than 1 MiB, or no plain file"));
        }
        if beyond > 0 {
            files.cuts.push(format!("{beyond} files were not read: 64 MiB are read at most"));
        }
        files.lower = files.python.iter().map(|file| file.text.to_ascii_lowercase()).collect();
        if let Some(root) = root {
            let paths: Vec<&Path> =
                files.python.iter().chain(&files.settings).map(|file| file.path.as_path()).collect();
            files.ignored = ignored::ask_git(&root, &paths);
        }
        Ok(files)
    }

    /// DIR and the directories above it, up to the base.
    pub(crate) fn above(&self) -> impl Iterator<Item = &Path> + use<'_> {
        self.dir.ancestors().take_while(|dir| dir.starts_with(&self.base))
    }

    /// The directories that may be the service's root directory on Railway: DIR, the repository's root, then those between.
    pub(crate) fn roots(&self) -> Vec<&Path> {
        let mut roots = vec![self.dir.as_path()];
        if self.base != self.dir {
            roots.push(&self.base);
            roots.extend(self.above().skip(1).filter(|dir| *dir != self.base));
        }
        roots
    }

    /// `deploy/backend/main.py`.
    pub(crate) fn name_of(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.base).unwrap_or(path);
        let name = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        printable(&name.display().to_string())
    }

    /// A file anywhere below the base.
    pub(crate) fn file(&self, path: &Path) -> Result<File, Unreadable> {
        let bytes = self.bytes(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        Ok(File { name: self.name_of(path), path: path.to_owned(), text })
    }

    /// Its bytes. Pipes and devices are never opened, and links out of the base are not followed.
    pub(crate) fn bytes(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        let real = path.canonicalize().map_err(|_| Unreadable::Missing)?;
        if !real.starts_with(&self.base) {
            return Err(Unreadable::Unfit("lies outside the repository"));
        }
        let metadata = fs::metadata(&real).map_err(|_| Unreadable::Missing)?;
        if !metadata.is_file() {
            return Err(Unreadable::Unfit("is not a file"));
        }
        if metadata.len() > LARGEST {
            return Err(Unreadable::Unfit("is larger than 1 MiB"));
        }
        fs::read(&real).map_err(|_| Unreadable::Unfit("cannot be read"))
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|real| real.starts_with(&self.base) && real.is_file())
    }

    /// The first Python file of the app, and its line, that contains one of these texts, in upper or lower case.
    pub(crate) fn mention(&self, texts: &[&str]) -> Option<Mention> {
        self.python.iter().zip(&self.lower).find_map(|(file, lower)| {
            let at = texts.iter().filter_map(|text| lower.find(&text.to_ascii_lowercase())).min()?;
            let line = u32::try_from(lower[..at].matches('\n').count() + 1).ok();
            Some(Mention { file: file.name.clone(), line })
        })
    }
}

/// Where the app's code mentions something. What it does with it is not examined.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// The app's code; tests are left out by the names under which pytest finds them.
fn is_code(name: &str) -> bool {
    let is_test = name.starts_with("test_") || name.ends_with("_test.py") || name == "conftest.py";
    name.ends_with(".py") && !is_test
}

fn is_settings(name: &str) -> bool {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_requirements = stem.starts_with("requirements") && extension == "txt";
    let is_named_so = STEMS.contains(&stem) && EXTENSIONS.contains(&extension);
    let is_one = SETTINGS.split(' ').any(|known| known == name) || is_requirements || is_named_so;
    is_one || is_variables(name) || extension == "sh"
}

/// `.env`, `.env.production`, `prod.env`.
pub(crate) fn is_variables(name: &str) -> bool {
    name.starts_with(".env") || name.ends_with(".env") || name.contains(".env.")
}

/// The paths to read, and how many were left out.
#[derive(Default)]
struct Walk {
    found: Vec<PathBuf>,
    entries: usize,
    left_out: usize,
    directories_left_out: usize,
}

impl Walk {
    fn visit(&mut self, dir: &Path, depth: usize) {
        for below in self.list(dir, |name| is_settings(name) || is_code(name)) {
            if depth + 1 < DEEPEST && self.entries < MOST_ENTRIES {
                self.visit(&below, depth + 1);
            } else {
                self.directories_left_out += 1;
            }
        }
    }

    /// Notes the files of one directory. Returns the directories to enter.
    fn list(&mut self, dir: &Path, is_wanted: fn(&str) -> bool) -> Vec<PathBuf> {
        let room = MOST_ENTRIES.saturating_sub(self.entries);
        let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().take(room).collect();
        self.entries += entries.len();
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        let mut directories = Vec::new();
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // Of the entry itself: a link to a directory could lead in a circle.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) {
                    directories.push(path);
                }
            } else if is_wanted(&name) {
                if self.found.len() < MOST_FILES {
                    self.found.push(path);
                } else {
                    self.left_out += 1;
                }
            }
        }
        directories
    }

    fn cuts(&self) -> Vec<String> {
        let mut cuts = Vec::new();
        if self.left_out > 0 {
            cuts.push(format!("{} files were not read: {MOST_FILES} are read at most", self.left_out));
        }
        if self.directories_left_out > 0 || self.entries >= MOST_ENTRIES {
            cuts.push(format!(
                "{} directories were not entered: {DEEPEST} levels and {MOST_ENTRIES} entries are looked at",
                self.directories_left_out
            ));
        }
        cuts
    }
}
