use super::settings::{DATABASE_URL, OWN_DATABASE_URL};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const URL: (&str, &str) = (DATABASE_URL, "postgresql://u:hunter2@db.example/d?sslmode=require");

fn load(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    load_for(pairs, Need::Everything)
}

fn lookup(pairs: &[(&str, &str)], name: &str) -> Option<Given> {
    let (_, text) = pairs.iter().find(|(known, _)| *known == name)?;
    Some(Given { text: Some((*text).to_owned()), named: name.to_owned() })
}

fn load_for(pairs: &[(&str, &str)], need: Need) -> Result<Config, Vec<String>> {
    Config::load(&|name| lookup(pairs, name), need).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = load(&[URL]).unwrap();
    let database = config.database.unwrap();
    // One of each kind: the text is parsed as if it had been typed.
    assert_eq!((config.app.interval, settings::default_of("SIDEPULSE_APP_INTERVAL")), (Duration::from_secs(5), "5s"));
    assert_eq!((database.max_age, database.idle_handshake), (Some(6 * HOUR), Some(HOUR / 60)));
    assert_eq!((config.drain_delay, config.child.stop_timeout), (Duration::ZERO, Duration::from_secs(10)));
    assert_eq!((config.thresholds.failure, config.thresholds.success), (2, 1));
    assert_eq!(config.app.statuses, [200..=499]);
    assert_eq!(database.query, "SELECT 1");
    assert_eq!((database.gate, config.child.on_clean_exit), (Gate::Startup, OnCleanExit::Fail));
    // Two defaults are described in the table, but cannot be typed as they stand there.
    assert_eq!(settings::default_of("SIDEPULSE_LISTEN"), format!("[::]:$PORT, or [::]:{DEFAULT_PORT} without PORT"));
    assert_eq!(config.listen.to_string(), format!("[::]:{DEFAULT_PORT}"));
    let url = settings::default_of("SIDEPULSE_APP_URL").replace("<app port>", "8000");
    assert_eq!(Ok(config.app.target), AppTarget::parse(&url));
}

#[test]
fn everything_wrong_is_reported_together_and_with_its_variable() {
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
fn an_error_names_the_flag_it_came_from() {
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
    let port = |pairs: &[(&str, &str)]| listen_address(&|name| lookup(pairs, name)).map(|address| address.port());
    assert_eq!(port(&[("PORT", "8123"), ("SIDEPULSE_TOKEN", "bad")]), Ok(8123));
    // The app's port is the app's: nothing is checked there.
    assert_eq!(port(&[("PORT", "8000"), ("SIDEPULSE_APP_PORT", "8001")]), Ok(8000));
    assert_eq!(port(&[("SIDEPULSE_LISTEN", "127.0.0.1:9901"), ("SIDEPULSE_APP_URL", "nonsense")]), Ok(9901));
    assert!(port(&[("PORT", "x")]).is_err());
}

#[test]
fn early_warnings_are_on_unless_switched_off() {
    let early_warnings =
        |pairs: &[_]| load(&[&[URL], pairs].concat()).map(|c| c.database.unwrap().early_warnings.is_some());
    assert_eq!(early_warnings(&[]), Ok(true));
    assert_eq!(early_warnings(&[("SIDEPULSE_EARLY_WARNINGS", "off")]), Ok(false));
    assert!(early_warnings(&[("SIDEPULSE_EARLY_WARNINGS", "never")]).is_err());
}

#[test]
fn neon_means_economy_unless_set_otherwise() {
    let neon = (DATABASE_URL, "postgresql://u:p@ep-a-b-1.eu-central-1.aws.neon.tech/d");
    assert_eq!(load(&[neon]).unwrap().database.unwrap().mode, DatabaseMode::Economy);
    assert_eq!(load(&[URL]).unwrap().database.unwrap().mode, DatabaseMode::Steady);
    let steady = ("SIDEPULSE_DATABASE_MODE", "steady");
    assert_eq!(load(&[neon, steady]).unwrap().database.unwrap().mode, DatabaseMode::Steady);
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

fn unknown(pairs: &[(&str, &str)]) -> Vec<String> {
    unknown_variables(pairs.iter().map(|(name, _)| *name), &|name| lookup(pairs, name))
}

#[test]
fn unknown_variables_are_named_with_the_nearest_known() {
    let said = unknown(&[("SIDEPULSE_DATABASE_TIMOUT", "1s"), ("SIDEPULSE_LISTEN", ":1"), ("PATH", "/bin")]);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("SIDEPULSE_DATABASE_TIMOUT") && said[0].ends_with("SIDEPULSE_DATABASE_TIMEOUT?"),
        "{said:?}"
    );
}

#[test]
fn what_kubernetes_sets_for_a_service_is_not_a_setting() {
    // As kubelet writes them for a Service called `sidepulse-app` (pkg/kubelet/envvars).
    let of_the_service = [
        ("SIDEPULSE_APP_SERVICE_HOST", "10.0.0.1"),
        ("SIDEPULSE_APP_SERVICE_PORT", "8000"),
        ("SIDEPULSE_APP_PORT", "tcp://10.0.0.1:8000"),
        ("SIDEPULSE_APP_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
    ];
    let config = load(&[&[URL][..], &of_the_service].concat()).unwrap();
    assert_eq!((config.child.app_port, &config.app.target), (8000, &AppTarget::local(8000)));
    let told: Vec<_> = config.warnings.iter().filter(|said| said.contains("enableServiceLinks: false")).collect();
    assert!(matches!(told[..], [said] if said.starts_with("SIDEPULSE_APP_PORT: ")), "{:?}", config.warnings);
    assert!(!told[0].contains("10.0.0.1"), "{told:?}");
    assert_eq!(unknown(&of_the_service), [""; 0]);
    // Typed as a flag it is a mistake.
    let flag = |name: &str| {
        let text = if name == "SIDEPULSE_APP_PORT" { "tcp://10.0.0.1:8000" } else { return lookup(&[URL], name) };
        Some(Given { text: Some(text.to_owned()), named: "--app-port".to_owned() })
    };
    assert!(Config::load(&flag, Need::Everything).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let config =
        load(&[URL, ("SIDEPULSE_TOKEN", "hunter2hunter2hunter2"), ("SIDEPULSE_APP_HEADERS", "X-Key: hunter2")])
            .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
