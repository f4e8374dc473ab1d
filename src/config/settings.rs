//! What can be set: the only table of names, defaults and meanings. `--help`, the README and `read.rs` use it.

/// One setting: an environment variable and, unless it may contain a secret, the flag that goes with it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) variable: &'static str,
    /// What the value is called in `--help`.
    pub(crate) value: &'static str,
    /// The default as a person would type it; empty if there is none.
    pub(crate) default: &'static str,
    /// The value may contain a secret: then there is no flag, since command lines are public.
    pub(crate) secret: bool,
    pub(crate) help: &'static str,
}

impl Setting {
    /// `--database-timeout` for `SIDEPULSE_DATABASE_TIMEOUT`; `None` if the value may contain a secret.
    pub(crate) fn flag(&self) -> Option<String> {
        if self.secret {
            return None;
        }
        Some(self.variable.strip_prefix("SIDEPULSE_")?.to_ascii_lowercase().replace('_', "-"))
    }
}

const fn plain(variable: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { variable, value, default, secret: false, help }
}

const fn secret(variable: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting { variable, value, default: "", secret: true, help }
}

/// The database URL that wins over [`DATABASE_URL`].
pub(crate) const OWN_DATABASE_URL: &str = "SIDEPULSE_DATABASE_URL";
/// The database URL that the app reads as well.
pub(crate) const DATABASE_URL: &str = "DATABASE_URL";
pub(crate) const LISTEN: &str = "SIDEPULSE_LISTEN";
/// The port on which Railway checks the service.
pub(crate) const PORT: &str = "PORT";

/// A setting's default, as a person would type it.
pub(crate) fn default_of(variable: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.variable == variable).map_or("", |setting| setting.default)
}

/// Every setting, in the order of `--help`.
pub(crate) const SETTINGS: &[Setting] = &[
    plain(LISTEN, "ADDR", "[::]:$PORT, or [::]:9900 without PORT", "Where to serve; [::] takes IPv4 as well"),
    plain("SIDEPULSE_APP_PORT", "PORT", "8000", "The app's port: in the default app URL, and PORT for CMD in `run`"),
    plain(
        "SIDEPULSE_APP_URL",
        "URL",
        "http://localhost:<app port>/",
        "What to request of the app; it must not use the database",
    ),
    plain("SIDEPULSE_APP_STATUS", "LIST", "200-499", "Statuses that count as alive: codes and ranges, comma-separated"),
    secret("SIDEPULSE_APP_HEADERS", "LINES", "Extra request headers, one `Name: value` a line"),
    plain("SIDEPULSE_APP_INTERVAL", "DUR", "5s", "From the end of one app check to the start of the next"),
    plain("SIDEPULSE_APP_TIMEOUT", "DUR", "2s", "For a whole app check"),
    secret(DATABASE_URL, "URL", "The database to check: the app's own URL"),
    secret(OWN_DATABASE_URL, "URL", "The database to check, where it differs from DATABASE_URL"),
    plain("SIDEPULSE_DATABASE", "on|off", "on", "Whether to check the database"),
    plain("SIDEPULSE_DATABASE_INTERVAL", "DUR", "15s", "From the end of one database check to the start of the next"),
    plain(
        "SIDEPULSE_DATABASE_TIMEOUT",
        "DUR",
        "20s",
        "One whole database check: every attempt and every wait between them",
    ),
    plain(
        "SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT",
        "DUR",
        "8s",
        "One attempt, from the name look-up to the answer of the query",
    ),
    plain(
        "SIDEPULSE_DATABASE_QUERY",
        "SQL",
        "SELECT 1",
        "The deep query: exactly one statement that returns at least one row",
    ),
    plain(
        "SIDEPULSE_DATABASE_GATE",
        "startup|always|never",
        "startup",
        "What /readyz asks of the database: that it has answered once since the start, is up now, or nothing",
    ),
    plain(
        "SIDEPULSE_DATABASE_MODE",
        "auto|steady|economy",
        "auto",
        "economy never keeps the database awake; auto is economy for hosts that scale to zero (Neon)",
    ),
    plain(
        "SIDEPULSE_SQL_CHECKS",
        "LINES",
        "",
        "Up to 32 further checks, one `name: SQL` a line; each must return true",
    ),
    plain(
        "SIDEPULSE_ECONOMY_MAX_AGE",
        "DUR",
        "6h",
        "Economy: make a deep query after this time even if the app is idle; 0s = never",
    ),
    plain(
        "SIDEPULSE_IDLE_HANDSHAKE",
        "DUR",
        "60s",
        "Economy: while the app is idle, prove DNS, TCP and TLS this often without logging in; 0s = send nothing",
    ),
    plain(
        "SIDEPULSE_ECONOMY_INTERVAL",
        "DUR",
        "1h",
        "Economy where the kernel does not show the app's sockets: one deep query this often",
    ),
    plain("SIDEPULSE_FAILURE_THRESHOLD", "N", "2", "Failed checks in a row that turn an up check down"),
    plain("SIDEPULSE_SUCCESS_THRESHOLD", "N", "1", "Passed checks in a row that turn a down check up"),
    plain(
        "SIDEPULSE_EARLY_WARNINGS",
        "on|off",
        "on",
        "Warn early of trouble: few sessions left, stuck transactions, waits for locks, storage nearly full",
    ),
    secret(
        "SIDEPULSE_TOKEN",
        "TOKEN",
        "Required by / and /metrics, and for details in /health; at least 16 characters",
    ),
    plain("SIDEPULSE_DRAIN_DELAY", "DUR", "0s", "From SIGTERM (readiness turns red at once) to stopping"),
    plain("SIDEPULSE_STOP_TIMEOUT", "DUR", "10s", "run: from the forwarded signal to SIGKILL"),
    plain(
        "SIDEPULSE_ON_CLEAN_EXIT",
        "fail|pass",
        "fail",
        "run: exit with 1 (fail) or 0 (pass) when CMD ends with 0 and nobody asked it to",
    ),
    plain("SIDEPULSE_ON_UNRESPONSIVE", "report|exit", "report", "run: what to do when the app no longer answers HTTP"),
    plain("SIDEPULSE_UNRESPONSIVE_AFTER", "DUR", "30s", "run: how long without an answer before it counts"),
    plain("SIDEPULSE_LOG", "LEVEL", "info", "error, warn, info or debug"),
    plain("SIDEPULSE_LOG_FORMAT", "auto|text|json", "auto", "auto = text on a terminal, else one JSON object a line"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_follow_from_variables_and_secrets_have_none() {
        let flag = |name: &str| SETTINGS.iter().find(|s| s.variable == name).and_then(Setting::flag);
        assert_eq!(flag("SIDEPULSE_DATABASE_TIMEOUT").as_deref(), Some("database-timeout"));
        for name in [DATABASE_URL, OWN_DATABASE_URL, "SIDEPULSE_TOKEN", "SIDEPULSE_APP_HEADERS"] {
            assert_eq!(flag(name), None, "{name}");
        }
    }

    #[test]
    fn the_table_in_the_readme_is_this_one() {
        let readme = include_str!("../../README.md");
        let rows: Vec<&str> = readme
            .lines()
            .filter(|line| line.starts_with("| `SIDEPULSE_") || line.starts_with("| `DATABASE_URL`"))
            .collect();
        let table: Vec<String> = SETTINGS
            .iter()
            .map(|s| {
                let default = if s.default.is_empty() { String::new() } else { format!("`{}` ", s.default) };
                format!("| `{}` | {default}| {} |", s.variable, s.help)
            })
            .collect();
        assert_eq!(rows, table);
    }
}
