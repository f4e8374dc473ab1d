//! A real PostgreSQL for one test: its own data, port and socket, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::certificates::ServerCertificate;
use super::daemon::{Daemon, run, unprivileged};
use super::database_url::DatabaseUrl;
use super::eventually::{SOON, poll};
use super::port::{connections_to, free_port};
use super::scratch::Scratch;
use super::session::{Rows, Session};

mod builder;
mod template;

pub(crate) use builder::Builder;

/// The superuser, who needs no password, but only over the Unix socket (which only the servers' user can reach).
pub(crate) const ADMIN: &str = "postgres";
/// The superuser's password over TCP.
pub(crate) const ADMIN_PASSWORD: &str = "admin password";
/// The role an app would use.
pub(crate) const ROLE: &str = "probe";
/// Its password: everything that a URL, a shell, PgBouncer's files or SQL could trip over.
pub(crate) const PASSWORD: &str = r#"p@ss:w/rd?#%41&=+ "q" 'é\$x"#;
/// The database that [`ROLE`] owns.
pub(crate) const DATABASE: &str = "appdb";

/// What the admin's sessions call themselves in `pg_stat_activity` and the log.
const ADMIN_APPLICATION: &str = "test-admin";
/// Another process may take a free port first; twice in a row is bad luck, five times a bug.
const PORTS_TO_TRY: usize = 5;
/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No new sessions (57P03), and wait for the old ones to end.
    Smart,
    /// End every session with 57P01.
    Fast,
    /// At once, as after a crash: sessions get 57P02 or nothing.
    Immediate,
}

/// A PostgreSQL server, running unless a test stopped it.
///
/// ```ignore
/// let mut postgres = Postgres::builder().setting("max_connections = 5").start();
/// postgres.admin("CREATE TABLE things (id int)");
/// postgres.stop(Stop::Fast);
/// ```
#[derive(Debug)]
pub(crate) struct Postgres {
    // Before the directory: dropped first.
    daemon: Option<Daemon>,
    home: Scratch,
    port: u16,
}

impl Postgres {
    /// A plain server without TLS.
    pub(crate) fn start_plain() -> Postgres {
        Postgres::builder().start()
    }

    /// A server that differs from the plain one.
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// Its port on 127.0.0.1; the same after a restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As [`ROLE`] to [`DATABASE`] over TCP; callers may change any part.
    pub(crate) fn url(&self) -> DatabaseUrl {
        DatabaseUrl::new(ROLE, PASSWORD, self.port, DATABASE)
    }

    /// The same over the Unix socket.
    pub(crate) fn socket_url(&self) -> DatabaseUrl {
        self.url()
            .host("")
            .param("host", &self.socket_directory().display().to_string())
            .param("port", &self.port.to_string())
    }

    /// What libpq accepts as `host`.
    pub(crate) fn socket_directory(&self) -> &Path {
        self.home.path()
    }

    /// Runs SQL as superuser in [`DATABASE`], one simple query; panics with the server's error.
    pub(crate) fn admin(&self, sql: &str) -> Rows {
        let answer = self.admin_session().and_then(|session| session.sql(sql));
        answer.unwrap_or_else(|error| panic!("{sql}: {error:?}\n{}", self.log_text()))
    }

    /// The first value that SQL run as superuser returns.
    pub(crate) fn admin_value(&self, sql: &str) -> String {
        let first = self.admin(sql).into_iter().next().and_then(|row| row.into_iter().next());
        first.flatten().unwrap_or_else(|| panic!("no value: {sql}"))
    }

    /// A superuser's session that stays open, to hold a lock or a transaction.
    pub(crate) fn admin_session(&self) -> Result<Session, tokio_postgres::Error> {
        Session::open(&self.admin_config())
    }

    /// How the superuser logs in.
    pub(crate) fn admin_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket_directory()).port(self.port).user(ADMIN).dbname(DATABASE);
        config.application_name(ADMIN_APPLICATION);
        config
    }

    /// Sessions of an application now, from `pg_stat_activity`.
    pub(crate) fn backends_of(&self, application: &str) -> usize {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name =";
        self.admin_value(&format!("{count} {}", quoted(application))).parse().expect("a count")
    }

    /// Successful logins of an application, from the log, which misses none, however short.
    pub(crate) fn logins_of(&self, application: &str) -> usize {
        let name = format!("application_name={application}");
        let logins = self.log_text();
        logins
            .lines()
            .filter(|line| line.contains("connection authorized: ") && line.split(' ').any(|word| word == name))
            .count()
    }

    /// TCP connections that were ever accepted, from the log (the admin's come over the socket, and do not count).
    pub(crate) fn connections_seen(&self) -> usize {
        self.log_text().lines().filter(|line| line.contains("connection received: host=127.0.0.1 ")).count()
    }

    /// TCP connections that clients hold now, as the kernel sees them: right even for a frozen server.
    pub(crate) fn connections_now(&self) -> usize {
        connections_to(self.port)
    }

    /// The server's log since its first start.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// What `pg_isready` says, which connects and does not log in.
    pub(crate) fn is_ready(&self) -> bool {
        let mut command = postgres_command("pg_isready");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// Stops it and waits until it has ended.
    pub(crate) fn stop(&mut self, how: Stop) {
        self.begin_stop(how);
        self.wait_for_end();
    }

    /// Tells it to stop and does not wait: with [`Stop::Smart`] and an open session it refuses logins from now on.
    pub(crate) fn begin_stop(&self, how: Stop) {
        self.daemon().signal(match how {
            Stop::Smart => Signal::TERM,
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        });
    }

    /// Waits for the end of a server that was told to stop.
    pub(crate) fn wait_for_end(&mut self) {
        self.daemon.take().expect("a running server").wait_for_end();
    }

    /// Starts a stopped server again, on its port and with its data.
    pub(crate) fn start(&mut self) {
        assert!(self.daemon.is_none(), "the server runs already");
        assert!(self.try_start(), "the server does not start:\n{}", self.log_text());
    }

    /// Stops it fast and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop(Stop::Fast);
        self.start();
    }

    /// Lets it read its configuration and certificate again.
    pub(crate) fn reload(&self) {
        self.daemon().signal(Signal::HUP);
    }

    /// Another certificate for the sessions to come.
    pub(crate) fn replace_certificate(&self, certificate: &ServerCertificate) {
        write_certificate(&self.home, &certificate.certificate_pem(), &certificate.key_pem());
        self.reload();
    }

    /// Stops the postmaster and all its children where they are: TCP connects, then silence.
    pub(crate) fn freeze(&self) {
        self.daemon().freeze();
    }

    /// Continues a frozen server.
    pub(crate) fn thaw(&self) {
        self.daemon().thaw();
    }

    /// A streaming hot standby of this server, with its configuration, roles and data.
    pub(crate) fn standby(&self) -> Postgres {
        self.standby_with("")
    }

    /// The same with more lines of `postgresql.conf`; with `hot_standby = off` it refuses every login.
    pub(crate) fn standby_with(&self, settings: &str) -> Postgres {
        let home = Scratch::new("standby");
        let mut command = postgres_command("pg_basebackup");
        command.arg("-D").arg(home.path().join("data")).arg("-h").arg(self.socket_directory());
        command.args(["-p", &self.port.to_string(), "-U", ADMIN, "-X", "stream", "-c", "fast", "-R", "--no-sync"]);
        run(command, home.path(), None);
        Postgres::launch(home, settings)
    }

    /// Writes the configuration and starts, on another port if the first one is taken.
    fn launch(home: Scratch, settings: &str) -> Postgres {
        let mut postgres = Postgres { daemon: None, home, port: 0 };
        let old = fs::read_to_string(postgres.home.path().join("data/postgresql.conf")).expect("a configuration");
        for _ in 0..PORTS_TO_TRY {
            postgres.port = free_port();
            let place = postgres.home.path().display();
            let own = format!("port = {}\nunix_socket_directories = '{place}'\n", postgres.port);
            postgres.home.write("data/postgresql.conf", &format!("{old}\n{settings}\n{own}"));
            if postgres.try_start() {
                return postgres;
            }
        }
        panic!("PostgreSQL does not start:\n{}", postgres.log_text());
    }

    /// Starts and waits until logins work; false when it ends because another process has its port.
    fn try_start(&mut self) -> bool {
        let mut command = postgres_command("postgres");
        command.arg("-D").arg(self.home.path().join("data"));
        // Immediate shutdown: it removes its shared memory, which a kill would leave behind.
        let mut daemon = Daemon::spawn(command, &self.home, "log", Signal::QUIT);
        let status = self.home.path().join("data/postmaster.pid");
        let started = poll(SOON, || {
            if daemon.ended().is_some() {
                return Some(false);
            }
            // What pg_ctl waits for: the eighth line of the file.
            let text = fs::read_to_string(&status).unwrap_or_default();
            text.lines().nth(7).filter(|state| ["ready", "standby"].contains(&state.trim_end())).map(|_| true)
        });
        let log = self.log_text();
        match started {
            Some(true) => self.daemon = Some(daemon),
            Some(false) if log.contains("Address already in use") => {}
            _ => panic!("PostgreSQL does not start:\n{log}"),
        }
        self.daemon.is_some()
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("a running server")
    }
}

/// One of PostgreSQL's programs, as the servers' user.
fn postgres_command(program: &str) -> Command {
    unprivileged(binaries().join(program))
}

/// `SIDEPULSE_TEST_PG_BIN`, or the newest server that Debian's packages installed.
fn binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("SIDEPULSE_TEST_PG_BIN") {
        return directory.into();
    }
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin"))))
        .filter(|(_, directory)| directory.join("initdb").exists())
        .max();
    newest.expect("no PostgreSQL server: install the package `postgresql`, or set SIDEPULSE_TEST_PG_BIN").1
}

/// Under the names that PostgreSQL looks for, in the data directory: a standby gets them too.
fn write_certificate(home: &Scratch, certificate: &str, key: &str) {
    home.write("data/server.crt", certificate);
    home.write("data/server.key", key);
}

/// A string literal.
fn quoted(text: &str) -> String {
    // A backslash needs no escape: standard_conforming_strings is on.
    format!("'{}'", text.replace('\'', "''"))
}
