//! Why a check does not simply pass: the closed set of words that metrics, bodies and the log share, and for each one line
//! for the person on call: what it means, and what to try first.

use std::fmt;

/// What a failure means for retries and thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// R: may heal by itself within seconds, so the database check retries inside its deadline.
    Retry,
    /// C: ends the check; the failure threshold decides.
    Count,
    /// P: will not heal without a change; ends the check and turns it down at once.
    Permanent,
    /// Not a failure of a check that ran: `not_run`, `stale` and the warnings.
    NotAFailure,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $class:ident $doc:literal $remedy:literal;)*) => {
        /// Why a check does not simply pass. The set is closed: these are the only values of `reason`, everywhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Reason { $(#[doc = $doc] $variant,)* }

        impl Reason {
            /// Every reason, in the order of docs/reference.md.
            pub(crate) const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The word in bodies, labels and logs.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// What it means for retries and thresholds.
            pub(crate) const fn class(self) -> Class {
                match self { $(Reason::$variant => Class::$class,)* }
            }

            /// What to do about it, in one line of at most 200 characters without a full stop at its end. It holds no
            /// secret and nothing of this deployment, so `sidepulse check`, the log and the status page can all show it.
            pub(crate) const fn remedy(self) -> &'static str {
                match self { $(Reason::$variant => $remedy,)* }
            }
        }
    };
}

reasons! {
    DnsFailure "dns_failure" Retry "The name does not resolve, or not in time."
        "The host name does not resolve. Compare it with the connection string in the Neon console; a \
         *.railway.internal name resolves only inside its own Railway project and environment";
    ConnectRefused "connect_refused" Retry "Nothing listens there."
        "Nothing listens there. App: is uvicorn up, and on the port that SIDEPULSE_APP_URL names? Database: compare \
         host and port, and see whether PostgreSQL or PgBouncer was started";
    ConnectTimeout "connect_timeout" Retry "TCP was not answered in time."
        "No answer to TCP. Database: check host, port and firewall, on Neon see neonstatus.com; app: its machine or \
         its backlog is full, so look at load, workers and memory";
    Unreachable "unreachable" Retry "No route, or a firewall rejects it."
        "No route to the host, or a firewall rejects it. Railway has no outbound IPv6 by default: the name needs an \
         IPv4 address. On Neon see neonstatus.com; elsewhere check the server's network";
    LoopbackOnly "loopback_only" Count "On Railway, the app accepts on loopback alone."
        "The app listens on 127.0.0.1 alone, so Railway's domain answers 502. Start it with uvicorn main:app --host \
         0.0.0.0 --port $PORT";
    TlsUnsupported "tls_unsupported" Permanent "The server does not offer TLS, or insists on it."
        "The server offers no TLS. Set ssl=on on the server, or sslmode=disable in DATABASE_URL if the network is \
         private; Neon and other clouds always offer it, so compare host and port";
    TlsUntrusted "tls_untrusted" Permanent "Chain, name or validity of the certificate."
        "The certificate is not trusted, not valid now, or made for another name. Check the host name and the clock; \
         on Neon install ca-certificates, elsewhere set sslrootcert to the server's CA";
    TlsTimeout "tls_timeout" Retry "TCP accepted, then SSLRequest or the handshake was not answered in time."
        "TCP answers but TLS does not: the server is frozen, or something else listens there. On Neon see \
         neonstatus.com; elsewhere look at load and memory of the server, then restart it";
    TlsFailed "tls_failed" Retry "Any other handshake failure."
        "The TLS handshake broke off. Check that the port is PostgreSQL's, that both sides can do TLS 1.2 or 1.3, and \
         that no proxy stands in between; on Neon see neonstatus.com";
    AuthFailed "auth_failed" Permanent "Wrong password or user, or no usable login method."
        "Wrong user or password; Neon says the same of an unknown endpoint. Neon: copy the connection string from the \
         console again. Elsewhere: ALTER ROLE with a new password, then redeploy";
    AccessDenied "access_denied" Permanent "The server refuses this user or address."
        "The server refuses this role or address. Neon: add the service's outbound address to IP Allow. Elsewhere: \
         check pg_hba.conf, that the role exists, and its CONNECT and SELECT rights";
    DatabaseMissing "database_missing" Permanent "The database does not exist."
        "The database that DATABASE_URL names does not exist or was dropped. Neon: compare branch and database in the \
         console. Elsewhere: list them with psql -l; create or restore it";
    EndpointMissing "endpoint_missing" Permanent "Neon does not know the endpoint."
        "Neon does not know this endpoint: it, its branch or its project was deleted, or the host is mistyped. Copy \
         the connection string from the Neon console again and redeploy";
    EndpointDisabled "endpoint_disabled" Permanent "Neon: the endpoint is disabled."
        "This Neon compute is disabled and will not wake up. Enable it in the Neon console or through the API; if \
         nobody disabled it, look at plan and billing, then ask Neon support";
    QuotaExceeded "quota_exceeded" Permanent "Neon: a quota is used up."
        "A quota of the Neon plan is used up: compute time, transfer, storage or active computes. Upgrade the plan, or \
         suspend other computes; otherwise it lasts until the next billing month";
    RateLimited "rate_limited" Count "Neon: too many connection attempts."
        "Further connection attempts are refused for now. Find what connects in a loop (app, job, script), use a pool \
         that keeps its connections (Neon: the -pooler host), and wait a minute";
    TooManyConnections "too_many_connections" Count "PostgreSQL has no connection left."
        "PostgreSQL has no free connection. Find idle ones in pg_stat_activity and lower pool_size and max_overflow of \
         the app. Neon: use the -pooler host. Elsewhere: raise max_connections";
    PoolerSaturated "pooler_saturated" Count "PgBouncer has no connection left."
        "The pooler has no free connection, or cannot open one: is the server behind it up? Find long queries and open \
         transactions in pg_stat_activity. Neon: a larger compute; elsewhere: a larger pool";
    PoolerUnsupported "pooler_unsupported" Permanent "PgBouncer does not accept a startup parameter."
        "The pooler does not take our options. Remove options= from DATABASE_URL, or on Neon use the host without \
         -pooler. Elsewhere: ignore_startup_parameters, and no pool_mode=statement";
    StartingUp "starting_up" Retry "The server is starting."
        "The server is starting or recovering: wait a minute. If it lasts, Neon: see the project's operations and \
         neonstatus.com; elsewhere: read the PostgreSQL log and check the disk";
    ShuttingDown "shutting_down" Retry "The server is stopping or restarting."
        "The server is stopping or restarting, on Neon for a suspend or an update: the next check should pass. If it \
         lasts, see who stopped PostgreSQL, and its log for a crash or lack of memory";
    ControlPlane "control_plane" Retry "Neon's control plane failed without saying more."
        "Neon's control plane failed without saying why, often for only seconds. See neonstatus.com and the project's \
         operations in the console; if it lasts, write to Neon support";
    ComputeUnreachable "compute_unreachable" Retry "The proxy or pooler does not reach the server behind it."
        "The proxy or pooler answers, but it does not reach the server behind it. Neon: restart the compute in the \
         console. Elsewhere: is PostgreSQL up, and what does the pooler's log say?";
    LoginFailed "login_failed" Retry "Any other server error before ReadyForQuery."
        "The server refused the login with an error that has no reason of its own. Run sidepulse check to read its \
         message; then read the server's log, or write to Neon support";
    AuthTimeout "auth_timeout" Retry "The attempt's time ended during login."
        "The login took too long: on Neon a slow wake-up, elsewhere an overloaded server. If it happens often, raise \
         SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT, and look at the server's load";
    QueryTimeout "query_timeout" Retry "The attempt's time, or the statement timeout, ended during the query."
        "The login worked, but the query did not end in time. Look for long queries and locks in pg_stat_activity, and \
         at CPU, memory and size of the Neon compute or the server";
    LockTimeout "lock_timeout" Count "A lock was not granted in time."
        "Another transaction holds a lock that the query needs, usually a migration. Find it with pg_blocking_pids() \
         and pg_stat_activity; let it end, or call pg_terminate_backend()";
    ConnectionLost "connection_lost" Retry "The peer closed or reset the connection."
        "The other side closed the connection without an answer. App: did a worker crash? Database: a restart, on Neon \
         a suspend, or a pooler or firewall in between; read the logs of that time";
    QueryFailed "query_failed" Count "Any other error from the query."
        "The server answered the query with an error. Run sidepulse check to read it; then check the SQL, the database \
         and schema it runs in, and whether the migrations were applied";
    UnexpectedResult "unexpected_result" Count "No row, or a SQL check that is not true."
        "The query returned no row, or its first value is not true. Compare the SQL check with the data; if it checks \
         migrations, run alembic upgrade head or correct the expected revision";
    ProtocolError "protocol_error" Count "Bytes that are not PostgreSQL's, or not HTTP's."
        "The response is neither PostgreSQL's nor HTTP's. Check that host and port lead to the right service, and that \
         the app's URL does not lead to sidepulse itself";
    ResponseTimeout "response_timeout" Count "The app accepted but did not answer in time."
        "The app accepts but does not answer: its event loop is blocked. Look for a sync call (requests, time.sleep, a \
         sync driver) in an async route, then at CPU, memory and workers";
    BadStatus "bad_status" Count "The app answered with another status than it should."
        "The app answers with a status outside SIDEPULSE_APP_STATUS. 5xx: read the app's log. 3xx or 4xx: check the \
         path in SIDEPULSE_APP_URL, HTTPS redirects and allowed hosts";
    Internal "internal" Count "The prober itself broke, not the target."
        "sidepulse itself failed, not what it checks: no file descriptor or memory left, or a bug of its own. Check \
         the container's limits, restart the service, and report it with the log";
    NotRun "not_run" NotAFailure "No result yet."
        "No result yet: the first check is still running. If this outlasts the check's timeout, look at /livez and at \
         the log of sidepulse";
    Stale "stale" NotAFailure "The next result is overdue."
        "The next result is overdue, so the last one no longer counts. The container lacks CPU or was paused: look at \
         /livez and sidepulse_scheduler_lag_seconds, then restart the service";
    ReadOnly "read_only" NotAFailure "Warning: the database takes no writes."
        "The database takes no writes: it is a replica, or default_transaction_read_only is on. Neon: use the host of \
         the read-write compute. Elsewhere: use the primary, or RESET the setting";
    CertificateExpiring "certificate_expiring" NotAFailure "Warning: the certificate expires within 14 days."
        "The server's certificate expires within 14 days. Neon renews its own: if it is still there in a week, write \
         to Neon support. Elsewhere: renew it and reload PostgreSQL";
    ConnectionsScarce "connections_scarce" NotAFailure "Warning: few sessions of this role may still be opened."
        "Few more sessions can be opened before logins fail. Keep (pool_size + max_overflow) x workers x replicas \
         under the limit, or use a pooler; sidepulse check shows the numbers";
    TransactionStuck "transaction_stuck" NotAFailure "Warning: a session of this role is idle in a transaction."
        "A session sits idle in a transaction: it holds locks and keeps Neon awake. SELECT pg_terminate_backend(PID), \
         PID from sidepulse check; set idle_in_transaction_session_timeout (pooler: find its client)";
    LockWait "lock_wait" NotAFailure "Warning: a session of this role has waited for a lock."
        "A session waits for a lock. sidepulse check names its PID and the one that blocks it: end that with SELECT \
         pg_terminate_backend(PID) if it does not end itself, and give migrations a lock_timeout";
    StorageScarce "storage_scarce" NotAFailure "Warning: the server's storage limit is nearly reached."
        "The server's storage limit is nearly reached; then every write fails. Delete what is not needed and run \
         VACUUM FULL, or raise the limit (on Neon the plan's)";
    IdleUnverified "idle_unverified" NotAFailure "Warning: idle, and the last deep success is old."
        "Not a fault: the app is idle, sidepulse lets Neon sleep, and the last full check is old. Any use of the app \
         renews it; SIDEPULSE_DATABASE_MODE=steady checks always, and costs compute time";
    RecoveredAfterRetry "recovered_after_retry" NotAFailure "Warning: it took more than one attempt."
        "It passed, but not at the first attempt; on Neon usually a cold start: nothing to do. If it recurs all day, \
         look at the network, and elsewhere at restarts of the server";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// The reasons that show as `warn`, in the order in which the first that applies wins.
    pub(crate) const WARNINGS: [Reason; 8] = [
        Reason::ReadOnly,
        Reason::CertificateExpiring,
        Reason::ConnectionsScarce,
        Reason::TransactionStuck,
        Reason::LockWait,
        Reason::StorageScarce,
        Reason::IdleUnverified,
        Reason::RecoveredAfterRetry,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct_snake_case_words() {
        for reason in Reason::ALL {
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{reason}");
        }
        let mut words: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
