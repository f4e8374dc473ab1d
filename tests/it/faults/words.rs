//! The fault table's rows for the words of proxies, poolers and other servers, each from its source (named in
//! `src/probe/diagnosis/words.rs`), where it is said, and with the cure that a person is shown.

use super::table::case;
use super::{Case, Channel};
use crate::support::fake_postgres::{At, Behaviour, Fault};

/// Severity, SQLSTATE, text, reason, class, and a piece of the cure.
type Row = (&'static str, &'static str, &'static str, &'static str, char, &'static str);

/// Every row.
pub(super) fn cases() -> Vec<Case> {
    let tables = [
        // Access comes in place of authentication; what the wake-up says, after AuthenticationOk, as on
        // the real proxy: SASLFinal, AuthenticationOk and the error come in one flight.
        (NEON_ACCESS, Channel::Tls, At::Startup),
        (NEON_WAKE_UP, Channel::Tls, At::Login),
        (SUPAVISOR_TENANT, Channel::Tls, At::Startup),
        (SUPAVISOR_POOL, Channel::Tls, At::Login),
        (PGPOOL, Channel::Prefer, At::Startup),
        (PGBOUNCER, Channel::Plain, At::AuthFinal),
        (PGCAT, Channel::Prefer, At::AuthFinal),
        (PGDOG, Channel::Tls, At::Startup),
        (ODYSSEY, Channel::Tls, At::AuthFinal),
        (RDS, Channel::Prefer, At::Startup),
        (OTHERS, Channel::Tls, At::Startup),
        (IN_THE_QUERY, Channel::Tls, At::Query),
    ];
    let rows = tables.into_iter().flat_map(|(rows, channel, at)| rows.iter().map(move |row| (row, channel, at)));
    rows.map(|(&(severity, code, text, reason, class, remedy), channel, at)| {
        let fault = if severity == "FATAL" { Fault::fatal(code, text) } else { Fault::error(code, text) };
        let phase = if at == At::Query { "query" } else { "auth" };
        Case { remedy, ..case(text, channel, Behaviour::fault(at, fault), (reason, phase, class)) }
    })
    .collect()
}

/// All of Neon's are `ERROR` and `XX000`.
const NEON_ACCESS: &[Row] = &[
    (
        "ERROR",
        "XX000",
        "connection is insecure (try using `sslmode=require`)",
        "tls_unsupported",
        'P',
        "sslmode=require",
    ),
    ("ERROR", "XX000", "Control plane request failed: endpoint cannot be found", "endpoint_missing", 'P', "Neon"),
    (
        "ERROR",
        "XX000",
        "Too many connections to this endpoint. Please try again later.",
        "rate_limited",
        'C',
        "connects in a loop",
    ),
];

const NEON_WAKE_UP: &[Row] = &[
    (
        "ERROR",
        "XX000",
        "Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.",
        "control_plane",
        'R',
        "either a quota of the plan is used up, or an operation or maintenance is under way",
    ),
    (
        "ERROR",
        "XX000",
        "Your project already has running operations. Please wait until those are finished before trying again.",
        "control_plane",
        'R',
        "an operation or maintenance is under way. Wait",
    ),
    ("ERROR", "XX000", "Project is under maintenance, please try again later", "control_plane", 'R', "maintenance"),
    ("ERROR", "XX000", "Control plane request failed", "control_plane", 'R', "neonstatus.com"),
    (
        "ERROR",
        "XX000",
        "Your project has exceeded the compute time quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "Your project has exceeded the active time quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "Your project has exceeded the written data quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "Your project has exceeded the data transfer quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "Your project has exceeded the logical size quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "You've exceeded the compute time for this branch. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and try again.",
        "quota_exceeded",
        'P',
        "suspend other computes",
    ),
    (
        "ERROR",
        "XX000",
        "Your account or project has exceeded the quota. Upgrade your plan to increase limits.",
        "quota_exceeded",
        'P',
        "quota of the Neon plan",
    ),
    (
        "ERROR",
        "XX000",
        "The role you're attempting to use is protected and cannot be used for password-based authentication.",
        "access_denied",
        'P',
        "role",
    ),
    (
        "ERROR",
        "XX000",
        "You've exceeded the rate limit. Please wait a moment and try again.",
        "rate_limited",
        'C',
        "loop",
    ),
    (
        "ERROR",
        "XX000",
        "The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.",
        "endpoint_missing",
        'P',
        "connection string",
    ),
    ("ERROR", "XX000", "sorry, too many clients already", "too_many_connections", 'C', "pool_size"),
    ("ERROR", "XX000", "query_wait_timeout", "pooler_saturated", 'C', "pg_stat_activity"),
    (
        "ERROR",
        "XX000",
        "server login failed: FATAL database \"appdb\" does not exist",
        "database_missing",
        'P',
        "does not exist",
    ),
    (
        "ERROR",
        "XX000",
        "[NEON_SMGR] [shard 0] could not establish connection to pageserver",
        "compute_unreachable",
        'R',
        "restart the compute",
    ),
    ("ERROR", "XX000", "Too many connections attempts", "rate_limited", 'C', "loop"),
    (
        "ERROR",
        "XX000",
        "Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.",
        "rate_limited",
        'C',
        "loop",
    ),
];

const SUPAVISOR_TENANT: &[Row] = &[
    (
        "FATAL",
        "XX000",
        "(ENOTFOUND) tenant/user postgres.abcdefghijklmnopqrst not found",
        "auth_failed",
        'P',
        "postgres.PROJECT",
    ),
    ("FATAL", "XX000", "Tenant or user not found", "auth_failed", 'P', "postgres.PROJECT"),
    (
        "FATAL",
        "XX000",
        "(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)",
        "auth_failed",
        'P',
        "postgres.PROJECT",
    ),
    (
        "FATAL",
        "XX000",
        "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked",
        "rate_limited",
        'C',
        "blocks logins",
    ),
    (
        "FATAL",
        "XX000",
        "(EADDRNOTALLOWED) address not in tenant allow_list: {10, 0, 0, 1}",
        "access_denied",
        'P',
        "address",
    ),
    (
        "FATAL",
        "XX000",
        "(ESSLREQUIRED) SSL connection is required for user: postgres",
        "tls_unsupported",
        'P',
        "sslmode=require",
    ),
];

const SUPAVISOR_POOL: &[Row] = &[
    (
        "FATAL",
        "XX000",
        "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15",
        "pooler_saturated",
        'C',
        "port 6543",
    ),
    ("FATAL", "XX000", "(EMAXCONN) max client connections reached, limit: 200", "pooler_saturated", 'C', "port 6543"),
    ("FATAL", "XX000", "Max client connections reached", "pooler_saturated", 'C', "port 6543"),
    (
        "FATAL",
        "XX000",
        "(EDBHANDLEREXITED) DbHandler exited. Check logs for more information",
        "compute_unreachable",
        'R',
        "s log",
    ),
];

const PGPOOL: &[Row] = &[
    ("FATAL", "XX000", "client authentication failed", "auth_failed", 'P', "password"),
    ("ERROR", "XX000", "authentication failed", "auth_failed", 'P', "password"),
    ("ERROR", "08S01", "pgpool is not accepting any new connections", "compute_unreachable", 'R', "is PostgreSQL up"),
    ("FATAL", "53300", "Sorry, too many clients already", "too_many_connections", 'C', "pool_size"),
];

const PGBOUNCER: &[Row] = &[
    (
        "FATAL",
        "08P01",
        "server login failed: FATAL database \"appdb\" does not exist",
        "database_missing",
        'P',
        "does not exist",
    ),
    (
        "FATAL",
        "08P01",
        "server login failed: FATAL no pg_hba.conf entry for host \"10.0.0.1\", user \"probe\", database \"appdb\", no encryption",
        "access_denied",
        'P',
        "no login without TLS",
    ),
    ("FATAL", "08P01", "SSL required", "tls_unsupported", 'P', "no login without TLS"),
];

const PGCAT: &[Row] = &[
    (
        "FATAL",
        "58000",
        "No pool configured for database: \"appdb\", user: \"probe\"",
        "database_missing",
        'P',
        "DATABASE_URL",
    ),
    (
        "FATAL",
        "58000",
        "Pool down for database: \"appdb\", user: \"probe\"",
        "compute_unreachable",
        'R',
        "is PostgreSQL up",
    ),
];

const PGDOG: &[Row] = &[
    ("FATAL", "08004", "only TLS connections are allowed", "tls_unsupported", 'P', "no login without TLS"),
    (
        "FATAL",
        "28000",
        "password for user \"probe\" and database \"appdb\" is wrong, or the database does not exist",
        "auth_failed",
        'P',
        "Wrong user or password",
    ),
    (
        "ERROR",
        "58000",
        "connection pool for user \"probe\" and database \"appdb\" is down",
        "compute_unreachable",
        'R',
        "is PostgreSQL up",
    ),
];

const ODYSSEY: &[Row] = &[
    (
        "FATAL",
        "53300",
        "odyssey: c8dd3b1c3d7e0: too many active clients for user (pool_size for user appdb.probe reached 1)",
        "pooler_saturated",
        'C',
        "pool size",
    ),
    (
        "ERROR",
        "3D000",
        "odyssey: c8dd3b1c3d7e0: route for 'appdb.probe' is not found",
        "database_missing",
        'P',
        "psql -l",
    ),
    (
        "FATAL",
        "08006",
        "odyssey: c8dd3b1c3d7e0: failed to connect to remote server s4d2f6a8b0c1e",
        "compute_unreachable",
        'R',
        "is PostgreSQL up",
    ),
];

const RDS: &[Row] = &[
    ("FATAL", "28000", "This RDS Proxy requires TLS connections", "access_denied", 'P', "no login without TLS"),
    (
        "FATAL",
        "28P01",
        "The password that was provided for the role probe is wrong.",
        "auth_failed",
        'P',
        "Wrong user or password",
    ),
    (
        "FATAL",
        "08000",
        "Timed-out waiting to acquire database connection.",
        "pooler_saturated",
        'C',
        "no free connection",
    ),
];

/// PostgreSQL, Aurora DSQL, CockroachDB and its cloud's proxy.
const OTHERS: &[Row] = &[
    (
        "FATAL",
        "28000",
        "no pg_hba.conf entry for host \"10.0.0.1\", user \"probe\", database \"appdb\", no encryption",
        "access_denied",
        'P',
        "no login without TLS",
    ),
    ("FATAL", "28000", "connection requires a valid client certificate", "access_denied", 'P', "sslcert="),
    ("FATAL", "08006", "unable to accept connection, access denied", "access_denied", 'P', "IAM"),
    (
        "FATAL",
        "08C00",
        "codeParamsRoutingFailed: cluster app-123 not found",
        "endpoint_missing",
        'P',
        "options=--cluster=",
    ),
    ("ERROR", "57P03", "server is not accepting clients, try another node", "shutting_down", 'R', "restarting"),
];

/// In place of the answer to the deep query.
const IN_THE_QUERY: &[Row] = &[
    (
        "FATAL",
        "58000",
        "could not get connection from the pool - AllServersDown",
        "compute_unreachable",
        'R',
        "PostgreSQL up",
    ),
    ("ERROR", "58000", "checkout timeout", "pooler_saturated", 'C', "no free connection"),
    ("FATAL", "25P04", "terminating connection due to transaction timeout", "query_timeout", 'R', "long queries"),
    (
        "FATAL",
        "XX000",
        "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms in Transaction mode",
        "pooler_saturated",
        'C',
        "port 6543",
    ),
    ("ERROR", "P0001", "Tenant or user not found", "query_failed", 'C', "sidepulse check"),
    ("ERROR", "P0001", "(EMAXCONN) max client connections reached, limit: 200", "query_failed", 'C', "sidepulse check"),
];
