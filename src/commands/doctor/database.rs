//! Rules about `DATABASE_URL`: what sidepulse makes of it, what the backend's driver makes of it, what Neon bills.

use std::time::Duration;

use super::Finding;
use super::backend::Backend;
use super::environment::Environment;
use crate::config::settings::DATABASE_URL;
use crate::dsn::{Plan, TlsPolicy};

/// The scheme that makes SQLAlchemy use asyncpg.
const ASYNCPG: &str = "postgresql+asyncpg://";
const EXAMPLE: &str = "DATABASE_URL=postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE?ssl=require";

/// Keys of libpq that `asyncpg.connect` refuses with a TypeError; SQLAlchemy hands every key on (seen with
/// SQLAlchemy 2.1.9 and asyncpg 0.32.0). The first two are what Neon's console puts into its URLs.
const LIBPQ_ONLY: [&str; 13] = [
    "sslmode",
    "channel_binding",
    "options",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslnegotiation",
    "gssencmode",
    "connect_timeout",
    "application_name",
    "keepalives",
    "pgbouncer",
];

/// What in the backend's code shows that a transaction pooler was thought of (SQLAlchemy's and asyncpg's words).
const WITHOUT_CACHE: [&str; 3] = ["statement_cache_size", "prepared_statement_name_func", "NullPool"];

/// A Neon compute suspends after as long without activity, on every plan's default.
const AWAKE: Duration = Duration::from_secs(300);
/// A month and the smallest compute, as Neon's arithmetic has them.
const HOURS_A_MONTH: f64 = 730.0;
const SMALLEST_COMPUTE: f64 = 0.25;
const FREE_PLAN: f64 = 100.0;
/// From a tenth of the free plan on, what the checks cost is worth a word.
const WORTH_A_WORD: f64 = 10.0;
/// What the default of `SIDEPULSE_ECONOMY_INTERVAL`, one hour, costs: less is to be had by asking for it.
const COST_WHERE_BLIND: f64 = 15.3;

/// `DATABASE_URL` is there and sidepulse can use it.
pub(super) fn url(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    let Some(text) = environment.text(DATABASE_URL) else {
        let message = format!("DATABASE_URL {}", environment.absence(DATABASE_URL));
        let remedy = format!("copy it from Neon (Dashboard, Connect) and set {EXAMPLE}");
        return vec![match environment.database_is_off() {
            true => Finding::warning(format!("{message}, and the database check is off"), remedy),
            false => Finding::error(message, remedy),
        }];
    };
    vec![match Plan::parse(&text) {
        Ok(_) => Finding::ok("DATABASE_URL can be used by sidepulse"),
        Err(fault) => Finding::error(format!("DATABASE_URL: {}", fault.fault), format!("e.g. {}", fault.example)),
    }]
}

/// The backend's SQLAlchemy would take asyncpg.
pub(super) fn driver(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let Some(text) = environment.text(DATABASE_URL) else { return Vec::new() };
    if text.starts_with(ASYNCPG) {
        return vec![Finding::ok(format!("DATABASE_URL begins with {ASYNCPG}"))];
    }
    if backend.is_some_and(translates_scheme) {
        let message =
            format!("DATABASE_URL does not begin with {ASYNCPG}, but the backend's code sets the driver itself");
        return vec![Finding::ok(message)];
    }
    vec![Finding::error(
        format!("DATABASE_URL does not begin with {ASYNCPG}, so the backend would not use asyncpg"),
        format!("leave the URL alone, without quotes or a command, and write its scheme as {ASYNCPG}"),
    )]
}

/// The driver's name is in the code, and something that builds a URL with it.
fn translates_scheme(backend: &Backend) -> bool {
    let builds = ["URL.create(", "drivername=", ".replace(\"postgres", ".removeprefix(\"postgres", "re.sub("];
    backend.mentions("+asyncpg") && builds.iter().any(|sign| backend.mentions(sign))
}

/// asyncpg would take every key of the URL.
pub(super) fn keys(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let Some(text) = environment.text(DATABASE_URL) else { return Vec::new() };
    let given: Vec<&str> = LIBPQ_ONLY.into_iter().filter(|key| value_of(&text, key).is_some()).collect();
    if given.is_empty() {
        let verify = value_of(&text, "ssl").is_some_and(|mode| mode.to_ascii_lowercase().starts_with("verify"));
        if verify && !backend.is_some_and(handles_sslmode) {
            return vec![Finding::warning(
                "asyncpg verifies with ssl=verify-… only against ~/.postgresql/root.crt, which a container does not have",
                "write ssl=require, or pass an SSLContext in connect_args",
            )];
        }
        return vec![Finding::ok("DATABASE_URL has no key that asyncpg refuses")];
    }
    let list = given.join(", ");
    let Some(backend) = backend.filter(|backend| handles_sslmode(backend)) else {
        return vec![Finding::error(
            format!("DATABASE_URL has keys of libpq that asyncpg refuses: {list}"),
            format!("take them out; ssl=require is asyncpg's word, e.g. {EXAMPLE}"),
        )];
    };
    if given.contains(&"channel_binding") && !backend.mentions("channel_binding") {
        return vec![Finding::warning(
            "the backend's code translates sslmode but does not mention channel_binding, which asyncpg refuses",
            "take channel_binding out of DATABASE_URL, or drop it in the code as well",
        )];
    }
    vec![Finding::ok(format!("DATABASE_URL has keys of libpq ({list}), which the backend's code translates"))]
}

/// The word as such: within a URL literal it only shows where the URL was copied from.
fn handles_sslmode(backend: &Backend) -> bool {
    backend.mentions_unless_after("sslmode", &['?', '&'])
}

/// The value of a query key, as pasted.
fn value_of<'a>(url: &'a str, key: &str) -> Option<&'a str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key)).map(|(_, value)| value)
}

/// A login does not cross a public network in the clear.
pub(super) fn tls(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    let Some(plan) = environment.checked_plan() else { return Vec::new() };
    if plan.tls.policy == TlsPolicy::Off && !plan.private {
        let message = "the database's URL switches TLS off for a host that is not private: the login can be read";
        return vec![Finding::warning(message, "write ssl=require instead of ssl=disable")];
    }
    Vec::new()
}

/// With Neon's pooler in between, the backend prepares no statements by name.
pub(super) fn statement_cache(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let Some(text) = environment.text(DATABASE_URL) else { return Vec::new() };
    let Ok((plan, _)) = Plan::parse(&text) else { return Vec::new() };
    if !plan.pooled {
        return vec![Finding::ok("DATABASE_URL names no pooled Neon host, so prepared statements work")];
    }
    if value_of(&text, "prepared_statement_cache_size") == Some("0") {
        return vec![Finding::ok("DATABASE_URL names a pooled Neon host and switches the statement cache off")];
    }
    let seen = WITHOUT_CACHE.iter().any(|word| backend.is_some_and(|backend| backend.mentions(word)));
    if seen {
        return vec![Finding::ok("DATABASE_URL names a pooled Neon host, and the backend's code provides for it")];
    }
    let message = match backend {
        Some(_) => {
            "DATABASE_URL names a pooled Neon host (-pooler), and nothing in the backend switches the statement \
                    cache off: statements prepared in one session are missing in the next"
        }
        None => {
            "DATABASE_URL names a pooled Neon host (-pooler); whether the backend switches the statement cache off \
                 is not known without --backend DIR"
        }
    };
    let remedy = "take -pooler out of the host's name, or pass connect_args={\"statement_cache_size\": 0, \
                  \"prepared_statement_cache_size\": 0} to create_async_engine";
    vec![Finding::warning(message, remedy)]
}

/// The checks let a Neon compute sleep.
pub(super) fn neon_awake(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    if !environment.checked_plan().is_some_and(|plan| plan.neon) {
        return Vec::new();
    }
    let is_steady = environment.text("SIDEPULSE_DATABASE_MODE").is_some_and(|m| m.eq_ignore_ascii_case("steady"));
    let (variable, remedy) = if is_steady {
        ("SIDEPULSE_DATABASE_INTERVAL", "remove SIDEPULSE_DATABASE_MODE=steady: economy is the default on Neon")
    } else {
        ("SIDEPULSE_ECONOMY_MAX_AGE", "set SIDEPULSE_ECONOMY_MAX_AGE=6h (2.5 compute-hours a month), or 0s for never")
    };
    let mode = if is_steady { "steady mode" } else { "economy mode" };
    let awake = share_awake(environment.duration(variable));
    if compute_hours(awake) >= WORTH_A_WORD {
        let message = format!("{mode} with this {variable} keeps the Neon compute awake {}", cost(awake));
        return vec![Finding::warning(message, remedy)];
    }
    let blind = share_awake(environment.duration("SIDEPULSE_ECONOMY_INTERVAL"));
    if !is_steady && compute_hours(blind) > COST_WHERE_BLIND {
        let message = format!(
            "where the kernel shows no sockets, this SIDEPULSE_ECONOMY_INTERVAL keeps the Neon compute awake {}",
            cost(blind)
        );
        return vec![Finding::warning(message, "set SIDEPULSE_ECONOMY_INTERVAL=1h or longer")];
    }
    vec![Finding::ok(format!("{mode} lets the Neon compute sleep: the checks keep it awake {}", cost(awake)))]
}

/// The part of the time for which one knock every `period` keeps a compute awake. Zero is never.
fn share_awake(period: Duration) -> f64 {
    if period.is_zero() { 0.0 } else { (AWAKE.as_secs_f64() / period.as_secs_f64()).min(1.0) }
}

/// A month of the smallest compute that is awake for this part of the time.
fn compute_hours(awake: f64) -> f64 {
    awake * HOURS_A_MONTH * SMALLEST_COMPUTE
}

fn cost(awake: f64) -> String {
    let (percent, hours) = (awake * 100.0, compute_hours(awake));
    format!("{percent:.0} % of the time, about {hours:.1} compute-hours a month (the free plan has {FREE_PLAN:.0})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_hours_are_those_of_the_price_list() {
        let rows = [(15, "182.5"), (300, "182.5"), (3600, "15.2"), (6 * 3600, "2.5"), (0, "0.0")];
        for (seconds, hours) in rows {
            assert_eq!(
                format!("{:.1}", compute_hours(share_awake(Duration::from_secs(seconds)))),
                hours,
                "{seconds} s"
            );
        }
    }
}
