//! The query of the URL → what its keys say.

use std::path::PathBuf;

use tokio_postgres::config::ChannelBinding;

use super::policy::{Mode, Wish};
use super::split::{decode, some};
use super::{EXAMPLE, Fault, Roots, Secret, Warning, host};

/// Keys of libpq and of drivers that say nothing about how to reach the server, or that a probe decides for itself.
/// `pool_*` belongs to them too.
const IGNORED: [&str; 28] = [
    "application_name",
    "async_fallback",
    "client_encoding",
    "command_timeout",
    "connect_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_cached_statement_lifetime",
    "max_overflow",
    "passfile",
    "pgbouncer",
    "prepare_threshold",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "schema",
    "server_settings",
    "service",
    "statement_cache_size",
    "statement_timeout",
    "target_session_attrs",
    "tcp_user_timeout",
    "timeout",
];

/// A longer name is not shown: it is no key.
const LONGEST_KEY: usize = 40;

/// What the keys say; what none of them says is `None`.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) host: Option<String>,
    pub(super) hostaddr: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The password and `sslpassword` before decoding.
    pub(super) secrets_as_pasted: Vec<String>,
    pub(super) database: Option<String>,
    pub(super) options: Option<String>,
    pub(super) channel_binding: Option<ChannelBinding>,
    pub(super) tls: Wish,
}

/// Reads `key=value&key=value`. Of a key given twice the last one counts, as in libpq, except for `host`: SQLAlchemy
/// names several hosts so.
pub(super) fn read(query: &str, warnings: &mut Vec<Warning>) -> Result<Keys, Fault> {
    let mut keys = Keys::default();
    let (mut sslmode, mut ssl) = (None, None);
    let mut seen: Vec<String> = Vec::new();
    // An unescaped `&` in a password makes keys of its pieces: behind a password, names are not shown.
    let mut behind_password = false;

    for text in query.split('&').filter(|text| !text.is_empty()) {
        let (key, pasted) = pair(text)?;
        let may_name = !behind_password;
        behind_password |= key.contains("pass");
        let Some(value) = some(decode("query", pasted)?) else { continue };
        let twice = seen.contains(&key);
        match key.as_str() {
            "host" if twice => return Err(host::several()),
            "host" => keys.host = Some(value),
            "hostaddr" => keys.hostaddr = Some(value),
            "port" => keys.port = Some(host::port(&value)?),
            "user" => keys.user = Some(value),
            "password" => {
                keys.password = Some(value);
                keys.secrets_as_pasted.push(pasted.to_owned());
            }
            // `database` is asyncpg's word for it.
            "dbname" | "database" => keys.database = Some(value),
            "options" => keys.options = Some(value),
            "sslmode" => sslmode = Some(mode(&value, "sslmode")?),
            "ssl" => ssl = Some(mode(&value, "ssl")?),
            "sslrootcert" if value == "system" => keys.tls.roots = Some(Roots::System),
            "sslrootcert" => keys.tls.roots = Some(Roots::File(PathBuf::from(value))),
            "sslcert" => keys.tls.certificate = Some(PathBuf::from(value)),
            "sslkey" => keys.tls.key = Some(PathBuf::from(value)),
            "sslpassword" => {
                keys.tls.passphrase = Some(Secret::new(value));
                keys.secrets_as_pasted.push(pasted.to_owned());
            }
            "sslcertmode" => keys.tls.without_certificate = without_certificate(&value)?,
            "sslnegotiation" => keys.tls.direct = direct(&value)?,
            "channel_binding" => keys.channel_binding = Some(channel_binding(&value)?),
            _ if twice => continue,
            _ => warnings.push(ignored(&key, may_name)),
        }
        if twice {
            warnings.push(Warning(format!("{key} is given twice: the last one counts")));
        }
        seen.push(key);
    }

    if let (Some(a), Some(b)) = (sslmode, ssl)
        && a != b
    {
        return Err(Fault::new("sslmode and ssl say different things: keep one", EXAMPLE));
    }
    keys.tls.mode = sslmode.or(ssl);
    Ok(keys)
}

/// A key decoded and its value as it is. Keys are shown in warnings, so what does not look like one is refused unseen.
fn pair(text: &str) -> Result<(String, &str), Fault> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Fault::new("a part of the query has no `=` (an `&` in a value is written %26)", EXAMPLE));
    };
    let key = decode("query", key)?;
    if is_name(&key) {
        Ok((key, value))
    } else {
        Err(Fault::new("a key in the query has other characters than a-z and _", EXAMPLE))
    }
}

fn is_name(key: &str) -> bool {
    (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn ignored(key: &str, may_name: bool) -> Warning {
    Warning(if IGNORED.contains(&key) || may_name && key.starts_with("pool_") {
        format!("{key} is for the app's driver and is ignored")
    } else if may_name {
        format!("{key} is not a key that sidepulse knows and is ignored")
    } else {
        "a key that sidepulse does not know is ignored".to_owned()
    })
}

/// libpq's modes, also as asyncpg's `ssl` takes them (`verify_full`); `ssl=true` is JDBC's, and means `require` to
/// libpq (fe-connect.c, conninfo_uri_parse_params).
fn mode(value: &str, key: &str) -> Result<Mode, Fault> {
    Ok(match value.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" => Mode::Disable,
        "allow" | "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        "false" if key == "ssl" => Mode::Disable,
        "true" if key == "ssl" => Mode::Require,
        _ => {
            let also = if key == "ssl" { ", true, false" } else { "" };
            let modes = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(Fault::new(format!("{key} is not one of {modes}{also}"), EXAMPLE));
        }
    })
}

fn direct(value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "postgres" => Ok(false),
        "direct" => Ok(true),
        _ => Err(Fault::new("sslnegotiation is neither postgres nor direct", EXAMPLE)),
    }
}

/// `require` is what a server that asks for a certificate enforces by itself.
fn without_certificate(value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "disable" => Ok(true),
        "allow" | "require" => Ok(false),
        _ => Err(Fault::new("sslcertmode is not one of disable, allow, require", EXAMPLE)),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(Fault::new("channel_binding is not one of disable, prefer, require", EXAMPLE)),
    }
}
