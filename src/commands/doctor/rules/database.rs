//! Whether sidepulse can use the database's URL, and what its checks cost.

use std::time::Duration;

use super::super::deployment::{Code, Deployment};
use super::super::finding::Finding;
use super::super::read::url;
use crate::config::DatabaseMode;
use crate::config::settings::{DATABASE_URL, OWN_DATABASE_URL};
use crate::dsn::{Plan, ScaleToZero, TlsPolicy};

pub(super) const EXAMPLE: &str = "DATABASE_URL=postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE?ssl=require";

/// By default a Neon compute suspends after this time without activity, on every plan.
const AWAKE: Duration = Duration::from_secs(300);
/// A month and the smallest compute, as Neon counts them.
const HOURS_A_MONTH: f64 = 730.0;
const SMALLEST_COMPUTE: f64 = 0.25;
const FREE_PLAN: f64 = 100.0;
/// If the checks cost at least a tenth of the free plan, that is a warning.
const WORTH_A_WARNING: f64 = 10.0;
/// The cost of the default of `SIDEPULSE_ECONOMY_INTERVAL`, one hour; only more is worth a warning.
const COST_WHERE_BLIND: f64 = 15.3;

/// How pools with a minimum size are made: asyncpg's and psycopg's.
const POOLS: [&str; 3] = ["create_pool(", "asyncconnectionpool(", " connectionpool("];

/// `DATABASE_URL` is there and sidepulse can use it.
pub(super) fn url(deployment: &Deployment<'_>) -> Vec<Finding> {
    let faults: Vec<Finding> = deployment
        .faults(|named| [DATABASE_URL, OWN_DATABASE_URL].contains(&named))
        .map(|fault| Finding::error(format!("{}: {}", fault.named, fault.fault), format!("e.g. {}", fault.example)))
        .collect();
    let reads = deployment.code(&[DATABASE_URL]);
    let Some(text) = deployment.text(DATABASE_URL) else {
        let message = format!("DATABASE_URL {}", deployment.absence(DATABASE_URL));
        let remedy = format!("copy it from Neon (Dashboard, Connect) and set {EXAMPLE}");
        let is_asked = deployment.faults(|named| named == DATABASE_URL).next().is_some();
        return vec![match reads {
            _ if is_asked => Finding::error(message, remedy),
            Code::Silent => Finding::unknown(
                format!("{message}, and no file of the app mentions it"),
                "check how it finds its database",
            ),
            _ => Finding::warning(format!("{message}, which sidepulse does not need here"), remedy),
        }];
    };
    if url::is_template(&text) {
        let message = "DATABASE_URL is a template: its user, password or host was never filled in";
        return vec![Finding::error(message, "copy the whole URL with its password from the database's console")];
    }
    if !faults.is_empty() {
        return faults;
    }
    if let Err(fault) = Plan::parse(&text) {
        return vec![Finding::error(format!("DATABASE_URL: {}", fault.fault), format!("e.g. {}", fault.example))];
    }
    vec![match reads {
        Code::Silent => Finding::unknown(
            "sidepulse can use DATABASE_URL, but no file of the app mentions it",
            "check that the app reads this variable: it may put its URL together from parts",
        ),
        _ => Finding::ok("sidepulse can use DATABASE_URL"),
    }]
}

/// A login does not cross a public network in the clear.
pub(super) fn tls(deployment: &Deployment<'_>) -> Option<Finding> {
    let plan = deployment.plan()?;
    if plan.tls.policy == TlsPolicy::Off && !plan.private {
        let message = "the database's URL switches TLS off for a host that is not private: the login can be read";
        return Some(Finding::warning(message, "write ssl=require instead of ssl=disable"));
    }
    None
}

/// The checks let a compute that scales to zero sleep.
pub(super) fn awake(deployment: &Deployment<'_>) -> Option<Finding> {
    let database = deployment.config.as_ref().ok().and_then(|config| config.database.as_ref())?;
    if database.plan.scale_to_zero != ScaleToZero::Yes {
        return None;
    }
    let steady = database.mode == DatabaseMode::Steady;
    let (mode, variable, period) = match database.mode {
        DatabaseMode::Steady => ("steady mode", "SIDEPULSE_DATABASE_INTERVAL", Some(database.interval)),
        DatabaseMode::Economy => ("economy mode", "SIDEPULSE_ECONOMY_MAX_AGE", database.max_age),
    };
    let awake = period.map_or(0.0, share_awake);
    if compute_hours(awake) >= WORTH_A_WARNING {
        let remedy = match steady {
            true => "remove SIDEPULSE_DATABASE_MODE=steady: economy is the default here",
            false => "set SIDEPULSE_ECONOMY_MAX_AGE=6h (2.5 compute-hours a month), or 0s for never",
        };
        let message = format!("{mode} with this {variable} keeps the compute awake {}", cost(awake));
        return Some(Finding::warning(message, remedy));
    }
    let blind = share_awake(database.economy_interval);
    if !steady && compute_hours(blind) > COST_WHERE_BLIND {
        let message = format!(
            "where the kernel shows no sockets, this SIDEPULSE_ECONOMY_INTERVAL keeps the compute awake {}",
            cost(blind)
        );
        return Some(Finding::warning(message, "set SIDEPULSE_ECONOMY_INTERVAL=1h or longer"));
    }
    Some(Finding::ok(format!("{mode} lets the compute sleep: the checks keep it awake {}", cost(awake))))
}

/// Whether the host scales to zero is known, or set.
pub(super) fn scale_to_zero(deployment: &Deployment<'_>) -> Option<Finding> {
    let said = deployment.text("SIDEPULSE_DATABASE_MODE").is_some_and(|mode| !mode.eq_ignore_ascii_case("auto"));
    let plan = deployment.plan().filter(|_| !said)?;
    let ScaleToZero::Perhaps(product) = plan.scale_to_zero else { return None };
    let message = format!("{product} may scale to zero, which a host's name does not say: auto means steady here");
    let remedy = "where it does, set SIDEPULSE_DATABASE_MODE=economy; where it does not, steady";
    Some(Finding::unknown(message, remedy))
}

/// No pool reconnects whenever the compute has gone to sleep.
pub(super) fn pool_minimum(deployment: &Deployment<'_>) -> Option<Finding> {
    let sleeps = match &deployment.config {
        Ok(config) => config.database.as_ref().is_some_and(|database| database.mode == DatabaseMode::Economy),
        Err(_) => deployment.plan().is_some_and(|plan| plan.scale_to_zero == ScaleToZero::Yes),
    };
    if !sleeps {
        return None;
    }
    let Code::Mentions(place) = deployment.code(&POOLS) else { return None };
    let message =
        "this pool has a minimum size unless the code says 0: it reconnects at every suspend, which wakes the compute";
    let remedy = "check that min_size=0 stands here (asyncpg: 10 otherwise, psycopg_pool: 4), or use SQLAlchemy's pool";
    Some(Finding::unknown(message, remedy).at(&place.file, place.line))
}

/// The part of the time for which one query every `period` keeps a compute awake.
fn share_awake(period: Duration) -> f64 {
    (AWAKE.as_secs_f64() / period.as_secs_f64()).min(1.0)
}

/// The monthly cost of the smallest compute, if it is awake for this part of the time.
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
        for (seconds, hours) in [(15, "182.5"), (300, "182.5"), (3600, "15.2"), (6 * 3600, "2.5")] {
            assert_eq!(
                format!("{:.1}", compute_hours(share_awake(Duration::from_secs(seconds)))),
                hours,
                "{seconds} s"
            );
        }
    }
}
