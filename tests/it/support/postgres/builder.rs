//! How a test's PostgreSQL is configured before it starts.

use super::super::certificates::{Authority, ServerCertificate};
use super::super::scratch::Scratch;
use super::{ADMIN, PASSWORD, Postgres, ROLE, quoted, template, write_certificate};

/// Fast rather than safe, with every connection in the log.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
huge_pages = off
shared_buffers = 8MB
max_wal_senders = 4
dynamic_shared_memory_type = mmap
logging_collector = off
log_destination = stderr
log_line_prefix = '%m [%p] '
log_connections = on
log_disconnections = on
";

/// How a new server differs from the plain one.
#[derive(Default)]
pub(crate) struct Builder {
    tls: Option<(String, String)>,
    client_root: Option<Vec<u8>>,
    md5: bool,
    settings: Vec<String>,
    hba: Vec<String>,
}

impl Builder {
    /// With TLS, offered in addition to plaintext.
    pub(crate) fn tls(mut self, certificate: &ServerCertificate) -> Builder {
        self.tls = Some((certificate.certificate_pem(), certificate.key_pem()));
        self
    }

    /// A login over TLS needs a certificate of this authority as well as the password.
    pub(crate) fn client_certificates_of(mut self, authority: &Authority) -> Builder {
        self.client_root = Some(authority.root_pem());
        self.setting("ssl_ca_file = 'root.crt'").hba("hostssl all all all scram-sha-256 clientcert=verify-ca")
    }

    /// Passwords stored and requested as md5 instead of SCRAM-SHA-256.
    pub(crate) fn md5(mut self) -> Builder {
        self.md5 = true;
        self
    }

    /// One more line of `postgresql.conf`, which overrides our own: `max_connections = 5`.
    pub(crate) fn setting(mut self, line: &str) -> Builder {
        self.settings.push(line.to_owned());
        self
    }

    /// One more line of `pg_hba.conf`, before the general ones: `hostnossl all all all reject`.
    pub(crate) fn hba(mut self, line: &str) -> Builder {
        self.hba.push(line.to_owned());
        self
    }

    /// Starts it: 0.3 s, and the first time in a process a second more for `initdb`.
    pub(crate) fn start(self) -> Postgres {
        let home = Scratch::new("postgres");
        template::copy_to(&home);
        let method = if self.md5 { "md5" } else { "scram-sha-256" };
        let extra = self.hba.join("\n");
        home.write(
            "data/pg_hba.conf",
            &format!(
                "local all {ADMIN} trust\nlocal replication {ADMIN} trust\n{extra}\nlocal all all {method}\n\
                 host all all 127.0.0.1/32 {method}\nhost all all ::1/128 {method}\n"
            ),
        );
        let mut settings = vec![SETTINGS.to_owned(), format!("password_encryption = '{method}'")];
        if let Some((certificate, key)) = &self.tls {
            write_certificate(&home, certificate, key);
            settings.push("ssl = on".to_owned());
        }
        if let Some(root) = &self.client_root {
            home.write("data/root.crt", &String::from_utf8_lossy(root));
        }
        settings.extend(self.settings);
        let postgres = Postgres::launch(home, &settings.join("\n"));
        if self.md5 {
            postgres.admin(&format!("ALTER ROLE {ROLE} PASSWORD {}", quoted(PASSWORD)));
        }
        postgres
    }
}
