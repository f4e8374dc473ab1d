//! The checklist: each rule with its reason and the source. The rules of one subject stand in one file.

use super::deployment::Deployment;
use super::finding::Finding;

mod database;
mod driver;
mod origins;
mod platform;
mod requirements;
mod secrets;
mod start;

pub(super) struct Rule {
    /// A name that does not change.
    pub(super) id: &'static str,
    pub(super) subject: &'static str,
    pub(super) judge: Judge,
    /// Why it exists, and what `unknown` means here.
    pub(super) why: &'static str,
    pub(super) source: &'static str,
}

/// How a rule is judged. No finding means that the question does not arise.
pub(super) enum Judge {
    One(fn(&Deployment<'_>) -> Option<Finding>),
    /// For what may be found several times.
    Each(fn(&Deployment<'_>) -> Vec<Finding>),
}

use Judge::{Each, One};

const START: &str = "Start";
const DATABASE: &str = "Database";
const SECRETS: &str = "Secrets";
const ORIGINS: &str = "Origins";
const REQUIREMENTS: &str = "Requirements";
const PLATFORM: &str = "Platform";

/// Every rule, in the order of the report.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "start-command",
        subject: START,
        judge: One(start::command),
        why: "Railway runs one command, looked for in this order: the start command of railway.toml, railway.json or \
              .railway/railway.ts (and of the service's settings, which no file shows); a Dockerfile's ENTRYPOINT and CMD; \
              RAILPACK_START_CMD; railpack.json; nixpacks.toml, where it is still Nixpacks that builds (unknown); the \
              Procfile's web; Railpack's own guess. doctor looks in DIR, then in the \
              repository's root. It knows uvicorn, gunicorn with uvicorn's workers, fastapi run, hypercorn and granian; \
              unknown is any other program, `python main.py`, a script that branches, and a file that is not understood or \
              decides otherwise for one environment.",
        source: "https://docs.railway.com/config-as-code/reference, https://docs.railway.com/builds/dockerfiles, \
                 https://docs.railway.com/deployments/start-command; railwayapp/railpack: core/core.go, \
                 core/providers/procfile/procfile.go, core/providers/python/python.go",
    },
    Rule {
        id: "app-module",
        subject: START,
        judge: One(start::module),
        why: "The server imports the module that the start command names, from the directory where it runs (cd, --app-dir, \
              WORKDIR and COPY, PYTHONPATH), and takes the named attribute. ok is `app = FastAPI(…)` at the top level; a \
              factory, an import or a branch is code that was not run: unknown.",
        source: "https://uvicorn.dev/settings/ (APP, --app-dir, --factory); uvicorn/importer.py",
    },
    Rule {
        id: "start-host",
        subject: START,
        judge: One(start::host),
        why: "A server on loopback answers only inside its container: Railway's edge gets no connection, and the domain \
              answers 502. uvicorn, hypercorn and granian listen on 127.0.0.1 unless they are told otherwise.",
        source: "https://docs.railway.com/networking/troubleshooting/application-failed-to-respond",
    },
    Rule {
        id: "start-port",
        subject: START,
        judge: One(start::port),
        why: "Railway's edge asks the port in PORT. A shell expands $PORT; the exec form of a Dockerfile does not, and the \
              server would be given those five characters. Below `sidepulse run` it is the other way round: sidepulse takes \
              PORT, and a literal $PORT in CMD becomes the app's port, so that no shell may expand it before. What sidepulse \
              is told by its options, by variables before it and by the image's ENV counts over the environment here; \
              unknown is a value that a variable decides.",
        source: "https://docs.railway.com/networking/public-networking; https://docs.docker.com/reference/dockerfile/ (shell \
                 and exec form); https://docs.railway.com/deployments/start-command",
    },
    Rule {
        id: "sidepulse-in-start",
        subject: START,
        judge: One(start::sidepulse),
        why: "Without sidepulse in the start command nothing watches the app: `sidepulse run -- CMD` starts both.",
        source: "the README, On Railway",
    },
    Rule {
        id: "request-limit",
        subject: START,
        judge: One(start::request_limit),
        why: "--limit-max-requests ends uvicorn after so many requests, sidepulse's own among them, and so does the variable \
              UVICORN_LIMIT_MAX_REQUESTS. With --workers above 1, as below gunicorn, a process of its own starts it again; \
              alone it leaves with 0, which Railway's On Failure does not restart, and --reload waits for a file to change.",
        source: "https://uvicorn.dev/settings/ (--limit-max-requests); uvicorn/supervisors/basereload.py; https://docs.railway.com/deployments/restart-policy",
    },
    Rule {
        id: "railway-file",
        subject: START,
        judge: Each(start::railway_file),
        why: "railway.toml and railway.json are not read after 2026-12-01; .railway/railway.ts replaces them.",
        source: "https://docs.railway.com/config-as-code/reference",
    },
    Rule {
        id: "database-url",
        subject: DATABASE,
        judge: Each(database::url),
        why: "DATABASE_URL must be there, filled in, and of a form that sidepulse can use; it is read by the daemon's own \
              reader. Unknown: the app's code mentions no DATABASE_URL, and may be told of its database otherwise.",
        source: "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING",
    },
    Rule {
        id: "database-driver",
        subject: DATABASE,
        judge: One(driver::scheme),
        why: "SQLAlchemy takes its driver from the scheme: postgresql+asyncpg://. postgresql:// alone means psycopg2 (from \
              2.1 on psycopg), and postgres:// is refused. Unknown: the code mentions something that could change the scheme.",
        source: "https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls",
    },
    Rule {
        id: "database-keys",
        subject: DATABASE,
        judge: Each(driver::keys),
        why: "SQLAlchemy hands every key of the URL to asyncpg.connect, which ends with a TypeError for those that it does \
              not know, and takes texts where it wants numbers. Allowed is what works with SQLAlchemy 2.1.9 and asyncpg 0.32; \
              for psycopg and psycopg2 libpq's own list. Unknown: the code mentions something that could take a key out.",
        source: "sqlalchemy/dialects/postgresql/asyncpg.py (create_connect_args); asyncpg/connection.py (connect); \
                 https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS",
    },
    Rule {
        id: "database-tls",
        subject: DATABASE,
        judge: One(database::tls),
        why: "A URL that switches TLS off for a host that is not private lets the login be read on its way.",
        source: "https://www.postgresql.org/docs/current/libpq-ssl.html",
    },
    Rule {
        id: "statement-cache",
        subject: DATABASE,
        judge: One(driver::statement_cache),
        why: "A pooler in transaction mode (Neon's -pooler, Supabase's port 6543, pgbouncer=true) gives each transaction \
              another session, in which statements that were prepared before are missing. Unknown: the code mentions the \
              cache's settings; check that they stand at the engine that the app uses, not at Alembic's.",
        source: "https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#prepared-statement-name-with-pgbouncer; \
                 https://magicstack.github.io/asyncpg/current/faq.html; https://supabase.com/docs/guides/database/connecting-to-postgres",
    },
    Rule {
        id: "neon-awake",
        subject: DATABASE,
        judge: One(database::awake),
        why: "A compute that scales to zero is billed while it is awake, 5 minutes after the last activity on Neon. A check \
              that asks more often keeps it awake.",
        source: "https://neon.com/docs/introduction/scale-to-zero; https://neon.com/docs/introduction/plans",
    },
    Rule {
        id: "scale-to-zero",
        subject: DATABASE,
        judge: One(database::scale_to_zero),
        why: "SIDEPULSE_DATABASE_MODE=auto knows hosts that scale to zero by their names. Where a name does not say it (Aurora \
              Serverless v2 with a minimum of 0 ACU), only you know: then set SIDEPULSE_DATABASE_MODE=economy.",
        source: "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2-auto-pause.html",
    },
    Rule {
        id: "pool-minimum",
        subject: DATABASE,
        judge: One(database::pool_minimum),
        why: "A pool with a minimum size (asyncpg.create_pool: 10 unless min_size says otherwise; psycopg_pool: 4) opens its \
              connections again at every suspend, and so wakes the compute that just went to sleep. SQLAlchemy's pools have \
              no minimum.",
        source: "https://magicstack.github.io/asyncpg/current/api/index.html#connection-pools; \
                 https://www.psycopg.org/psycopg3/docs/api/pool.html",
    },
    Rule {
        id: "jwt-secret",
        subject: SECRETS,
        judge: One(secrets::jwt_secret),
        why: "HS256 wants a key as long as its hash: 256 bits, 32 characters at least. Unknown: the code mentions no \
              JWT_SECRET, and may sign nothing, or with a key of another name.",
        source: "RFC 7518, section 3.2",
    },
    Rule {
        id: "secret-in-file",
        subject: SECRETS,
        judge: Each(secrets::in_files),
        why: "Whoever has the repository has the secret, and so has its history for ever. Looked at are the app's Python \
              files (tests left out) and the settings beside and above them; left out is what git ignores, by git's own \
              rules. Placeholders and examples pass. Unknown: a file of variables where no git can say whether it is ignored.",
        source: "https://git-scm.com/docs/git-check-ignore; https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html",
    },
    Rule {
        id: "cors-origins",
        subject: ORIGINS,
        judge: Each(origins::judge),
        why: "A browser compares an origin as it is: scheme, host and port in lower case, without path or slash. Unknown: the \
              code reads no CORS_ORIGINS, or reads it with pydantic-settings, where a list[str] takes JSON alone and commas \
              end the start; whether patterns and * meet credentials is the code's business as well.",
        source: "RFC 6454, section 6.1; https://fetch.spec.whatwg.org/#cors-protocol-and-credentials; \
                 https://docs.pydantic.dev/latest/concepts/pydantic_settings/#parsing-environment-variable-values",
    },
    Rule {
        id: "requirements",
        subject: REQUIREMENTS,
        judge: Each(requirements::judge),
        why: "Two builds of one commit are the same only where every requirement is pinned, in requirements.txt or a lock \
              file, in DIR or above it. What pip refuses ends the build. asyncpg before 0.29.0 does not build for Python 3.12.",
        source: "https://pip.pypa.io/en/stable/reference/requirements-file-format/; pypa/pip: src/pip/_internal/req/req_file.py; \
                 https://github.com/MagicStack/asyncpg/releases/tag/v0.29.0",
    },
    Rule {
        id: "environment",
        subject: PLATFORM,
        judge: One(platform::environment),
        why: "Production's rules apply where ENVIRONMENT is neither development nor test. Unknown: the code mentions no \
              ENVIRONMENT.",
        source: "deploy/backend/settings.py",
    },
    Rule {
        id: "port",
        subject: PLATFORM,
        judge: One(platform::port),
        why: "sidepulse takes PORT (or SIDEPULSE_LISTEN), the app SIDEPULSE_APP_PORT; `sidepulse run` refuses to start both on \
              one port. Over a Unix socket they cannot clash.",
        source: "the README, Settings",
    },
    Rule {
        id: "draining",
        subject: PLATFORM,
        judge: One(platform::draining),
        why: "Railway kills RAILWAY_DEPLOYMENT_DRAINING_SECONDS (0 unless set) after SIGTERM. A stop takes up to \
              SIDEPULSE_DRAIN_DELAY + SIDEPULSE_STOP_TIMEOUT.",
        source: "https://docs.railway.com/deployments/reference (draining time)",
    },
    Rule {
        id: "settings",
        subject: PLATFORM,
        judge: Each(platform::settings),
        why: "sidepulse would not start with a setting that it cannot use; doctor loads the same configuration as the daemon, \
              with what the start command and the image tell it, and repeats what the daemon would warn of: keys that it \
              ignores, a variable of Kubernetes with a setting's name.",
        source: "sidepulse --help",
    },
    Rule {
        id: "unknown-variables",
        subject: PLATFORM,
        judge: Each(platform::unknown_variables),
        why: "A SIDEPULSE_* variable that is no setting is a misspelt one, and does nothing.",
        source: "sidepulse --help",
    },
    Rule {
        id: "left-out",
        subject: PLATFORM,
        judge: Each(platform::left_out),
        why: "doctor reads 1,000 files of 1 MiB at most, so that it ends soon whatever DIR is. What was left out may hold what \
              a rule looks for.",
        source: "doctor's own limits",
    },
];
