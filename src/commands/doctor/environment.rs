//! Rules about the environment: its stage, the signing secret, ports, draining, sidepulse's own settings.

use std::time::Duration;

use super::backend::Backend;
use super::literal;
use super::procfile;
use super::{Finding, Level};
use crate::config::settings::{DATABASE_URL, OWN_DATABASE_URL, PORT, SETTINGS};
use crate::config::{self, Config, Lookup, Need, parse};
use crate::dsn::Plan;

/// HS256 wants a key as long as its hash (RFC 7518, section 3.2): 256 bits, and a character is no more than 8.
const SHORTEST_JWT_SECRET: usize = 32;
/// Fewer different characters than a random hexadecimal text of 32 ever has: typed by hand.
const FEWEST_DIFFERENT: usize = 8;
/// Stages that are nobody's production; the backend holds any other name to what production is held to.
const RELAXED: [&str; 2] = ["development", "test"];

const NEW_SECRET: &str = "set JWT_SECRET to the output of `openssl rand -hex 32`";

/// The environment, through the one lookup that there is.
pub(super) struct Environment<'a> {
    /// Flags and variables; an empty value is none.
    pub(super) lookup: Lookup<'a>,
    /// The names of all variables.
    pub(super) names: &'a [String],
}

/// What `ENVIRONMENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Unset,
    Relaxed,
    Production,
}

impl Environment<'_> {
    /// A variable without blanks around it; a blank one counts as unset.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        let text = (self.lookup)(variable)?.text?;
        Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Why [`Environment::text`] has nothing.
    pub(super) fn absence(&self, variable: &str) -> &'static str {
        match (self.lookup)(variable) {
            Some(given) if given.text.is_none() => "is not valid UTF-8",
            _ => "is not set",
        }
    }

    pub(super) fn stage(&self) -> Stage {
        match self.text("ENVIRONMENT") {
            None => Stage::Unset,
            Some(stage) if RELAXED.contains(&stage.to_ascii_lowercase().as_str()) => Stage::Relaxed,
            Some(_) => Stage::Production,
        }
    }

    /// A setting of sidepulse, or its default where it is missing or wrong (the rule `settings` tells).
    pub(super) fn duration(&self, variable: &str) -> Duration {
        let given = self.text(variable).and_then(|text| parse::duration_or_zero(&text).ok());
        given.or_else(|| parse::duration_or_zero(default(variable)).ok()).unwrap_or_default()
    }

    /// The database that sidepulse checks, where there is one.
    pub(super) fn checked_plan(&self) -> Option<Plan> {
        let url =
            self.text(OWN_DATABASE_URL).or_else(|| self.text(DATABASE_URL)).filter(|_| !self.database_is_off())?;
        Plan::parse(&url).ok().map(|(plan, _)| plan)
    }

    pub(super) fn database_is_off(&self) -> bool {
        self.text("SIDEPULSE_DATABASE").is_some_and(|word| word.eq_ignore_ascii_case("off"))
    }

    /// Every value that must not stand in a file. Short ones and placeholders are left out: they stand everywhere.
    pub(super) fn secrets(&self) -> Vec<String> {
        let plain = ["JWT_SECRET", "SIDEPULSE_TOKEN"].into_iter().filter_map(|variable| self.text(variable));
        let urls = [DATABASE_URL, OWN_DATABASE_URL].into_iter().filter_map(|variable| self.text(variable));
        let passwords = urls.filter_map(|url| Plan::parse(&url).ok()).flat_map(|(plan, _)| plan.secrets());
        plain.chain(passwords.map(|secret| secret.expose().to_owned())).filter(|s| literal::is_distinctive(s)).collect()
    }

    fn port(&self, variable: &str) -> Option<Result<u16, Finding>> {
        let text = self.text(variable)?;
        let fault = |_| Finding::error(format!("{variable} is not a port"), "a number from 1 to 65535, e.g. 8080");
        Some(parse::port(&text).map_err(fault))
    }
}

/// A setting's default, from the one table that there is.
fn default(variable: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.variable == variable).map_or("", |setting| setting.default)
}

/// `ENVIRONMENT` is set.
pub(super) fn stage(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    vec![match environment.stage() {
        Stage::Unset => Finding::warning(
            format!("ENVIRONMENT {}: the backend runs as in development", environment.absence("ENVIRONMENT")),
            "set ENVIRONMENT=production where users are",
        ),
        Stage::Relaxed => Finding::ok("ENVIRONMENT is development or test: production's rules do not apply"),
        Stage::Production => Finding::ok("ENVIRONMENT is neither development nor test: production's rules apply"),
    }]
}

/// `JWT_SECRET` is there and long enough.
pub(super) fn jwt_secret(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    let stage = environment.stage();
    let fault = |message: String| match stage {
        Stage::Production => Finding::error(message, NEW_SECRET),
        Stage::Unset => Finding::warning(format!("{message}, which production would refuse"), NEW_SECRET),
        Stage::Relaxed => Finding::ok(format!("{message}, which production would refuse")),
    };
    let Some(secret) = environment.text("JWT_SECRET") else {
        return vec![fault(format!("JWT_SECRET {}", environment.absence("JWT_SECRET")))];
    };
    if secret.chars().count() < SHORTEST_JWT_SECRET {
        return vec![fault(format!("JWT_SECRET has fewer than {SHORTEST_JWT_SECRET} characters"))];
    }
    let mut different: Vec<char> = secret.chars().collect();
    different.sort_unstable();
    different.dedup();
    if stage != Stage::Relaxed && (literal::is_marked(&secret) || different.len() < FEWEST_DIFFERENT) {
        return vec![Finding::warning("JWT_SECRET is long enough but looks like a placeholder", NEW_SECRET)];
    }
    vec![Finding::ok(format!("JWT_SECRET has at least {SHORTEST_JWT_SECRET} characters"))]
}

/// The ports are ports, and sidepulse and the app do not take the same one.
pub(super) fn port(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let (port, app) = (environment.port(PORT), environment.port("SIDEPULSE_APP_PORT"));
    let faults: Vec<Finding> = [&port, &app].into_iter().flatten().filter_map(|p| p.clone().err()).collect();
    if !faults.is_empty() {
        return faults;
    }
    let port = port.and_then(Result::ok);
    let own = environment.text("SIDEPULSE_LISTEN");
    let listen = own.as_ref().map_or(port, |text| parse::listen(text).ok().map(|address| address.port()));
    let usual = parse::port(default("SIDEPULSE_APP_PORT")).unwrap_or_default();
    let (listen, app) = (listen.unwrap_or(config::DEFAULT_PORT), app.and_then(Result::ok).unwrap_or(usual));
    if listen == app {
        let other = if app == usual { usual + 1 } else { usual };
        return vec![Finding::error(
            format!("sidepulse and the app would both take port {app}"),
            format!("give the app another one: SIDEPULSE_APP_PORT={other}"),
        )];
    }
    if let Some(start) = backend.and_then(|backend| procfile::fight_for_port(backend).filter(|_| own.is_none())) {
        return vec![start];
    }
    let asked = if port.is_none() { " (PORT is not set here; Railway sets it)" } else { "" };
    vec![Finding::ok(format!("sidepulse listens on port {listen}, the app on {app}{asked}"))]
}

/// Railway waits long enough before it kills.
pub(super) fn draining(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    const VARIABLE: &str = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS";
    let sum = environment.duration("SIDEPULSE_DRAIN_DELAY") + environment.duration("SIDEPULSE_STOP_TIMEOUT");
    let needed = sum.as_secs() + u64::from(sum.subsec_nanos() > 0);
    let given = environment.text(VARIABLE);
    if given.is_none() && environment.text("RAILWAY_ENVIRONMENT_ID").is_none() {
        return vec![Finding::ok(format!("this is not Railway; there, set {VARIABLE}={needed}"))];
    }
    let seconds = given.and_then(|text| text.parse().ok()).unwrap_or(0);
    if seconds >= needed {
        return vec![Finding::ok(format!(
            "Railway waits {seconds} s before it kills; a stop takes {needed} s at most"
        ))];
    }
    vec![Finding::warning(
        format!(
            "Railway kills {seconds} s after SIGTERM, but SIDEPULSE_DRAIN_DELAY + SIDEPULSE_STOP_TIMEOUT is {needed} s: \
             requests under way are cut off"
        ),
        format!("set {VARIABLE}={needed}"),
    )]
}

/// sidepulse itself would start with these settings.
pub(super) fn settings(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let Err(faults) = Config::load(environment.lookup, Need::Everything) else {
        return vec![Finding::ok("sidepulse's own settings can be used")];
    };
    // What a rule with better words has already told is not told twice.
    let told = |found: Vec<Finding>| found.iter().any(|finding| finding.level == Level::Error);
    let (url_told, port_told) = (told(super::database::url(environment, backend)), told(port(environment, backend)));
    let is_news = |named: &str| match named {
        DATABASE_URL => !url_told,
        PORT | "SIDEPULSE_APP_PORT" => !port_told,
        _ => true,
    };
    let found = faults.into_iter().filter(|fault| is_news(&fault.named));
    found
        .map(|fault| Finding::error(format!("{}: {}", fault.named, fault.fault), format!("e.g. {}", fault.example)))
        .collect()
}

/// No `SIDEPULSE_*` variable is misspelt.
pub(super) fn unknown_variables(environment: &Environment<'_>, _: Option<&Backend>) -> Vec<Finding> {
    let unknown = config::unknown_variables(environment.names.iter().map(String::as_str), environment.lookup);
    if unknown.is_empty() {
        return vec![Finding::ok("every SIDEPULSE_* variable is a setting")];
    }
    unknown.into_iter().map(|sentence| Finding::warning(sentence, "rename it or remove it")).collect()
}
