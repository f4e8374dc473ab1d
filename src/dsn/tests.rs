//! What is accepted, what is refused, and that nothing of it ever shows the password.

use proptest::prelude::*;
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;

use super::*;

/// In every refused URL below: no message may hold it.
const SECRET: &str = "s3cretT0ken";

/// The whole plan on one line, as `user:password@host:port/database policy[:verify] extras`.
fn describe(plan: &Plan) -> String {
    let config = plan.config();
    let place = match &plan.endpoint {
        Endpoint::Tcp { host, port } => format!("{host}:{port}"),
        Endpoint::Unix { path } => format!("unix {}", path.display()),
    };
    let tls = match plan.tls.policy {
        TlsPolicy::Off => "off".to_owned(),
        TlsPolicy::IfOffered { verify } => format!("offered {verify:?}"),
        TlsPolicy::Required { verify } => format!("required {verify:?}"),
    };
    let password = String::from_utf8(config.get_password().unwrap_or(b"-").to_vec()).expect("UTF-8");
    let user = config.get_user().expect("a user");
    let mut line = format!("{user}:{password}@{place}/{} {tls}", config.get_dbname().expect("a database"));
    if let (Some(name), Endpoint::Tcp { host, .. }) = (plan.server_name(), &plan.endpoint)
        && name != host
    {
        line += &format!(" as {name}");
    }
    if let Roots::File(path) = &plan.tls.roots {
        line += &format!(" roots {}", path.display());
    }
    if let Some(ClientCertificate { certificate, key, passphrase }) = &plan.tls.client {
        line += &format!(" client {} {}", certificate.display(), key.display());
        line += passphrase.as_ref().map_or("", Secret::expose);
    }
    if let Some(options) = config.get_options() {
        line += &format!(" options {options}");
    }
    if config.get_channel_binding() != ChannelBinding::Prefer {
        line += &format!(" binding {:?}", config.get_channel_binding());
    }
    let flags = [("direct", plan.tls.direct), ("neon", plan.neon), ("pooled", plan.pooled), ("private", plan.private)];
    for (flag, _) in flags.iter().filter(|(_, on)| *on) {
        line += &format!(" {flag}");
    }
    line
}

const UNVERIFIED: &str = "is not verified";

/// Pasted text, the plan as [`describe`] writes it, and a piece of every warning in their order.
type Accepted = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const ACCEPTED: &[Accepted] = &[
    // Schemes.
    ("postgres://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    ("postgresql://u:p@h:6543/d", "u:p@h:6543/d offered None private", &[]),
    ("postgresql+asyncpg://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    ("postgresql+psycopg://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    ("postgresql+psycopg2://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    ("PostgreSQL+AsyncPG://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    // Around the URL.
    ("  \n\tpostgres://u:p@h/d\r\n", "u:p@h:5432/d offered None private", &[]),
    ("\u{feff}postgres://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    ("'postgres://u:p@h/d'", "u:p@h:5432/d offered None private", &[]),
    ("\"postgres://u:p@h/d\"\n", "u:p@h:5432/d offered None private", &[]),
    (" \"' postgres://u:p@h/d '\" ", "u:p@h:5432/d offered None private", &[]),
    ("“postgres://u:p@h/d”", "u:p@h:5432/d offered None private", &[]),
    ("psql 'postgres://u:p@h/d'", "u:p@h:5432/d offered None private", &[]),
    ("psql \"postgres://u:p@h/d\";", "u:p@h:5432/d offered None private", &[]),
    ("PSQL  postgres://u:p@h/d\n", "u:p@h:5432/d offered None private", &[]),
    ("\"psql 'postgres://u:p@h/d'\"", "u:p@h:5432/d offered None private", &[]),
    ("psql -d 'postgres://u:p@h/d'", "u:p@h:5432/d offered None private", &[]),
    ("psql --dbname=postgres://u:p@h/d", "u:p@h:5432/d offered None private", &[]),
    // User, password, database.
    ("postgres://u@h", "u:-@h:5432/u offered None private", &[]),
    ("postgres://u:@h/", "u:-@h:5432/u offered None private", &[]),
    ("postgres://a%40b:p%40s%2Fs%3a%25%20x@h/d%2fe", "a@b:p@s/s:% x@h:5432/d/e offered None private", &[]),
    ("postgres://u:p:q#r+s=t&$!*@h/d", "u:p:q#r+s=t&$!*@h:5432/d offered None private", &[]),
    ("postgres://u:p%C3%A9é@h/d", "u:péé@h:5432/d offered None private", &[]),
    ("postgres://h/d?user=u&password=p%26q", "u:p&q@h:5432/d offered None private", &[]),
    ("postgres:///?host=h&port=7&user=u&password=p&dbname=d", "u:p@h:7/d offered None private", &[]),
    ("postgres://u:p@h/?database=d", "u:p@h:5432/d offered None private", &[]),
    ("postgres://u:p@h:1/d?host=h2&port=2&user=u2&password=p2&dbname=d2", "u2:p2@h2:2/d2 offered None private",
        &["host stands both", "port stands both", "user stands both", "password stands both", "dbname stands both"]),
    ("postgres://u:p@h/d?user=u&dbname=d", "u:p@h:5432/d offered None private", &[]),
    ("postgres://u:p@h/d?dbname=a&dbname=b", "u:p@h:5432/b offered None private", &["dbname is given twice", "dbname stands both"]),
    // Hosts and ports.
    ("postgres://u:p@h:/d", "u:p@h:5432/d offered None private", &[]),
    ("postgres://u:p@h:65535/d", "u:p@h:65535/d offered None private", &[]),
    ("postgres://u:p@[::1]:6/d", "u:p@::1:6/d offered None private", &[]),
    ("postgres://u:p@[2001:DB8::1]/d", "u:p@2001:db8::1:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@/d?host=::1", "u:p@::1:5432/d offered None private", &[]),
    ("postgres://u:p@/d?host=[::1]:6", "u:p@::1:6/d offered None private", &[]),
    ("postgres://u:p@/d?host=h:6", "u:p@h:6/d offered None private", &[]),
    ("postgres://u:p@DB.Example.COM/d", "u:p@db.example.com:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@db.example.com./d?sslmode=verify-full", "u:p@db.example.com.:5432/d required Full as db.example.com", &[]),
    ("postgres://u:p@10.1.2.3/d?hostaddr=", "u:p@10.1.2.3:5432/d offered None private", &[]),
    ("postgres://u:p@db.example.com/d?hostaddr=127.0.0.1&sslmode=verify-full", "u:p@127.0.0.1:5432/d required Full as db.example.com", &[]),
    ("postgres://u:p@h/d?hostaddr=8.8.8.8", "u:p@8.8.8.8:5432/d required None as h", &[UNVERIFIED]),
    ("postgres://u:p@/d?hostaddr=::1", "u:p@::1:5432/d offered None private", &[]),
    // Unix sockets.
    ("postgres://u@/d?host=/run/postgresql", "u:-@unix /run/postgresql/.s.PGSQL.5432/d off private", &[]),
    ("postgres:///d?host=%2Frun%2Fpostgresql/&user=u", "u:-@unix /run/postgresql/.s.PGSQL.5432/d off private", &[]),
    ("postgresql://u:p@%2Frun%2Fpg:6000/d", "u:p@unix /run/pg/.s.PGSQL.6000/d off private", &[]),
    ("postgres://u@/d?host=/cloudsql/a:b:c&port=6", "u:-@unix /cloudsql/a:b:c/.s.PGSQL.6/d off private", &[]),
    ("postgres://u@/d?host=/run/.s.PGSQL.1", "u:-@unix /run/.s.PGSQL.1/d off private", &[]),
    ("postgres://u@localhost/d?host=/run", "u:-@unix /run/.s.PGSQL.5432/d off private", &["host stands both"]),
    ("postgres://u@/d?host=/run&sslmode=require", "u:-@unix /run/.s.PGSQL.5432/d off private", &["no TLS"]),
    ("postgres://u@/d?host=/run&sslmode=prefer&sslnegotiation=direct", "u:-@unix /run/.s.PGSQL.5432/d off private", &["no TLS"]),
    // What is private.
    ("postgres://u:p@localhost./d", "u:p@localhost.:5432/d offered None as localhost private", &[]),
    ("postgres://u:p@Postgres.Railway.INTERNAL/d", "u:p@postgres.railway.internal:5432/d offered None private", &[]),
    ("postgres://u:p@pg.local/d", "u:p@pg.local:5432/d offered None private", &[]),
    ("postgres://u:p@pg.ns.svc/d", "u:p@pg.ns.svc:5432/d offered None private", &[]),
    ("postgres://u:p@pg.ns.svc.cluster.local./d", "u:p@pg.ns.svc.cluster.local.:5432/d offered None as pg.ns.svc.cluster.local private", &[]),
    ("postgres://u:p@172.31.0.1/d", "u:p@172.31.0.1:5432/d offered None private", &[]),
    ("postgres://u:p@[fd12::1]/d", "u:p@fd12::1:5432/d offered None private", &[]),
    ("postgres://u:p@[::ffff:10.0.0.1]/d", "u:p@::ffff:10.0.0.1:5432/d offered None private", &[]),
    ("postgres://u:p@172.32.0.1/d", "u:p@172.32.0.1:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@100.64.0.1/d", "u:p@100.64.0.1:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@internal.example.com/d", "u:p@internal.example.com:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@notlocal.svc.com/d", "u:p@notlocal.svc.com:5432/d required None", &[UNVERIFIED]),
    // TLS.
    ("postgres://u:p@a.io?sslmode=disable", "u:p@a.io:5432/u off", &[]),
    ("postgres://u:p@a.io/d?sslmode=disable", "u:p@a.io:5432/d off", &[]),
    ("postgres://u:p@a.io/d?sslmode=allow", "u:p@a.io:5432/d offered None", &[]),
    ("postgres://u:p@a.io/d?sslmode=prefer", "u:p@a.io:5432/d offered None", &[]),
    ("postgres://u:p@h/d?sslmode=require", "u:p@h:5432/d required None private", &[UNVERIFIED]),
    ("postgres://u:p@a.io/d?sslmode=verify-full", "u:p@a.io:5432/d required Full", &[]),
    ("postgres://u:p@a.io/d?sslmode=verify-ca", "u:p@a.io:5432/d required Chain", &["every publicly trusted"]),
    ("postgres://u:p@a.io/d?sslmode=verify-ca&sslrootcert=/ca.pem", "u:p@a.io:5432/d required Chain roots /ca.pem", &[]),
    ("postgres://u:p@a.io/d?sslmode=require&sslrootcert=/ca.pem", "u:p@a.io:5432/d required Chain roots /ca.pem", &[]),
    ("postgres://u:p@h/d?sslrootcert=ca.pem", "u:p@h:5432/d offered Chain roots ca.pem private", &[]),
    ("postgres://u:p@a.io/d?sslmode=verify-full&sslrootcert=%2Fca%20x.pem", "u:p@a.io:5432/d required Full roots /ca x.pem", &[]),
    ("postgres://u:p@h/d?sslrootcert=system", "u:p@h:5432/d required Full private", &[]),
    ("postgres://u:p@h/d?sslrootcert=system&sslmode=disable", "u:p@h:5432/d required Full private", &["sslrootcert=system means"]),
    ("postgres://u:p@h/d?sslmode=disable&sslrootcert=/ca.pem", "u:p@h:5432/d off roots /ca.pem private", &["sslrootcert is ignored"]),
    ("postgres://u:p@h/d?sslmode=", "u:p@h:5432/d offered None private", &[]),
    ("postgres://u:p@a.io/d?ssl=require", "u:p@a.io:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@a.io/d?ssl=true", "u:p@a.io:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@a.io/d?ssl=False", "u:p@a.io:5432/d off", &[]),
    ("postgres://u:p@a.io/d?ssl=verify_full", "u:p@a.io:5432/d required Full", &[]),
    ("postgres://u:p@a.io/d?ssl=verify-full&sslmode=verify-full", "u:p@a.io:5432/d required Full", &[]),
    ("postgres://u:p@a.io/d?sslmode=verify-full&sslnegotiation=direct", "u:p@a.io:5432/d required Full direct", &[]),
    ("postgres://u:p@h/d?sslnegotiation=direct", "u:p@h:5432/d required None direct private", &[UNVERIFIED]),
    ("postgres://u:p@h/d?sslnegotiation=postgres", "u:p@h:5432/d offered None private", &[]),
    ("postgres://u:p@h/d?channel_binding=require", "u:p@h:5432/d offered None binding Require private", &[]),
    ("postgres://u:p@h/d?channel_binding=disable&sslmode=disable", "u:p@h:5432/d off binding Disable private", &[]),
    // The client's own certificate.
    ("postgres://u@a.io/d?sslmode=verify-full&sslcert=/c.crt&sslkey=%2Fc.key", "u:-@a.io:5432/d required Full client /c.crt /c.key", &[]),
    ("postgres://u@h/d?sslcert=c&sslkey=k&sslpassword=%3App&sslcertmode=allow", "u:-@h:5432/d offered None client c k:pp private", &[]),
    ("postgres://u@h/d?sslmode=disable&sslcert=c&sslkey=k", "u:-@h:5432/d off private", &["without TLS"]),
    ("postgres://u@/d?host=/run&sslcert=c", "u:-@unix /run/.s.PGSQL.5432/d off private", &["without TLS"]),
    ("postgres://u@h/d?sslcert=c&sslkey=k&sslcertmode=disable", "u:-@h:5432/d offered None private", &["sslcertmode=disable"]),
    // Neon.
    ("postgresql://o:p@ep-x.eu-central-1.aws.neon.tech/d?sslmode=require&channel_binding=require",
        "o:p@ep-x.eu-central-1.aws.neon.tech:5432/d required Full binding Require neon", &[]),
    ("psql 'postgresql://o:p@EP-X-Pooler.aws.Neon.Tech./d'", "o:p@ep-x-pooler.aws.neon.tech.:5432/d required Full as ep-x-pooler.aws.neon.tech neon pooled", &[]),
    ("postgres://o:p@ep-x.neon.tech/d?sslmode=disable", "o:p@ep-x.neon.tech:5432/d required Full neon", &["always verified"]),
    ("postgres://o:p@ep-x.neon.tech/d?ssl=prefer&sslnegotiation=direct", "o:p@ep-x.neon.tech:5432/d required Full direct neon", &["always verified"]),
    ("postgres://o:p@ep-x.neon.tech/d?sslrootcert=/ca.pem", "o:p@ep-x.neon.tech:5432/d required Full roots /ca.pem neon", &[]),
    ("postgres://o:p@ep-x.neon.tech/d?hostaddr=1.2.3.4", "o:p@1.2.3.4:5432/d required Full as ep-x.neon.tech neon", &[]),
    ("postgres://o:p@ep-x.neon.tech/d?options=endpoint%3Dep-x", "o:p@ep-x.neon.tech:5432/d required Full options endpoint=ep-x neon", &[]),
    ("postgres://o:p@ep-x.neon.tech/d?options=endpoint=ep-x", "o:p@ep-x.neon.tech:5432/d required Full options endpoint=ep-x neon", &[]),
    ("postgres://o:endpoint%3Dep-x%3Bp;q@ep-x.neon.tech/d", "o:p;q@ep-x.neon.tech:5432/d required Full neon", &[]),
    ("postgres://o:project=ep-x$p@ep-x.neon.tech/d", "o:p@ep-x.neon.tech:5432/d required Full neon", &[]),
    ("postgres://o:endpoint=ep-x;p@h/d", "o:endpoint=ep-x;p@h:5432/d offered None private", &[]),
    ("postgres://u:p@evilneon.tech/d", "u:p@evilneon.tech:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@ep.neon.tech.evil.io/d", "u:p@ep.neon.tech.evil.io:5432/d required None", &[UNVERIFIED]),
    ("postgres://u:p@pg-pooler.local/d", "u:p@pg-pooler.local:5432/d offered None private", &[]),
    // Keys without a meaning here.
    ("postgres://u:p@h/d?prepared_statement_cache_size=0&pool_size=5&pgbouncer=true", "u:p@h:5432/d offered None private",
        &["prepared_statement_cache_size is for the app's driver", "pool_size is for", "pgbouncer is for"]),
    ("postgres://u:p@h/d?&connect_timeout=1&connect_timeout=2&", "u:p@h:5432/d offered None private", &["connect_timeout is for"]),
    ("postgres://u:p@h/d?search_path=x", "u:p@h:5432/d offered None private", &["search_path is not a key"]),
    ("postgres://u@h/d?password=p&tail=x&timeout=1", "u:p@h:5432/d offered None private", &["a key that", "timeout is for"]),
    ("postgres://u@h/d?a_key=1&passwd=p&pool_tail=x", "u:-@h:5432/d offered None private", &["a_key is not", "passwd is not", "a key that"]),
];

/// Pasted text and a piece of the fault.
const REFUSED: &[(&str, &str)] = &[
    // No URL.
    ("", "is empty"),
    (" \n ", "is empty"),
    ("''", "is empty"),
    ("psql ''", "is empty"),
    ("s3cretT0ken", "not a URL"),
    ("postgresql:u:s3cretT0ken@h/d", "not a URL"),
    ("host=h user=u password=s3cretT0ken", "key=value"),
    ("host = h password = s3cretT0ken://x", "key=value"),
    ("psql \"host=h password=s3cretT0ken\"", "key=value"),
    ("psql -h h -U u s3cretT0ken", "no URL"),
    ("psql 'postgres://u:s3cretT0ken@h/d' -c 'select 1'", "more than the URL"),
    ("DATABASE_URL=postgres://u:s3cretT0ken@h/d", "name of a variable"),
    ("export DATABASE_URL='postgresql+asyncpg://u:s3cretT0ken@h/d'", "name of a variable"),
    ("${{Postgres.DATABASE_URL}}", "nothing has expanded"),
    ("$DATABASE_URL", "nothing has expanded"),
    ("'postgres://u:s3cretT0ken@h/d", "one end only"),
    ("postgres://u:s3cretT0ken@h/d\"", "one end only"),
    ("psql 'postgres://u:s3cretT0ken@h/d", "one end only"),
    ("mysql://u:s3cretT0ken@h/d", "for MySQL"),
    ("MYSQL+aiomysql://u:s3cretT0ken@h/d", "for MySQL"),
    ("sqlite+aiosqlite:///s3cretT0ken.db", "for SQLite"),
    ("https://u:s3cretT0ken@h/d", "for a web server"),
    ("jdbc:postgresql://h/d?password=s3cretT0ken", "JDBC"),
    ("postgresql+s3cretT0ken://u:p@h/d", "`+driver`"),
    ("s3cretT0ken://u:p@h/d", "scheme is not postgresql"),
    ("postgres://u:s3cret T0ken@h/d", "a blank or a line break"),
    ("postgres://u:s3cretT0ken@h/d\nJWT_SECRET=x", "a blank or a line break"),
    ("postgres://u:s3cretT0ken@h/d\u{1b}x", "a blank or a line break"),
    // Unescaped characters.
    ("postgres://u:s3cret@T0ken@h/d", "more than one `@`"),
    ("postgres://u:p@ss/s3cretT0ken@h/d", "more than one `@`"),
    ("postgres://u:p@h/d?password=s3cret@T0ken", "more than one `@`"),
    ("postgres://u:s3cret/T0ken@h/d", "before the `@`"),
    ("postgres://u:1/s3cretT0ken@h/d", "before the `@`"),
    ("postgres://u:s3cret?T0ken@h/d", "before the `@`"),
    ("postgres://h/d?password=s3cret@T0ken", "before the `@`"),
    ("postgres://u:p@h/d#s3cretT0ken", "`#`"),
    ("postgres://u:s3cret%T0ken@h/d", "written %25"),
    ("postgres://u:s3cretT0ken%@h/d", "written %25"),
    ("postgres://u:s3cretT0ken%4@h/d", "written %25"),
    ("postgres://u:s3cretT0ken%%41@h/d", "written %25"),
    ("postgres://u:s3cretT0ken%é@h/d", "written %25"),
    ("postgres://u:s3cretT0ken%00@h/d", "NUL"),
    ("postgres://u:p@h/d?options=%00", "NUL"),
    ("postgres://u:s3cretT0ken%ff@h/d", "password is not UTF-8"),
    ("postgres://u:p@h/d?password=a&s3cretT0ken", "has no `=`"),
    ("postgres://u:p@h/d?s3cretT0ken=1", "other characters than a-z"),
    ("postgres://u:p@h/d?=s3cretT0ken", "other characters than a-z"),
    ("postgres://u:p@h/d?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1", "other characters than a-z"),
    // Missing parts.
    ("postgres://", "host is missing"),
    ("postgres://u:s3cretT0ken@/d", "host is missing"),
    ("postgres://h/d", "user name is missing"),
    ("postgres://:s3cretT0ken@h/d", "user name is missing"),
    // Host and port.
    ("postgres://u:s3cretT0ken@a,b/d", "several hosts"),
    ("postgres://u:s3cretT0ken@a:1,b:2/d", "several hosts"),
    ("postgres://u:s3cretT0ken@/d?host=a&host=b", "several hosts"),
    ("postgres://u:s3cretT0ken@/d?host=a,b", "several hosts"),
    ("postgres://u:s3cretT0ken@a%2Cb/d", "several hosts"),
    ("postgres://u:s3cretT0ken@h/d?port=1,2", "several hosts"),
    ("postgres://u:s3cretT0ken@h/d?host=x%40s3cretT0ken", "no host name has"),
    ("postgres://u:p@s3cretT0ken%20/d", "no host name has"),
    ("postgres://u:p@müller.example/d", "no host name has"),
    ("postgres://u:p@a..b/d", "empty or too long"),
    ("postgres://u:p@./d", "empty or too long"),
    ("postgres://u:p@134744072/d", "not an IPv4 address"),
    ("postgres://u:p@0x08080808/d", "not an IPv4 address"),
    ("postgres://u:p@127.1/d", "not an IPv4 address"),
    ("postgres://u:p@10.0.0.256/d", "not an IPv4 address"),
    ("postgres://u:p@010.0.0.1/d", "not an IPv4 address"),
    ("postgres://u:s3cretT0ken/d", "port is not a number"),
    ("postgres://u:p@h:0/d", "port is not a number"),
    ("postgres://u:p@h:65536/d", "port is not a number"),
    ("postgres://u:p@h:+5432/d", "port is not a number"),
    ("postgres://u:p@h:s3cretT0ken/d", "port is not a number"),
    ("postgres://u:p@h/d?port=s3cretT0ken", "port is not a number"),
    ("postgres://u:p@::1/d", "in brackets"),
    ("postgres://u:p@[::1/d", "is not closed"),
    ("postgres://u:p@[s3cretT0ken]/d", "not an IPv6 address"),
    ("postgres://u:p@[fe80::1%25eth0]/d", "not an IPv6 address"),
    ("postgres://u:p@[::1]5432/d", "may follow the `]`"),
    ("postgres://u:p@h/d?hostaddr=s3cretT0ken", "hostaddr is not"),
    ("postgres://u:p@/d?host=/run&hostaddr=127.0.0.1", "exclude each other"),
    ("postgres://u:p@h/d/", "a second `/`"),
    ("postgres://u:p@h/d/s3cretT0ken", "a second `/`"),
    // Values of keys.
    ("postgres://u:p@h/d?sslmode=s3cretT0ken", "sslmode is not one of"),
    ("postgres://u:p@h/d?sslmode=true", "sslmode is not one of"),
    ("postgres://u:p@h/d?ssl=s3cretT0ken", "ssl is not one of"),
    ("postgres://u:p@h/d?ssl=require&sslmode=disable", "say different things"),
    ("postgres://u:p@h/d?sslnegotiation=s3cretT0ken", "neither postgres nor direct"),
    ("postgres://u:p@h/d?channel_binding=s3cretT0ken", "channel_binding is not one of"),
    ("postgres://u:p@h/d?sslcert=s3cretT0ken", "belong together"),
    ("postgres://u:p@h/d?sslkey=s3cretT0ken", "belong together"),
    ("postgres://u:p@h/d?sslcertmode=s3cretT0ken", "sslcertmode is not one of"),
    ("postgres://u:p@h/d?channel_binding=require&sslmode=disable", "needs TLS"),
    ("postgres://u:p@/d?channel_binding=require&host=/run", "needs TLS"),
    ("postgres://u:p@h/d?sslnegotiation=direct&sslmode=prefer", "needs sslmode=require"),
    ("postgres://u:p@h/d?sslnegotiation=direct&sslmode=disable", "needs sslmode=require"),
];

#[test]
fn accepts_what_users_paste() {
    for (text, expected, warned) in ACCEPTED {
        let (plan, warnings) = Plan::parse(text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
        assert_eq!(describe(&plan), *expected, "{text:?}");
        assert_eq!(warnings.len(), warned.len(), "{text:?}: {warnings:?}");
        for (warning, piece) in warnings.iter().zip(*warned) {
            assert!(warning.to_string().contains(piece), "{text:?}: {warning}");
        }
    }
}

#[test]
fn refuses_without_showing() {
    for (text, piece) in REFUSED {
        let fault = match Plan::parse(text) {
            Err(fault) => fault,
            Ok((plan, _)) => panic!("{text:?} was accepted as {plan:?}"),
        };
        assert!(fault.fault.contains(piece), "{text:?}: {fault}");
        for shown in [fault.to_string(), format!("{fault:?}")] {
            assert!(!shown.contains("s3cret") && !shown.contains("T0ken"), "{text:?}: {shown}");
            assert_eq!(shown.lines().count(), 1, "{text:?}: {shown}");
        }
    }
}

#[test]
fn every_example_is_accepted() {
    let others = REFUSED.iter().filter_map(|(text, _)| Plan::parse(text).err()).map(|fault| fault.example);
    for example in others.chain([EXAMPLE, ESCAPED, SOCKET]) {
        assert!(Plan::parse(example).is_ok(), "{example}");
    }
}

#[test]
fn the_config_names_the_host_but_no_address() {
    let (plan, _) = Plan::parse("postgres://u:p@DB.a.io./d?hostaddr=8.8.8.8&sslmode=require").expect("a URL");
    let config = plan.config();
    assert_eq!(config.get_hosts(), [Host::Tcp("db.a.io".to_owned())]);
    assert!(config.get_hostaddrs().is_empty());
    assert_eq!(config.get_application_name(), Some("sidepulse"));
    assert_eq!(config.get_ssl_mode(), SslMode::Require);
    assert_eq!(config.get_ssl_negotiation(), SslNegotiation::Postgres);

    let (plan, _) = Plan::parse("postgres://u@/d?host=/run/pg").expect("a URL");
    let config = plan.config();
    assert_eq!(config.get_hosts(), [Host::Unix(PathBuf::from("/run/pg"))]);
    assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    assert_eq!(plan.server_name(), None);
}

#[test]
fn the_length_of_a_socket_path_is_limited() {
    let url = |length: usize| format!("postgres://u@/d?host=/{}", "x".repeat(length - 1 - "/.s.PGSQL.5432".len()));
    assert!(Plan::parse(&url(107)).is_ok());
    assert!(Plan::parse(&url(108)).is_err_and(|fault| fault.fault.contains("longer than 107")));
}

#[test]
fn secrets_are_the_password_in_every_form() {
    let secrets = |text: &str| {
        let (plan, _) = Plan::parse(text).expect("a URL");
        plan.secrets().into_iter().map(|secret| secret.0).collect::<Vec<_>>()
    };
    assert_eq!(
        secrets("postgres://u:p%2Fq-%C3%A9@h/d"),
        ["p%2Fq%2D%C3%A9", "p%2Fq-%C3%A9", "p%2fq%2d%c3%a9", "p%2fq-%c3%a9", "p/q-é"]
    );
    assert_eq!(secrets("postgres://u@h/d"), [""; 0]);
    assert_eq!(secrets("postgres://u@h/d?password=%70"), ["%70", "p"]);
    let neon = secrets("postgres://u:endpoint%3Dep%3Bp!w@a.neon.tech/d");
    for form in
        ["p!w", "p%21w", "endpoint=ep;p!w", "endpoint%3Dep%3Bp!w", "endpoint%3Dep%3Bp%21w", "endpoint%3dep%3bp%21w"]
    {
        assert!(neon.iter().any(|secret| secret == form), "{form} in {neon:?}");
    }
    assert_eq!(secrets("postgres://u@h/d?sslcert=c&sslkey=k&sslpassword=%71%2F"), ["%71%2F", "q%2F", "q%2f", "q/"]);
    // A password that a later one replaced is still one that was pasted.
    assert_eq!(secrets("postgres://u:old@h/d?password=new"), ["new", "old"]);
}

#[test]
fn a_secret_is_never_shown() {
    let secret = Secret::new(SECRET);
    assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
    let (plan, _) =
        Plan::parse("postgres://the_user:s3cretT0ken@the.host/the_db?options=the_options&sslrootcert=the_file&sslcert=the_cert&sslkey=the_key&sslpassword=the_pass")
            .expect("a URL");
    for shown in [format!("{plan:?}"), format!("{plan:#?}")] {
        assert!(!shown.contains("the") && !shown.contains(SECRET), "{shown}");
    }
}

/// Everything about a text that could end up in a log or on a page.
fn everything_shown(text: &str) -> String {
    match Plan::parse(text) {
        Err(fault) => format!("{fault} {fault:?} {} {}", fault.fault, fault.example),
        Ok((plan, warnings)) => {
            let secrets = plan.secrets();
            let warned: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            format!("{plan:?} {plan:#?} {warned:?} {warnings:?} {secrets:?} {}", login_error(&plan))
        }
    }
}

/// The whole chain of the error that a login with this plan ends in, where the server hangs up.
fn login_error(plan: &Plan) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let result = runtime.block_on(async {
        let (ours, server) = tokio::net::UnixStream::pair().expect("a socket pair");
        drop(server);
        plan.config().connect_raw(ours, NoTls).await.map(|_| ())
    });
    let error = result.expect_err("nobody answers");
    let mut shown = format!("{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        shown += &format!(" {error}");
        cause = error.source();
    }
    shown
}

/// Not an accidental part of anything. The piece in lower case could be a key's name.
const MARK: &str = "Zq7markedsecretqZ";

/// A password as people paste it, with the mark between any characters.
fn password() -> impl Strategy<Value = String> {
    let some = "[a-zA-Z0-9@/:?#%&=+,;$!'\"\\[\\] .*é-]{0,6}";
    (some, some).prop_map(|(before, after)| format!("{before}{MARK}{after}"))
}

/// Texts like the URLs that people paste, with a password in one of the places where it can stand.
fn url_like() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "postgres://",
        "postgresql://",
        "postgresql+asyncpg://",
        "POSTGRES://",
        "mysql://",
        "postgres:",
        "",
        "psql '",
        "'postgres://",
    ]);
    let host =
        prop::sample::select(vec!["h", "ep-x.neon.tech", "10.0.0.1", "[::1]", "db.example.com", "%2Frun", "", "a,b"]);
    let port = prop::sample::select(vec!["", ":5432", ":", ":x"]);
    let path = prop::sample::select(vec!["/d", "", "/", "/d/e"]);
    let keys = prop::collection::vec(
        prop::sample::select(vec![
            "sslmode=require",
            "ssl=true",
            "sslmode=disable",
            "pool_size=1",
            "foo_bar=1",
            "sslrootcert=system",
            "host=/run",
            "options=endpoint%3Dx",
            "hostaddr=1.2.3.4",
            "user=v",
            "port=1",
            "channel_binding=require",
            "Bad=1",
            "sslcert=c&sslkey=k",
        ]),
        0..4,
    );
    (scheme, password(), host, port, path, keys, 0..8_u8).prop_map(
        |(scheme, password, host, port, path, keys, form)| {
            let query = keys.join("&");
            match form {
                0 => format!("{scheme}u:{password}@{host}{port}{path}?{query}&password={password}"),
                1 => format!("{scheme}u@{host}{port}{path}?password={password}&{query}"),
                2 => format!("{scheme}{password}@{host}{port}{path}?{query}"),
                3 => format!("{scheme}u:{password}"),
                4 => format!("host={host} password={password} {query}"),
                _ => format!("{scheme}u:{password}@{host}{port}{path}?{query}"),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nothing that is shown about a URL holds any part of the password, whatever is wrong with the URL.
    #[test]
    fn nothing_shows_the_password(text in url_like()) {
        let shown = everything_shown(&text);
        prop_assert!(!shown.contains("markedsecret") && !shown.contains("Zq7"), "{:?}: {}", text, shown);
    }

    /// Any text is a plan or a fault, and neither shows a word of it that was meant to be secret.
    #[test]
    fn any_text_is_a_plan_or_a_fault(before in ".{0,30}", after in ".{0,30}", scheme in any::<bool>()) {
        let scheme = if scheme { "postgres://" } else { "" };
        let shown = everything_shown(&format!("{scheme}{before}{MARK}{after}"));
        prop_assert!(!shown.contains("markedsecret"), "{}", shown);
    }

    /// A password that is percent-encoded arrives at the driver as it is, and the redactor finds it in any form.
    #[test]
    fn an_encoded_password_arrives(tail in "[^\\x00]{0,20}", lower in any::<bool>()) {
        let password = format!("{MARK}{tail}");
        let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
        let encoded = if lower { with_lower_hex(&encoded) } else { encoded };
        let (plan, warnings) = Plan::parse(&format!("postgres://u:{encoded}@h/d")).expect("a URL");
        prop_assert!(warnings.is_empty());
        let config = plan.config();
        prop_assert_eq!(config.get_password(), Some(password.as_bytes()));
        let redactor = crate::redact::Redactor::new(plan.secrets());
        for text in [format!("{config:?} {password}"), format!("x {encoded} y"), format!("{password:?}")] {
            prop_assert!(!redactor.clean(&text).contains(MARK));
        }
    }
}
