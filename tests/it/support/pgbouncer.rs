//! A real PgBouncer in transaction mode in front of one of the tests' PostgreSQL servers.

use std::fmt::Write as _;
use std::path::Path;

use rustix::process::Signal;

use super::certificates::{Authority, ServerCertificate};
use super::daemon::{Daemon, unprivileged};
use super::database_url::DatabaseUrl;
use super::eventually::{SOON, poll};
use super::port::{connections_to, free_port};
use super::postgres::{DATABASE, PASSWORD, Postgres, ROLE};
use super::scratch::Scratch;
use super::session::{Rows, Session};

/// Where Debian puts it, outside a plain user's PATH.
const DEBIANS: &str = "/usr/sbin/pgbouncer";
/// The user of the console (the database `pgbouncer`).
const CONSOLE_USER: &str = "console";
const CONSOLE_PASSWORD: &str = "console password";
/// As for PostgreSQL itself.
const PORTS_TO_TRY: usize = 5;

/// How a new PgBouncer differs from the plain one.
pub(crate) struct Builder {
    server_port: u16,
    settings: Vec<(String, String)>,
    users: Vec<(String, String)>,
    tls: Option<(String, String)>,
    client_root: Option<Vec<u8>>,
}

impl Builder {
    /// Server connections for each user and database (`default_pool_size`).
    pub(crate) fn pool_size(self, connections: u32) -> Builder {
        self.setting("default_pool_size", &connections.to_string())
    }

    /// More clients get 08P01 `no more connections allowed`.
    pub(crate) fn max_client_conn(self, clients: u32) -> Builder {
        self.setting("max_client_conn", &clients.to_string())
    }

    /// How long a client waits for a server connection, in seconds; the default is 120.
    pub(crate) fn query_wait_timeout(self, seconds: u32) -> Builder {
        self.setting("query_wait_timeout", &seconds.to_string())
    }

    /// How long a failed server login is remembered, in seconds; the default is 15.
    pub(crate) fn server_login_retry(self, seconds: u32) -> Builder {
        self.setting("server_login_retry", &seconds.to_string())
    }

    /// Any other line of the section `[pgbouncer]`; of several with one name the last counts.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Builder {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more user who may log in to PgBouncer, and with this password from there to PostgreSQL.
    pub(crate) fn user(mut self, name: &str, password: &str) -> Builder {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// TLS towards the clients, offered in addition to plaintext.
    pub(crate) fn tls(mut self, certificate: &ServerCertificate) -> Builder {
        self.tls = Some((certificate.certificate_pem(), certificate.key_pem()));
        self
    }

    /// A client needs a certificate of this authority, else the handshake fails.
    pub(crate) fn client_certificates_of(mut self, authority: &Authority) -> Builder {
        self.client_root = Some(authority.root_pem());
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> PgBouncer {
        let home = Scratch::new("pgbouncer");
        let users = self.users.iter().map(|(name, password)| format!("{} {}\n", quoted(name), quoted(password)));
        home.write("users", &users.collect::<String>());
        if let Some((certificate, key)) = &self.tls {
            home.write("server.crt", certificate);
            home.write("server.key", key);
        }
        if let Some(root) = &self.client_root {
            home.write("root.crt", &String::from_utf8_lossy(root));
        }
        let (home, mut last) = (home, String::new());
        for _ in 0..PORTS_TO_TRY {
            let port = free_port();
            home.write("pgbouncer.ini", &self.ini(home.path(), port));
            let mut command = unprivileged(if Path::new(DEBIANS).exists() { DEBIANS } else { "pgbouncer" });
            command.arg(home.path().join("pgbouncer.ini"));
            let mut daemon = Daemon::spawn(command, &home, "log", Signal::KILL);
            let up = poll(SOON, || match daemon.ended() {
                Some(_) => Some(false),
                None => daemon.log_text().contains("process up").then_some(true),
            });
            // Without its port it still runs, as long as it has its Unix socket.
            last = daemon.log_text();
            if up == Some(true) && last.contains(&format!("listening on 127.0.0.1:{port}")) {
                return PgBouncer { daemon, _home: home, port };
            }
        }
        panic!("PgBouncer does not start:\n{last}");
    }

    fn ini(&self, home: &Path, port: u16) -> String {
        let home = home.display();
        let mut ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {home}\nauth_type = scram-sha-256\nauth_file = {home}/users\npool_mode = transaction\n\
             admin_users = {CONSOLE_USER}\n",
            self.server_port
        );
        if self.tls.is_some() {
            let mode = if self.client_root.is_some() { "verify-ca" } else { "allow" };
            let _ = writeln!(ini, "client_tls_sslmode = {mode}");
            if self.client_root.is_some() {
                let _ = writeln!(ini, "client_tls_ca_file = {home}/root.crt");
            }
            let _ = writeln!(ini, "client_tls_cert_file = {home}/server.crt\nclient_tls_key_file = {home}/server.key");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(ini, "{name} = {value}");
        }
        ini
    }
}

/// A running PgBouncer; it knows the role of [`Postgres::url`].
///
/// ```ignore
/// let pooler = PgBouncer::in_front_of(&postgres).pool_size(1).query_wait_timeout(1).start();
/// let url = pooler.url().to_string();
/// ```
#[derive(Debug)]
pub(crate) struct PgBouncer {
    // Before the directory: dropped first.
    daemon: Daemon,
    _home: Scratch,
    port: u16,
}

impl PgBouncer {
    /// A pooler for this server, now and after its restarts.
    pub(crate) fn in_front_of(postgres: &Postgres) -> Builder {
        Builder { server_port: postgres.port(), settings: Vec::new(), users: Vec::new(), tls: None, client_root: None }
            .user(ROLE, PASSWORD)
            .user(CONSOLE_USER, CONSOLE_PASSWORD)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As [`Postgres::url`], through the pooler.
    pub(crate) fn url(&self) -> DatabaseUrl {
        DatabaseUrl::new(ROLE, PASSWORD, self.port, DATABASE)
    }

    /// A command of its console (`SHOW POOLS`, `PAUSE`, `RESUME`, `KILL`); panics with its error.
    pub(crate) fn console(&self, command: &str) -> Rows {
        let url = DatabaseUrl::new(CONSOLE_USER, CONSOLE_PASSWORD, self.port, "pgbouncer");
        let answer = Session::open(&url.config()).and_then(|session| session.sql(command));
        answer.unwrap_or_else(|error| panic!("{command}: {error:?}\n{}", self.log_text()))
    }

    /// Client connections held now, as the kernel sees them.
    pub(crate) fn connections_now(&self) -> usize {
        connections_to(self.port)
    }

    /// Its log.
    pub(crate) fn log_text(&self) -> String {
        self.daemon.log_text()
    }

    /// Stops it where it is: TCP connects, then silence.
    pub(crate) fn freeze(&self) {
        self.daemon.freeze();
    }

    /// Continues a frozen one.
    pub(crate) fn thaw(&self) {
        self.daemon.thaw();
    }

    /// Kills it, as Neon does on suspend: clients see their connections end without a message.
    pub(crate) fn kill(&mut self) {
        self.daemon.signal(Signal::KILL);
        self.daemon.wait_for_end();
    }
}

/// A line in the form of `userlist.txt`.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
