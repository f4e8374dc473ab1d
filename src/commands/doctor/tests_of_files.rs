//! Every rule about the backend's files: what passes, what fails, and what its remedy says.

use super::Level;
use super::tests::{
    CONSOLE, DATABASE, ERROR, FILES, GONE, OK, POOLED, WARNING, assert_found, assert_place, changed, deployment,
    examined, written,
};

#[test]
fn origins_as_the_code_takes_them() {
    let main =
        |keywords: &str| format!("app = FastAPI()\n# allow_origins=['*']\napp.add_middleware(X,\n {keywords})\n");
    let with = |origins: &str, keywords: &str| {
        deployment(&[("CORS_ORIGINS", origins)], &[("deploy/backend/main.py", &main(keywords))])
    };
    let exact = "https://a.example";
    let every = with(exact, "allow_origins=['*'], allow_credentials=True");
    assert_found(&every, "cors-code", ERROR, "allows every origin", "CORS_ORIGINS");
    assert_place(&every, "cors-code", "deploy/backend/main.py", 4);
    let pattern = with(exact, r"allow_origin_regex=r'https://.*\.vercel\.app', allow_credentials=True");
    assert_found(&pattern, "cors-code", ERROR, "begins with anything", "[a-z0-9-]+");
    assert_found(&with(exact, "allow_origins=['*']"), "cors-code", OK, "", "");
    assert_found(&with("*", "allow_origins=o"), "cors-origins", WARNING, "every page", "name the front end's");
    assert_found(
        &with("https://a-*-b.vercel.app", "allow_origins=o"),
        "cors-origins",
        ERROR,
        "allow_origin_regex",
        "name every",
    );
}

#[test]
fn what_the_backends_code_provides_for() {
    let with = |url: &str, code: &str| deployment(&[("DATABASE_URL", url)], &[("deploy/backend/database.py", code)]);
    for code in ["poolclass = NullPool", "args = {'statement_cache_size': 0}", "f(prepared_statement_name_func=g)"] {
        assert_found(&with(POOLED, code), "statement-cache", OK, "provides for it", "");
    }
    for code in [DATABASE, "# statement_cache_size"] {
        assert_found(&with(POOLED, code), "statement-cache", WARNING, "nothing in the backend", "-pooler");
    }
    let translates = "url = url.replace('postgresql://', 'postgresql+asyncpg://')\nquery.pop('sslmode')\n";
    let both = format!("{translates}query.pop('channel_binding')\n");
    assert_found(&with(CONSOLE, &both), "database-driver", OK, "sets the driver itself", "");
    assert_found(&with(CONSOLE, &both), "database-keys", OK, "translates", "");
    assert_found(&with(CONSOLE, translates), "database-keys", WARNING, "channel_binding", "take channel_binding out");
    let copied = "URL = os.getenv('DATABASE_URL', 'postgresql+asyncpg://user:password@localhost/x?sslmode=require')";
    assert_found(&with(CONSOLE, copied), "database-driver", ERROR, "does not begin", "scheme");
    assert_found(&with(CONSOLE, copied), "database-keys", ERROR, "sslmode", "ssl=require");
}

#[test]
fn rules_about_files() {
    let run = "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port";
    let rows: &[(&str, &str, &str, Level, &str, &str, u32)] = &[
        ("deploy/backend/main.py", GONE, "app-file", ERROR, "main.py is missing", "app = FastAPI()", 0),
        ("deploy/backend/main.py", "# app = 1\nother = 1\n", "app-file", ERROR, "defines no app", "app = FastAPI()", 0),
        ("deploy/backend/main.py", "from api import app\n", "app-file", OK, "defines app", "", 0),
        ("deploy/backend/requirements.txt", GONE, "requirements", ERROR, "is missing", "name==version", 0),
        (
            "deploy/backend/requirements.txt",
            "asyncpg==0.32.0\n# x\nfastapi>=1\n",
            "requirements",
            ERROR,
            "fastapi is not pinned",
            "fastapi==VERSION",
            3,
        ),
        (
            "deploy/backend/requirements.txt",
            "asyncpg==0.28.0\n",
            "requirements",
            ERROR,
            "older than 0.29.0",
            "asyncpg==0.30.0",
            1,
        ),
        (
            "deploy/backend/requirements.txt",
            "fastapi==1\n",
            "requirements",
            WARNING,
            "asyncpg is not among",
            "asyncpg==0.30.0",
            0,
        ),
        (
            "deploy/backend/requirements.txt",
            "asyncpg==0.32.0\n-r gone.txt\n",
            "requirements",
            ERROR,
            "named here is missing",
            "pip would stop",
            2,
        ),
        (
            "deploy/backend/requirements.txt",
            "asyncpg==0.32.0\nx y\n",
            "requirements",
            ERROR,
            "no requirement",
            "name==version",
            2,
        ),
        ("Procfile", GONE, "procfile", ERROR, "there is no Procfile", "'cd deploy/backend && exec uvicorn", 0),
        ("Procfile", "worker: x\n", "procfile", ERROR, "no line that begins with web:", "web: sidepulse run", 0),
        ("Procfile", "\nweb: python main.py\n", "procfile", ERROR, "starts no uvicorn", "web: sidepulse run", 0),
        ("railway.toml", "[deploy]\n", "railway-file", WARNING, "2026-12-01", "railway config migrate", 0),
        ("deploy/backend/railway.json", "{}\n", "railway-file", WARNING, "2026-12-01", ".railway/railway.ts", 0),
        (
            "deploy/backend/app/settings.py",
            "x = 1\nJWT_SECRET = 'hunter2'\n",
            "secret-in-file",
            ERROR,
            "key that signs",
            "os.environ",
            2,
        ),
        (
            "alembic.ini",
            "url = postgresql://app:hunter2@db.acme.com/x\n",
            "secret-in-file",
            ERROR,
            "URL with its password",
            "history",
            1,
        ),
        (
            "deploy/backend/.env.example",
            "JWT_SECRET=hunter2\n",
            "secret-in-file",
            ERROR,
            "key that signs",
            "os.environ",
            1,
        ),
        ("deploy/backend/.env", "JWT_SECRET=hunter2\n", "secret-in-file", OK, "no secret", "", 0),
        ("deploy/backend/tests/test_a.py", "JWT_SECRET = 'hunter2'\n", "secret-in-file", OK, "no secret", "", 0),
        // The environment's own secret, in words that nothing else would give away.
        (
            "deploy/backend/a.py",
            "x = '9f86d081884c7d659a2feaa0c55ad015'\n",
            "secret-in-file",
            ERROR,
            "this environment's",
            "os.environ",
            1,
        ),
    ];
    for (file, text, id, level, message, remedy, line) in rows {
        let findings = deployment(&[], &[(file, text)]);
        assert_found(&findings, id, *level, message, remedy);
        if *line > 0 {
            assert_place(&findings, id, file, *line);
        }
    }
    let at_root = |command: &str| {
        let moved: Vec<(&str, &str)> = vec![("Procfile", GONE), ("deploy/backend/Procfile", command)];
        deployment(&[], &moved)
    };
    assert_found(&at_root(&format!("{run} '$PORT'")), "procfile", OK, "through sidepulse run", "");
    assert_found(
        &at_root("web: uvicorn main:app --host 0.0.0.0 --port ${PORT}"),
        "procfile",
        OK,
        "without sidepulse",
        "",
    );
    let expanded = at_root(&format!("\n{run} $PORT"));
    assert_found(&expanded, "procfile", ERROR, "before sidepulse runs", "--port '$PORT'");
    assert_place(&expanded, "procfile", "deploy/backend/Procfile", 2);
}

#[test]
fn requirements_may_be_pinned_elsewhere() {
    let requirements = "deploy/backend/requirements.txt";
    let constrained = [
        (requirements, "-c pins.txt\nFast_API\nasyncpg\n"),
        ("deploy/backend/pins.txt", "fast-api==1\nasyncpg==0.30.0\n"),
    ];
    assert_found(&deployment(&[], &constrained), "requirements", OK, "all 2", "");
    let included = [
        (requirements, "-r base.txt\nfastapi==1\n"),
        ("deploy/backend/base.txt", "asyncpg==0.30.0\nx\n-r requirements.txt"),
    ];
    let findings = deployment(&[], &included);
    assert_found(&findings, "requirements", ERROR, "x is not pinned", "x==VERSION");
    assert_place(&findings, "requirements", "deploy/backend/base.txt", 2);
    let locked = [(requirements, GONE), ("deploy/backend/uv.lock", "")];
    assert_found(&deployment(&[], &locked), "requirements", OK, "uv.lock pins", "");
}

#[test]
fn two_processes_on_one_port_and_an_app_elsewhere() {
    let beside = "web: sidepulse & exec uvicorn main:app --app-dir deploy/backend --host 0.0.0.0 --port $PORT\n";
    let both = deployment(&[], &[("Procfile", beside)]);
    assert_found(&both, "port", ERROR, "both take PORT", "sidepulse run");
    assert_found(&deployment(&[("SIDEPULSE_LISTEN", ":9900")], &[("Procfile", beside)]), "port", OK, "9900", "");
    let elsewhere = "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'\n";
    let findings = deployment(&[], &[("Procfile", elsewhere)]);
    assert!(findings.iter().any(|f| f.level == WARNING && f.message.contains("never goes there")), "{findings:#?}");
}

#[test]
fn files_that_windows_saved_are_told_as_such() {
    for (file, id) in [("deploy/backend/requirements.txt", "requirements"), ("Procfile", "procfile")] {
        let root = written(&changed(FILES, &[]));
        std::fs::write(root.path().join(file), b"\xff\xfew\0e\0b\0").unwrap();
        let findings = examined(&root, &[]);
        assert_found(&findings, id, ERROR, "UTF-16", "mend");
    }
}
