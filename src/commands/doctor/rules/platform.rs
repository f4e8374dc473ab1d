//! `ENVIRONMENT`, ports, draining, sidepulse's own settings, and doctor's own limits.

use super::super::deployment::{Code, DECIDE_PORTS, Deployment, Environment};
use super::super::finding::Finding;
use crate::config;
use crate::config::settings::{DATABASE_URL, OWN_DATABASE_URL};

/// `ENVIRONMENT` is set.
pub(super) fn environment(deployment: &Deployment<'_>) -> Option<Finding> {
    Some(match (deployment.environment(), deployment.code(&["\"ENVIRONMENT\"", "'ENVIRONMENT'", "environment:"])) {
        (Environment::Unset, Code::Silent) => Finding::unknown(
            "ENVIRONMENT is not set, and no file of the app mentions it",
            "check which variable tells the app that it is in production",
        ),
        (Environment::Unset, _) => Finding::warning(
            format!("ENVIRONMENT {}: the app runs as in development", deployment.absence("ENVIRONMENT")),
            "set ENVIRONMENT=production where users are",
        ),
        (Environment::Relaxed, _) => Finding::ok("ENVIRONMENT is development or test: production's rules do not apply"),
        (Environment::Production, _) => {
            Finding::ok("ENVIRONMENT is neither development nor test: production's rules apply")
        }
    })
}

/// sidepulse and the app do not take the same port.
pub(super) fn port(deployment: &Deployment<'_>) -> Option<Finding> {
    if deployment.port_is_unknown() {
        let message = "the start command gives the ports by a variable that is not known here";
        return Some(Finding::unknown(message, "check that sidepulse and the app take two ports"));
    }
    let ports = deployment.ports?;
    if ports.clash() {
        return Some(Finding::error(
            format!("sidepulse and the app would both take port {}", ports.own),
            format!("give the app another one: SIDEPULSE_APP_PORT={}", ports.other()),
        ));
    }
    let asked = if deployment.text("PORT").is_none() { " (PORT is not set here; Railway sets it)" } else { "" };
    let app = if ports.over_tcp { format!("on {}", ports.app) } else { "on a Unix socket".to_owned() };
    Some(Finding::ok(format!("sidepulse listens on port {}, the app {app}{asked}", ports.own)))
}

/// Railway waits long enough before it kills.
pub(super) fn draining(deployment: &Deployment<'_>) -> Option<Finding> {
    const VARIABLE: &str = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS";
    let config = deployment.config.as_ref().ok()?;
    let sum = config.drain_delay + config.child.stop_timeout;
    let needed = sum.as_secs() + u64::from(sum.subsec_nanos() > 0);
    if deployment.unknown_settings.iter().any(|name| name.ends_with("_DRAIN_DELAY") || name.ends_with("_STOP_TIMEOUT"))
    {
        let message = "the start command gives the time of a stop by a variable that is not known here";
        return Some(Finding::unknown(message, format!("check that {VARIABLE} is no shorter")));
    }
    let given = deployment.text(VARIABLE);
    if given.is_none() && !config.railway.present {
        return Some(Finding::ok(format!("this is not Railway; there, set {VARIABLE}={needed}")));
    }
    let seconds = config.railway.draining.as_secs();
    if seconds >= needed {
        let message = format!("Railway waits {seconds} s before it kills; a stop takes {needed} s at most");
        return Some(Finding::ok(message));
    }
    Some(Finding::warning(
        format!(
            "Railway kills {seconds} s after SIGTERM, but SIDEPULSE_DRAIN_DELAY + SIDEPULSE_STOP_TIMEOUT is {needed} s: \
             requests under way are cut off"
        ),
        format!("set {VARIABLE}={needed}"),
    ))
}

/// sidepulse itself would start with these settings.
pub(super) fn settings(deployment: &Deployment<'_>) -> Vec<Finding> {
    // The rule about the URL reports those.
    let is_other = |named: &str| ![DATABASE_URL, OWN_DATABASE_URL].contains(&named);
    // Two equal ports are an error only if both are known.
    let is_unknown = |named: &str| deployment.port_is_unknown() && DECIDE_PORTS.contains(&named);
    let others = deployment.faults(|named| is_other(named) && !is_unknown(named));
    let found: Vec<Finding> = others
        .map(|fault| Finding::error(format!("{}: {}", fault.named, fault.fault), format!("e.g. {}", fault.example)))
        .collect();
    if !found.is_empty() {
        return found;
    }
    let mut found: Vec<Finding> = deployment.warnings.iter().filter_map(|said| warning(said)).collect();
    if let Some(variable) = deployment.unknown_settings.first() {
        let message = format!("the start command gives {variable} a value that is not known here");
        found.push(Finding::unknown(message, "check that sidepulse can use it"));
    }
    if !found.is_empty() {
        return found;
    }
    match &deployment.config {
        Ok(_) => vec![Finding::ok("sidepulse's own settings can be used")],
        Err(_) => Vec::new(),
    }
}

/// A warning of the daemon about a setting that it can use. The rule about TLS reports logins without it.
fn warning(said: &str) -> Option<Finding> {
    if said.contains("without TLS") {
        return None;
    }
    // The app's driver reads the URL's keys as well, and may refuse those of libpq.
    if let Some((message, _)) = said.split_once(": add sslmode") {
        let remedy = "set SIDEPULSE_DATABASE_URL to this URL with sslmode=verify-full, which sidepulse alone reads";
        return Some(Finding::warning(message, remedy));
    }
    let look = "check that it is meant for the app alone";
    let (message, remedy) = said.rsplit_once("; ").unwrap_or((said, look));
    Some(Finding::warning(message, remedy))
}

/// No `SIDEPULSE_*` variable is misspelt.
pub(super) fn unknown_variables(deployment: &Deployment<'_>) -> Vec<Finding> {
    let unknown = config::unknown_variables(deployment.names.iter().map(String::as_str), deployment.variables);
    if unknown.is_empty() {
        return vec![Finding::ok("every SIDEPULSE_* variable is a setting")];
    }
    unknown.into_iter().map(|sentence| Finding::warning(sentence, "rename it or remove it")).collect()
}

/// What doctor itself did not read.
pub(super) fn left_out(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(backend) = &deployment.backend else { return Vec::new() };
    let cuts = backend.files.cuts.iter().cloned();
    cuts.map(|sentence| Finding::unknown(sentence, "give --backend the directory of the app's own code")).collect()
}
