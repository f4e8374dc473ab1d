//! What is accepted and what is refused (tests/urls.json), and that the password is never shown.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use super::*;

/// In every refused URL: no message may show it.
const SECRET: &str = "s3cretT0ken";

/// What every spelling means, for this program and for `deploy/backend/database_url.py`.
fn spellings() -> (Value, Vec<Value>) {
    let table: Value = serde_json::from_str(include_str!("../../tests/urls.json")).expect("JSON");
    let rows = table["rows"].as_array().expect("rows").iter().filter(|row| row.is_object());
    (table["unless a row says otherwise"].clone(), rows.cloned().collect())
}

fn refused() -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    spellings().1.iter().filter_map(|row| Some((text(&row["url"])?, text(&row["refused"])?))).collect()
}

/// What a plan means, in the table's words; what the table leaves out is null here.
fn meaning(plan: &Plan) -> Value {
    let config = plan.config();
    let (host, port, socket) = match &plan.endpoint {
        Endpoint::Tcp { host, port } => (Some(host), Some(port), None),
        Endpoint::Unix { path } => (None, None, Some(path)),
    };
    let client = plan.tls.client.as_ref().map(|ClientCertificate { certificate, key, passphrase }| {
        let passphrase = passphrase.as_ref().map_or("", Secret::expose);
        json!([certificate, key, passphrase])
    });
    json!({
        "user": config.get_user(),
        "password": config.get_password().map(|bytes| String::from_utf8_lossy(bytes)),
        "host": host,
        "port": port,
        "socket": socket,
        "name": plan.server_name().filter(|name| host.is_some_and(|host| host != name)),
        "database": config.get_dbname(),
        "tls": match plan.tls.policy {
            TlsPolicy::Off => "off",
            TlsPolicy::IfOffered { verify: Verify::None } => "prefer",
            TlsPolicy::IfOffered { verify: _ } => "prefer verify-ca",
            TlsPolicy::Required { verify: Verify::None } => "require",
            TlsPolicy::Required { verify: Verify::Chain } => "verify-ca",
            TlsPolicy::Required { verify: Verify::Full } => "verify-full",
        },
        "roots": match &plan.tls.roots {
            Roots::File(path) => Some(path),
            Roots::System => None,
        },
        "client": client,
        "options": config.get_options(),
        "channel_binding": match config.get_channel_binding() {
            ChannelBinding::Disable => Some("disable"),
            ChannelBinding::Require => Some("require"),
            _ => None,
        },
        "direct": plan.tls.direct.then_some(true),
        "private": plan.private,
        "neon": plan.neon.then_some(true),
        "pooled": plan.pooled.then_some(true),
        "scale_to_zero": match plan.scale_to_zero {
            ScaleToZero::Yes => Some("yes"),
            ScaleToZero::Perhaps(_) => Some("perhaps"),
            ScaleToZero::No => None,
        },
    })
}

/// What is wrong with a row of the table, if anything is.
fn difference(row: &Value, defaults: &Value) -> Option<String> {
    let (plan, warnings) = match Plan::parse(row["url"].as_str()?) {
        Ok(parsed) => parsed,
        Err(fault) => return Some(format!("refused: {fault}")),
    };
    for (key, found) in meaning(&plan).as_object()? {
        let is_socket = !row["socket"].is_null() && (key == "host" || key == "port");
        let expected = row.get(key).or(defaults.get(key).filter(|_| !is_socket)).unwrap_or(&Value::Null);
        if found != expected {
            return Some(format!("{key} is {found} instead of {expected}"));
        }
    }
    let warned: Vec<&str> = row["warns"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_warned = warnings.iter().zip(&warned).all(|(warning, piece)| warning.to_string().contains(piece));
    (warnings.len() != warned.len() || !is_warned).then(|| format!("warned of {warnings:?}"))
}

#[test]
fn accepts_what_users_paste() {
    let (defaults, rows) = spellings();
    let accepted = rows.iter().filter(|row| row["refused"].is_null());
    let wrong: Vec<_> = accepted.filter_map(|row| Some((&row["url"], difference(row, &defaults)?))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn refuses_without_showing() {
    let mut wrong = Vec::new();
    for (url, piece) in refused() {
        match Plan::parse(&url) {
            Err(fault) => {
                let shown = [fault.to_string(), format!("{fault:?}")];
                let is_fit =
                    |text: &String| !text.contains("s3cret") && !text.contains("T0ken") && !text.contains('\n');
                if !fault.fault.contains(&piece) || !shown.iter().all(is_fit) {
                    wrong.push((url, shown.concat()));
                }
            }
            Ok((plan, _)) => wrong.push((url, format!("accepted as {plan:?}"))),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_example_is_accepted() {
    let others = refused().into_iter().filter_map(|(url, _)| Plan::parse(&url).err()).map(|fault| fault.example);
    for example in others.chain([EXAMPLE, ESCAPED, SOCKET]) {
        assert!(Plan::parse(example).is_ok(), "{example}");
    }
}

#[test]
fn the_config_names_the_host_but_no_address() {
    let (plan, _) = Plan::parse("postgres://u:p@DB.a.io./d?hostaddr=8.8.8.8&sslmode=require").expect("a URL");
    let config = plan.config();
    assert_eq!(config.get_hosts(), [Host::Tcp("db.a.io".to_owned())]);
    assert!(config.get_hostaddrs().is_empty());
    assert_eq!(config.get_application_name(), Some("sidepulse"));
    assert_eq!(config.get_ssl_mode(), SslMode::Require);
    assert_eq!(config.get_ssl_negotiation(), SslNegotiation::Postgres);

    let (plan, _) = Plan::parse("postgres://u@/d?host=/run/pg").expect("a URL");
    let config = plan.config();
    assert_eq!(config.get_hosts(), [Host::Unix(PathBuf::from("/run/pg"))]);
    assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    assert_eq!(plan.server_name(), None);
}

#[test]
fn the_length_of_a_socket_path_is_limited() {
    let url = |length: usize| format!("postgres://u@/d?host=/{}", "x".repeat(length - 1 - "/.s.PGSQL.5432".len()));
    assert!(Plan::parse(&url(107)).is_ok());
    assert!(Plan::parse(&url(108)).is_err_and(|fault| fault.fault.contains("longer than 107")));
}

#[test]
fn secrets_are_the_password_in_every_form() {
    let secrets = |text: &str| {
        let (plan, _) = Plan::parse(text).expect("a URL");
        plan.secrets().into_iter().map(|secret| secret.0).collect::<Vec<_>>()
    };
    assert_eq!(
        secrets("postgres://u:p%2Fq-%C3%A9@h/d"),
        ["p%2Fq%2D%C3%A9", "p%2Fq-%C3%A9", "p%2fq%2d%c3%a9", "p%2fq-%c3%a9", "p/q-é"]
    );
    assert_eq!(secrets("postgres://u@h/d"), [""; 0]);
    assert_eq!(secrets("postgres://u@h/d?password=%70"), ["%70", "p"]);
    let neon = secrets("postgres://u:endpoint%3Dep%3Bp!w@a.neon.tech/d");
    for form in
        ["p!w", "p%21w", "endpoint=ep;p!w", "endpoint%3Dep%3Bp!w", "endpoint%3Dep%3Bp%21w", "endpoint%3dep%3bp%21w"]
    {
        assert!(neon.iter().any(|secret| secret == form), "{form} in {neon:?}");
    }
    assert_eq!(secrets("postgres://u@h/d?sslcert=c&sslkey=k&sslpassword=%71%2F"), ["%71%2F", "q%2F", "q%2f", "q/"]);
    // A password that another key overrides was pasted all the same.
    assert_eq!(secrets("postgres://u:old@h/d?password=new"), ["new", "old"]);
}

#[test]
fn a_secret_is_never_shown() {
    let secret = Secret::new(SECRET);
    assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
    let (plan, _) =
        Plan::parse("postgres://the_user:s3cretT0ken@the.host/the_db?options=the_options&sslrootcert=the_file&sslcert=the_cert&sslkey=the_key&sslpassword=the_pass")
            .expect("a URL");
    for shown in [format!("{plan:?}"), format!("{plan:#?}")] {
        assert!(!shown.contains("the") && !shown.contains(SECRET), "{shown}");
    }
}

/// Everything that could be shown about a text in a log or on a page.
fn everything_shown(text: &str) -> String {
    match Plan::parse(text) {
        Err(fault) => format!("{fault} {fault:?} {} {}", fault.fault, fault.example),
        Ok((plan, warnings)) => {
            let secrets = plan.secrets();
            let warned: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            format!("{plan:?} {plan:#?} {warned:?} {warnings:?} {secrets:?} {}", login_error(&plan))
        }
    }
}

/// The whole error chain of a login with this plan where the server closes the connection.
fn login_error(plan: &Plan) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let result = runtime.block_on(async {
        let (ours, server) = tokio::net::UnixStream::pair().expect("a socket pair");
        drop(server);
        plan.config().connect_raw(ours, NoTls).await.map(|_| ())
    });
    let error = result.expect_err("nobody answers");
    let mut shown = format!("{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        shown += &format!(" {error}");
        cause = error.source();
    }
    shown
}

/// Part of nothing else by accident. The piece in lower case could be a key's name.
const MARK: &str = "Zq7markedsecretqZ";

/// A password as people paste it, with the mark between any characters.
fn password() -> impl Strategy<Value = String> {
    let some = "[a-zA-Z0-9@/:?#%&=+,;$!'\"\\[\\] .*é-]{0,6}";
    (some, some).prop_map(|(before, after)| format!("{before}{MARK}{after}"))
}

/// Texts like the URLs that people paste, with a password in one of the places where it can stand.
fn url_like() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "postgres://",
        "postgresql://",
        "postgresql+asyncpg://",
        "POSTGRES://",
        "mysql://",
        "postgres:",
        "",
        "psql '",
        "'postgres://",
    ]);
    let host =
        prop::sample::select(vec!["h", "ep-x.neon.tech", "10.0.0.1", "[::1]", "db.example.com", "%2Frun", "", "a,b"]);
    let port = prop::sample::select(vec!["", ":5432", ":", ":x"]);
    let path = prop::sample::select(vec!["/d", "", "/", "/d/e"]);
    let keys = prop::collection::vec(
        prop::sample::select(vec![
            "sslmode=require",
            "ssl=true",
            "sslmode=disable",
            "pool_size=1",
            "foo_bar=1",
            "sslrootcert=system",
            "host=/run",
            "options=endpoint%3Dx",
            "hostaddr=1.2.3.4",
            "user=v",
            "port=1",
            "channel_binding=require",
            "Bad=1",
            "sslcert=c&sslkey=k",
        ]),
        0..4,
    );
    (scheme, password(), host, port, path, keys, 0..8_u8).prop_map(
        |(scheme, password, host, port, path, keys, form)| {
            let query = keys.join("&");
            match form {
                0 => format!("{scheme}u:{password}@{host}{port}{path}?{query}&password={password}"),
                1 => format!("{scheme}u@{host}{port}{path}?password={password}&{query}"),
                2 => format!("{scheme}{password}@{host}{port}{path}?{query}"),
                3 => format!("{scheme}u:{password}"),
                4 => format!("host={host} password={password} {query}"),
                _ => format!("{scheme}u:{password}@{host}{port}{path}?{query}"),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nothing that is shown about a URL holds any part of the password, whatever is wrong with the URL.
    #[test]
    fn nothing_shows_the_password(text in url_like()) {
        let shown = everything_shown(&text);
        prop_assert!(!shown.contains("markedsecret") && !shown.contains("Zq7"), "{:?}: {}", text, shown);
    }

    /// Any text is a plan or a fault, and neither shows a word of it that was meant to be secret.
    #[test]
    fn any_text_is_a_plan_or_a_fault(before in ".{0,30}", after in ".{0,30}", scheme in any::<bool>()) {
        let scheme = if scheme { "postgres://" } else { "" };
        let shown = everything_shown(&format!("{scheme}{before}{MARK}{after}"));
        prop_assert!(!shown.contains("markedsecret"), "{}", shown);
    }

    /// A password that is percent-encoded arrives at the driver as it is, and the redactor finds it in any form.
    #[test]
    fn an_encoded_password_arrives(tail in "[^\\x00]{0,20}", lower in any::<bool>()) {
        let password = format!("{MARK}{tail}");
        let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
        let encoded = if lower { with_lower_hex(&encoded) } else { encoded };
        let (plan, warnings) = Plan::parse(&format!("postgres://u:{encoded}@h/d")).expect("a URL");
        prop_assert!(warnings.is_empty());
        let config = plan.config();
        prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
        let redactor = crate::redact::Redactor::new(plan.secrets());
        for text in [format!("{config:?} {password}"), format!("x {encoded} y"), format!("{password:?}")] {
            prop_assert!(!redactor.clean(&text).contains(MARK));
        }
    }
}
