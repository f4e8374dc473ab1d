//! Reading the settings one by one: each name stands here once, beside its default.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::app_target::AppTarget;
use super::parse::{self, Wrong};
use super::settings::{DATABASE_URL, OWN_DATABASE_URL, PORT};
use super::{AppSettings, DEFAULT_PORT, DatabaseSettings, Fault, Gate, Lookup, Mode, Railway};
use crate::dsn::{Plan, ScaleToZero, TlsPolicy};
use crate::{log, tls};

/// Reads values one by one and collects what is wrong with them.
pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Reader { lookup, faults: Vec::new() }
    }

    fn given(&mut self, variable: &str) -> Option<(String, String)> {
        let given = (self.lookup)(variable)?;
        let Some(text) = given.text else {
            self.fault(&given.named, ("is not valid UTF-8".into(), "plain text"));
            return None;
        };
        Some((text, given.named))
    }

    fn fault(&mut self, named: &str, (fault, example): Wrong) {
        self.faults.push(Fault { named: named.to_owned(), fault, example: example.to_owned() });
    }

    /// The parsed value, or the default where it is missing or wrong (a wrong one is noted).
    pub(super) fn read<T>(&mut self, variable: &str, default: T, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> T {
        match self.given(variable) {
            None => default,
            Some((text, named)) => match parse(text.trim()) {
                Ok(value) => value,
                Err(wrong) => {
                    self.fault(&named, wrong);
                    default
                }
            },
        }
    }

    pub(super) fn text(&mut self, variable: &str) -> Option<String> {
        self.given(variable).map(|(text, _)| text)
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        variable: &str,
        default: T,
        choices: &[(&'static str, T)],
        example: &'static str,
    ) -> T {
        self.read(variable, default, |text| {
            let found = choices.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                (format!("must be one of {}", words.join(", ")), example)
            })
        })
    }
}

pub(super) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn read_log(r: &mut Reader<'_>) -> log::Settings {
    use log::{Format, Level};
    let levels = [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
    let formats = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
    log::Settings {
        level: r.choice("SIDEPULSE_LOG", Level::Info, &levels, "info"),
        format: r.choice("SIDEPULSE_LOG_FORMAT", Format::Auto, &formats, "auto"),
    }
}

pub(super) fn read_listen(r: &mut Reader<'_>) -> SocketAddr {
    let port = r.read(PORT, DEFAULT_PORT, parse::listen_port);
    r.read("SIDEPULSE_LISTEN", (Ipv6Addr::UNSPECIFIED, port).into(), parse::listen)
}

pub(super) fn read_app(r: &mut Reader<'_>, app_port: u16, listen: SocketAddr) -> AppSettings {
    let target = r.read("SIDEPULSE_APP_URL", AppTarget::local(app_port), AppTarget::parse);
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
        statuses: r.read("SIDEPULSE_APP_STATUS", vec![200..=499], parse::statuses),
        headers: r.read("SIDEPULSE_APP_HEADERS", Vec::new(), parse::headers),
        interval: r.read("SIDEPULSE_APP_INTERVAL", seconds(5), parse::duration),
        timeout: r.read("SIDEPULSE_APP_TIMEOUT", seconds(2), parse::duration),
    }
}

pub(super) fn read_database(r: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<DatabaseSettings> {
    let on = r.choice("SIDEPULSE_DATABASE", true, &[("on", true), ("off", false)], "off");
    // With `off` the rest is still read, so that a typing mistake shows now and not on the day it is switched on.
    let interval = r.read("SIDEPULSE_DATABASE_INTERVAL", seconds(15), parse::duration);
    let timeout = r.read("SIDEPULSE_DATABASE_TIMEOUT", seconds(20), parse::duration);
    let attempt_timeout = r.read("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", seconds(8), parse::duration);
    let query = r.read("SIDEPULSE_DATABASE_QUERY", "SELECT 1".to_owned(), parse::statement);
    let gates = [("startup", Gate::Startup), ("always", Gate::Always), ("never", Gate::Never)];
    let gate = r.choice("SIDEPULSE_DATABASE_GATE", Gate::Startup, &gates, "startup");
    let modes = [("auto", None), ("steady", Some(Mode::Steady)), ("economy", Some(Mode::Economy))];
    let mode = r.choice("SIDEPULSE_DATABASE_MODE", None, &modes, "auto");
    let sql_checks = r.read("SIDEPULSE_SQL_CHECKS", Vec::new(), parse::sql_checks);
    let optional = |d: Duration| Some(d).filter(|d| !d.is_zero());
    let max_age = optional(r.read("SIDEPULSE_ECONOMY_MAX_AGE", seconds(6 * 3600), parse::duration_or_zero));
    let idle_handshake = optional(r.read("SIDEPULSE_IDLE_HANDSHAKE", seconds(60), parse::duration_or_zero));
    let blind_interval = r.read("SIDEPULSE_ECONOMY_INTERVAL", seconds(3600), parse::duration);
    if !on {
        return None;
    }
    let plan = read_plan(r, warnings)?;
    let mode = mode.unwrap_or(match plan.scale_to_zero {
        ScaleToZero::Yes => Mode::Economy,
        ScaleToZero::Perhaps(_) | ScaleToZero::No => Mode::Steady,
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
        blind_interval,
    })
}

fn read_plan(r: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<Plan> {
    let Some((text, named)) = r.given(OWN_DATABASE_URL).or_else(|| r.given(DATABASE_URL)) else {
        let example = "postgresql://user:password@host/database?sslmode=require, or SIDEPULSE_DATABASE=off";
        r.fault(DATABASE_URL, ("is not set".into(), example));
        return None;
    };
    match Plan::parse(&text) {
        Ok((plan, notes)) => {
            warnings.extend(notes.iter().map(|note| format!("{named}: {note}")));
            if plan.tls.policy == TlsPolicy::Off && !plan.private {
                warnings.push(format!("{named}: the login goes over the network without TLS; set sslmode=require"));
            }
            if let Err(fault) = tls::check_roots(&plan.tls) {
                r.fault(&named, (fault, "sslrootcert=/etc/ssl/certs/ca-certificates.crt, or install ca-certificates"));
            }
            Some(plan)
        }
        Err(fault) => {
            r.fault(&named, (fault.fault, fault.example));
            None
        }
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
