//! A database URL built from its parts, as a user would write it in `DATABASE_URL`.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// `postgresql://user:password@host:port/database?key=value`; `to_string()` is the text, every part percent-encoded.
///
/// ```ignore
/// postgres.url().host("localhost").password("wrong").param("sslmode", "require").to_string()
/// ```
#[derive(Clone, Debug)]
pub(crate) struct DatabaseUrl {
    scheme: String,
    user: String,
    password: String,
    host: String,
    port: u16,
    database: String,
    params: Vec<(String, String)>,
}

impl DatabaseUrl {
    /// A URL to 127.0.0.1 without parameters.
    pub(crate) fn new(user: &str, password: &str, port: u16, database: &str) -> DatabaseUrl {
        let [user, password, database] = [user, password, database].map(str::to_owned);
        let (scheme, host, params) = ("postgresql".to_owned(), "127.0.0.1".to_owned(), Vec::new());
        DatabaseUrl { scheme, user, password, host, port, database, params }
    }

    /// Another scheme, such as `postgresql+asyncpg`.
    pub(crate) fn scheme(mut self, scheme: &str) -> DatabaseUrl {
        scheme.clone_into(&mut self.scheme);
        self
    }

    /// Another user.
    pub(crate) fn user(mut self, user: &str) -> DatabaseUrl {
        user.clone_into(&mut self.user);
        self
    }

    /// Another password, in clear.
    pub(crate) fn password(mut self, password: &str) -> DatabaseUrl {
        password.clone_into(&mut self.password);
        self
    }

    /// Another host as it stands in a URL (`localhost`, `[::1]`); empty for a URL whose `host` is a parameter.
    pub(crate) fn host(mut self, host: &str) -> DatabaseUrl {
        host.clone_into(&mut self.host);
        self
    }

    /// Another database.
    pub(crate) fn database(mut self, database: &str) -> DatabaseUrl {
        database.clone_into(&mut self.database);
        self
    }

    /// One more parameter, its value in clear.
    pub(crate) fn param(mut self, key: &str, value: &str) -> DatabaseUrl {
        self.params.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same for tokio-postgres, which accepts no other scheme and only its own parameters.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        self.to_string().parse().expect("a URL that tokio-postgres understands")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [user, password, database] =
            [&self.user, &self.password, &self.database].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
        write!(f, "{}://{user}:{password}@{}", self.scheme, self.host)?;
        if !self.host.is_empty() {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{database}")?;
        for (number, (key, value)) in self.params.iter().enumerate() {
            let sign = if number == 0 { '?' } else { '&' };
            write!(f, "{sign}{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))?;
        }
        Ok(())
    }
}

#[test]
fn every_part_is_encoded() {
    let url = DatabaseUrl::new("me", "a@b/c?", 5432, "my db").scheme("postgresql+asyncpg").host("[::1]");
    let url = url.param("ssl", "require").param("options", "endpoint=x").to_string();
    assert_eq!(url, "postgresql+asyncpg://me:a%40b%2Fc%3F@[::1]:5432/my%20db?ssl=require&options=endpoint%3Dx");
}
