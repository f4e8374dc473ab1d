//! `doctor` on made-up backends: `doctor/gallery/*.txt`, a few lines each, with what must and what must not be printed
//! for them. Everything that is not ok is listed there, so that precision and recall can be counted.
//!
//! A file of the gallery has a first line that says what it is; `dir`, `env NAME=value`, `unset NAME`, `bare` (without
//! the usual files) and `no repository`; then `--- FILE` with its text, in which `\xNN` is a byte; then `=== prints`
//! with `LEVEL RULE [FILE[:LINE]] [| part of the message]` and `=== never` with `LEVEL RULE`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

const ENVIRONMENT: [(&str, &str); 6] = [
    ("DATABASE_URL", "postgresql+asyncpg://app:hunter2@ep-cool-1.eu-central-1.aws.neon.tech/app?ssl=require"),
    ("JWT_SECRET", "9f86d081884c7d659a2feaa0c55ad015"),
    ("ENVIRONMENT", "production"),
    ("CORS_ORIGINS", "https://shop.vercel.app,https://shop.acme.com"),
    ("PORT", "8080"),
    ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "10"),
];

/// What every backend has, unless its file says otherwise.
const USUAL: [(&str, &str); 2] = [
    (
        "settings.py",
        "import os\nDATABASE_URL = os.environ[\"DATABASE_URL\"]\nJWT_SECRET = os.environ[\"JWT_SECRET\"]\n\
         CORS_ORIGINS = os.environ[\"CORS_ORIGINS\"].split(\",\")\nENVIRONMENT = os.environ[\"ENVIRONMENT\"]\n",
    ),
    ("requirements.txt", "fastapi==0.165.0\nuvicorn==0.54.0\nsqlalchemy==2.1.9\nasyncpg==0.32.0\n"),
];

/// One finding, as the gallery writes it and as `doctor` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    level: String,
    rule: String,
    place: Option<String>,
    words: String,
}

#[derive(Default)]
struct Shape {
    name: String,
    dir: String,
    environment: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    repository: bool,
    prints: Vec<Line>,
    never: Vec<Line>,
}

#[test]
fn the_gallery() {
    let mut names: Vec<PathBuf> = fs::read_dir(gallery()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 25, "{} shapes", names.len());
    let (mut expected, mut printed, mut both) = (0, 0, 0);
    let mut faults = Vec::new();
    println!("{:<34} {:>8} {:>7} {:>5}", "shape", "expected", "printed", "both");
    for path in names {
        let shape = Shape::read(&path);
        let (findings, code) = shape.examine();
        let bad: Vec<&Line> = findings.iter().filter(|line| line.level != "ok").collect();
        let mut left = bad.clone();
        let mut hits = 0;
        for line in &shape.prints {
            if line.level == "ok" {
                if !findings.iter().any(|found| line.fits(found)) {
                    faults.push(format!("{}: not printed: {line:?}", shape.name));
                }
                continue;
            }
            match left.iter().position(|found| line.fits(found)) {
                Some(at) => {
                    left.remove(at);
                    hits += 1;
                }
                None => faults.push(format!("{}: not printed: {line:?}", shape.name)),
            }
        }
        faults.extend(left.iter().map(|line| format!("{}: printed as well: {line:?}", shape.name)));
        let denied = findings.iter().filter(|found| shape.never.iter().any(|never| never.fits(found)));
        faults.extend(denied.map(|line| format!("{}: must not be printed: {line:?}", shape.name)));
        let has_error = bad.iter().any(|line| line.level == "error");
        if code != Some(i32::from(has_error)) {
            faults.push(format!("{}: left with {code:?}", shape.name));
        }
        let wanted = shape.prints.iter().filter(|line| line.level != "ok").count();
        println!("{:<34} {wanted:>8} {:>7} {hits:>5}", shape.name, bad.len());
        (expected, printed, both) = (expected + wanted, printed + bad.len(), both + hits);
    }
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    println!(
        "{expected} findings expected, {printed} printed: precision {:.3}, recall {:.3}",
        share(both, printed),
        share(both, expected)
    );
    assert!(faults.is_empty(), "{faults:#?}");
}

/// One file of each kind that once overflowed the stack or took minutes.
#[test]
fn large_files_are_read_quickly() {
    let repeated = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
    let rows = [
        ("comments", "a.py", repeated("# a\n", 200_000)),
        ("comments in one line", "a.py", repeated("# a", 300_000)),
        ("key:value|", "a.py", repeated("key:value|", 300_000)),
        ("key:value| in settings", ".env.example", repeated("key:value|", 300_000)),
        ("=", "a.py", repeated("=", 300_000)),
        ("= in settings", ".env.example", repeated("=", 300_000)),
        ("secret=", ".env.example", repeated("secret=", 300_000)),
        ("a://", "a.py", repeated("a://", 300_000)),
        ("a://@", "a.py", repeated("a://@", 300_000)),
        ("brackets", "a.py", repeated("[{(", 300_000)),
        ("exec", "Procfile", format!("web: {}uvicorn main:app\n", repeated("exec ", 300_000))),
        ("cd", "Procfile", format!("web: {}uvicorn main:app\n", repeated("cd a; ", 300_000))),
        ("quotes", "Procfile", format!("web: {}\n", repeated("sh -c '\"", 300_000))),
        ("a script that calls itself", "start.sh", repeated("sh start.sh\n", 300_000)),
        ("ENV", "Dockerfile", format!("FROM x\n{}WORKDIR $A\nCMD [\"a\"]\n", repeated("ENV A=$A$A\n", 300_000))),
        ("FROM", "Dockerfile", repeated("FROM a AS a\nCOPY . .\n", 300_000)),
        ("continuations", "Dockerfile", format!("FROM x\nRUN {}\n", repeated("a \\\n", 300_000))),
        ("nested JSON", "railway.json", repeated("[", 300_000)),
        ("nested TOML", "railway.toml", format!("a = {}", repeated("[", 300_000))),
        ("nested tables of TOML", "railway.toml", format!("a = {}", repeated("{a=", 300_000))),
        ("tables of TOML", "railway.toml", repeated("[[a]]\n", 300_000)),
        ("dotted keys of TOML", "railway.toml", format!("{}a = 1", repeated("a.", 300_000))),
        ("a key twice", "railway.toml", repeated("a=1\n", 300_000)),
        ("requirements", "requirements.txt", repeated("a==1,", 300_000)),
        ("continued requirements", "requirements.txt", repeated("a\\\n", 300_000)),
        ("the same package", "requirements.txt", repeated("a==1\na==2\n", 300_000)),
        ("a lock file", "uv.lock", repeated("[[package]]\nname = \"a\"\nversion = \"1\"\n", 300_000)),
    ];
    for (what, file, text) in rows {
        let mut shape = Shape { repository: true, ..Shape::default() };
        shape.environment = ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into();
        shape.files.insert(file.into(), text.into_bytes());
        if file == "start.sh" {
            shape.files.insert("Procfile".into(), b"web: sh start.sh\n".into());
        }
        let begun = Instant::now();
        let (findings, code) = shape.examine();
        println!("{:>6} ms  {what}", begun.elapsed().as_millis());
        assert!(code == Some(0) || code == Some(1), "{what}: {code:?}");
        let most = |rule: &str| findings.iter().filter(|line| line.rule == rule).count() <= 21;
        assert!(most("secret-in-file") && most("requirements"), "{what}");
    }
}

/// `--explain` knows every rule that is printed.
#[test]
fn every_rule_can_be_explained() {
    let shape = Shape::read(&gallery().join("procfile_as_the_readme_has_it.txt"));
    let (findings, _) = shape.examine();
    for line in &findings {
        let output = doctor().args(["--explain", &line.rule]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.starts_with(&line.rule) && text.contains("Source: "), "{text}");
    }
    let output = doctor().args(["--explain", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start-command"));
}

fn gallery() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/doctor/gallery")
}

fn doctor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidepulse"));
    command.arg("doctor").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Shape {
    fn read(path: &Path) -> Shape {
        let text = fs::read_to_string(path).unwrap();
        let mut shape = Shape { dir: ".".into(), repository: true, ..Shape::default() };
        shape.name = path.file_stem().unwrap().to_string_lossy().into_owned();
        shape.environment = ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into();
        let mut usual = true;
        let mut file: Option<String> = None;
        let mut part = "";
        for line in text.lines().skip(1) {
            if let Some(name) = line.strip_prefix("--- ") {
                shape.files.insert(name.into(), Vec::new());
                file = Some(name.into());
            } else if let Some(name) = line.strip_prefix("=== ") {
                (part, file) = (name, None);
            } else if let Some(name) = &file {
                let text = shape.files.get_mut(name).unwrap();
                text.extend(bytes(line));
                text.push(b'\n');
            } else if let Some((name, value)) = line.strip_prefix("env ").and_then(|rest| rest.split_once('=')) {
                shape.environment.insert(name.into(), value.into());
            } else if let Some(name) = line.strip_prefix("unset ") {
                shape.environment.remove(name);
            } else if let Some(dir) = line.strip_prefix("dir ") {
                shape.dir = dir.into();
            } else if line == "bare" {
                usual = false;
            } else if line == "no repository" {
                shape.repository = false;
            } else if part == "prints" {
                shape.prints.push(Line::read(line));
            } else if part == "never" {
                shape.never.push(Line::read(line));
            } else {
                assert!(line.is_empty(), "{}: {line}", shape.name);
            }
        }
        if usual {
            for (name, text) in USUAL {
                let name = if shape.dir == "." { name.to_owned() } else { format!("{}/{name}", shape.dir) };
                shape.files.entry(name).or_insert_with(|| text.into());
            }
        }
        shape
    }

    fn examine(&self) -> (Vec<Line>, Option<i32>) {
        let root = TempDir::new().unwrap();
        if self.repository {
            let git = Command::new("git").args(["init", "--quiet"]).current_dir(root.path()).status().unwrap();
            assert!(git.success());
        }
        for (name, text) in &self.files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let dir = root.path().join(&self.dir);
        let output = doctor().args(["--json", "--backend"]).arg(dir).envs(&self.environment).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (json["rules"].as_array().unwrap().iter().map(Line::of).collect(), output.status.code())
    }
}

impl Line {
    fn read(text: &str) -> Line {
        let (head, words) = text.split_once(" | ").unwrap_or((text, ""));
        let mut head = head.split(' ');
        let mut next = || head.next().map(str::to_owned);
        let (level, rule) = (next().unwrap(), next().unwrap_or_else(|| panic!("{text}")));
        Line { level, rule, place: next(), words: words.to_owned() }
    }

    fn of(rule: &Value) -> Line {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let line = rule["line"].as_u64().map_or(String::new(), |line| format!(":{line}"));
        let place = rule["file"].as_str().map(|file| format!("{file}{line}"));
        Line { level: text("level"), rule: text("id"), place, words: text("message") }
    }

    /// As far as this one says.
    fn fits(&self, found: &Line) -> bool {
        self.level == found.level
            && self.rule == found.rule
            && (self.place.is_none() || self.place == found.place)
            && found.words.contains(&self.words)
    }
}

/// A line of a file, in which `\xNN` is a byte.
fn bytes(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}
