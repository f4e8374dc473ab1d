//! From the URL as pasted to a plan for connecting; with its submodules the only place that sees the password.
//!
//! [`Plan::parse`] never passes the text to a driver: tokio-postgres quotes what it cannot parse in its error, including
//! the password. No `Debug`, `Display`, [`BadUrl`] or [`Warning`] here shows more of the URL than the names of its keys.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

mod host;
mod keys;
mod paste;
mod policy;
mod provider;
mod split;
mod template;
#[cfg(test)]
mod tests;

pub(crate) use policy::{ClientCertificate, Roots, TlsPlan, TlsPolicy, Verify};
pub(crate) use provider::ScaleToZero;

/// The form to copy, shown with a fault that has no better example.
const EXAMPLE: &str = "postgresql://user:password@host:5432/dbname?sslmode=verify-full";

/// Shown where a character has to be written as `%` and two hexadecimal digits.
const ESCAPED: &str = "postgresql://user:p%40ss%2Fword@host/dbname";

/// A socket directory goes into the query, as in libpq.
const SOCKET: &str = "postgresql://user@/dbname?host=/run/postgresql";

/// libpq's default.
const DEFAULT_PORT: u16 = 5432;

/// What Python's `quote` and JavaScript's `encodeURIComponent` leave as it is besides letters and digits (RFC 3986,
/// "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value that is never shown: `Debug` and `Display` print `***`.
#[derive(Clone)]
pub(crate) struct Secret(String);

/// Where the server listens. Its `Debug` shows the kind alone: an address is for `check` and the debug log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// TCP.
    Tcp {
        /// What to resolve and connect to: in lower case, an IP literal without brackets, a trailing dot (no DNS search)
        /// kept.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// The socket file itself, `<directory>/.s.PGSQL.<port>`, short enough for `sun_path`.
        path: PathBuf,
    },
}

/// How to connect and log in, as the URL says. Built once at start; cheap enough to clone.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) endpoint: Endpoint,
    /// Whether and how to encrypt.
    pub(crate) tls: TlsPlan,
    /// It is Neon's proxy, resold or not, which wakes a suspended compute while the login waits.
    pub(crate) neon: bool,
    /// Whether the compute is suspended while idle.
    pub(crate) scale_to_zero: ScaleToZero,
    /// Neon's pooled name, `<endpoint>-pooler.…`, behind which is PgBouncer in transaction mode.
    pub(crate) pooled: bool,
    /// The URL's own text shows a private host or a Unix socket: a login without TLS needs no warning.
    pub(crate) private: bool,
    name: Option<String>,
    user: String,
    password: Option<Secret>,
    pasted: Vec<Secret>,
    database: String,
    options: Option<String>,
    channel_binding: ChannelBinding,
}

/// Something in the URL that was ignored or changed, in one sentence that names keys, never values. Logged once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning(String);

/// Why a URL cannot be used, to be shown after the name of the variable that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadUrl {
    /// What is wrong and what is accepted, in one line without any part of the value.
    pub(crate) fault: String,
    /// A correct value.
    pub(crate) example: &'static str,
}

impl Secret {
    /// Wraps a value that must never be shown.
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The value itself, for [`crate::redact`] and the configuration.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { .. } => f.write_str("Tcp"),
            Endpoint::Unix { .. } => f.write_str("Unix"),
        }
    }
}

impl Plan {
    /// Reads what a user pasted as `DATABASE_URL`.
    ///
    /// Where libpq's URI syntax (PostgreSQL manual, section 34.1.1.2) leaves a choice, it is made as libpq makes it: a query
    /// key wins over the same thing before the `?`, an empty value counts as not given, the database's name defaults to
    /// the user's. Two things differ: a user is required (libpq asks the operating system, which in a container says
    /// `root`), and nothing is read from `PG…` variables, `.pgpass` or a service file.
    ///
    /// # Errors
    ///
    /// One fault, the first found; it never shows any part of the text.
    pub(crate) fn parse(text: &str) -> Result<(Plan, Vec<Warning>), BadUrl> {
        let mut warnings = Vec::new();
        let given = split::split(paste::after_scheme(text)?, &mut warnings)?;
        let keys = keys::read(given.query, &mut warnings)?;

        let (host, host_port) = match merge("host", given.host, keys.host.clone(), &mut warnings) {
            Some(host) => host::with_port(&host, keys.host.is_some())?,
            None => (String::new(), None),
        };
        let port = merge("port", given.port, keys.port.or(host_port), &mut warnings).unwrap_or(DEFAULT_PORT);
        let destination = host::destination(&host, keys.hostaddr.as_deref(), port)?;

        let Some(user) = merge("user", given.user, keys.user, &mut warnings) else {
            return Err(BadUrl::new("the user name is missing", EXAMPLE));
        };
        let pasted = given.password_as_pasted.into_iter().chain(keys.secrets_as_pasted).map(Secret::new).collect();
        let password = merge("password", given.password, keys.password, &mut warnings).map(Secret::new);
        let database = merge("dbname", given.database, keys.database, &mut warnings).unwrap_or_else(|| user.clone());
        let channel_binding = keys.channel_binding.unwrap_or(ChannelBinding::Prefer);
        let tls = policy::decide(keys.tls, &destination, channel_binding, &mut warnings)?;

        let host::Destination { endpoint, name, neon, pooled, scale_to_zero, private, .. } = destination;
        let options = keys.options;
        let plan = Plan {
            endpoint,
            tls,
            neon,
            scale_to_zero,
            pooled,
            private,
            name,
            user,
            password,
            pasted,
            database,
            options,
            channel_binding,
        };
        Ok((plan, warnings))
    }

    /// What tokio-postgres needs to log in over a stream that is already open (`connect_raw`). It has no address to connect
    /// to: the probe resolves and connects. Its `Debug` shows user, database and host, so it must never be printed.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(&self.database)
            .application_name("sidepulse")
            .ssl_mode(match self.tls.policy {
                TlsPolicy::Off => SslMode::Disable,
                TlsPolicy::IfOffered { .. } => SslMode::Prefer,
                TlsPolicy::Required { .. } => SslMode::Require,
            })
            .ssl_negotiation(if self.tls.direct { SslNegotiation::Direct } else { SslNegotiation::Postgres })
            .channel_binding(self.channel_binding);
        if let Some(password) = self.login_password() {
            config.password(password);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        match &self.endpoint {
            Endpoint::Tcp { port, .. } => config.host(self.name.as_deref().unwrap_or_default()).port(*port),
            Endpoint::Unix { path } => config.host_path(path.parent().unwrap_or(Path::new("/"))),
        };
        config
    }

    /// The name for SNI and for the certificate: lower case and without a trailing dot (RFC 6066, section 3), and the
    /// `host` even where `hostaddr` says where to connect. `None` for a Unix socket.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Everything that must not appear in a text that is shown: the password and the key's passphrase as they are, as
    /// pasted and as software encodes them again, and the same for the password in Neon's `endpoint=<id>;<password>`.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let mut found: Vec<String> = self.pasted.iter().map(|pasted| pasted.0.clone()).collect();
        let whole = self.password.as_ref().map(|password| password.0.as_str());
        let passphrase = self.tls.client.as_ref().and_then(|client| client.passphrase.as_ref()).map(Secret::expose);
        for raw in whole.into_iter().chain(whole.and_then(password_after_endpoint)).chain(passphrase) {
            found.push(raw.to_owned());
            for set in [NON_ALPHANUMERIC, UNRESERVED] {
                let upper = utf8_percent_encode(raw, set).to_string();
                found.push(with_lower_hex(&upper));
                found.push(upper);
            }
        }
        found.retain(|text| !text.is_empty());
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(Secret).collect()
    }

    /// Neon takes `endpoint=<id>;<password>` only from clients without SNI. The probe always sends SNI, and then the prefix
    /// would be taken for part of the password (neondatabase/neon, proxy/src/auth/backend).
    fn login_password(&self) -> Option<&str> {
        let whole = self.password.as_ref()?.expose();
        let bare = if self.neon { password_after_endpoint(whole) } else { None };
        Some(bare.unwrap_or(whole))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("endpoint", &self.endpoint)
            .field("tls", &self.tls)
            .field("neon", &self.neon)
            .field("pooled", &self.pooled)
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BadUrl {
    fn new(fault: impl Into<String>, example: &'static str) -> BadUrl {
        BadUrl { fault: fault.into(), example }
    }
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, e.g. {}", self.fault, self.example)
    }
}

impl std::error::Error for BadUrl {}

/// A value that may stand before the `?` and as a query key: the key wins, as in libpq, with a warning if they differ.
fn merge<T: PartialEq>(key: &str, before: Option<T>, query: Option<T>, warnings: &mut Vec<Warning>) -> Option<T> {
    if before.is_some() && query.is_some() && before != query {
        warnings.push(Warning(format!("{key} stands both before the `?` and behind it: the one behind it counts")));
    }
    query.or(before)
}

/// The password in Neon's `endpoint=<id>;<password>`, older `project=`, with `;` looked for before `$`
/// (neondatabase/neon, proxy/src/auth/password_hack.rs).
fn password_after_endpoint(password: &str) -> Option<&str> {
    let (endpoint, bare) = password.split_once(';').or_else(|| password.split_once('$'))?;
    let known = endpoint.starts_with("endpoint=") || endpoint.starts_with("project=");
    (known && !bare.is_empty()).then_some(bare)
}

/// `%2F` → `%2f`. Every `%` in the text begins an escape, because encoding turns a `%` itself into `%25`.
fn with_lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        lower.push('%');
        lower.push_str(&hex.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}
