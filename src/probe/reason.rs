//! Why a check does not simply pass: the closed set of words that metrics, bodies and the log share.

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
    ($($variant:ident $name:literal $class:ident $doc:literal;)*) => {
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
        }
    };
}

reasons! {
    DnsFailure "dns_failure" Retry "The name does not resolve, or not in time.";
    ConnectRefused "connect_refused" Retry "Nothing listens there.";
    ConnectTimeout "connect_timeout" Retry "TCP was not answered in time.";
    Unreachable "unreachable" Retry "No route, or a firewall rejects it.";
    LoopbackOnly "loopback_only" Count "On Railway, the app accepts on loopback alone.";
    TlsUnsupported "tls_unsupported" Permanent "The server does not offer TLS, or insists on it.";
    TlsUntrusted "tls_untrusted" Permanent "Chain, name or validity of the certificate.";
    TlsTimeout "tls_timeout" Retry "TCP accepted, then SSLRequest or the handshake was not answered in time.";
    TlsFailed "tls_failed" Retry "Any other handshake failure.";
    AuthFailed "auth_failed" Permanent "Wrong password or user, or no usable login method.";
    AccessDenied "access_denied" Permanent "The server refuses this user or address.";
    DatabaseMissing "database_missing" Permanent "The database does not exist.";
    EndpointMissing "endpoint_missing" Permanent "Neon does not know the endpoint.";
    EndpointDisabled "endpoint_disabled" Permanent "Neon: the endpoint is disabled.";
    QuotaExceeded "quota_exceeded" Permanent "Neon: a quota is used up.";
    RateLimited "rate_limited" Count "Neon: too many connection attempts.";
    TooManyConnections "too_many_connections" Count "PostgreSQL has no connection left.";
    PoolerSaturated "pooler_saturated" Count "PgBouncer has no connection left.";
    PoolerUnsupported "pooler_unsupported" Permanent "PgBouncer does not accept a startup parameter.";
    StartingUp "starting_up" Retry "The server is starting.";
    ShuttingDown "shutting_down" Retry "The server is stopping or restarting.";
    ControlPlane "control_plane" Retry "Neon's control plane failed without saying more.";
    ComputeUnreachable "compute_unreachable" Retry "The proxy or pooler does not reach the server behind it.";
    LoginFailed "login_failed" Retry "Any other server error before ReadyForQuery.";
    AuthTimeout "auth_timeout" Retry "The attempt's time ended during login.";
    QueryTimeout "query_timeout" Retry "The attempt's time, or the statement timeout, ended during the query.";
    LockTimeout "lock_timeout" Count "A lock was not granted in time.";
    ConnectionLost "connection_lost" Retry "The peer closed or reset the connection.";
    QueryFailed "query_failed" Count "Any other error from the query.";
    UnexpectedResult "unexpected_result" Count "No row, or a SQL check that is not true.";
    ProtocolError "protocol_error" Count "Bytes that are not PostgreSQL's, or not HTTP's.";
    ResponseTimeout "response_timeout" Count "The app accepted but did not answer in time.";
    BadStatus "bad_status" Count "The app answered with another status than it should.";
    Internal "internal" Count "The prober itself broke, not the target.";
    NotRun "not_run" NotAFailure "No result yet.";
    Stale "stale" NotAFailure "The next result is overdue.";
    ReadOnly "read_only" NotAFailure "Warning: the database takes no writes.";
    CertificateExpiring "certificate_expiring" NotAFailure "Warning: the certificate expires within 14 days.";
    ConnectionsScarce "connections_scarce" NotAFailure "Warning: few sessions of this role may still be opened.";
    TransactionStuck "transaction_stuck" NotAFailure "Warning: a session of this role is idle in a transaction.";
    LockWait "lock_wait" NotAFailure "Warning: a session of this role has waited for a lock.";
    StorageScarce "storage_scarce" NotAFailure "Warning: the server's storage limit is nearly reached.";
    IdleUnverified "idle_unverified" NotAFailure "Warning: idle, and the last deep success is old.";
    RecoveredAfterRetry "recovered_after_retry" NotAFailure "Warning: it took more than one attempt.";
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
