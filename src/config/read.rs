//! Reads the settings one by one, each into a type that says what it means.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::app_target::AppTarget;
use super::parse::{self, Wrong};
use super::settings::{DATABASE_URL, LISTEN, OWN_DATABASE_URL, PORT, default_of};
use super::{
    AppSettings, BadSetting, ChildSettings, DEFAULT_PORT, DatabaseMode, DatabaseSettings, Gate, Lookup, OnCleanExit,
    OnUnresponsive, Railway, Thresholds, WarnAt, service_links,
};
use crate::dsn::{Plan, ScaleToZero, TlsPolicy};
use crate::{log, tls};

/// Reads values and collects what is wrong with them.
pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    pub(super) faults: Vec<BadSetting>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Reader { lookup, faults: Vec::new(), warnings: Vec::new() }
    }

    fn given(&mut self, variable: &str) -> Option<(String, String)> {
        let given = (self.lookup)(variable)?;
        let Some(text) = given.text else {
            self.fault(&given.named, ("is not valid UTF-8".into(), "plain text"));
            return None;
        };
        if given.named == variable && service_links::is_one(variable, &text) {
            let warning = service_links::shadows(variable);
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
            return None;
        }
        Some((text, given.named))
    }

    fn fault(&mut self, named: &str, (fault, example): Wrong) {
        self.faults.push(BadSetting { named: named.to_owned(), fault, example: example.to_owned() });
    }

    /// The parsed value; `None` if it is missing or wrong. A wrong one is noted.
    pub(super) fn optional<T>(&mut self, variable: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let (text, named) = self.given(variable)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.fault(&named, wrong);
                None
            }
        }
    }

    /// The parsed value; if it is missing or wrong, the default from the table of settings.
    pub(super) fn read<T>(&mut self, variable: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> T {
        let value = self.optional(variable, &parse);
        // With a wrong default every test that loads a configuration would fail.
        value.unwrap_or_else(|| parse(default_of(variable)).expect("the default of a setting is a right value"))
    }

    pub(super) fn text(&mut self, variable: &str) -> Option<String> {
        self.given(variable).map(|(text, _)| text)
    }

    pub(super) fn choice<T: Copy>(&mut self, variable: &str, choices: &[(&'static str, T)]) -> T {
        self.read(variable, |text| {
            let found = choices.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                (format!("must be one of {}", words.join(", ")), default_of(variable))
            })
        })
    }
}

/// For settings with `on` and `off`.
const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn read_log(r: &mut Reader<'_>) -> log::Settings {
    use log::{Format, Level};
    let levels = [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
    let formats = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
    log::Settings { level: r.choice("SIDEPULSE_LOG", &levels), format: r.choice("SIDEPULSE_LOG_FORMAT", &formats) }
}

pub(super) fn read_listen(r: &mut Reader<'_>) -> SocketAddr {
    let port = r.optional(PORT, parse::listen_port).unwrap_or(DEFAULT_PORT);
    r.optional(LISTEN, parse::listen).unwrap_or((Ipv6Addr::UNSPECIFIED, port).into())
}

pub(super) fn read_app(r: &mut Reader<'_>, app_port: u16, listen: SocketAddr) -> AppSettings {
    let target = r.optional("SIDEPULSE_APP_URL", AppTarget::parse).unwrap_or_else(|| AppTarget::local(app_port));
    if target.leads_to(listen) {
        let named = match r.given("SIDEPULSE_APP_URL").or_else(|| r.given("SIDEPULSE_APP_PORT")) {
            Some((_, named)) => named,
            None => PORT.to_owned(),
        };
        let fault = format!("the app check would ask sidepulse itself, which listens on port {}", listen.port());
        r.fault(&named, (fault, "another port for the app: SIDEPULSE_APP_PORT=8000"));
    }
    AppSettings {
        target,
        statuses: r.read("SIDEPULSE_APP_STATUS", parse::statuses),
        headers: r.read("SIDEPULSE_APP_HEADERS", parse::headers),
        interval: r.read("SIDEPULSE_APP_INTERVAL", parse::duration),
        timeout: r.read("SIDEPULSE_APP_TIMEOUT", parse::duration),
    }
}

pub(super) fn read_database(r: &mut Reader<'_>) -> Option<DatabaseSettings> {
    let on = r.choice("SIDEPULSE_DATABASE", &SWITCH);
    // With `off` the rest is read all the same, so that a typo shows now and not on the day when it is switched on.
    let interval = r.read("SIDEPULSE_DATABASE_INTERVAL", parse::duration);
    let timeout = r.read("SIDEPULSE_DATABASE_TIMEOUT", parse::duration);
    let attempt_timeout = r.read("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", parse::duration);
    let query = r.read("SIDEPULSE_DATABASE_QUERY", parse::statement);
    let gates = [("startup", Gate::Startup), ("always", Gate::Always), ("never", Gate::Never)];
    let gate = r.choice("SIDEPULSE_DATABASE_GATE", &gates);
    let modes = [("auto", None), ("steady", Some(DatabaseMode::Steady)), ("economy", Some(DatabaseMode::Economy))];
    let mode = r.choice("SIDEPULSE_DATABASE_MODE", &modes);
    let sql_checks = r.read("SIDEPULSE_SQL_CHECKS", parse::sql_checks);
    let never_at_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
    let max_age = never_at_zero(r.read("SIDEPULSE_ECONOMY_MAX_AGE", parse::duration_or_zero));
    let idle_handshake = never_at_zero(r.read("SIDEPULSE_IDLE_HANDSHAKE", parse::duration_or_zero));
    let economy_interval = r.read("SIDEPULSE_ECONOMY_INTERVAL", parse::duration);
    let early_warnings = r.choice("SIDEPULSE_EARLY_WARNINGS", &SWITCH);
    if !on {
        return None;
    }
    let plan = read_plan(r)?;
    let mode = mode.unwrap_or(match plan.scale_to_zero {
        ScaleToZero::Yes => DatabaseMode::Economy,
        ScaleToZero::Perhaps(_) | ScaleToZero::No => DatabaseMode::Steady,
    });
    Some(DatabaseSettings {
        plan,
        interval,
        timeout,
        attempt_timeout,
        query,
        gate,
        mode,
        sql_checks,
        max_age,
        idle_handshake,
        economy_interval,
        early_warnings: early_warnings.then(WarnAt::default),
    })
}

fn read_plan(r: &mut Reader<'_>) -> Option<Plan> {
    let Some((text, named)) = r.given(OWN_DATABASE_URL).or_else(|| r.given(DATABASE_URL)) else {
        let example = "postgresql://user:password@host/database?sslmode=require, or SIDEPULSE_DATABASE=off";
        r.fault(DATABASE_URL, ("is not set".into(), example));
        return None;
    };
    match Plan::parse(&text) {
        Ok((plan, notes)) => {
            r.warnings.extend(notes.iter().map(|note| format!("{named}: {note}")));
            if plan.tls.policy == TlsPolicy::Off && !plan.private {
                r.warnings.push(format!("{named}: the login goes over the network without TLS; set sslmode=require"));
            }
            for fault in tls::check_files(&plan.tls) {
                let example = match fault.contains("sslkey") || fault.contains("sslcert ") {
                    true => "sslcert=/certs/client.crt&sslkey=/certs/client.key",
                    false => "sslrootcert=/etc/ssl/certs/ca-certificates.crt, or install ca-certificates",
                };
                r.fault(&named, (fault, example));
            }
            Some(plan)
        }
        Err(fault) => {
            r.fault(&named, (fault.fault, fault.example));
            None
        }
    }
}

pub(super) fn read_thresholds(r: &mut Reader<'_>) -> Thresholds {
    Thresholds {
        failure: r.read("SIDEPULSE_FAILURE_THRESHOLD", parse::threshold),
        success: r.read("SIDEPULSE_SUCCESS_THRESHOLD", parse::threshold),
    }
}

pub(super) fn read_child(r: &mut Reader<'_>, app_port: u16) -> ChildSettings {
    let on_clean_exit = [("fail", OnCleanExit::Fail), ("pass", OnCleanExit::Pass)];
    let on_unresponsive = [("report", OnUnresponsive::Report), ("exit", OnUnresponsive::Exit)];
    ChildSettings {
        app_port,
        stop_timeout: r.read("SIDEPULSE_STOP_TIMEOUT", parse::duration),
        on_clean_exit: r.choice("SIDEPULSE_ON_CLEAN_EXIT", &on_clean_exit),
        on_unresponsive: r.choice("SIDEPULSE_ON_UNRESPONSIVE", &on_unresponsive),
        unresponsive_after: r.read("SIDEPULSE_UNRESPONSIVE_AFTER", parse::duration),
    }
}

pub(super) fn read_railway(r: &mut Reader<'_>) -> Railway {
    let whole = |text: Option<String>, default| text.and_then(|t| t.trim().parse().ok()).map_or(default, seconds);
    Railway {
        present: r.text("RAILWAY_ENVIRONMENT_ID").is_some(),
        replica: r.text("RAILWAY_REPLICA_ID"),
        gate_timeout: whole(r.text("RAILWAY_HEALTHCHECK_TIMEOUT_SEC"), seconds(300)),
        draining: whole(r.text("RAILWAY_DEPLOYMENT_DRAINING_SECONDS"), Duration::ZERO),
        public_domain: r.text("RAILWAY_PUBLIC_DOMAIN"),
    }
}
