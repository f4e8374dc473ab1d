//! The fault table's rows for the words of proxies, poolers and other servers, each from its source (named in
//! `src/probe/diagnosis/messages.rs`), where it is sent, and with the cure that users see.

use super::table::case;
use super::{Case, Channel};
use crate::support::fake_postgres::{At, Behaviour, Fault};

/// Every row.
pub(super) fn cases() -> Vec<Case> {
    let tables = [
        // Refusals of access come in place of authentication; errors of the wake-up after AuthenticationOk, as on the
        // real proxy: SASLFinal, AuthenticationOk and the error come in one flight.
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
    let rows = tables.into_iter().flat_map(|(table, channel, at)| rows(table).map(move |row| (row, channel, at)));
    rows.map(|([severity, code, reason, class, remedy, text], channel, at)| {
        let fault = if severity == "FATAL" { Fault::fatal(code, text) } else { Fault::error(code, text) };
        let phase = if at == At::Query { "query" } else { "auth" };
        let class = class.chars().next().expect("a letter");
        Case { remedy, ..case(text, channel, Behaviour::fault(at, fault), (reason, phase, class)) }
    })
    .collect()
}

/// Reads a table: severity, SQLSTATE, reason and class, then a piece of the cure, then the text.
fn rows(table: &'static str) -> impl Iterator<Item = [&'static str; 6]> {
    table.trim().lines().map(|line| {
        let [told, remedy, text] = line.splitn(3, " | ").collect::<Vec<_>>()[..] else { panic!("three parts: {line}") };
        let [severity, code, reason, class] = told.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words: {line}")
        };
        [severity, code, reason, class, remedy, text]
    })
}

/// All of Neon's are `ERROR` and `XX000`.
const NEON_ACCESS: &str = r##"
ERROR XX000 tls_unsupported P | sslmode=require | connection is insecure (try using `sslmode=require`)
ERROR XX000 endpoint_missing P | Neon | Control plane request failed: endpoint cannot be found
ERROR XX000 rate_limited C | connects in a loop | Too many connections to this endpoint. Please try again later.
"##;

const NEON_WAKE_UP: &str = r##"
ERROR XX000 control_plane R | either a quota of the plan is used up, or an operation or maintenance is under way | Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.
ERROR XX000 control_plane R | an operation or maintenance is under way. Wait | Your project already has running operations. Please wait until those are finished before trying again.
ERROR XX000 control_plane R | maintenance | Project is under maintenance, please try again later
ERROR XX000 control_plane R | neonstatus.com | Control plane request failed
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your project has exceeded the compute time quota. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your project has exceeded the active time quota. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your project has exceeded the written data quota. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your project has exceeded the data transfer quota. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your project has exceeded the logical size quota. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | quota of the Neon plan | You've exceeded the compute time for this branch. Upgrade your plan to increase limits.
ERROR XX000 quota_exceeded P | suspend other computes | You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and try again.
ERROR XX000 quota_exceeded P | quota of the Neon plan | Your account or project has exceeded the quota. Upgrade your plan to increase limits.
ERROR XX000 access_denied P | role | The role you're attempting to use is protected and cannot be used for password-based authentication.
ERROR XX000 rate_limited C | loop | You've exceeded the rate limit. Please wait a moment and try again.
ERROR XX000 endpoint_missing P | connection string | The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.
ERROR XX000 too_many_connections C | pool_size | sorry, too many clients already
ERROR XX000 pooler_saturated C | pg_stat_activity | query_wait_timeout
ERROR XX000 database_missing P | does not exist | server login failed: FATAL database "appdb" does not exist
ERROR XX000 compute_unreachable R | restart the compute | [NEON_SMGR] [shard 0] could not establish connection to pageserver
ERROR XX000 rate_limited C | loop | Too many connections attempts
ERROR XX000 rate_limited C | loop | Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.
"##;

const SUPAVISOR_TENANT: &str = r##"
FATAL XX000 auth_failed P | postgres.PROJECT | (ENOTFOUND) tenant/user postgres.abcdefghijklmnopqrst not found
FATAL XX000 auth_failed P | postgres.PROJECT | Tenant or user not found
FATAL XX000 auth_failed P | postgres.PROJECT | (ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)
FATAL XX000 rate_limited C | blocks logins | (ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked
FATAL XX000 access_denied P | address | (EADDRNOTALLOWED) address not in tenant allow_list: {10, 0, 0, 1}
FATAL XX000 tls_unsupported P | sslmode=require | (ESSLREQUIRED) SSL connection is required for user: postgres
"##;

const SUPAVISOR_POOL: &str = r##"
FATAL XX000 pooler_saturated C | port 6543 | (EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15
FATAL XX000 pooler_saturated C | port 6543 | (EMAXCONN) max client connections reached, limit: 200
FATAL XX000 pooler_saturated C | port 6543 | Max client connections reached
FATAL XX000 compute_unreachable R | s log | (EDBHANDLEREXITED) DbHandler exited. Check logs for more information
"##;

const PGPOOL: &str = r##"
FATAL XX000 auth_failed P | password | client authentication failed
ERROR XX000 auth_failed P | password | authentication failed
ERROR 08S01 compute_unreachable R | is PostgreSQL up | pgpool is not accepting any new connections
FATAL 53300 too_many_connections C | pool_size | Sorry, too many clients already
"##;

const PGBOUNCER: &str = r##"
FATAL 08P01 database_missing P | does not exist | server login failed: FATAL database "appdb" does not exist
FATAL 08P01 access_denied P | no login without TLS | server login failed: FATAL no pg_hba.conf entry for host "10.0.0.1", user "probe", database "appdb", no encryption
FATAL 08P01 tls_unsupported P | no login without TLS | SSL required
"##;

const PGCAT: &str = r##"
FATAL 58000 database_missing P | DATABASE_URL | No pool configured for database: "appdb", user: "probe"
FATAL 58000 compute_unreachable R | is PostgreSQL up | Pool down for database: "appdb", user: "probe"
"##;

const PGDOG: &str = r##"
FATAL 08004 tls_unsupported P | no login without TLS | only TLS connections are allowed
FATAL 28000 auth_failed P | Wrong user or password | password for user "probe" and database "appdb" is wrong, or the database does not exist
ERROR 58000 compute_unreachable R | is PostgreSQL up | connection pool for user "probe" and database "appdb" is down
"##;

const ODYSSEY: &str = r##"
FATAL 53300 pooler_saturated C | a larger pool | odyssey: c8dd3b1c3d7e0: too many active clients for user (pool_size for user appdb.probe reached 1)
ERROR 3D000 database_missing P | psql -l | odyssey: c8dd3b1c3d7e0: route for 'appdb.probe' is not found
FATAL 08006 compute_unreachable R | is PostgreSQL up | odyssey: c8dd3b1c3d7e0: failed to connect to remote server s4d2f6a8b0c1e
"##;

const RDS: &str = r##"
FATAL 28000 access_denied P | no login without TLS | This RDS Proxy requires TLS connections
FATAL 28P01 auth_failed P | Wrong user or password | The password that was provided for the role probe is wrong.
FATAL 08000 pooler_saturated C | no free connection | Timed-out waiting to acquire database connection.
"##;

/// PostgreSQL, Aurora DSQL, CockroachDB and its cloud's proxy.
const OTHERS: &str = r##"
FATAL 28000 access_denied P | no login without TLS | no pg_hba.conf entry for host "10.0.0.1", user "probe", database "appdb", no encryption
FATAL 28000 access_denied P | sslcert= | connection requires a valid client certificate
FATAL 08006 access_denied P | IAM | unable to accept connection, access denied
FATAL 08C00 endpoint_missing P | options=--cluster= | codeParamsRoutingFailed: cluster app-123 not found
ERROR 57P03 shutting_down R | restarting | server is not accepting clients, try another node
"##;

/// In place of the answer to the deep query.
const IN_THE_QUERY: &str = r##"
FATAL 58000 compute_unreachable R | PostgreSQL up | could not get connection from the pool - AllServersDown
ERROR 58000 pooler_saturated C | no free connection | checkout timeout
FATAL 25P04 query_timeout R | long queries | terminating connection due to transaction timeout
FATAL XX000 pooler_saturated C | port 6543 | (ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms in Transaction mode
ERROR P0001 query_failed C | sidepulse check | Tenant or user not found
ERROR P0001 query_failed C | sidepulse check | (EMAXCONN) max client connections reached, limit: 200
"##;
