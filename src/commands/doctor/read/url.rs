//! `DATABASE_URL` as SQLAlchemy reads it: the driver that its scheme names, and the keys that are passed on to it. What it
//! means for sidepulse is read by `dsn.rs`.

/// A database URL as SQLAlchemy reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// Before the `+`.
    pub(crate) dialect: &'a str,
    /// After it.
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
        // An unescaped `?` in the password does not begin the query.
        let behind = text.rsplit_once('@').map_or(text, |(_, behind)| behind);
        let query = behind.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Url { dialect, driver, keys: pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect() }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a str> {
        self.keys.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// Whether user and host are a documentation's words: `USER:PASSWORD@HOST/DATABASE`. (Brackets, stars and references are
/// refused by `dsn.rs`.)
pub(crate) fn is_template(text: &str) -> bool {
    const USERS: &str = "user username your_user your-user db_user role";
    const HOSTS: &str = "host hostname your_host your-host db_host ep-xxx";
    let Some((_, rest)) = text.split_once("://") else { return false };
    let Some((credentials, place)) = rest.rsplit_once('@') else { return false };
    let user = credentials.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let host = place.split(['/', ':', '?']).next().unwrap_or_default().to_ascii_lowercase();
    HOSTS.split(' ').any(|word| word == host) && USERS.split(' ').any(|word| word == user)
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
        for text in ["postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE", "postgresql://user:password@host:5432/dbname"]
        {
            assert!(is_template(text), "{text}");
        }
        for text in [
            "postgresql://user:hunter2@db.acme.com/app",
            "postgresql://postgres:postgres@localhost/app",
            "postgresql://app:secret@host/d",
        ] {
            assert!(!is_template(text), "{text}");
        }
    }
}
