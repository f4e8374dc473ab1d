//! Whether the app's own driver can use the database's URL.

use super::super::deployment::{Code, Deployment};
use super::super::finding::Finding;
use super::super::read::placeholder;
use super::super::read::url::Url;
use super::database::EXAMPLE;
use crate::config::settings::DATABASE_URL;
use crate::dsn::{Endpoint, Plan};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Asyncpg,
    /// Both pass every key to libpq; the older one prepares no statements.
    Psycopg,
    Psycopg2,
    /// pg8000, psycopg2cffi, …; or it is not known which.
    Unknown,
}

/// The keys and values that asyncpg takes from a URL of SQLAlchemy (SQLAlchemy 2.1.9, asyncpg 0.32.0; `tests/kit/test_doctor.py`
/// compares with both).
const ASYNCPG_KEYS: [(&str, Values); 12] = [
    ("host", Values::Any),
    ("port", Values::Number),
    ("user", Values::Any),
    ("password", Values::Any),
    ("database", Values::Any),
    ("passfile", Values::Any),
    ("ssl", Values::Of(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])),
    ("command_timeout", Values::Positive),
    ("prepared_statement_cache_size", Values::Number),
    ("target_session_attrs", Values::Of(&["any", "read-write", "read-only", "primary", "standby", "prefer-standby"])),
    ("krbsrvname", Values::Any),
    ("gsslib", Values::Of(&["gssapi", "sspi"])),
];

/// The keys that libpq takes in a URL (PostgreSQL 18, `fe-connect.c`, `PQconninfoOptions`); also `ssl=true`, which it reads
/// as `sslmode=require`.
const LIBPQ_KEYS: &str = "service servicefile user password passfile channel_binding connect_timeout dbname host hostaddr \
    port client_encoding options application_name fallback_application_name keepalives keepalives_idle \
    keepalives_interval keepalives_count tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey \
    sslcertmode sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth min_protocol_version \
    max_protocol_version ssl_min_protocol_version ssl_max_protocol_version gssencmode krbsrvname gsslib gssdelegation \
    replication target_session_attrs load_balance_hosts scram_client_key scram_server_key oauth_issuer oauth_client_id \
    oauth_client_secret oauth_scope sslkeylogfile";

#[derive(Clone, Copy)]
enum Values {
    Any,
    Number,
    Positive,
    Of(&'static [&'static str]),
}

impl Values {
    fn fit(self, value: &str) -> bool {
        match self {
            Values::Any => true,
            Values::Number => value.parse::<i64>().is_ok(),
            Values::Positive => value.parse::<f64>().is_ok_and(|number| number > 0.0),
            Values::Of(values) => values.contains(&value),
        }
    }
}

/// Code that could give the URL another scheme or other keys.
const REBUILDS: [&str; 12] = [
    "make_url",
    "url.create",
    "urlparse",
    "urlsplit",
    "urlunparse",
    "parse_qs",
    "parse_qsl",
    "difference_update_query",
    "drivername",
    "split(\"?",
    "split('?",
    "re.sub",
];
const CHANGES_SCHEME: [&str; 3] = ["+asyncpg", "asyncpg.connect", "create_pool("];
/// Code that could take asyncpg out of the scheme again.
const TAKES_ASYNCPG_OUT: [&str; 6] = [
    "replace(\"postgresql+asyncpg",
    "replace('postgresql+asyncpg",
    "replace(\"+asyncpg",
    "replace('+asyncpg",
    "split(\"+asyncpg",
    "split('+asyncpg",
];
/// Settings of SQLAlchemy and asyncpg that are changed for a transaction pooler.
const CACHE: [&str; 4] =
    ["statement_cache_size", "prepared_statement_name_func", "prepared_statement_cache_size", "prepare_threshold"];

/// The scheme names a driver that the app has.
pub(super) fn scheme(deployment: &Deployment<'_>) -> Option<Finding> {
    let text = deployment.text(DATABASE_URL)?;
    let url = Url::read(&text);
    let remedy = format!("write its scheme as postgresql+asyncpg://, as in {EXAMPLE}");
    if url.driver == Some("asyncpg") {
        let ok = Finding::ok("DATABASE_URL names asyncpg as its driver");
        return Some(match deployment.code(&TAKES_ASYNCPG_OUT) {
            Code::Mentions(place) => {
                let message = "DATABASE_URL names asyncpg as its driver, but this may take it out again";
                let look = "check that the app's own engine is not given this URL: Alembic's and scripts may be";
                Finding::unknown(message, look).at(&place.file, place.line)
            }
            Code::Silent | Code::Unread => ok,
        });
    }
    if let Some(driver) = url.driver {
        let message =
            format!("DATABASE_URL names {} as its driver, not asyncpg", placeholder::shown(driver, "another one"));
        return Some(Finding::unknown(message, "check that the app's engine is made for it"));
    }
    let what = match url.dialect {
        "postgresql" => "DATABASE_URL names no driver, and SQLAlchemy would take psycopg",
        "postgres" => "DATABASE_URL begins with postgres://, which SQLAlchemy refuses",
        _ => "DATABASE_URL does not begin with postgresql+asyncpg://",
    };
    let texts: Vec<&str> = REBUILDS
        .iter()
        .chain(&CHANGES_SCHEME)
        .copied()
        .chain(["replace(\"postgres", "replace('postgres", "removeprefix("])
        .collect();
    Some(match deployment.code(&texts) {
        Code::Mentions(place) => {
            let look = "check that what reaches create_async_engine begins with postgresql+asyncpg://";
            Finding::unknown(format!("{what}; this may change it"), look).at(&place.file, place.line)
        }
        Code::Unread => Finding::unknown(format!("{what}, unless the app's code changes it"), remedy),
        Code::Silent if driver(deployment, &url) == Driver::Asyncpg => {
            Finding::error(format!("{what}, and no file of the app could change it"), remedy)
        }
        Code::Silent if url.dialect != "postgresql" => Finding::error(what, remedy),
        Code::Silent => Finding::unknown(
            what,
            "check which driver the app is made for: psycopg2, or psycopg from SQLAlchemy 2.1 on",
        ),
    })
}

/// The driver takes every key of the URL.
pub(super) fn keys(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(text) = deployment.text(DATABASE_URL) else { return Vec::new() };
    let url = Url::read(&text);
    let (name, takes): (_, fn(&str, &str) -> Takes) = match driver(deployment, &url) {
        Driver::Asyncpg => ("asyncpg", asyncpg_takes),
        Driver::Psycopg | Driver::Psycopg2 => ("libpq", libpq_takes),
        Driver::Unknown if url.keys.is_empty() => return vec![Finding::ok("DATABASE_URL has no key")],
        Driver::Unknown => {
            let message = "which driver is handed the keys of DATABASE_URL is not known";
            let look = "check that it takes them: asyncpg takes ssl=require, libpq sslmode=require";
            return vec![Finding::unknown(message, look)];
        }
    };
    let mut refused = Vec::new();
    for (key, value) in &url.keys {
        match takes(key, value) {
            Takes::It => {}
            Takes::OtherValues => refused.push(refused_key(deployment, name, key, true)),
            Takes::No => refused.push(refused_key(deployment, name, key, false)),
        }
    }
    if !refused.is_empty() {
        return refused;
    }
    let verifies = url.value("ssl").is_some_and(|mode| mode.starts_with("verify"));
    vec![if name == "asyncpg" && verifies && deployment.text("PGSSLROOTCERT").is_none() {
        Finding::warning(
            "asyncpg verifies with ssl=verify-… only against ~/.postgresql/root.crt, which a container does not have",
            "write ssl=require, set PGSSLROOTCERT, or pass an SSLContext in connect_args",
        )
    } else {
        Finding::ok(format!("{name} takes every key of DATABASE_URL"))
    }]
}

/// Whether a driver takes a key with its value.
enum Takes {
    It,
    OtherValues,
    No,
}

fn asyncpg_takes(key: &str, value: &str) -> Takes {
    match ASYNCPG_KEYS.iter().find(|(known, _)| *known == key) {
        Some((_, values)) if values.fit(value) => Takes::It,
        Some(_) => Takes::OtherValues,
        None => Takes::No,
    }
}

fn libpq_takes(key: &str, value: &str) -> Takes {
    let is_known = LIBPQ_KEYS.split(' ').any(|known| known == key) || (key, value) == ("ssl", "true");
    if is_known { Takes::It } else { Takes::No }
}

fn refused_key(deployment: &Deployment<'_>, name: &str, key: &str, is_value: bool) -> Finding {
    // Like the keys of libpq, Prisma and JDBC; anything else could be a part of a password.
    let is_plain = key.len() <= 40 && key.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let shown = if is_plain { key } else { "a key" };
    let what = match is_value {
        true => format!("{name} refuses this value of {shown} in DATABASE_URL"),
        false => format!("{name} refuses {shown} in DATABASE_URL"),
    };
    let remedy = match shown {
        "sslmode" if name == "asyncpg" => "write ssl=require instead".to_owned(),
        "ssl" => "write ssl=require".to_owned(),
        _ => "take it out".to_owned(),
    };
    // As in `query.pop("sslmode")` and `.replace("?sslmode=require", "")`; the bare word is part of many names.
    let spellings = [format!("\"{key}\""), format!("'{key}'"), format!("{key}=")];
    let texts: Vec<&str> =
        REBUILDS.into_iter().chain(spellings.iter().map(String::as_str).filter(|_| is_plain)).collect();
    match deployment.code(&texts) {
        Code::Mentions(place) => {
            let look = format!("check that it takes {shown} out before the URL reaches the engine; or {remedy}");
            Finding::unknown(format!("{what}, unless this takes it out"), look).at(&place.file, place.line)
        }
        Code::Unread => Finding::unknown(format!("{what}, unless the app's code takes it out"), remedy),
        Code::Silent => Finding::error(what, remedy),
    }
}

/// Through a pooler in transaction mode, the app prepares no statements by name.
pub(super) fn statement_cache(deployment: &Deployment<'_>) -> Option<Finding> {
    let text = deployment.text(DATABASE_URL)?;
    let (plan, _) = Plan::parse(&text).ok()?;
    let url = Url::read(&text);
    let supabase = matches!(&plan.endpoint, Endpoint::Tcp { host, port: 6543 } if host.ends_with(".supabase.com") || host.ends_with(".supabase.co"));
    let pooler = if plan.pooled {
        "DATABASE_URL names Neon's pooler"
    } else if supabase {
        "DATABASE_URL names Supabase's pooler in transaction mode (port 6543)"
    } else if url.value("pgbouncer") == Some("true") {
        "DATABASE_URL says pgbouncer=true"
    } else {
        return Some(Finding::ok("DATABASE_URL names no pooler in transaction mode that is known"));
    };
    let remedy = match driver(deployment, &url) {
        Driver::Psycopg2 => return Some(Finding::ok(format!("{pooler}; psycopg2 prepares no statements"))),
        Driver::Psycopg => "pass connect_args={\"prepare_threshold\": None} to create_engine, or take the direct host",
        Driver::Asyncpg | Driver::Unknown => {
            "pass connect_args={\"statement_cache_size\": 0, \"prepared_statement_cache_size\": 0} to create_async_engine, or \
             take the direct host"
        }
    };
    if url.value("prepared_statement_cache_size") == Some("0") {
        let message =
            format!("{pooler} and switches SQLAlchemy's cache off; asyncpg's own is switched off in code alone");
        return Some(Finding::unknown(message, "look for statement_cache_size=0 in connect_args"));
    }
    let what = format!("{pooler}, where statements that one session prepared are missing in the next");
    Some(match deployment.code(&CACHE) {
        Code::Mentions(place) => Finding::unknown(
            format!("{pooler}; this may switch the cache of prepared statements off"),
            "check that it stands at the engine that the app uses, not at Alembic's",
        )
        .at(&place.file, place.line),
        Code::Silent if driver(deployment, &url) != Driver::Unknown => {
            Finding::warning(format!("{what}: no file of the app mentions their cache"), remedy)
        }
        Code::Silent | Code::Unread => Finding::unknown(what, remedy),
    })
}

/// By the URL, else by the installed packages.
fn driver(deployment: &Deployment<'_>, url: &Url<'_>) -> Driver {
    match url.driver {
        Some("asyncpg") => return Driver::Asyncpg,
        Some("psycopg" | "psycopg_async") => return Driver::Psycopg,
        Some("psycopg2") => return Driver::Psycopg2,
        Some(_) => return Driver::Unknown,
        None => {}
    }
    let Some(backend) = &deployment.backend else { return Driver::Unknown };
    let has = |names: &[&str]| names.iter().any(|name| backend.installed.has(name) == Some(true));
    match (has(&["asyncpg"]), has(&["psycopg", "psycopg-binary"]), has(&["psycopg2", "psycopg2-binary"])) {
        (true, false, false) => Driver::Asyncpg,
        (false, true, false) => Driver::Psycopg,
        (false, false, true) => Driver::Psycopg2,
        _ => Driver::Unknown,
    }
}
