//! What holds for every rule: nothing of a value is shown, and the report has its form. The single rules are tested with
//! a gallery of backends, `tests/it/doctor/`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::Given;

const URL: &str = "postgresql+asyncpg://app:hunter2@ep-cool-1.eu-central-1.aws.neon.tech/app?ssl=require";
const ENVIRONMENT: [(&str, &str); 6] = [
    ("DATABASE_URL", URL),
    ("JWT_SECRET", "9f86d081884c7d659a2feaa0c55ad015"),
    ("ENVIRONMENT", "production"),
    ("CORS_ORIGINS", "https://shop.vercel.app"),
    ("PORT", "8080"),
    ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "10"),
];

/// The findings in a correct environment, except for these variables.
fn findings(changes: &[(&str, &str)], dir: Option<&Path>) -> Vec<Finding> {
    let variables: Vec<(&str, &str)> = changes.iter().chain(&ENVIRONMENT).copied().collect();
    let lookup = |name: &str| {
        let (_, text) = variables.iter().find(|(known, _)| *known == name).filter(|(_, text)| !text.is_empty())?;
        Some(Given { text: (*text != "not UTF-8").then(|| (*text).to_owned()), named: name.to_owned() })
    };
    let names: Vec<String> = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    examine(&Deployment::read(&lookup, &names, dir.map(|dir| Files::read(dir).unwrap())))
}

fn levels(findings: &[Finding], id: &str) -> Vec<Severity> {
    findings.iter().filter(|finding| finding.id == id).map(|finding| finding.severity).collect()
}

#[test]
fn the_repositorys_own_backend_has_no_errors() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backend");
    // It is not part of the published package.
    if dir.join("main.py").exists() {
        let pooled = URL.replace("ep-cool-1.", "ep-cool-1-pooler.");
        let console = pooled.replace("+asyncpg", "").replace("ssl=require", "sslmode=require&channel_binding=require");
        for url in [URL, &pooled, &console] {
            let bad: Vec<Finding> = findings(&[("DATABASE_URL", url)], Some(&dir))
                .into_iter()
                .filter(|finding| finding.severity > Severity::Unknown)
                .collect();
            assert!(bad.is_empty(), "{bad:#?}");
        }
    }
}

#[test]
fn a_path_that_is_no_directory_is_bad_usage() {
    assert!(Files::read(Path::new("/nowhere/backend")).is_err_and(|fault| fault.contains("cannot be opened")));
    assert!(Files::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).is_err());
}

#[test]
fn variables_without_files() {
    for (variable, value, rule, severity) in [
        ("DATABASE_URL", "", "database-url", Severity::Error),
        ("DATABASE_URL", "not UTF-8", "database-url", Severity::Error),
        ("DATABASE_URL", "mysql://h/d", "database-url", Severity::Error),
        ("DATABASE_URL", "postgresql://u:p@db.acme.com/d?sslmode=disable", "database-tls", Severity::Warning),
        ("DATABASE_URL", "postgresql://u:p@h/d?sslmode=require", "database-driver", Severity::Unknown),
        ("DATABASE_URL", "postgresql+asyncpg://u:p@h/d?sslmode=require", "database-keys", Severity::Unknown),
        ("DATABASE_URL", "postgresql+asyncpg://u:p@h/d?ssl=verify-full", "database-keys", Severity::Warning),
        ("JWT_SECRET", "", "jwt-secret", Severity::Error),
        ("JWT_SECRET", "short", "jwt-secret", Severity::Error),
        ("JWT_SECRET", "change-me-change-me-change-me-change-me", "jwt-secret", Severity::Error),
        ("JWT_SECRET", "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "jwt-secret", Severity::Warning),
        ("ENVIRONMENT", "", "environment", Severity::Warning),
        ("CORS_ORIGINS", "", "cors-origins", Severity::Error),
        ("CORS_ORIGINS", "*", "cors-origins", Severity::Error),
        ("CORS_ORIGINS", "[\"https://a.acme.com\"]", "cors-origins", Severity::Unknown),
        ("CORS_ORIGINS", "https://A.acme.com", "cors-origins", Severity::Warning),
        ("SIDEPULSE_APP_PORT", "x", "settings", Severity::Error),
        ("SIDEPULSE_STOP_TIMEOUT", "30s", "draining", Severity::Warning),
        ("SIDEPULSE_ECONOMY_MAX_AGE", "10m", "neon-awake", Severity::Warning),
        ("SIDEPULSE_DATABASE_MODE", "steady", "neon-awake", Severity::Warning),
        ("SIDEPULSE_APP_PROT", "1", "unknown-variables", Severity::Warning),
    ] {
        assert_eq!(levels(&findings(&[(variable, value)], None), rule), [severity], "{variable}={value}");
    }
    let ports = [("SIDEPULSE_APP_PORT", "8080"), ("SIDEPULSE_APP_URL", "http://localhost:9000/")];
    assert_eq!(levels(&findings(&ports, None), "port"), [Severity::Error]);
    let off = [("DATABASE_URL", ""), ("SIDEPULSE_DATABASE", "off")];
    assert_eq!(levels(&findings(&off, None), "database-url"), [Severity::Warning]);
}

#[test]
fn what_is_left_out_is_reported() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("requirements.txt"), "x y\n".repeat(40)).unwrap();
    fs::write(root.path().join("large.py"), "#".repeat(2 * 1024 * 1024)).unwrap();
    for number in 0..1010 {
        fs::write(root.path().join(format!("m{number}.py")), "").unwrap();
    }
    let findings = findings(&[], Some(root.path()));
    let of_it: Vec<&Finding> = findings.iter().filter(|finding| finding.id == "requirements").collect();
    assert_eq!(of_it.len(), 21);
    assert!(of_it[20].message.starts_with("21 more of this kind"), "{:?}", of_it[20]);
    let cuts: Vec<&str> =
        findings.iter().filter(|finding| finding.id == "left-out").map(|finding| finding.message.as_str()).collect();
    assert!(cuts.len() == 2 && cuts[0].starts_with("12 files were not read"), "{cuts:?}");
    // What was left out may mention it.
    assert_eq!(levels(&findings, "jwt-secret"), [Severity::Ok]);
    assert!(!findings.iter().any(|finding| finding.message.contains("no file of the app")), "{findings:#?}");
}

#[test]
fn json_holds_every_rule_with_every_key() {
    let json = |changes: &[(&str, &str)]| -> serde_json::Value {
        serde_json::from_str(&report::json(&findings(changes, None))).unwrap()
    };
    let with_error = json(&[("JWT_SECRET", "")]);
    assert_eq!(with_error["status"], "error");
    for rule in with_error["rules"].as_array().unwrap() {
        let keys: Vec<_> = rule.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["file", "id", "level", "line", "message", "remedy"]);
    }
    assert_eq!(json(&[("ENVIRONMENT", "")])["status"], "warning");
    // Unknown is not bad.
    assert_eq!(json(&[("CORS_ORIGINS", "[\"https://a.acme.com\"]")])["status"], "ok");
}

#[test]
fn the_report_groups_by_subject_and_has_errors_first() {
    let changes = [("JWT_SECRET", ""), ("SIDEPULSE_APP_PROT", "1")];
    let findings = findings(&changes, None);
    let text = report::text(&findings, true, false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Secrets");
    assert!(lines[1].contains("✗ error") && !text.contains('\x1b'), "{text}");
    let subjects = lines.iter().filter(|line| !line.is_empty() && !line.starts_with(' ')).count();
    assert_eq!(subjects, 4 + 1, "Secrets, Platform, Database, Origins and the summary: {text}");
    assert!(lines.last().unwrap().starts_with("1 error, 1 warning, 0 unknown, "), "{text}");
    assert!(report::text(&findings, false, true).contains("\x1b[31m✗ error"), "colour is for terminals");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a variable or a line of a file contains, no part of it is shown.
    #[test]
    fn no_secret_is_ever_shown(
        tail in "[ -~é\\n]{0,20}",
        around in prop::collection::vec("[ -~é\\n]{0,30}", 2),
        variable in prop::sample::select(vec![
            "DATABASE_URL", "SIDEPULSE_DATABASE_URL", "JWT_SECRET", "SIDEPULSE_TOKEN", "SIDEPULSE_APP_HEADERS",
            "CORS_ORIGINS", "ENVIRONMENT", "PORT", "SIDEPULSE_LISTEN", "SIDEPULSE_APP_URL", "SIDEPULSE_SQL_CHECKS",
            "RAILPACK_START_CMD", "RAILWAY_DOCKERFILE_PATH",
        ]),
        form in prop::sample::select(vec![
            "{}", "postgresql+asyncpg://u:{}@h/d?sslmode=require", "postgres://{}", "https://u:{}@h", "psql '{}'",
            "JWT_SECRET = '{}'", "API_TOKEN={}", "x @ git+https://u:{}@h/x", "-r {}", "web: {} uvicorn", "{}==1",
            "web: uvicorn {}:app --port {}", "FROM x\nCMD [\"uvicorn\", \"{}\"]", "web: A={} python {}.py", "web: ./{}.sh",
            "postgresql+{}://u@h/d?{}=1&x={}",
        ]),
        file in prop::sample::select(vec![
            "Procfile", "main.py", "requirements.txt", "database.py", "Dockerfile", "railway.json", "uv.lock", "start.sh",
        ]),
    ) {
        let secret = format!("Zq7Mar4ked{tail}Hid6den7qZ");
        let value = format!("{}{}{}", around[0], form.replace("{}", &secret), around[1]);
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("Procfile"), "web: ./start.sh\n").unwrap();
        fs::write(root.path().join(file), &value).unwrap();
        let findings = findings(&[(variable, &value)], Some(root.path()));
        for shown in [report::text(&findings, true, true), report::json(&findings)] {
            let shown = shown.to_lowercase();
            prop_assert!(!["zq7", "mar4", "hid6", "n7qz"].iter().any(|part| shown.contains(part)), "{}", shown);
        }
    }
}

#[test]
fn what_the_daemon_would_warn_of_is_a_warning() {
    for (variable, value) in [
        ("SIDEPULSE_APP_PORT", "tcp://10.0.0.1:80"),
        ("DATABASE_URL", "postgresql://u:p@db.acme.com/d?sslmode=verify-full&pool_size=5"),
    ] {
        let found = findings(&[(variable, value)], None);
        assert_eq!(levels(&found, "settings"), [Severity::Warning], "{variable}={value}");
    }
    // Even if the rest cannot be loaded.
    let found = findings(&[("SIDEPULSE_APP_PORT", "tcp://10.0.0.1:80"), ("DATABASE_URL", "")], None);
    let of_settings = found.iter().find(|finding| finding.id == "settings").unwrap();
    assert_eq!(of_settings.remedy.as_deref(), Some("set enableServiceLinks: false in the pod's spec"));
    // Another rule reports it.
    let found = findings(&[("DATABASE_URL", "postgresql://u:p@db.acme.com/d?sslmode=disable")], None);
    assert_eq!(levels(&found, "settings"), [Severity::Ok]);
}

#[test]
fn a_file_that_decides_and_cannot_be_read_is_unknown() {
    let main = "from fastapi import FastAPI\napp = FastAPI()\n";
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("railway.toml"), "").unwrap();
    for (name, is_link) in [("railway.toml", true), ("railway.json", false), ("nixpacks.toml", false)] {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("main.py"), main).unwrap();
        fs::write(root.path().join("requirements.txt"), "fastapi\nuvicorn\n").unwrap();
        match is_link {
            true => std::os::unix::fs::symlink(outside.path().join("railway.toml"), root.path().join(name)).unwrap(),
            false => fs::write(root.path().join(name), " ".repeat(1024 * 1024 + 1)).unwrap(),
        }
        let found = findings(&[], Some(root.path()));
        assert_eq!(levels(&found, "start-command"), [Severity::Unknown], "{name}");
        assert_eq!(levels(&found, "left-out"), [Severity::Unknown], "{name}");
    }
}

#[test]
fn a_broken_file_is_corrected_where_it_is() {
    for (name, text, remedy) in [
        ("Dockerfile", "CMD a\n", "begin it with FROM"),
        ("Procfile", "web: a: b\n", "write web:"),
        ("railpack.json", "{", "correct it"),
    ] {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join(name), text).unwrap();
        let found = findings(&[], Some(root.path()));
        let of_start = found.iter().find(|finding| finding.id == "start-command").unwrap();
        assert!(of_start.remedy.as_ref().is_some_and(|said| said.starts_with(remedy)), "{name}: {of_start:?}");
    }
}
