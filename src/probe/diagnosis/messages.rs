//! What servers, poolers and proxies say of logins and full pools, and what it means, with the source of each message.
//! Patterns are in lower case and match a whole message; `*` stands for anything.
//!
//! Rows that match the same message have the same reason, and the first of them has its cause.

use crate::probe::{Cause, Reason};

/// A pattern, its reason, and its cause where that has a remedy of its own.
pub(super) type KnownMessage = (&'static str, Reason, Option<Cause>);

/// Every table.
pub(super) const ALL: [&[KnownMessage]; 12] =
    [NEON, PGBOUNCER, SUPAVISOR, PGPOOL, PGCAT, PGDOG, ODYSSEY, RDS, DSQL, COCKROACH, OTHER_CLOUDS, POSTGRES];

/// neondatabase/neon at 6a35a3e: `proxy/src/{auth/mod,auth/credentials,compute/mod,control_plane/errors,control_plane/
/// messages,pglb/mod}.rs` and `pgxn/neon/libpagestore.c`. The control plane's own sentences, which the proxy passes on,
/// are from <https://neon.com/docs/connect/connection-errors> and from public logs: those of 2026 show that the SQLSTATE
/// is no longer always `XX000`, but 53000 with a quota and 28000 with a disabled endpoint.
const NEON: &[KnownMessage] = &[
    ("connection is insecure*", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("unsupported authentication method: *", Reason::AuthFailed, None),
    ("this ip address * is not allowed to connect to this endpoint*", Reason::AccessDenied, None),
    ("this connection is trying to access this endpoint from a blocked network*", Reason::AccessDenied, None),
    ("this vpc endpoint id * is not allowed to connect to this endpoint*", Reason::AccessDenied, None),
    ("vpc endpoint id is not specified*", Reason::AccessDenied, None),
    ("the role you're attempting to use is protected*", Reason::AccessDenied, None),
    ("endpoint id is not specified*", Reason::EndpointMissing, None),
    ("the endpoint id is not specified*", Reason::EndpointMissing, None),
    ("inconsistent project name inferred from *", Reason::EndpointMissing, None),
    ("project name ('*') must contain only alphanumeric characters*", Reason::EndpointMissing, None),
    ("endpoint cannot be found*", Reason::EndpointMissing, None),
    ("the requested endpoint could not be found*", Reason::EndpointMissing, None),
    ("the requested branch could not be found*", Reason::EndpointMissing, None),
    ("the requested project could not be found*", Reason::EndpointMissing, None),
    ("the requested resource could not be found*", Reason::EndpointMissing, None),
    ("endpoint is disabled*", Reason::EndpointDisabled, None),
    ("the endpoint has been disabled*", Reason::EndpointDisabled, None),
    ("your * has exceeded the *quota*", Reason::QuotaExceeded, None),
    ("you've exceeded the compute time for this branch*", Reason::QuotaExceeded, None),
    ("you have exceeded the limit of concurrently active endpoints*", Reason::QuotaExceeded, None),
    ("active endpoints limit exceeded*", Reason::QuotaExceeded, None),
    ("too many connections to this endpoint*", Reason::RateLimited, None),
    ("too many connections attempts*", Reason::RateLimited, None),
    ("failed to acquire permit to connect to the database*", Reason::RateLimited, None),
    ("you've exceeded the rate limit*", Reason::RateLimited, None),
    ("endpoint is idle*", Reason::StartingUp, None),
    ("endpoint is in transition*", Reason::StartingUp, None),
    ("timed out * endpoint to become active*", Reason::StartingUp, None),
    // HTTP 422 and 423, running operations, a taken lock and maintenance all read like this: no proof of a quota.
    ("endpoint is temporar* unavailable. check your quotas*", Reason::ControlPlane, Some(Cause::EndpointUnavailable)),
    ("control plane request failed*", Reason::ControlPlane, None),
    ("console request failed*", Reason::ControlPlane, None),
    ("your project already has running operations*", Reason::ControlPlane, Some(Cause::ProjectBusy)),
    ("project already has running operations*", Reason::ControlPlane, Some(Cause::ProjectBusy)),
    ("project is under maintenance*", Reason::ControlPlane, Some(Cause::ProjectBusy)),
    ("couldn't connect to compute node*", Reason::ComputeUnreachable, None),
    ("[neon_smgr]*could not establish connection to pageserver*", Reason::ComputeUnreachable, None),
    // The proxy's own driver, about its connection to the compute.
    ("connection closed", Reason::ComputeUnreachable, None),
    ("error communicating with the server*", Reason::ComputeUnreachable, None),
    ("error connecting to server*", Reason::ComputeUnreachable, None),
    ("timeout waiting for server*", Reason::ComputeUnreachable, None),
    ("authentication timed out*", Reason::AuthTimeout, None),
];

/// pgbouncer/pgbouncer, 1.9 to 1.25: `src/{client,janitor,objects,proto,server}.c`. It cuts at 127 bytes.
const PGBOUNCER: &[KnownMessage] = &[
    ("ssl required", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("tls connection required", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("auth failed", Reason::AuthFailed, None),
    ("sasl authentication failed", Reason::AuthFailed, None),
    ("certificate authentication failed", Reason::AuthFailed, Some(Cause::ClientCertificateRequired)),
    ("ldap authentication failed", Reason::AuthFailed, None),
    ("pam authentication failed", Reason::AuthFailed, None),
    ("\"trust\" authentication failed", Reason::AuthFailed, None),
    ("unix socket login rejected", Reason::AuthFailed, None),
    ("no such user", Reason::AuthFailed, None),
    ("no such user: *", Reason::AuthFailed, None),
    ("login rejected", Reason::AccessDenied, None),
    ("no authentication method is found", Reason::AccessDenied, None),
    ("database \"*\" is disabled", Reason::AccessDenied, None),
    ("database does not allow connections: *", Reason::AccessDenied, None),
    ("no such database: *", Reason::DatabaseMissing, None),
    ("no more connections allowed*", Reason::PoolerSaturated, None),
    ("client connections exceeded*", Reason::PoolerSaturated, None),
    ("query_wait_timeout*", Reason::PoolerSaturated, None),
    ("unsupported startup parameter: *", Reason::PoolerUnsupported, None),
    ("unsupported startup parameter in options: *", Reason::PoolerUnsupported, None),
    ("unsupported options startup parameter: *", Reason::PoolerUnsupported, None),
    ("transaction blocks not allowed in statement pooling mode", Reason::PoolerUnsupported, None),
    ("pooler is shutting down", Reason::ShuttingDown, None),
    ("server shutting down", Reason::ShuttingDown, None),
    ("server conn crashed?", Reason::ComputeUnreachable, None),
    ("server login failed", Reason::ComputeUnreachable, None),
    ("server login has been failing*", Reason::ComputeUnreachable, None),
    ("pgbouncer cannot connect to server", Reason::ComputeUnreachable, None),
    ("client_login_timeout (server down)", Reason::ComputeUnreachable, None),
    ("client_login_timeout", Reason::AuthTimeout, None),
    ("query_timeout", Reason::QueryTimeout, None),
    ("query timeout", Reason::QueryTimeout, None),
    ("transaction timeout", Reason::QueryTimeout, None),
    ("idle transaction timeout", Reason::QueryTimeout, None),
];

/// supabase/supavisor at 03e5cc5: `lib/supavisor/errors/*.ex`, `db_handler.ex`, `circuit_breaker.ex`; the older texts
/// from `client_handler.ex` and `handlers/client_handler.ex` of 2023 to 2025. All of them are FATAL, most `XX000`, and
/// since 2025 each begins with its code: `(EMAXCONNSESSION) max clients reached …`.
const SUPAVISOR: &[KnownMessage] = &[
    ("ssl connection is required*", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("tenant/user * not found", Reason::AuthFailed, Some(Cause::SupavisorUser)),
    ("tenant or user not found", Reason::AuthFailed, Some(Cause::SupavisorUser)),
    ("tenant not found*", Reason::AuthFailed, Some(Cause::SupavisorUser)),
    ("no tenant identifier provided*", Reason::AuthFailed, Some(Cause::SupavisorUser)),
    (
        "authentication error, reason: \"invalid format for user or db_name\"*",
        Reason::AuthFailed,
        Some(Cause::SupavisorUser),
    ),
    ("authentication error", Reason::AuthFailed, None),
    ("authentication error, reason: *", Reason::AuthFailed, None),
    ("authentication credentials are invalid. please reconnect*", Reason::AuthFailed, None),
    ("user not found in the database", Reason::AuthFailed, None),
    ("multiple users matched for *", Reason::AuthFailed, None),
    ("address not in tenant allow_list: *", Reason::AccessDenied, None),
    ("tenant is banned: *", Reason::AccessDenied, None),
    (
        "failed to retrieve database credentials after multiple attempts*",
        Reason::RateLimited,
        Some(Cause::CircuitBreaker),
    ),
    ("too many failed attempts to connect to the database*", Reason::RateLimited, Some(Cause::CircuitBreaker)),
    ("too many authentication failures*", Reason::RateLimited, Some(Cause::CircuitBreaker)),
    ("max clients reached*", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("maxclientsinsessionmode: max clients reached*", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("max client connections reached*", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("max pools count reached", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("unable to check out connection from the pool*", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("unable to check out process from the pool*", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("failed to check out a connection after multiple retries", Reason::PoolerSaturated, Some(Cause::SupavisorFull)),
    ("authentication query failed*", Reason::ComputeUnreachable, None),
    ("auth_query connection failed*", Reason::ComputeUnreachable, None),
    ("auth_query secret check timed out", Reason::ComputeUnreachable, None),
    ("failed to retrieve authentication secrets: *", Reason::ComputeUnreachable, None),
    ("failed to connect to database: *", Reason::ComputeUnreachable, None),
    ("connection to database closed. check logs*", Reason::ComputeUnreachable, None),
    ("dbhandler exited*", Reason::ComputeUnreachable, None),
    ("failed to start proxy connection", Reason::ComputeUnreachable, None),
    ("proxy supervisor unavailable after retries", Reason::ComputeUnreachable, None),
    ("failed to subscribe to tenant after multiple retries*", Reason::ComputeUnreachable, None),
    ("worker processes (manager/pool) not found for tenant *", Reason::ComputeUnreachable, None),
    ("pool checkout failed: *", Reason::ComputeUnreachable, None),
    ("timeout while waiting for message", Reason::AuthTimeout, None),
];

/// pgpool/pgpool2 at 243463a: `src/auth/{pool_auth,pool_hba}.c`, `src/protocol/{child,pool_connection_pool,
/// pool_process_query}.c`. `XX000` where nothing else is said here; a full one speaks as PostgreSQL does.
const PGPOOL: &[KnownMessage] = &[
    ("authentication failed", Reason::AuthFailed, None),
    ("client authentication failed", Reason::AuthFailed, None),
    ("md5 authentication failed", Reason::AuthFailed, None),
    ("scram authentication failed", Reason::AuthFailed, None),
    ("clear text authentication failed", Reason::AuthFailed, None),
    ("clear text password authentication failed", Reason::AuthFailed, None),
    ("cert authentication failed", Reason::AuthFailed, Some(Cause::ClientCertificateRequired)),
    ("authentication failed, backend node replied with an error", Reason::AuthFailed, None),
    ("authentication failed from backend", Reason::ComputeUnreachable, None),
    // 08S01.
    ("pgpool is not accepting any new connections", Reason::ComputeUnreachable, None),
    ("all backend nodes are down*", Reason::ComputeUnreachable, None),
    ("failed to create a backend connection", Reason::ComputeUnreachable, None),
    ("failed to create a backend * connection", Reason::ComputeUnreachable, None),
    ("failed to read kind from backend*", Reason::ComputeUnreachable, None),
    ("unable to read message kind from backend", Reason::ComputeUnreachable, None),
    ("connection terminated due to online recovery", Reason::ShuttingDown, None),
];

/// postgresml/pgcat at 5b03881: `src/{client,pool,errors,messages}.rs`. FATAL 58000, and the session goes on. A pool that
/// is full and one without a server both end as `AllServersDown`.
const PGCAT: &[KnownMessage] = &[
    ("no pool configured for database: *", Reason::DatabaseMissing, None),
    ("could not get connection from the pool - *", Reason::ComputeUnreachable, None),
    ("checkout failure limit reached (*", Reason::ComputeUnreachable, None),
    ("pool down for database: *", Reason::ComputeUnreachable, None),
    ("error receiving data from server: *", Reason::ComputeUnreachable, None),
    ("pool statement timeout", Reason::QueryTimeout, None),
];

/// pgdogdev/pgdog at b460126: `pgdog/src/net/messages/error_response.rs`, `pgdog/src/backend/pool/error.rs`,
/// `pgdog/src/frontend/{error.rs,client/mod.rs}`. 58000, as ERROR or FATAL, where nothing else is said here.
const PGDOG: &[KnownMessage] = &[
    // 08004.
    ("only tls connections are allowed", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    // 28000.
    ("password for user \"*\" and database \"*\" is wrong, or the database does not exist", Reason::AuthFailed, None),
    ("no such user/database: *", Reason::AuthFailed, None),
    ("checkout timeout", Reason::PoolerSaturated, None),
    ("replica checkout timeout", Reason::PoolerSaturated, None),
    ("connection pool for user \"*\" and database \"*\" is down", Reason::ComputeUnreachable, None),
    ("connect timeout", Reason::ComputeUnreachable, None),
    ("healthcheck timeout", Reason::ComputeUnreachable, None),
    ("healthcheck error", Reason::ComputeUnreachable, None),
    ("all replicas down", Reason::ComputeUnreachable, None),
    ("no replicas", Reason::ComputeUnreachable, None),
    ("pool is banned", Reason::ComputeUnreachable, None),
    ("pool is not healthy", Reason::ComputeUnreachable, None),
    ("server closed", Reason::ComputeUnreachable, None),
    ("tls connection required but server does not support tls", Reason::ComputeUnreachable, None),
    ("cluster start timeout", Reason::StartingUp, None),
    ("initial health check has not been successfully performed", Reason::StartingUp, None),
    // 57P01.
    ("pgdog is shutting down", Reason::ShuttingDown, None),
    ("pool is shut down", Reason::ShuttingDown, None),
    // 57P05.
    ("client login timeout", Reason::AuthTimeout, None),
];

/// yandex/odyssey at 89c48ea: `sources/{auth,frontend,ldap}.c`, `sources/include/frontend.h`. Each begins with `odyssey:`
/// and, as a rule, the client's number.
const ODYSSEY: &[KnownMessage] = &[
    // 08P01.
    ("ssl is required", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    // 28P01 and 28000; LDAP's with 58000.
    ("external authentication failed for user *", Reason::AuthFailed, None),
    ("ldap authentication failed for user *", Reason::AuthFailed, None),
    ("incorrect user", Reason::AuthFailed, None),
    ("frontend auth: invalid user password or scram secret*", Reason::AuthFailed, None),
    ("host based authentication rejected", Reason::AccessDenied, None),
    ("user blocked: *", Reason::AccessDenied, None),
    ("failed to make auth query", Reason::ComputeUnreachable, None),
    ("frontend auth: failed to make auth query", Reason::ComputeUnreachable, None),
    // 3D000.
    ("route for '*' is not found", Reason::DatabaseMissing, None),
    // 53300.
    ("too many active clients for user (pool_size for *", Reason::PoolerSaturated, None),
    ("too many tcp connections (global client_max *", Reason::PoolerSaturated, None),
    ("too many client tcp connections (*", Reason::PoolerSaturated, None),
    // 08006.
    ("failed to get remote server connection", Reason::ComputeUnreachable, None),
    ("failed to connect to remote server *", Reason::ComputeUnreachable, None),
    ("remote server read/write error *", Reason::ComputeUnreachable, None),
    ("can't find suitable host for tsa *", Reason::ComputeUnreachable, None),
    ("odyssey is gracefully shutting down", Reason::ShuttingDown, None),
];

/// RDS Proxy, which has no public source: the table for PostgreSQL in
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html>, and public logs, which show
/// 28000 with TLS and with a password, and no full stop at the end.
const RDS: &[KnownMessage] = &[
    ("this rds proxy requires tls connections*", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("iam authentication is allowed only with ssl connections*", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("iam is allowed only with ssl connections*", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("iam authentication failed for user *", Reason::AuthFailed, Some(Cause::CloudToken)),
    ("the iam authentication failed for the role *", Reason::AuthFailed, Some(Cause::CloudToken)),
    ("the password that was provided for the role * is wrong*", Reason::AuthFailed, None),
    ("this rds proxy has no credentials for the role *", Reason::AuthFailed, None),
    ("rds supports only iam or md5 authentication*", Reason::AuthFailed, None),
    ("the iam authentication failed because of too many competing requests*", Reason::RateLimited, None),
    ("rate of connection to proxy exceeded *", Reason::RateLimited, None),
    ("the maximum number of client connections to the proxy exceeded *", Reason::PoolerSaturated, None),
    ("timed-out waiting to acquire database connection*", Reason::PoolerSaturated, None),
    ("feature not supported: rds proxy currently * support *option*", Reason::PoolerUnsupported, None),
];

/// Aurora DSQL, which has no public source: <https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html>
/// and public logs (FATAL 08006; what is wrong with the token stands in the hint).
const DSQL: &[KnownMessage] =
    &[("unable to accept connection, access denied*", Reason::AccessDenied, Some(Cause::CloudToken))];

/// cockroachdb/cockroach: `pkg/sql/pgwire/server.go`, and the cloud's proxy in `pkg/ccl/sqlproxyccl/{authentication,
/// connector,proxy_handler,error}.go` (FATAL 08C00, the name of its own code first).
const COCKROACH: &[KnownMessage] = &[
    ("node is running secure mode, ssl connection required", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("server requires encryption", Reason::TlsUnsupported, Some(Cause::EncryptionRequired)),
    ("codeparamsroutingfailed: *", Reason::EndpointMissing, Some(Cause::ClusterUnknown)),
    ("codeproxyrefusedconnection: connection attempt throttled", Reason::RateLimited, None),
    ("codeproxyrefusedconnection: connection refused", Reason::AccessDenied, None),
    ("codebackenddown: *", Reason::ComputeUnreachable, None),
    ("codebackenddialfailed: *", Reason::ComputeUnreachable, None),
    ("codeunavailable: *", Reason::ComputeUnreachable, None),
    ("server is not accepting clients*", Reason::ShuttingDown, None),
    ("server is shutting down", Reason::ShuttingDown, None),
];

/// Servers of clouds that add their own login to PostgreSQL: Azure (MicrosoftDocs/azure-docs:
/// `articles/postgresql/single-server/how-to-upgrade-using-dump-and-restore.md`), RDS's and Cloud SQL's IAM logins
/// (<https://cloud.google.com/sql/docs/postgres/iam-logins>; PAM's text is PostgreSQL's: `src/backend/libpq/auth.c`).
/// Azure's other message, `SSL connection is required. …`, begins as Supavisor's does.
const OTHER_CLOUDS: &[KnownMessage] = &[
    ("pam authentication failed for user *", Reason::AuthFailed, Some(Cause::CloudToken)),
    ("cloud sql iam user authentication failed*", Reason::AuthFailed, Some(Cause::CloudToken)),
];

/// postgres/postgres: `src/backend/{libpq/auth,tcop/postgres,postmaster/postmaster,utils/init/postinit}.c`, for when a
/// proxy or pooler passed its messages on without their SQLSTATE. `no encryption` was `SSL off` up to 13.
const POSTGRES: &[KnownMessage] = &[
    ("password authentication failed*", Reason::AuthFailed, None),
    ("certificate authentication failed for user *", Reason::AuthFailed, Some(Cause::ClientCertificateRequired)),
    ("connection requires a valid client certificate", Reason::AccessDenied, Some(Cause::ClientCertificateRequired)),
    ("no pg_hba.conf entry for *, no encryption", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("no pg_hba.conf entry for *, ssl off", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("no pg_hba.conf entry for *", Reason::AccessDenied, None),
    ("pg_hba.conf rejects connection for *, no encryption", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("pg_hba.conf rejects connection for *, ssl off", Reason::AccessDenied, Some(Cause::EncryptionRequired)),
    ("pg_hba.conf rejects connection for *", Reason::AccessDenied, None),
    ("role \"*\" does not exist", Reason::AccessDenied, None),
    ("role \"*\" is not permitted to log in", Reason::AccessDenied, None),
    ("permission denied for database *", Reason::AccessDenied, None),
    ("database \"*\" is not currently accepting connections", Reason::AccessDenied, None),
    ("database \"*\" does not exist", Reason::DatabaseMissing, None),
    ("cannot connect to invalid database \"*\"", Reason::DatabaseMissing, None),
    // CockroachDB adds a sentence that its operator chooses.
    ("sorry, too many clients already*", Reason::TooManyConnections, None),
    ("remaining connection slots are reserved*", Reason::TooManyConnections, None),
    ("too many connections for role *", Reason::TooManyConnections, None),
    ("too many connections for database *", Reason::TooManyConnections, None),
    ("the database system is starting up*", Reason::StartingUp, None),
    ("the database system is in recovery mode*", Reason::StartingUp, None),
    ("the database system is not accepting connections*", Reason::StartingUp, None),
    ("the database system is not yet accepting connections*", Reason::StartingUp, None),
    // Its SQLSTATE is that of starting up.
    ("the database system is shutting down*", Reason::ShuttingDown, None),
    ("terminating connection due to administrator command*", Reason::ShuttingDown, None),
    ("terminating connection due to immediate shutdown command*", Reason::ShuttingDown, None),
    ("terminating connection due to unexpected postmaster exit*", Reason::ShuttingDown, None),
    ("terminating connection because of crash of another server process*", Reason::ShuttingDown, None),
    ("terminating connection due to transaction timeout", Reason::QueryTimeout, None),
    ("canceling authentication due to timeout", Reason::AuthTimeout, None),
];

/// Wrappers around another program's message, and what they mean where that message is not known.
pub(super) const WRAPPERS: &[(&str, Option<Reason>)] = &[
    ("error: ", None),
    ("fatal: ", None),
    ("control plane request failed: ", Some(Reason::ControlPlane)),
    ("console request failed: ", Some(Reason::ControlPlane)),
    // PgBouncer: `server login failed: FATAL database "…" does not exist`; kill_pool_logins_server_error in server.c.
    ("server login failed: fatal ", Some(Reason::ComputeUnreachable)),
    ("server login failed: error ", Some(Reason::ComputeUnreachable)),
    ("server login failed: ", Some(Reason::ComputeUnreachable)),
    ("server login has been failing, cached error: ", Some(Reason::ComputeUnreachable)),
    // RDS Proxy: `Request returned an error: database "…" does not exist`.
    ("request returned an error: ", Some(Reason::ComputeUnreachable)),
    ("pool terminating: ", Some(Reason::ComputeUnreachable)),
    ("odyssey: ", None),
];

/// Ends PgBouncer's cached error.
pub(super) const SERVER_LOGIN_RETRY: &str = " (server_login_retry)";
