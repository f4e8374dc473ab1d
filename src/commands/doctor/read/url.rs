//! `DATABASE_URL` as SQLAlchemy sees it: the driver that its scheme names, and its keys. Everything that it means is read
//! by `dsn.rs`; here only what the app's own driver would be handed.

/// What a database URL says to SQLAlchemy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// Before the `+`.
    pub(crate) dialect: &'a str,
    /// Behind it.
    pub(crate) driver: Option<&'a str>,
    /// Name and value as written, in order.
    pub(crate) keys: Vec<(&'a str, &'a str)>,
}

impl<'a> Url<'a> {
    pub(crate) fn read(text: &'a str) -> Url<'a> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let (dialect, driver) = match scheme.split_once('+') {
            Some((dialect, driver)) => (dialect, Some(driver)),
            None => (scheme, None),
        };
        // An unescaped `?` in the password is not the query's.
        let behind = text.rsplit_once('@').map_or(text, |(_, behind)| behind);
        let query = behind.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Url { dialect, driver, keys: pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect() }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a str> {
        self.keys.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// The URL was never filled in: words for the user and the host, brackets, stars, or another system's variable.
pub(crate) fn is_template(text: &str) -> bool {
    let text = text.trim().trim_matches(['"', '\'']);
    if ["${", "$(", "{{"].iter().any(|sign| text.contains(sign)) {
        return true;
    }
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split('?').next().unwrap_or(rest);
    let (credentials, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let host = place.split(['/', ':']).next().unwrap_or(place);
    // `USER`, but not `AWS1`: nobody's host or user is written in capitals alone and stands for itself.
    let is_word = |text: &str, words: &[&str]| {
        words.contains(&text.to_ascii_lowercase().trim_matches(['<', '>', '[', ']', '{', '}']))
    };
    let enclosed = |text: &str| {
        [('[', ']'), ('<', '>'), ('{', '}')]
            .iter()
            .any(|(open, close)| text.starts_with(*open) && text.ends_with(*close))
    };
    let is_address = host.starts_with('[') && host.contains(':');
    let stars = password.len() >= 3 && password.chars().all(|c| c == '*' || c == '•');
    stars
        || enclosed(password)
        || enclosed(user)
        || enclosed(host) && !is_address
        || is_word(password, &["your-password", "your_password", "yourpassword"])
        || is_word(host, &["host", "hostname", "your-host", "your_host", "ep-xxx", "db_host"])
            && is_word(user, &["user", "username", "your_user", "db_user", "role"])
        || host == "HOST"
        || place.contains("<") && place.contains('>')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_driver() {
        let url = Url::read("postgresql+asyncpg://u:p?x@h/d?ssl=require&a&b=1=2");
        assert_eq!((url.dialect, url.driver), ("postgresql", Some("asyncpg")));
        assert_eq!(url.keys, [("ssl", "require"), ("a", ""), ("b", "1=2")]);
        assert_eq!(Url::read("postgres://h").driver, None);
    }

    #[test]
    fn what_was_never_filled_in() {
        for text in [
            "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE",
            "postgresql://user:password@host:5432/dbname",
            "postgresql://postgres.abc:[YOUR-PASSWORD]@aws-0-eu-west-1.pooler.supabase.com:6543/postgres",
            "postgresql://neondb_owner:****************@ep-cool-1.eu-central-1.aws.neon.tech/neondb",
            "${{Postgres.DATABASE_URL}}",
            "postgresql://${PGUSER}:x@h/d",
            "postgresql://app:secret@{host}/d",
            "postgresql://<user>:<password>@<host>/d",
        ] {
            assert!(is_template(text), "{text}");
        }
        for text in [
            "postgresql://user:hunter2@db.acme.com/app",
            "postgresql://u:p@[::1]:5432/d",
            "postgresql://postgres:postgres@localhost/app",
            "postgresql://app:p$ss@db/app",
        ] {
            assert!(!is_template(text), "{text}");
        }
    }
}
