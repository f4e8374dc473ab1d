use super::settings::{DATABASE_URL, OWN_DATABASE_URL};
use super::*;

const URL: (&str, &str) = (DATABASE_URL, "postgresql://u:hunter2@db.example/d?sslmode=require");

fn load(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    load_for(pairs, Need::Everything)
}

fn load_for(pairs: &[(&str, &str)], need: Need) -> Result<Config, Vec<String>> {
    let lookup = |name: &str| {
        let (_, text) = pairs.iter().find(|(known, _)| *known == name)?;
        Some(Given { text: Some((*text).to_owned()), named: name.to_owned() })
    };
    Config::load(&lookup, need).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = load(&[URL]).unwrap();
    let database = config.database.unwrap();
    let shown = |variable: &str| SETTINGS.iter().find(|s| s.variable == variable).unwrap().default;
    let as_shown =
        |variable: &str, value: Duration| assert_eq!(parse::duration_or_zero(shown(variable)), Ok(value), "{variable}");
    as_shown("SIDEPULSE_APP_INTERVAL", config.app.interval);
    as_shown("SIDEPULSE_APP_TIMEOUT", config.app.timeout);
    as_shown("SIDEPULSE_DATABASE_INTERVAL", database.interval);
    as_shown("SIDEPULSE_DATABASE_TIMEOUT", database.timeout);
    as_shown("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", database.attempt_timeout);
    as_shown("SIDEPULSE_ECONOMY_MAX_AGE", database.max_age.unwrap());
    as_shown("SIDEPULSE_IDLE_HANDSHAKE", database.idle_handshake.unwrap());
    as_shown("SIDEPULSE_ECONOMY_INTERVAL", database.blind_interval);
    as_shown("SIDEPULSE_DRAIN_DELAY", config.drain_delay);
    as_shown("SIDEPULSE_STOP_TIMEOUT", config.child.stop_timeout);
    as_shown("SIDEPULSE_UNRESPONSIVE_AFTER", config.child.unresponsive_after);
    assert_eq!(shown("SIDEPULSE_FAILURE_THRESHOLD"), config.thresholds.failure.to_string());
    assert_eq!(shown("SIDEPULSE_SUCCESS_THRESHOLD"), config.thresholds.success.to_string());
    assert_eq!(shown("SIDEPULSE_APP_PORT"), config.child.app_port.to_string());
    assert_eq!(parse::statuses(shown("SIDEPULSE_APP_STATUS")).unwrap(), config.app.statuses);
    assert_eq!(shown("SIDEPULSE_DATABASE_QUERY"), database.query);
    assert_eq!(database.gate, Gate::Startup);
    assert_eq!(config.listen.to_string(), "[::]:9900");
    assert_eq!(config.app.target, AppTarget::local(8000));
}

#[test]
fn all_faults_come_together_and_name_their_variable() {
    let faults = load(&[
        ("SIDEPULSE_APP_INTERVAL", "5"),
        ("SIDEPULSE_DATABASE_GATE", "sometimes"),
        ("SIDEPULSE_FAILURE_THRESHOLD", "0"),
        ("SIDEPULSE_TOKEN", "hunter2"),
        ("SIDEPULSE_APP_HEADERS", "hunter2"),
    ])
    .unwrap_err();
    let named: Vec<_> = faults.iter().map(|f| f.split(':').next().unwrap()).collect();
    for variable in [
        "SIDEPULSE_APP_INTERVAL",
        "SIDEPULSE_APP_HEADERS",
        "SIDEPULSE_DATABASE_GATE",
        DATABASE_URL,
        "SIDEPULSE_FAILURE_THRESHOLD",
        "SIDEPULSE_TOKEN",
    ] {
        assert!(named.contains(&variable), "{variable} is missing in {faults:#?}");
    }
    for fault in &faults {
        assert!(!fault.contains("hunter2"), "{fault}");
        assert!(!fault.contains('\n') && fault.contains("e.g. "), "{fault}");
    }
}

#[test]
fn a_fault_names_the_flag_it_came_from() {
    let lookup = |name: &str| {
        (name == "SIDEPULSE_APP_TIMEOUT").then(|| Given { text: Some("x".into()), named: "--app-timeout".into() })
    };
    let faults = Config::load(&lookup, Need::App).unwrap_err();
    assert_eq!(faults[0].named, "--app-timeout");
}

#[test]
fn the_url_of_sidepulse_wins_and_off_needs_none() {
    let own = (OWN_DATABASE_URL, "postgresql://u:p@own.example/d?sslmode=require");
    assert_eq!(load(&[URL, own]).unwrap().database.unwrap().plan.server_name(), Some("own.example"));
    assert!(load(&[("SIDEPULSE_DATABASE", "off")]).unwrap().database.is_none());
    assert!(load_for(&[], Need::App).unwrap().database.is_none());
}

#[test]
fn ping_needs_only_the_address() {
    let config = load_for(&[("PORT", "8123"), ("SIDEPULSE_TOKEN", "bad")], Need::Listen).unwrap();
    assert_eq!(config.listen.port(), 8123);
    assert!(load_for(&[("PORT", "x")], Need::Listen).is_err());
}

#[test]
fn early_warnings_are_on_unless_switched_off() {
    let early_warnings = |pairs: &[_]| load(&[&[URL], pairs].concat()).map(|c| c.database.unwrap().early_warnings);
    assert_eq!(early_warnings(&[]), Ok(true));
    assert_eq!(early_warnings(&[("SIDEPULSE_EARLY_WARNINGS", "off")]), Ok(false));
    assert!(early_warnings(&[("SIDEPULSE_EARLY_WARNINGS", "never")]).is_err());
}

#[test]
fn neon_means_economy_unless_said_otherwise() {
    let neon = (DATABASE_URL, "postgresql://u:p@ep-a-b-1.eu-central-1.aws.neon.tech/d");
    assert_eq!(load(&[neon]).unwrap().database.unwrap().mode, Mode::Economy);
    assert_eq!(load(&[URL]).unwrap().database.unwrap().mode, Mode::Steady);
    let steady = ("SIDEPULSE_DATABASE_MODE", "steady");
    assert_eq!(load(&[neon, steady]).unwrap().database.unwrap().mode, Mode::Steady);
}

#[test]
fn the_app_cannot_be_sidepulse_itself() {
    for pairs in [
        &[URL, ("PORT", "8000")][..],
        &[URL, ("SIDEPULSE_APP_PORT", "9900")],
        &[URL, ("SIDEPULSE_APP_URL", "http://127.0.0.1:9900/health")],
    ] {
        let faults = load(pairs).unwrap_err();
        assert!(faults[0].contains("sidepulse itself"), "{faults:?}");
    }
}

#[test]
fn unknown_variables_are_named_with_the_nearest_known() {
    let names = ["SIDEPULSE_DATABASE_TIMOUT", "SIDEPULSE_LISTEN", "PATH"];
    let said = unknown_variables(names.into_iter());
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("SIDEPULSE_DATABASE_TIMOUT") && said[0].ends_with("SIDEPULSE_DATABASE_TIMEOUT?"),
        "{said:?}"
    );
}

#[test]
fn debug_shows_no_secret() {
    let config =
        load(&[URL, ("SIDEPULSE_TOKEN", "hunter2hunter2hunter2"), ("SIDEPULSE_APP_HEADERS", "X-Key: hunter2")])
            .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
