//! The keys in the URL's query.

use std::path::PathBuf;

use tokio_postgres::config::ChannelBinding;

use super::policy::{SslMode, TlsKeys};
use super::split::{decode, decode_strictly, more_than_one_at, some};
use super::{BadUrl, EXAMPLE, Roots, Secret, Warning, host};

/// Keys that are used, as libpq spells them; `database` and `ssl` are asyncpg's.
const KNOWN: &str = "\
    channel_binding database dbname host hostaddr options password port ssl sslcert sslcertmode sslkey sslmode \
    sslnegotiation sslpassword sslrootcert user";

/// Keys in whose values an unescaped `@` does not mean that a password was cut short.
const MAY_HOLD_AT: [&str; 5] = ["application_name", "options", "password", "sslpassword", "user"];

/// Keys of libpq and of drivers that say nothing about how to reach the server, or that the probe decides for itself.
/// `pool_*` is ignored as well.
const IGNORED: &str = "\
    application_name async_fallback client_encoding command_timeout connect_timeout connection_limit \
    fallback_application_name gssencmode gsslib keepalives keepalives_count keepalives_idle keepalives_interval \
    krbsrvname load_balance_hosts max_cached_statement_lifetime max_overflow max_protocol_version \
    min_protocol_version passfile pgbouncer prepare_threshold prepared_statement_cache_size \
    prepared_statement_name_func replication require_auth schema server_settings service ssl_max_protocol_version \
    ssl_min_protocol_version sslcompression sslcrl sslcrldir sslsni statement_cache_size statement_timeout \
    target_session_attrs tcp_user_timeout timeout";

/// A longer name is not a key, and is not shown.
const LONGEST_KEY: usize = 40;

/// The keys' values; `None` where a key is not given.
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
    pub(super) tls: TlsKeys,
}

/// Reads `key=value&key=value`. Of a key given twice the last one counts, as in libpq, except for `host`: SQLAlchemy
/// names several hosts so.
pub(super) fn read(query: &str, warnings: &mut Vec<Warning>) -> Result<Keys, BadUrl> {
    let mut keys = Keys::default();
    let (mut sslmode, mut ssl) = (None, None);
    let mut seen: Vec<String> = Vec::new();
    // An unescaped `&` in a password turns pieces of it into keys: after a password no names are shown.
    let mut behind_password = false;

    for text in query.split('&').filter(|text| !text.is_empty()) {
        let (key, pasted) = pair(text)?;
        let may_name = !behind_password;
        behind_password |= key.contains("pass");
        if pasted.contains('@') && !MAY_HOLD_AT.contains(&key.as_str()) {
            return Err(more_than_one_at());
        }
        let Some(value) = some(decode("query", pasted, warnings)?) else { continue };
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
        && (a == SslMode::Disable) != (b == SslMode::Disable)
    {
        return Err(BadUrl::new("sslmode and ssl say different things: keep one", EXAMPLE));
    }
    // `ssl=true&sslmode=verify-full` asks for TLS twice: the stronger one applies.
    keys.tls.mode = sslmode.max(ssl);
    Ok(keys)
}

/// A key, decoded, and its value as it is. Keys are shown in warnings, so what does not look like one is refused without
/// being shown.
fn pair(text: &str) -> Result<(String, &str), BadUrl> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(BadUrl::new("a part of the query has no `=` (an `&` in a value is written %26)", EXAMPLE));
    };
    let key = decode_strictly("query", key)?;
    let lower = key.to_ascii_lowercase();
    if !is_name(&key) {
        Err(BadUrl::new("a key in the query holds a character that no key has", EXAMPLE))
    } else if key != lower && is_in(KNOWN, &lower) {
        // libpq and asyncpg have no `sslMode`; if it were ignored, the connection would not be the one asked for.
        Err(BadUrl::new(format!("{lower} is written in lower case"), EXAMPLE))
    } else {
        Ok((key, value))
    }
}

fn is_in(names: &str, key: &str) -> bool {
    names.split(' ').any(|name| name == key)
}

fn is_name(key: &str) -> bool {
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(may_stand)
}

fn ignored(key: &str, may_name: bool) -> Warning {
    // A name with digits could be a piece of a password.
    let may_name = may_name && key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    Warning(if is_in(IGNORED, key) || may_name && key.starts_with("pool_") {
        format!("{key} is for the app's driver and is ignored")
    } else if may_name {
        format!("{key} is not a key that sidepulse knows and is ignored")
    } else {
        "a key that sidepulse does not know is ignored".to_owned()
    })
}

/// libpq's modes, also as asyncpg's `ssl` takes them (`verify_full`); `ssl=true` is JDBC's, and means `require` to
/// libpq (fe-connect.c, conninfo_uri_parse_params); `ssl=1` is node-postgres's.
fn mode(value: &str, key: &str) -> Result<SslMode, BadUrl> {
    Ok(match value.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        "false" | "0" if key == "ssl" => SslMode::Disable,
        "true" | "1" if key == "ssl" => SslMode::Require,
        _ => {
            let also = if key == "ssl" { ", true, false" } else { "" };
            let modes = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(BadUrl::new(format!("{key} is not one of {modes}{also}"), EXAMPLE));
        }
    })
}

fn direct(value: &str) -> Result<bool, BadUrl> {
    match value.to_ascii_lowercase().as_str() {
        "postgres" => Ok(false),
        "direct" => Ok(true),
        _ => Err(BadUrl::new("sslnegotiation is not one of postgres, direct", EXAMPLE)),
    }
}

/// With `require` there is nothing to do: a server that asks for a certificate enforces it itself.
fn without_certificate(value: &str) -> Result<bool, BadUrl> {
    match value.to_ascii_lowercase().as_str() {
        "disable" => Ok(true),
        "allow" | "require" => Ok(false),
        _ => Err(BadUrl::new("sslcertmode is not one of disable, allow, require", EXAMPLE)),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, BadUrl> {
    match value.to_ascii_lowercase().as_str() {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(BadUrl::new("channel_binding is not one of disable, prefer, require", EXAMPLE)),
    }
}
