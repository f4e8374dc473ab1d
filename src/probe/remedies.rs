//! One line for the person on call, for each reason and for each cause with a remedy of its own: what it means, and
//! what to try first.

use super::Reason;

macro_rules! causes {
    ($($variant:ident $doc:literal $remedy:literal;)*) => {
        /// What is known to cause a reason, where the remedy depends on it. The set is closed, and only its remedies
        /// are shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Cause { $(#[doc = $doc] $variant,)* }

        impl Cause {
            /// Every cause.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Cause] = &[$(Cause::$variant,)*];

            /// What to do about it, in a line of the form of [`Reason::remedy`].
            pub(crate) const fn remedy(self) -> &'static str {
                match self { $(Cause::$variant => $remedy,)* }
            }
        }
    };
}

causes! {
    EncryptionRequired "The server takes no login without TLS."
        "The server takes no login without TLS. Set sslmode=require in DATABASE_URL in place of disable, allow or \
         prefer; if it is require already, the pooler in between must use TLS to the server";
    ClientCertificateRequired "The server requires a client certificate."
        "The server wants a client certificate. Add sslcert= and sslkey= to DATABASE_URL, with files that this service \
         can read and a certificate that the server's CA signed for this user";
    ClientCertificateForApp "The app requires a client certificate."
        "The app asks for a client certificate, and sidepulse has none for it. Let SIDEPULSE_APP_URL name a port where \
         none is asked for, or start uvicorn without --ssl-cert-reqs 2";
    ChannelBindingNotOffered "`channel_binding=require`, and the server offers none."
        "DATABASE_URL has channel_binding=require, but this server or pooler offers none (PgBouncer, md5, no TLS). \
         Remove channel_binding; sslmode=verify-full proves the server instead";
    ChannelBindingImpossible "`channel_binding=require`, and nothing can be bound to the server's certificate."
        "DATABASE_URL has channel_binding=require, but the server's certificate allows none (signed with RSA-PSS or \
         Ed25519). Remove channel_binding, or give the server one signed with RSA or ECDSA";
    CleartextWithoutTls "The server asks for the password in clear, and there is no TLS."
        "The server asks for the password in clear on a connection without TLS, and does not get it. Set \
         sslmode=require in DATABASE_URL, or scram-sha-256 in the server's pg_hba.conf";
    LoginMethodUnknown "The server wants a login without a password."
        "The server wants a login by Kerberos, GSSAPI or another method that sidepulse cannot do. Give this role a \
         line with scram-sha-256 in pg_hba.conf, or use a role that has a password";
    PasswordMissing "The server asks for a password, and there is none."
        "The server asks for a password, and DATABASE_URL holds none. Put it between user and host, \
         postgresql://user:password@host/database, percent-encoded, and redeploy";
    SocketForbidden "This user may not open the Unix socket."
        "The Unix socket is there, but this user may not open it. Give sidepulse the group of the socket, or widen the \
         mode of it and of its directories (unix_socket_permissions, uvicorn's --uds)";
    SocketMissing "The Unix socket is not there."
        "There is no such Unix socket. Compare the path with unix_socket_directories and the port, or with uvicorn's \
         --uds; in a container its directory must be mounted here too";
    TlsExpected "http to an app that speaks TLS."
        "The app speaks TLS on this port, but SIDEPULSE_APP_URL begins with http. Begin it with https, or start \
         uvicorn without --ssl-keyfile and --ssl-certfile";
    PlainExpected "https to an app that speaks plain HTTP."
        "The app speaks plain HTTP on this port, but SIDEPULSE_APP_URL begins with https. Begin it with http: TLS ends \
         at the edge, not at uvicorn";
    AlpnRefused "A TLS proxy does not know PostgreSQL's ALPN."
        "The TLS proxy in front of the server (Traefik, Caddy) refuses PostgreSQL's ALPN, which sslnegotiation=direct \
         needs. Remove sslnegotiation from DATABASE_URL, or let the proxy pass TLS through";
    DirectTlsRefused "The server closes a TLS handshake that comes without PostgreSQL's request for it."
        "The server closed the connection at the start of TLS. DATABASE_URL has sslnegotiation=direct, which needs \
         PostgreSQL 17 or a proxy that knows it: remove it, unless the server was restarting just now";
    ResultTooLarge "More than 256 KiB came."
        "The query returned more than 256 KiB, and the rest was not read. Let SIDEPULSE_DATABASE_QUERY or the SQL \
         check return one small row, such as SELECT 1 or SELECT EXISTS (...)";
    CopyStatement "The query is a COPY."
        "The query is a COPY, and sidepulse neither reads nor sends its data. Let SIDEPULSE_DATABASE_QUERY or the SQL \
         check be a SELECT that returns a row, such as SELECT 1 or SELECT EXISTS (...)";
    SupavisorUser "Supavisor cannot tell the project from the user."
        "Supabase's pooler does not know this project. Its user is postgres.PROJECT, not postgres, and its host names \
         the region: copy the pooler's connection string from the dashboard, under Connect";
    EndpointUnavailable "Neon: a quota, or an operation that is under way."
        "Neon will not start the compute now: either a quota of the plan is used up, or an operation or maintenance is \
         under way. Look at quotas under Billing and at the project's operations in the console";
    ProjectBusy "Neon: operations or maintenance are under way."
        "Neon is working on the project: an operation or maintenance is under way. Wait for its end in the console \
         under Operations; if it lasts over ten minutes, see neonstatus.com and write to support";
    CircuitBreaker "Supavisor blocks logins after too many that failed."
        "Supabase's pooler blocks logins for up to two minutes after too many that failed. Find what fails to log in \
         (an old deployment, a job), or whether the project is paused; fix it, then wait";
    SupavisorFull "Supavisor has no place for another client."
        "Supabase's pooler has no free place. Use its transaction mode (port 6543) rather than session mode (5432), \
         close idle clients, or raise the pool size in the dashboard under Database";
    CloudToken "A cloud's IAM login failed."
        "The cloud's IAM login was refused. A token ends within an hour, so it cannot stand in DATABASE_URL: use a \
         role with a password of its own; otherwise look at the IAM policy of this role";
    ClusterUnknown "CockroachDB's proxy does not know the cluster."
        "CockroachDB Cloud's proxy does not know this cluster. Copy the connection string from its console again: the \
         host, and options=--cluster= where it has one";
    CertificateExpired "The certificate is not valid at this time."
        "The server's certificate has expired, or is not valid yet. Compare the clock of this machine; if it is right, \
         renew the certificate on the server and reload it there";
    CertificateName "The certificate is another host's."
        "The server's certificate was made for another name than the URL's host. Use a name that the certificate \
         holds, or have one made for this name; sslmode=verify-ca leaves the name out";
    CertificateIssuer "No trusted CA signed the certificate."
        "No CA that is trusted here signed the server's certificate. Set sslrootcert to the CA's file (RDS, Azure and \
         others publish one); for a public CA install ca-certificates in the image";
    CertificateNameOfApp "The app's certificate is another host's."
        "The app's certificate was made for another name than the host of SIDEPULSE_APP_URL. Use a name that the \
         certificate holds, or localhost, where it is not verified";
    CertificateOfApp "The app's certificate is not trusted."
        "No CA that is trusted here signed the app's certificate, or it is not a server's. Use localhost in \
         SIDEPULSE_APP_URL, where it is not verified, or name the CA's file in SSL_CERT_FILE";
    HandshakeOfApp "The handshake with the app broke off."
        "The TLS handshake with the app broke off. Check that the port of SIDEPULSE_APP_URL speaks TLS 1.2 or 1.3, \
         and that no proxy stands in between; read the app's log at this time";
    HostOfApp "The app's host name does not resolve."
        "The host of SIDEPULSE_APP_URL does not resolve. In one container it is localhost; a *.railway.internal name \
         resolves only inside its own Railway project and environment";
}

/// What an error means: the reason, and the cause where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The closed reason.
    pub(crate) reason: Reason,
    /// What is known to have caused it.
    pub(crate) cause: Option<Cause>,
}

impl From<Reason> for Diagnosis {
    fn from(reason: Reason) -> Self {
        Diagnosis { reason, cause: None }
    }
}

impl Reason {
    /// What to do about it, in one line of at most 200 characters without a full stop at its end. It holds no secret
    /// and nothing of this deployment, so `sidepulse check`, the log and the status page can all show it.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Reason::DnsFailure => {
                "The host name does not resolve. Compare it with the connection string in the Neon console; a \
                 *.railway.internal name resolves only inside its own Railway project and environment"
            }
            Reason::ConnectRefused => {
                "Nothing listens there. App: is uvicorn up, and on the port that SIDEPULSE_APP_URL names? Database: \
                 compare host and port, and see whether PostgreSQL or PgBouncer was started"
            }
            Reason::ConnectTimeout => {
                "No answer to TCP. Database: check host, port and firewall, on Neon see neonstatus.com; app: its \
                 machine or its backlog is full, so look at load, workers and memory"
            }
            Reason::Unreachable => {
                "No route to the host, or a firewall rejects it. Railway has no outbound IPv6 by default: the name \
                 needs an IPv4 address. On Neon see neonstatus.com; elsewhere check the server's network"
            }
            Reason::LoopbackOnly => {
                "The app listens on 127.0.0.1 alone, so Railway's domain answers 502. Start it with uvicorn main:app \
                 --host 0.0.0.0 --port $PORT"
            }
            Reason::TlsUnsupported => {
                "The server offers no TLS. Set ssl=on on the server, or sslmode=disable in DATABASE_URL if the network \
                 is private; Neon and other clouds always offer it, so compare host and port"
            }
            Reason::TlsUntrusted => {
                "The certificate is not trusted, not valid now, or made for another name. Check the host name and the \
                 clock; on Neon install ca-certificates, elsewhere set sslrootcert to the server's CA"
            }
            Reason::TlsTimeout => {
                "TCP answers but TLS does not: the server is frozen, or something else listens there. On Neon see \
                 neonstatus.com; elsewhere look at load and memory of the server, then restart it"
            }
            Reason::TlsFailed => {
                "The TLS handshake broke off. Check that the port is PostgreSQL's, that both sides can do TLS 1.2 or \
                 1.3, and that no proxy stands in between; on Neon see neonstatus.com"
            }
            Reason::AuthFailed => {
                "Wrong user or password; Neon says the same of an unknown endpoint. Neon: copy the connection string \
                 from the console again. Elsewhere: ALTER ROLE with a new password, then redeploy"
            }
            Reason::AccessDenied => {
                "The server refuses this role or address. Neon: add the service's outbound address to IP Allow. \
                 Elsewhere: check pg_hba.conf, that the role exists, and its CONNECT and SELECT rights"
            }
            Reason::DatabaseMissing => {
                "The database that DATABASE_URL names does not exist or was dropped. Neon: compare branch and database \
                 in the console. Elsewhere: list them with psql -l; create or restore it"
            }
            Reason::EndpointMissing => {
                "Neon does not know this endpoint: it, its branch or its project was deleted, or the host is mistyped. \
                 Copy the connection string from the Neon console again and redeploy"
            }
            Reason::EndpointDisabled => {
                "This Neon compute is disabled and will not wake up. Enable it in the Neon console or through the API; \
                 if nobody disabled it, look at plan and billing, then ask Neon support"
            }
            Reason::QuotaExceeded => {
                "A quota of the Neon plan is used up: compute time, transfer, storage or active computes. Upgrade the \
                 plan, or suspend other computes; otherwise it lasts until the next billing month"
            }
            Reason::RateLimited => {
                "Further connection attempts are refused for now. Find what connects in a loop (app, job, script), use \
                 a pool that keeps its connections (Neon: the -pooler host), and wait a minute"
            }
            Reason::TooManyConnections => {
                "PostgreSQL has no free connection. Find idle ones in pg_stat_activity and lower pool_size and \
                 max_overflow of the app. Neon: use the -pooler host. Elsewhere: raise max_connections"
            }
            Reason::PoolerSaturated => {
                "The pooler has no free connection, or cannot open one: is the server behind it up? Find long queries \
                 and open transactions in pg_stat_activity. Neon: a larger compute; elsewhere: a larger pool"
            }
            Reason::PoolerUnsupported => {
                "The pooler does not take our options. Remove options= from DATABASE_URL, or on Neon use the host \
                 without -pooler. Elsewhere: ignore_startup_parameters, and no pool_mode=statement"
            }
            Reason::StartingUp => {
                "The server is starting or recovering: wait a minute. If it lasts, Neon: see the project's operations \
                 and neonstatus.com; elsewhere: read the PostgreSQL log and check the disk"
            }
            Reason::ShuttingDown => {
                "The server is stopping or restarting, on Neon for a suspend or an update: the next check should pass. \
                 If it lasts, see who stopped PostgreSQL, and its log for a crash or lack of memory"
            }
            Reason::ControlPlane => {
                "Neon's control plane failed without saying why, often for only seconds. See neonstatus.com and the \
                 project's operations in the console; if it lasts, write to Neon support"
            }
            Reason::ComputeUnreachable => {
                "The proxy or pooler answers, but it does not reach the server behind it. Neon: restart the compute in \
                 the console. Elsewhere: is PostgreSQL up, and what does the pooler's log say?"
            }
            Reason::LoginFailed => {
                "The server refused the login with an error that has no reason of its own. Run sidepulse check to read \
                 its message; then read the server's log, or write to Neon support"
            }
            Reason::AuthTimeout => {
                "The login took too long: on Neon a slow wake-up, elsewhere an overloaded server. If it happens often, \
                 raise SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT, and look at the server's load"
            }
            Reason::QueryTimeout => {
                "The login worked, but the query did not end in time. Look for long queries and locks in \
                 pg_stat_activity, and at CPU, memory and size of the Neon compute or the server"
            }
            Reason::LockTimeout => {
                "Another transaction holds a lock that the query needs, usually a migration. Find it with \
                 pg_blocking_pids() and pg_stat_activity; let it end, or call pg_terminate_backend()"
            }
            Reason::ConnectionLost => {
                "The other side closed the connection without an answer. App: did a worker crash? Database: a restart, \
                 on Neon a suspend, or a pooler or firewall in between; read the logs of that time"
            }
            Reason::QueryFailed => {
                "The server answered the query with an error. Run sidepulse check to read it; then check the SQL, the \
                 database and schema it runs in, and whether the migrations were applied"
            }
            Reason::UnexpectedResult => {
                "The query returned no row, or its first value is not true. Compare the SQL check with the data; if it \
                 checks migrations, run alembic upgrade head or correct the expected revision"
            }
            Reason::ProtocolError => {
                "The response is neither PostgreSQL's nor HTTP's. Check that host and port lead to the right service, \
                 and that the app's URL does not lead to sidepulse itself"
            }
            Reason::ResponseTimeout => {
                "The app accepts but does not answer: its event loop is blocked. Look for a sync call (requests, \
                 time.sleep, a sync driver) in an async route, then at CPU, memory and workers"
            }
            Reason::BadStatus => {
                "The app answers with a status outside SIDEPULSE_APP_STATUS. 5xx: read the app's log. 3xx or 4xx: \
                 check the path in SIDEPULSE_APP_URL, HTTPS redirects and allowed hosts"
            }
            Reason::Internal => {
                "sidepulse itself failed, not what it checks: no file descriptor or memory left, or a bug of its own. \
                 Check the container's limits, restart the service, and report it with the log"
            }
            Reason::NotRun => {
                "No result yet: the first check is still running. If this outlasts the check's timeout, look at /livez \
                 and at the log of sidepulse"
            }
            Reason::Stale => {
                "The next result is overdue, so the last one no longer counts. The container lacks CPU or was paused: \
                 look at /livez and sidepulse_scheduler_lag_seconds, then restart the service"
            }
            Reason::ReadOnly => {
                "The database takes no writes: it is a replica, or default_transaction_read_only is on. Neon: use the \
                 host of the read-write compute. Elsewhere: use the primary, or RESET the setting"
            }
            Reason::CertificateExpiring => {
                "The server's certificate expires within 14 days. Neon renews its own: if it is still there in a week, \
                 write to Neon support. Elsewhere: renew it and reload PostgreSQL"
            }
            Reason::ConnectionsScarce => {
                "Few more sessions can be opened before logins fail. Keep (pool_size + max_overflow) x workers x \
                 replicas under the limit, or use a pooler; sidepulse check shows the numbers"
            }
            Reason::TransactionStuck => {
                "A session sits idle in a transaction: it holds locks and keeps Neon awake. SELECT \
                 pg_terminate_backend(PID), PID from sidepulse check; set idle_in_transaction_session_timeout (pooler: \
                 find its client)"
            }
            Reason::LockWait => {
                "A session waits for a lock. sidepulse check names its PID and the one that blocks it: end that with \
                 SELECT pg_terminate_backend(PID) if it does not end itself, and give migrations a lock_timeout"
            }
            Reason::StorageScarce => {
                "The server's storage limit is nearly reached; then every write fails. Delete what is not needed and \
                 run VACUUM FULL, or raise the limit (on Neon the plan's)"
            }
            Reason::IdleUnverified => {
                "Not a fault: the app is idle, sidepulse lets Neon sleep, and the last full check is old. Any use of \
                 the app renews it; SIDEPULSE_DATABASE_MODE=steady checks always, and costs compute time"
            }
            Reason::RecoveredAfterRetry => {
                "It passed, but not at the first attempt; on Neon usually a cold start: nothing to do. If it recurs \
                 all day, look at the network, and elsewhere at restarts of the server"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Each with the name of its reason or cause.
    fn remedies() -> impl Iterator<Item = (String, &'static str)> {
        let reasons = Reason::ALL.iter().map(|reason| (reason.to_string(), reason.remedy()));
        reasons.chain(Cause::ALL.iter().map(|cause| (format!("{cause:?}"), cause.remedy())))
    }

    #[test]
    fn every_reason_has_one_line_for_the_person_on_call() {
        for (reason, remedy) in remedies() {
            assert!((40..=200).contains(&remedy.chars().count()), "{reason}: {} characters", remedy.chars().count());
            assert!(remedy.is_ascii() && !remedy.contains(|c: char| c.is_ascii_control()), "{reason}: {remedy}");
            assert!(!remedy.contains("  ") && remedy.trim() == remedy, "{reason}: {remedy}");
            assert!(!remedy.ends_with(['.', ',', ';', ':', '!']), "{reason}: {remedy}");
        }
    }

    #[test]
    fn no_two_remedies_are_equal() {
        let distinct: HashSet<_> = remedies().map(|(_, remedy)| remedy).collect();
        assert_eq!(distinct.len(), Reason::ALL.len() + Cause::ALL.len());
    }

    #[test]
    fn a_remedy_needs_no_filling_in_and_names_real_settings() {
        const SETTINGS: [&str; 5] = [
            "SIDEPULSE_APP_STATUS",
            "SIDEPULSE_APP_URL",
            "SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT",
            "SIDEPULSE_DATABASE_MODE",
            "SIDEPULSE_DATABASE_QUERY",
        ];
        for (reason, remedy) in remedies() {
            assert!(!remedy.contains(['<', '>', '{', '}']), "{reason}: {remedy}");
            for word in remedy.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                assert!(!word.starts_with("SIDEPULSE_") || SETTINGS.contains(&word), "{reason}: {word}");
            }
        }
    }

    #[test]
    fn what_neon_alone_can_say_speaks_of_neon() {
        use Reason::{ControlPlane, EndpointDisabled, EndpointMissing, QuotaExceeded, RateLimited};
        for reason in [EndpointMissing, EndpointDisabled, QuotaExceeded, RateLimited, ControlPlane] {
            assert!(reason.remedy().contains("Neon"), "{reason}");
        }
    }
}
