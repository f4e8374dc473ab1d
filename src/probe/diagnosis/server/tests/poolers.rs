//! What poolers, proxies and cloud servers really send, in the form of `postgres.rs`.

/// PgBouncer sends FATAL since 1.16, at login and in a query alike.
pub(super) const PGBOUNCER_ROWS: &str = r##"
08P01 tls_unsupported/EncryptionRequired tls_unsupported SSL required
08P01 tls_unsupported/EncryptionRequired tls_unsupported TLS connection required
08P01 auth_failed          auth_failed          auth failed
08P01 auth_failed          auth_failed          password authentication failed
08P01 auth_failed          auth_failed          SASL authentication failed
08P01 auth_failed/ClientCertificateRequired auth_failed certificate authentication failed
08P01 auth_failed          auth_failed          LDAP authentication failed
08P01 auth_failed          auth_failed          PAM authentication failed
08P01 auth_failed          auth_failed          "trust" authentication failed
08P01 auth_failed          auth_failed          unix socket login rejected
08P01 auth_failed          auth_failed          no such user
08P01 auth_failed          auth_failed          no such user: app
28P01 auth_failed          auth_failed          password authentication failed for user "app"
08P01 auth_failed          auth_failed          password authentication failed for user "app"
08P01 access_denied        access_denied        login rejected
08P01 access_denied        access_denied        no authentication method is found
08P01 access_denied        access_denied        database "app" is disabled
08P01 access_denied        access_denied        database does not allow connections: app
08P01 database_missing     database_missing     no such database: app
3D000 database_missing     database_missing     database "app" does not exist
08P01 pooler_saturated     pooler_saturated     no more connections allowed (max_client_conn)
08P01 pooler_saturated     pooler_saturated     no more connections allowed
08P01 pooler_saturated     pooler_saturated     client connections exceeded (max_db_client_connections)
08P01 pooler_saturated     pooler_saturated     client connections exceeded (max_user_client_connections)
08P01 pooler_saturated     pooler_saturated     query_wait_timeout
08P01 pooler_unsupported   pooler_unsupported   unsupported startup parameter: statement_timeout
08P01 pooler_unsupported   pooler_unsupported   unsupported startup parameter: options
08P01 pooler_unsupported   pooler_unsupported   unsupported startup parameter in options: search_path
08P01 pooler_unsupported   pooler_unsupported   unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed
08P01 pooler_unsupported   pooler_unsupported   transaction blocks not allowed in statement pooling mode
08P01 shutting_down        shutting_down        pooler is shutting down
08P01 shutting_down        shutting_down        server shutting down
08P01 shutting_down        shutting_down        the database system is shutting down
57P03 shutting_down        shutting_down        the database system is shutting down
08P01 compute_unreachable  compute_unreachable  server conn crashed?
08P01 compute_unreachable  compute_unreachable  pgbouncer cannot connect to server
08P01 compute_unreachable  compute_unreachable  server login has been failing, try again later (server_login_retry)
08P01 compute_unreachable  compute_unreachable  server login has been failing, cached error: connect failed (server_login_retry)
08P01 starting_up          starting_up          server login has been failing, cached error: the database system is starting up (server_login_retry)
08P01 too_many_connections too_many_connections server login has been failing, cached error: sorry, too many clients already (server_login_retry)
08P01 database_missing     database_missing     server login has been failing, cached error: database "app" does not exist (server_login_retry)
08P01 auth_failed          auth_failed          server login has been failing, cached error: password authentication failed for user "a_rather_long_role_name" (server_
08P01 compute_unreachable  compute_unreachable  server login failed
08P01 compute_unreachable  compute_unreachable  server login failed: wrong password type
08P01 compute_unreachable  compute_unreachable  server login failed: FATAL could not open relation mapping file
08P01 database_missing     database_missing     server login failed: FATAL database "app" does not exist
08P01 access_denied        access_denied        server login failed: FATAL role "app" does not exist
08P01 access_denied/EncryptionRequired access_denied server login failed: FATAL no pg_hba.conf entry for host "10.0.0.1", user "app", database "app", no encryption
08P01 too_many_connections too_many_connections server login failed: ERROR sorry, too many clients already
08P01 compute_unreachable  compute_unreachable  FATAL: server login failed: wrong password type
08P01 auth_failed          auth_failed          FATAL: server login failed: FATAL: password authentication failed for user "app"
08P01 compute_unreachable  compute_unreachable  client_login_timeout (server down)
08P01 auth_timeout         auth_timeout         client_login_timeout
08P01 query_timeout        query_timeout        query_timeout
08P01 query_timeout        query_timeout        query timeout
08P01 query_timeout        query_timeout        transaction timeout
08P01 query_timeout        query_timeout        idle transaction timeout
08P01 -                    -                    bouncer config error
08P01 -                    -                    bouncer resources exhaustion
08P01 -                    -                    old V2 protocol not supported
"##;

/// Supavisor sends FATAL for everything; the older texts have no code in front.
pub(super) const SUPAVISOR_ROWS: &str = r##"
XX000 tls_unsupported/EncryptionRequired tls_unsupported (ESSLREQUIRED) SSL connection is required for user: postgres.abcdefghijklmnopqrst
XX000 tls_unsupported/EncryptionRequired tls_unsupported SSL connection is required
XX000 auth_failed/SupavisorUser auth_failed (ENOTFOUND) tenant/user postgres.abcdefghijklmnopqrst not found
XX000 auth_failed/SupavisorUser auth_failed (ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)
XX000 auth_failed/SupavisorUser auth_failed (EINVALIDUSERINFO) Authentication error, reason: "Invalid format for user or db_name"
XX000 auth_failed/SupavisorUser auth_failed Tenant or user not found
XX000 auth_failed/SupavisorUser auth_failed Tenant not found
XX000 auth_failed          auth_failed          Authentication error
XX000 auth_failed          auth_failed          Authentication error, reason: :timeout
28P01 auth_failed          auth_failed          (EWRONGPASSWORD) password authentication failed for user "postgres"
28P01 auth_failed          auth_failed          password authentication failed for user "postgres"
28P01 auth_failed          auth_failed          Authentication credentials are invalid. Please reconnect with fresh credentials to restore pool functionality.
XX000 auth_failed          auth_failed          (EAUTHQUERY) user not found in the database
XX000 auth_failed          auth_failed          (EMULTIPLEUSERS) multiple users matched for postgres.abcdefghijklmnopqrst, check tenant configuration
XX000 access_denied        access_denied        (EADDRNOTALLOWED) address not in tenant allow_list: {10, 0, 0, 1}
XX000 access_denied        access_denied        Address not in tenant allow_list: {10, 0, 0, 1}
XX000 access_denied        access_denied        (EBANNED) tenant is banned: abuse
XX000 rate_limited/CircuitBreaker rate_limited (ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked
XX000 rate_limited/CircuitBreaker rate_limited (ECIRCUITBREAKER) too many failed attempts to connect to the database, new connections are temporarily blocked
XX000 rate_limited/CircuitBreaker rate_limited (ECIRCUITBREAKER) failed to retrieve database credentials after multiple attempts, new connections are temporarily blocked
XX000 pooler_saturated/SupavisorFull pooler_saturated (EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15
XX000 pooler_saturated/SupavisorFull pooler_saturated (EMAXCONN) max client connections reached, limit: 200
XX000 pooler_saturated/SupavisorFull pooler_saturated (EMAXPOOLSREACHED) max pools count reached
XX000 pooler_saturated/SupavisorFull pooler_saturated (ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms in Transaction mode
XX000 pooler_saturated/SupavisorFull pooler_saturated (ECHECKOUTRETRIES) failed to check out a connection after multiple retries
XX000 pooler_saturated/SupavisorFull pooler_saturated Max client connections reached
XX000 pooler_saturated/SupavisorFull pooler_saturated MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size
XX000 pooler_saturated/SupavisorFull pooler_saturated Unable to check out process from the pool due to timeout
XX000 pooler_saturated/SupavisorFull pooler_saturated Unable to check out connection from the pool due to timeout
XX000 compute_unreachable  compute_unreachable  (EAUTHQUERY) authentication query failed: connection to database not available
XX000 compute_unreachable  compute_unreachable  (EAUTHQUERY) auth_query connection failed
XX000 compute_unreachable  compute_unreachable  (EAUTHQUERY) auth_query secret check timed out
XX000 compute_unreachable  compute_unreachable  (EAUTHSECRETS) failed to retrieve authentication secrets: :timeout
08006 compute_unreachable  compute_unreachable  Failed to connect to database: {:error, :econnrefused}
XX000 compute_unreachable  compute_unreachable  (EDBHANDLEREXITED) connection to database closed. Check logs for more information
XX000 compute_unreachable  compute_unreachable  (EDBHANDLEREXITED) DbHandler exited. Check logs for more information
XX000 compute_unreachable  compute_unreachable  DbHandler exited
XX000 compute_unreachable  compute_unreachable  (EPROXYSTARTFAILED) failed to start proxy connection
XX000 compute_unreachable  compute_unreachable  (EPROXYSUPERVISORUNAVAILABLE) proxy supervisor unavailable after retries
XX000 compute_unreachable  compute_unreachable  (ESUBSCRIBERETRIES) failed to subscribe to tenant after multiple retries. Terminating
XX000 compute_unreachable  compute_unreachable  (EWORKERNOTFOUND) worker processes (manager/pool) not found for tenant {:single, "a"}
XX000 compute_unreachable  compute_unreachable  (EPOOLCHECKOUT) pool checkout failed: :noproc
XX000 too_many_connections too_many_connections (EPOOLTERMINATING) pool terminating: sorry, too many clients already
XX000 compute_unreachable  compute_unreachable  (EPOOLTERMINATING) pool terminating: pool is terminating
08006 auth_timeout         auth_timeout         (EAUTHTIMEOUT) timeout while waiting for message
57P01 shutting_down        shutting_down        terminating connection due to administrator command
XX000 -                    -                    (ENEW) something new
"##;

/// pgpool's own FATAL, and PostgreSQL's that it passes on.
pub(super) const PGPOOL_ROWS: &str = r##"
XX000 auth_failed          auth_failed          password authentication failed for user "app"
XX000 auth_failed          auth_failed          client authentication failed
XX000 auth_failed          auth_failed          md5 authentication failed
XX000 auth_failed          auth_failed          SCRAM authentication failed
XX000 auth_failed          auth_failed          clear text password authentication failed
XX000 compute_unreachable  compute_unreachable  failed to create a backend connection
XX000 compute_unreachable  compute_unreachable  failed to create a backend 0 connection
XX000 compute_unreachable  compute_unreachable  failed to read kind from backend 0
XX000 compute_unreachable  compute_unreachable  failed to read kind from backend
57P01 shutting_down        shutting_down        connection terminated due to online recovery
53300 too_many_connections too_many_connections Sorry, too many clients already
"##;

/// pgpool's ERROR, mostly at login.
pub(super) const PGPOOL_ERROR_ROWS: &str = r##"
XX000 auth_failed          -                    authentication failed
XX000 auth_failed          -                    clear text authentication failed
XX000 auth_failed/ClientCertificateRequired -   CERT authentication failed
XX000 auth_failed          -                    authentication failed, backend node replied with an error
XX000 compute_unreachable  compute_unreachable  authentication failed from backend
08S01 compute_unreachable  compute_unreachable  pgpool is not accepting any new connections
XX000 compute_unreachable  compute_unreachable  all backend nodes are down, pgpool requires at least one valid node
XX000 compute_unreachable  compute_unreachable  unable to read message kind from backend
"##;

/// pgcat sends FATAL 58000 for everything but a wrong password.
pub(super) const PGCAT_ROWS: &str = r##"
28P01 auth_failed          auth_failed          password authentication failed for user "app"
58000 database_missing     database_missing     No pool configured for database: "app", user: "app"
58000 compute_unreachable  compute_unreachable  Pool down for database: "app", user: "app"
58000 compute_unreachable  compute_unreachable  could not get connection from the pool - AllServersDown
58000 compute_unreachable  compute_unreachable  checkout failure limit reached (5 / 5)
58000 compute_unreachable  compute_unreachable  error receiving data from server: SocketError("x")
58000 shutting_down        shutting_down        terminating connection due to administrator command
58000 query_timeout        query_timeout        pool statement timeout
58000 query_timeout        query_timeout        idle transaction timeout
"##;

/// PgDog's FATAL, which ends the session.
pub(super) const PGDOG_FATAL_ROWS: &str = r##"
08004 tls_unsupported/EncryptionRequired tls_unsupported only TLS connections are allowed
28000 auth_failed          auth_failed          password for user "app" and database "app" is wrong, or the database does not exist
58000 auth_failed          auth_failed          no such user/database: app/app
57P01 shutting_down        shutting_down        PgDog is shutting down
57P05 auth_timeout         auth_timeout         client login timeout
57P05 -                    -                    disconnecting idle client
58000 pooler_saturated     pooler_saturated     checkout timeout
58000 query_timeout        query_timeout        query timeout
58000 starting_up          starting_up          cluster start timeout
58000 compute_unreachable  compute_unreachable  TLS connection required but server does not support TLS
"##;

/// PgDog's ERROR, for a statement or a login.
pub(super) const PGDOG_ERROR_ROWS: &str = r##"
58000 compute_unreachable  compute_unreachable  connection pool for user "app" and database "app" is down
58000 pooler_saturated     pooler_saturated     checkout timeout
58000 pooler_saturated     pooler_saturated     replica checkout timeout
58000 compute_unreachable  compute_unreachable  connect timeout
58000 compute_unreachable  compute_unreachable  healthcheck timeout
58000 compute_unreachable  compute_unreachable  healthcheck error
58000 compute_unreachable  compute_unreachable  all replicas down
58000 compute_unreachable  compute_unreachable  no replicas
58000 compute_unreachable  compute_unreachable  pool is banned
58000 compute_unreachable  compute_unreachable  pool is not healthy
58000 compute_unreachable  compute_unreachable  server closed
58000 shutting_down        shutting_down        pool is shut down
58000 starting_up          starting_up          initial health check has not been successfully performed
58000 -                    -                    cross-shard queries are disabled
58000 -                    -                    transaction control statements are not supported in statement pooler mode
"##;

/// Odyssey, with and without the client's number.
pub(super) const ODYSSEY_ROWS: &str = r##"
08P01 tls_unsupported/EncryptionRequired tls_unsupported odyssey: c8dd3b1c3d7e0: SSL is required
28000 tls_unsupported/EncryptionRequired tls_unsupported odyssey: TLS connection required
28P01 auth_failed          auth_failed          odyssey: c8dd3b1c3d7e0: password authentication failed for user "app"
28P01 auth_failed          auth_failed          odyssey: c8dd3b1c3d7e0: external authentication failed for user "app"
28P01 auth_failed/ClientCertificateRequired auth_failed odyssey: c8dd3b1c3d7e0: certificate authentication failed for user "app"
28P01 auth_failed          auth_failed          odyssey: c8dd3b1c3d7e0: incorrect user
28000 auth_failed          auth_failed          odyssey: c8dd3b1c3d7e0: frontend auth: invalid user password or SCRAM secret, check your config
58000 auth_failed          auth_failed          odyssey: c8dd3b1c3d7e0: ldap authentication failed for user "app": insufficient access
28P01 access_denied        access_denied        odyssey: c8dd3b1c3d7e0: host based authentication rejected
28000 access_denied        access_denied        odyssey: c8dd3b1c3d7e0: user blocked: app app
28000 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: failed to make auth query
28000 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: frontend auth: failed to make auth query
3D000 database_missing     database_missing     odyssey: c8dd3b1c3d7e0: route for 'app.app' is not found
53300 pooler_saturated     pooler_saturated     odyssey: c8dd3b1c3d7e0: too many active clients for user (pool_size for user app.app reached 10)
53300 pooler_saturated     pooler_saturated     odyssey: c8dd3b1c3d7e0: too many tcp connections (global client_max 100)
53300 pooler_saturated     pooler_saturated     odyssey: c8dd3b1c3d7e0: too many client tcp connections (global client_max)
53300 pooler_saturated     pooler_saturated     odyssey: too many client tcp connections (client_max for user app.app 100)
08006 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: failed to get remote server connection
08006 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: failed to connect to remote server s4d2f6a8b0c1e
08006 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: remote server read/write error s4d2f6a8b0c1e: Broken pipe
08006 compute_unreachable  compute_unreachable  odyssey: c8dd3b1c3d7e0: can't find suitable host for tsa 'read-write' of user app.app
08006 shutting_down        shutting_down        odyssey: c8dd3b1c3d7e0: Odyssey is gracefully shutting down
58000 -                    -                    odyssey: c8dd3b1c3d7e0: client routing failed
"##;

/// RDS Proxy, as its documentation has it, and as logs have it: without the full stop.
pub(super) const RDS_ROWS: &str = r##"
28000 access_denied/EncryptionRequired access_denied This RDS Proxy requires TLS connections.
28000 access_denied/EncryptionRequired access_denied This RDS Proxy requires TLS connections
28000 access_denied/EncryptionRequired access_denied IAM authentication is allowed only with SSL connections.
28000 access_denied/EncryptionRequired access_denied IAM is allowed only with SSL connections.
28000 auth_failed/CloudToken auth_failed        IAM authentication failed for user app. Check the IAM token for this user and try again.
28000 auth_failed/CloudToken auth_failed        The IAM authentication failed for the role app. Check the IAM token for this role and try again.
28P01 auth_failed          auth_failed          The password that was provided for the role app is wrong.
28P01 auth_failed          auth_failed          The password that was provided for the role app is wrong
28000 auth_failed          auth_failed          This RDS proxy has no credentials for the role app. Check the credentials for this role and try again.
0A000 auth_failed          auth_failed          RDS supports only IAM or MD5 authentication.
53300 rate_limited         rate_limited         The IAM authentication failed because of too many competing requests.
53300 rate_limited         rate_limited         Rate of connection to proxy exceeded 200.
53300 pooler_saturated     pooler_saturated     The maximum number of client connections to the proxy exceeded 1000.
08000 pooler_saturated     pooler_saturated     Timed-out waiting to acquire database connection.
0A000 pooler_unsupported   pooler_unsupported   Feature not supported: RDS Proxy currently doesn't support the option search_path.
0A000 pooler_unsupported   pooler_unsupported   Feature not supported: RDS Proxy currently doesn’t support command-line options.
XX000 database_missing     database_missing     Request returned an error: database "app" does not exist
XX000 too_many_connections too_many_connections Request returned an error: remaining connection slots are reserved for non-replication superuser connections
XX000 compute_unreachable  compute_unreachable  Request returned an error: something new
0A000 -                    -                    Feature not supported: RDS Proxy currently doesn't support streaming replication mode.
"##;

/// CockroachDB, and the proxy of its cloud.
pub(super) const COCKROACH_ROWS: &str = r##"
08P01 tls_unsupported/EncryptionRequired tls_unsupported node is running secure mode, SSL connection required
08C00 tls_unsupported/EncryptionRequired tls_unsupported server requires encryption
08C00 endpoint_missing/ClusterUnknown endpoint_missing codeParamsRoutingFailed: cluster app-123 not found
08C00 rate_limited         rate_limited         codeProxyRefusedConnection: connection attempt throttled
08C00 access_denied        access_denied        codeProxyRefusedConnection: connection refused
08C00 compute_unreachable  compute_unreachable  codeBackendDown: unable to reach backend SQL server: EOF
08C00 compute_unreachable  compute_unreachable  codeBackendDialFailed: unable to reach backend SQL server: EOF
08C00 compute_unreachable  compute_unreachable  codeUnavailable: unavailable
57P03 shutting_down        shutting_down        server is not accepting clients, try another node
57P01 shutting_down        shutting_down        server is shutting down
53300 too_many_connections too_many_connections sorry, too many clients already: ask your operator
28000 auth_failed          auth_failed          password authentication failed for user app
"##;

/// Aurora DSQL, Azure, RDS and Cloud SQL.
pub(super) const OTHER_ROWS: &str = r##"
08006 access_denied/CloudToken access_denied    unable to accept connection, access denied
28000 tls_unsupported/EncryptionRequired tls_unsupported SSL connection is required. Please specify SSL options and retry.
28000 auth_failed/CloudToken auth_failed        PAM authentication failed for user "app"
28000 auth_failed/CloudToken auth_failed        Cloud SQL IAM user authentication failed for user "app"
"##;
