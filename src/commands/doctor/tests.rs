//! A deployment that is right, and what changes when one thing of it does. The rules one by one: `tests_of_variables.rs`,
//! `tests_of_files.rs`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::Given;

pub(super) const URL: &str = "postgresql+asyncpg://app:hunter2@ep-cool-1.eu-central-1.aws.neon.tech/app?ssl=require";
pub(super) const POOLED: &str =
    "postgresql+asyncpg://app:hunter2@ep-cool-1-pooler.eu-central-1.aws.neon.tech/app?ssl=require";
pub(super) const CONSOLE: &str =
    "postgresql://app:hunter2@ep-cool-1.eu-central-1.aws.neon.tech/app?sslmode=require&channel_binding=require";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("DATABASE_URL", URL),
    ("JWT_SECRET", "9f86d081884c7d659a2feaa0c55ad015"),
    ("ENVIRONMENT", "production"),
    ("CORS_ORIGINS", "https://shop.vercel.app,https://shop-*-acme.vercel.app"),
    ("PORT", "8080"),
    ("RAILWAY_ENVIRONMENT_ID", "x"),
    ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "10"),
];

const MAIN: &str = "app = FastAPI()\napp.add_middleware(CORSMiddleware, allow_origins=ORIGINS, allow_origin_regex=PATTERN,\n    allow_credentials=True)\n";
pub(super) const DATABASE: &str = "engine = create_async_engine(os.environ['DATABASE_URL'], pool_pre_ping=True)\n";
const REQUIREMENTS: &str = "fastapi==0.165.0\nuvicorn==0.54.0\nasyncpg==0.32.0\n";
const PROCFILE: &str =
    "web: sidepulse run -- sh -c 'cd deploy/backend && exec uvicorn main:app --host 0.0.0.0 --port $PORT'\n";

pub(super) const FILES: &[(&str, &str)] = &[
    (".git/HEAD", ""),
    (".gitignore", "/target\n.env*\n!.env.example\n"),
    ("Procfile", PROCFILE),
    ("deploy/backend/main.py", MAIN),
    ("deploy/backend/database.py", DATABASE),
    ("deploy/backend/requirements.txt", REQUIREMENTS),
];

pub(super) const GONE: &str = "\0";

/// `base` with some of its values replaced, added or, where they are [`GONE`], taken away.
pub(super) fn changed(base: &[(&str, &str)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let kept = base.iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    let all = kept.chain(changes).filter(|(_, value)| *value != GONE);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_environment<T>(variables: &[(String, String)], judge: impl FnOnce(&Environment<'_>) -> T) -> T {
    let lookup = |name: &str| {
        let (_, text) = variables.iter().find(|(known, text)| known == name && !text.is_empty())?;
        Some(Given { text: (text != "not UTF-8").then(|| text.clone()), named: name.to_owned() })
    };
    let names: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    judge(&Environment { lookup: &lookup, names: &names })
}

pub(super) fn written(files: &[(String, String)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// The findings for the right environment with these changes, without files.
pub(super) fn environment(changes: &[(&str, &str)]) -> Vec<Finding> {
    with_environment(&changed(ENVIRONMENT, changes), |environment| examine(environment, None))
}

/// The findings for the right environment and files, both with changes.
pub(super) fn deployment(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<Finding> {
    examined(&written(&changed(FILES, files)), variables)
}

pub(super) fn examined(root: &TempDir, variables: &[(&str, &str)]) -> Vec<Finding> {
    let backend = Backend::read(&root.path().join("deploy/backend")).unwrap();
    with_environment(&changed(ENVIRONMENT, variables), |environment| examine(environment, Some(&backend)))
}

/// The rule found this and nothing else: `level`, a part of the message, a part of the remedy (or nothing where ok).
#[track_caller]
pub(super) fn assert_found(findings: &[Finding], id: &str, level: Level, message: &str, remedy: &str) {
    let found: Vec<&Finding> = findings.iter().filter(|finding| finding.id == id).collect();
    let [one] = found.as_slice() else { panic!("{id} should have one finding: {found:#?}") };
    assert_eq!(one.level, level, "{one:#?}");
    assert!(one.message.contains(message), "{message} is not in {one:#?}");
    match &one.remedy {
        Some(text) => assert!(level > Level::Ok && !remedy.is_empty() && text.contains(remedy), "{remedy}: {one:#?}"),
        None => assert!(level == Level::Ok && remedy.is_empty(), "{one:#?}"),
    }
}

#[track_caller]
pub(super) fn assert_place(findings: &[Finding], id: &str, file: &str, line: u32) {
    let places: Vec<_> = findings.iter().filter(|f| f.id == id).map(|f| (f.file.as_deref(), f.line)).collect();
    assert!(places.contains(&(Some(file), Some(line).filter(|line| *line > 0))), "{places:?}");
}

pub(super) const OK: Level = Level::Ok;
pub(super) const WARNING: Level = Level::Warning;
pub(super) const ERROR: Level = Level::Error;

#[test]
fn a_right_deployment_has_neither_errors_nor_warnings() {
    let findings = deployment(&[], &[]);
    let bad: Vec<_> = findings.iter().filter(|finding| finding.level > OK || finding.remedy.is_some()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let text = report::text(&findings, true, false);
    assert_eq!(text.lines().count(), findings.len() + 2);
    assert!(text.ends_with(": ready to deploy\n") && !text.contains('\x1b'), "{text}");
    let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    for rule in RULES.iter().map(|rule| rule.id).chain(FILE_RULES.iter().map(|rule| rule.id)) {
        // TLS that nobody switched off is not worth a line.
        assert!(ids.contains(&rule) || rule == "database-tls", "{rule}");
    }
}

#[test]
fn the_repositorys_own_backend_is_right() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backend");
    // It is not part of the published package.
    if dir.join("main.py").exists() {
        let backend = Backend::read(&dir).unwrap();
        for url in [URL, POOLED, CONSOLE] {
            let variables = changed(ENVIRONMENT, &[("DATABASE_URL", url)]);
            let findings = with_environment(&variables, |environment| examine(environment, Some(&backend)));
            let bad: Vec<_> = findings.iter().filter(|finding| finding.level > OK).collect();
            assert!(bad.is_empty(), "{bad:#?}");
        }
    }
}

#[test]
fn a_directory_that_is_none_is_bad_usage() {
    assert!(Backend::read(Path::new("/nowhere/backend")).is_err_and(|fault| fault.contains("cannot be opened")));
    assert!(Backend::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).is_err());
}

#[test]
fn json_holds_every_rule_with_every_key() {
    let json: serde_json::Value = serde_json::from_str(&report::json(&environment(&[("JWT_SECRET", GONE)]))).unwrap();
    assert_eq!(json["status"], "error");
    for rule in json["rules"].as_array().unwrap() {
        let keys: Vec<_> = rule.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["file", "id", "level", "line", "message", "remedy"]);
    }
    let status = |findings: &[Finding]| serde_json::from_str::<serde_json::Value>(&report::json(findings)).unwrap();
    assert_eq!(status(&environment(&[("ENVIRONMENT", GONE)]))["status"], "warning");
    assert_eq!(status(&environment(&[]))["status"], "ok");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a variable or a line of a file holds, no part of it is shown.
    #[test]
    fn no_secret_is_ever_shown(
        tail in "[ -~é\\n]{0,20}",
        around in prop::collection::vec("[ -~é\\n]{0,30}", 2),
        variable in prop::sample::select(vec![
            "DATABASE_URL", "SIDEPULSE_DATABASE_URL", "JWT_SECRET", "SIDEPULSE_TOKEN", "SIDEPULSE_APP_HEADERS",
            "CORS_ORIGINS", "ENVIRONMENT", "PORT", "SIDEPULSE_LISTEN", "SIDEPULSE_APP_URL", "SIDEPULSE_SQL_CHECKS",
        ]),
        form in prop::sample::select(vec![
            "{}", "postgresql+asyncpg://u:{}@h/d?sslmode=require", "postgres://{}", "https://u:{}@h", "psql '{}'",
            "JWT_SECRET = '{}'", "API_TOKEN={}", "x @ git+https://u:{}@h/x", "-r {}", "web: {} uvicorn", "{}==1",
        ]),
        file in prop::sample::select(vec![
            "Procfile", "deploy/backend/main.py", "deploy/backend/requirements.txt", "deploy/backend/database.py", ".gitignore",
        ]),
    ) {
        let secret = format!("Zq7Mar4ked{tail}Hid6den7qZ");
        let value = format!("{}{}{}", around[0], form.replace("{}", &secret), around[1]);
        let findings = deployment(&[(variable, &value)], &[(file, &value)]);
        for shown in [report::text(&findings, true, true), report::json(&findings)] {
            let shown = shown.to_lowercase();
            prop_assert!(!["zq7", "mar4", "hid6", "n7qz"].iter().any(|part| shown.contains(part)), "{}", shown);
        }
    }
}
