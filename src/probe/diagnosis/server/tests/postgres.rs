//! What Neon's proxy and PostgreSQL really send: SQLSTATE, the meaning at login, the meaning in a query, and the message. A
//! cause stands behind its reason; `-` is the catch-all.

/// Neon's proxy sends ERROR for everything, and only at login: in a query an ERROR is never taken for permanent.
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

/// PostgreSQL's FATAL, which ends the session.
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

/// PostgreSQL's ERROR for a statement; at login the same SQLSTATEs count in full.
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
