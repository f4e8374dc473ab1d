//! What is really said: SQLSTATE, the meaning at login, the meaning in a query, and the message. A cause stands behind its
//! reason; `-` is the catch-all.

/// Neon's proxy says ERROR to everything, and only at login: in a query nothing permanent may be believed of an ERROR.
pub(super) const NEON_ROWS: &str = r##"
XX000 tls_unsupported/EncryptionRequired - connection is insecure (try using `sslmode=require`)
XX000 auth_failed          -                    password authentication failed for user 'neondb_owner'
XX000 auth_failed          -                    Unsupported authentication method: SCRAM-SHA-512
XX000 endpoint_missing     -                    Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support or pass the endpoint ID (first part of the domain name) as a parameter: '?options=endpoint%3D<endpoint-id>'. See more at https://neon.tech/sni
XX000 endpoint_missing     -                    The endpoint ID is not specified. Either upgrade the Postgres client library …
XX000 endpoint_missing     -                    Inconsistent project name inferred from SNI ('ep-a-1') and project option ('ep-b-2').
XX000 endpoint_missing     -                    Project name ('ep_a') must contain only alphanumeric characters and hyphen.
XX000 access_denied        -                    This IP address 208.77.246.15 is not allowed to connect to this endpoint. Please add it to the allowed list in the Neon console. Make sure to check for IPv4 or IPv6 addresses.
XX000 access_denied        -                    This connection is trying to access this endpoint from a blocked network.
XX000 access_denied        -                    This VPC endpoint id vpce-1 is not allowed to connect to this endpoint. Please add it to the allowed list in the Neon console.
XX000 access_denied        -                    VPC endpoint ID is not specified. This endpoint requires a VPC endpoint ID to connect.
XX000 access_denied        -                    The role you're attempting to use is protected and cannot be used for password-based authentication. Please pick a different role and try again.
XX000 control_plane        control_plane        Control plane request failed
XX000 control_plane        control_plane        Control plane request failed: something new
XX000 control_plane        control_plane        Console request failed
XX000 endpoint_missing     -                    Control plane request failed: endpoint cannot be found
XX000 endpoint_disabled    -                    Control plane request failed: endpoint is disabled
XX000 endpoint_disabled    -                    Console request failed: endpoint is disabled
XX000 control_plane/EndpointUnavailable control_plane Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.
XX000 control_plane/EndpointUnavailable control_plane Console request failed: endpoint is temporary unavailable. check your quotas and/or contact our support
XX000 endpoint_missing     -                    The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.
XX000 endpoint_missing     -                    The requested project could not be found, or you don't have access to it. …
XX000 endpoint_missing     -                    The requested branch could not be found, or you don't have access to it. …
XX000 endpoint_missing     -                    The requested resource could not be found, or you don't have access to it. …
XX000 endpoint_disabled    -                    The endpoint has been disabled. Enable it using Neon API and retry.
28000 endpoint_disabled    -                    The endpoint has been disabled. Enable it using the API and retry.
XX000 quota_exceeded       -                    Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.
53300 quota_exceeded       too_many_connections Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.
53000 quota_exceeded       -                    Your account or project has exceeded the quota. Upgrade your plan to increase limits.
53000 quota_exceeded       -                    Your project has exceeded the active time quota. Upgrade your plan to increase limits.
XX000 quota_exceeded       -                    Your project has exceeded the written data quota. Upgrade your plan to increase limits.
XX000 quota_exceeded       -                    Your project has exceeded the data transfer quota. Upgrade your plan to increase limits.
XX000 quota_exceeded       -                    Your project has exceeded the logical size quota. Upgrade your plan to increase limits.
XX000 quota_exceeded       -                    You've exceeded the compute time for this branch. Upgrade your plan to increase limits or connect to another branch.
XX000 quota_exceeded       -                    You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and try again.
XX000 quota_exceeded       -                    active endpoints limit exceeded
XX000 rate_limited         rate_limited         Too many connections to this endpoint. Please try again later.
XX000 rate_limited         rate_limited         Too many connections attempts
XX000 rate_limited         rate_limited         Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.
XX000 rate_limited         rate_limited         You've exceeded the rate limit. Please wait a moment and try again.
XX000 starting_up          starting_up          endpoint is idle, retry request
XX000 starting_up          starting_up          endpoint is in transition
XX000 starting_up          starting_up          timed out while waiting for endpoint to become active
XX000 starting_up          starting_up          Timed out waiting for the endpoint to become active
XX000 starting_up          starting_up          Control plane request failed: endpoint is idle, retry request
XX000 control_plane/ProjectBusy control_plane Your project already has running operations. Please wait until they complete, and then try again.
XX000 control_plane/ProjectBusy control_plane project already has running operations, scheduling of new ones is prohibited
XX000 control_plane/EndpointUnavailable control_plane endpoint is temporarily unavailable. Check your quotas and/or contact our support.
XX000 control_plane/ProjectBusy control_plane Project is under maintenance, please try again later
XX000 control_plane/ProjectBusy control_plane Your project already has running operations. Please wait until those are finished before trying again.
XX000 compute_unreachable  compute_unreachable  server login failed: FATAL something new
XX000 database_missing     -                    server login failed: FATAL database "app" does not exist
XX000 too_many_connections too_many_connections server login failed: FATAL sorry, too many clients already
XX000 auth_failed          -                    server login failed: FATAL password authentication failed for user "app"
XX000 starting_up          starting_up          server login failed: FATAL the database system is starting up
XX000 pooler_saturated     pooler_saturated     query_wait_timeout
XX000 compute_unreachable  compute_unreachable  Couldn't connect to compute node
08006 compute_unreachable  compute_unreachable  couldn't connect to compute node
XX000 compute_unreachable  compute_unreachable  error communicating with the server: Connection reset by peer (os error 104)
XX000 compute_unreachable  compute_unreachable  error connecting to server: Connection refused
XX000 compute_unreachable  compute_unreachable  timeout waiting for server
XX000 compute_unreachable  compute_unreachable  connection closed
08001 compute_unreachable  compute_unreachable  [NEON_SMGR] [shard 0] could not establish connection to pageserver
XX000 auth_timeout         auth_timeout         Authentication timed out
XX000 database_missing     -                    database "neondb2" does not exist
XX000 access_denied        -                    role "nobody" does not exist
XX000 too_many_connections too_many_connections sorry, too many clients already
XX000 too_many_connections too_many_connections remaining connection slots are reserved for roles with the SUPERUSER attribute
XX000 starting_up          starting_up          the database system is starting up
XX000 shutting_down        shutting_down        terminating connection due to administrator command
XX000 pooler_saturated     pooler_saturated     no more connections allowed (max_client_conn)
XX000 pooler_unsupported   -                    unsupported startup parameter in options: statement_timeout. Please use unpooled connection or remove this parameter from the startup package. More details: https://neon.tech/docs/connect/connection-errors#unsupported-startup-parameter
XX000 -                    -                    Internal error
XX000 -                    -                    authentication protocol violation
XX000 -                    -                    Disconnected due to inactivity after 15s.
XX000 -                    -                    Parameter 'user' is missing in startup packet.
"##;

/// PgBouncer says FATAL since 1.16, at login and in a query alike.
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

/// PostgreSQL itself, ending the session.
pub(super) const POSTGRES_FATAL_ROWS: &str = r##"
28P01 auth_failed          auth_failed          password authentication failed for user "app"
28000 access_denied        access_denied        role "app" does not exist
28000 access_denied        access_denied        role "app" is not permitted to log in
28000 access_denied/EncryptionRequired access_denied no pg_hba.conf entry for host "10.0.0.1", user "app", database "app", no encryption
28000 access_denied        access_denied        pg_hba.conf rejects connection for host "10.0.0.1", user "app", database "app", SSL encryption
28000 access_denied        access_denied        Peer authentication failed for user "app"
28000 access_denied/ClientCertificateRequired access_denied connection requires a valid client certificate
42501 access_denied        access_denied        permission denied for database "app"
55000 access_denied        access_denied        database "app" is not currently accepting connections
55000 database_missing     database_missing     cannot connect to invalid database "app"
3D000 database_missing     database_missing     database "app" does not exist
57P04 database_missing     database_missing     terminating connection due to conflict with recovery
53300 too_many_connections too_many_connections sorry, too many clients already
53300 too_many_connections too_many_connections remaining connection slots are reserved for non-replication superuser connections
53300 too_many_connections too_many_connections remaining connection slots are reserved for roles with privileges of the "pg_use_reserved_connections" role
53300 too_many_connections too_many_connections too many connections for role "app"
53300 too_many_connections too_many_connections too many connections for database "app"
53400 too_many_connections too_many_connections configuration limit exceeded
57P03 starting_up          starting_up          the database system is starting up
57P03 starting_up          starting_up          the database system is in recovery mode
57P03 starting_up          starting_up          the database system is not accepting connections
57P03 starting_up          starting_up          the database system is not yet accepting connections
57P01 shutting_down        shutting_down        terminating connection due to administrator command
57P01 shutting_down        shutting_down        terminating connection due to unexpected postmaster exit
57P01 shutting_down        shutting_down        terminating connection due to immediate shutdown command
57P02 shutting_down        shutting_down        terminating connection because of crash of another server process
57014 auth_timeout         auth_timeout         canceling authentication due to timeout
25P04 query_timeout        query_timeout        terminating connection due to transaction timeout
25P03 -                    -                    terminating connection due to idle-in-transaction timeout
28000 access_denied/EncryptionRequired access_denied no pg_hba.conf entry for host "10.0.0.1", user "app", database "app", SSL off
28000 access_denied/EncryptionRequired access_denied pg_hba.conf rejects connection for host "10.0.0.1", user "app", database "app", no encryption
28000 access_denied/EncryptionRequired access_denied pg_hba.conf rejects connection for host "10.0.0.1", user "app", database "app", SSL off
28000 access_denied        access_denied        no pg_hba.conf entry for host "10.0.0.1", user "app", database "app", SSL encryption
28000 access_denied        access_denied        no pg_hba.conf entry for host "[local]", user "app", database "app"
28000 auth_failed/ClientCertificateRequired auth_failed certificate authentication failed for user "app"
57P05 -                    -                    terminating connection due to idle-session timeout
42704 -                    -                    unrecognized configuration parameter "foo"
22023 -                    -                    invalid value for parameter "statement_timeout": "soon"
0A000 -                    -                    unsupported frontend protocol 3.9: server supports 3.0 to 3.0
XX000 -                    -                    could not open file "global/pg_filenode.map"
"##;

/// An ERROR of a statement; the same codes at login count in full.
pub(super) const POSTGRES_ERROR_ROWS: &str = r##"
57014 auth_timeout         query_timeout canceling statement due to statement timeout
57014 auth_timeout         query_timeout canceling statement due to user request
55P03 lock_timeout         lock_timeout  canceling statement due to lock timeout
55P03 lock_timeout         lock_timeout  could not obtain lock on relation "t"
42501 access_denied        access_denied permission denied for table alembic_version
42601 -                    -             syntax error at or near "SELEC"
42P01 -                    -             relation "alembic_version" does not exist
25006 -                    -             cannot execute INSERT in a read-only transaction
22012 -                    -             division by zero
40001 -                    -             canceling statement due to conflict with recovery
53100 -                    -             could not write to file "base/pgsql_tmp/x": No space left on device
53200 -                    -             out of memory
XX000 -                    -             cache lookup failed for relation 16384
3D000 database_missing     -             database "other" does not exist
53400 too_many_connections -             temporary file size exceeds temp_file_limit (1024kB)
28P01 auth_failed          -             password authentication failed for user "foreign"
28000 access_denied        -             no pg_hba.conf entry for host "10.0.0.2", …
57P04 database_missing     -             database was dropped
"##;

/// PostgreSQL 15's own translations: German, French, Japanese, Russian, Chinese. FATAL at login, ERROR in a query.
pub(super) const TRANSLATED_ROWS: &str = r##"
28P01 auth_failed          -                    Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen
28P01 auth_failed          -                    authentification par mot de passe échouée pour l'utilisateur  « app »
28P01 auth_failed          -                    ユーザー"app"のパスワード認証に失敗しました
28P01 auth_failed          -                    пользователь "app" не прошёл проверку подлинности (по паролю)
28P01 auth_failed          -                    用户 "app" Password 认证失败
28000 access_denied        -                    Rolle »app« existiert nicht
28000 access_denied        -                    le rôle « app » n'existe pas
28000 access_denied        -                    ロール"app"は存在しません
28000 access_denied        -                    роль "app" не существует
28000 access_denied        -                    角色 "app" 不存在
42501 access_denied        access_denied        keine Berechtigung für Datenbank »app«
42501 access_denied        access_denied        droit refusé pour la base de données « app »
42501 access_denied        access_denied        データベース"app"へのアクセスが拒否されました
42501 access_denied        access_denied        доступ к базе "app" запрещён
42501 access_denied        access_denied        访问数据库"app"的权限不够
3D000 database_missing     -                    Datenbank »app« existiert nicht
3D000 database_missing     -                    la base de données « app » n'existe pas
3D000 database_missing     -                    データベース"app"は存在しません
3D000 database_missing     -                    база данных "app" не существует
3D000 database_missing     -                    数据库 "app" 不存在
57P04 database_missing     -                    Verbindung wird abgebrochen wegen Konflikt mit der Wiederherstellung
57P04 database_missing     -                    arrêt de la connexion à cause d'un conflit avec la restauration
57P04 database_missing     -                    リカバリで競合が発生したため、接続を終了しています
57P04 database_missing     -                    закрытие подключения из-за конфликта с процессом восстановления
57P04 database_missing     -                    由于与恢复操作相冲突而中断连接
53300 too_many_connections too_many_connections tut mir leid, schon zu viele Verbindungen
53300 too_many_connections too_many_connections désolé, trop de clients sont déjà connectés
53300 too_many_connections too_many_connections 現在クライアント数が多すぎます
53300 too_many_connections too_many_connections извините, уже слишком много клиентов
53300 too_many_connections too_many_connections 对不起, 已经有太多的客户
53400 too_many_connections -                    Größe der temporären Datei überschreitet temp_file_limit (1024kB)
53400 too_many_connections -                    la taille du fichier temporaire dépasse temp_file_limit (1024 Ko)
53400 too_many_connections -                    一時ファイルのサイズがtemp_file_limit(1024 KB)を超えています
53400 too_many_connections -                    размер временного файла превышает предел temp_file_limit (1024 КБ)
53400 too_many_connections -                    临时文件大小超过最大允许值temp_file_limit(1024kB)
57P03 starting_up          starting_up          das Datenbanksystem startet
57P03 starting_up          starting_up          le système de bases de données se lance
57P03 starting_up          starting_up          データベースシステムは起動処理中です
57P03 starting_up          starting_up          система баз данных запускается
57P03 starting_up          starting_up          数据库系统启动中
57P01 shutting_down        shutting_down        Verbindung wird abgebrochen aufgrund von Anweisung des Administrators
57P01 shutting_down        shutting_down        arrêt des connexions suite à la demande de l'administrateur
57P01 shutting_down        shutting_down        管理者コマンドにより接続を終了しています
57P01 shutting_down        shutting_down        закрытие подключения по команде администратора
57P01 shutting_down        shutting_down        由于管理员命令中断联接
57P02 shutting_down        shutting_down        Verbindung wird abgebrochen wegen Absturz eines anderen Serverprozesses
57P02 shutting_down        shutting_down        arrêt de la connexion à cause de l'arrêt brutal d'un autre processus serveur
57P02 shutting_down        shutting_down        他のサーバープロセスがクラッシュしたため接続を終了します
57P02 shutting_down        shutting_down        закрытие подключения из-за краха другого серверного процесса
57P02 shutting_down        shutting_down        中断联接, 因为其它服务器进程崩溃
57014 auth_timeout         query_timeout        storniere Anfrage wegen Zeitüberschreitung der Anfrage
57014 auth_timeout         query_timeout        annulation de la requête à cause du délai écoulé pour l'exécution de l'instruction
57014 auth_timeout         query_timeout        ステートメントのタイムアウトのためステートメントをキャンセルしています
57014 auth_timeout         query_timeout        выполнение оператора отменено из-за тайм-аута
57014 auth_timeout         query_timeout        由于语句执行超时，正在取消查询命令
55P03 lock_timeout         lock_timeout         storniere Anfrage wegen Zeitüberschreitung einer Sperre
55P03 lock_timeout         lock_timeout         annulation de la requête à cause du délai écoulé pour l'obtention des verrous
55P03 lock_timeout         lock_timeout         ロックのタイムアウトのためステートメントをキャンセルしています
55P03 lock_timeout         lock_timeout         выполнение оператора отменено из-за тайм-аута блокировки
55P03 lock_timeout         lock_timeout         由于锁超时，取消语句操作
22012 -                    -                    Division durch Null
22012 -                    -                    division par zéro
22012 -                    -                    0 による除算が行われました
22012 -                    -                    деление на ноль
22012 -                    -                    除以零
"##;

/// Supavisor: FATAL to everything; the older texts without a code in front.
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

/// pgpool: its FATAL, and PostgreSQL's that it passes on.
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

/// pgpool: its ERROR, at login mostly.
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

/// pgcat: FATAL 58000 to everything but a wrong password.
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

/// PgDog, ending the session.
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

/// PgDog, of one statement or of a login.
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

/// Odyssey: each with and without the client's number.
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
