//! Every rule about the environment: what passes, what fails, and what its remedy says.

use super::tests::{CONSOLE, ERROR, GONE, OK, POOLED, WARNING, assert_found, environment};
use super::{Finding, Level};

#[test]
fn rules_about_variables() {
    let rows: &[(&str, &str, &str, Level, &str, &str)] = &[
        ("ENVIRONMENT", GONE, "environment", WARNING, "ENVIRONMENT is not set", "ENVIRONMENT=production"),
        ("ENVIRONMENT", "Development", "environment", OK, "do not apply", ""),
        ("ENVIRONMENT", "not UTF-8", "environment", WARNING, "not valid UTF-8", "ENVIRONMENT=production"),
        ("DATABASE_URL", GONE, "database-url", ERROR, "DATABASE_URL is not set", "postgresql+asyncpg://"),
        ("DATABASE_URL", "mysql://u:p@h/d", "database-url", ERROR, "MySQL", "postgresql://"),
        ("DATABASE_URL", "postgresql+asyncpg://u:p@ss@h/d", "database-url", ERROR, "@", "%40"),
        ("DATABASE_URL", CONSOLE, "database-driver", ERROR, "does not begin with", "write its scheme as"),
        ("DATABASE_URL", CONSOLE, "database-keys", ERROR, "sslmode, channel_binding", "ssl=require"),
        (
            "DATABASE_URL",
            "postgresql+asyncpg://u:p@h/d?ssl=verify-full",
            "database-keys",
            WARNING,
            "root.crt",
            "SSLContext",
        ),
        (
            "DATABASE_URL",
            "postgresql+asyncpg://u:p@h.example/d?ssl=disable",
            "database-tls",
            WARNING,
            "TLS off",
            "ssl=require",
        ),
        ("DATABASE_URL", POOLED, "statement-cache", WARNING, "without --backend", "statement_cache_size"),
        ("SIDEPULSE_DATABASE_MODE", "steady", "neon-awake", WARNING, "100 % of the time, about 182.5", "economy"),
        ("SIDEPULSE_ECONOMY_MAX_AGE", "1h", "neon-awake", WARNING, "8 % of the time, about 15.2", "=6h"),
        ("SIDEPULSE_ECONOMY_MAX_AGE", "0s", "neon-awake", OK, "0.0 compute-hours", ""),
        ("SIDEPULSE_ECONOMY_INTERVAL", "5m", "neon-awake", WARNING, "about 182.5", "=1h"),
        ("JWT_SECRET", GONE, "jwt-secret", ERROR, "JWT_SECRET is not set", "openssl rand"),
        ("JWT_SECRET", "9f86d081884c7d659a2feaa0c55ad01", "jwt-secret", ERROR, "fewer than 32", "openssl rand"),
        ("JWT_SECRET", "change-me-change-me-change-me-change-me", "jwt-secret", WARNING, "placeholder", "openssl rand"),
        ("PORT", "http", "port", ERROR, "PORT is not a port", "1 to 65535"),
        ("PORT", "0", "port", ERROR, "PORT is not a port", "1 to 65535"),
        ("PORT", "70000", "port", ERROR, "PORT is not a port", "1 to 65535"),
        ("PORT", GONE, "port", OK, "Railway sets it", ""),
        ("PORT", "8000", "port", ERROR, "both take port 8000", "SIDEPULSE_APP_PORT=8001"),
        ("SIDEPULSE_APP_PORT", "8080", "port", ERROR, "both take port 8080", "SIDEPULSE_APP_PORT=8000"),
        ("SIDEPULSE_LISTEN", ":8000", "port", ERROR, "both take port 8000", "SIDEPULSE_APP_PORT=8001"),
        ("SIDEPULSE_APP_PORT", "x", "port", ERROR, "SIDEPULSE_APP_PORT is not", "1 to 65535"),
        ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", GONE, "draining", WARNING, "kills 0 s after", "SECONDS=10"),
        ("SIDEPULSE_DRAIN_DELAY", "2500ms", "draining", WARNING, "is 13 s", "SECONDS=13"),
        ("SIDEPULSE_TOKEN", "hunter2", "settings", ERROR, "SIDEPULSE_TOKEN: must have", "openssl rand"),
        ("SIDEPULSE_APP_INTERVAL", "5", "settings", ERROR, "SIDEPULSE_APP_INTERVAL: ", "5s"),
        (
            "SIDEPULSE_APP_INTERVALL",
            "5s",
            "unknown-variables",
            WARNING,
            "did you mean SIDEPULSE_APP_INTERVAL?",
            "rename",
        ),
    ];
    for (variable, value, id, level, message, remedy) in rows {
        assert_found(&environment(&[(variable, value)]), id, *level, message, remedy);
    }
    assert!(environment(&[]).iter().all(|finding| finding.level == OK));
}

#[test]
fn production_alone_insists_on_the_signing_secret() {
    for (stage, level) in
        [("development", OK), ("test", OK), (GONE, WARNING), ("staging", ERROR), ("PRODUCTION", ERROR)]
    {
        for secret in [GONE, "short"] {
            let findings = environment(&[("ENVIRONMENT", stage), ("JWT_SECRET", secret)]);
            let remedy = if level == OK { "" } else { "openssl" };
            assert_found(&findings, "jwt-secret", level, "JWT_SECRET", remedy);
        }
    }
}

#[test]
fn nothing_is_told_twice_and_what_does_not_apply_not_at_all() {
    let has = |findings: &[Finding], id: &str| findings.iter().any(|finding| finding.id == id && finding.level > OK);
    for (variable, value) in [("DATABASE_URL", GONE), ("DATABASE_URL", "x"), ("PORT", "8000"), ("PORT", "x")] {
        assert!(!has(&environment(&[(variable, value)]), "settings"), "{variable}={value}");
    }
    let off = environment(&[("DATABASE_URL", GONE), ("SIDEPULSE_DATABASE", "off")]);
    assert_found(&off, "database-url", WARNING, "database check is off", "Neon");
    let own = environment(&[("SIDEPULSE_DATABASE_URL", "mysql://h")]);
    assert_found(&own, "settings", ERROR, "SIDEPULSE_DATABASE_URL: ", "postgresql://");
    let elsewhere = environment(&[("DATABASE_URL", "postgresql+asyncpg://u:p@db.internal/d")]);
    assert!(!elsewhere.iter().any(|finding| finding.id == "neon-awake"));
    let local = environment(&[("RAILWAY_ENVIRONMENT_ID", GONE), ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", GONE)]);
    assert_found(&local, "draining", OK, "not Railway", "");
    let no_cache = format!("{POOLED}&prepared_statement_cache_size=0");
    assert_found(&environment(&[("DATABASE_URL", &no_cache)]), "statement-cache", OK, "switches", "");
}

#[test]
fn origins() {
    let rows: &[(&str, Level, &str, &str)] = &[
        (GONE, ERROR, "CORS_ORIGINS is not set", "shop.vercel.app"),
        (" , ", ERROR, "CORS_ORIGINS is not set", "shop.vercel.app"),
        ("*", ERROR, "credentials", "name the front end's origins"),
        ("https://a.example,*", ERROR, "entry 2 is *", "name the front end's origins"),
        ("http://a.example", ERROR, "not https", "https://"),
        ("http://localhost:3000", ERROR, "not https", "https://"),
        ("https://a.example/", ERROR, "ends in a slash", "take it off"),
        ("https://a.example/shop", ERROR, "has a path", "scheme and host only"),
        ("https://a.example?x=1", ERROR, "has a path", "scheme and host only"),
        ("shop.vercel.app", ERROR, "does not begin", "scheme and host"),
        ("ftp://a.example", ERROR, "does not begin", "scheme and host"),
        ("https://a.example https://b.example", ERROR, "has a path", "scheme and host only"),
        ("https://u:hunter2@a.example", ERROR, "user or password", "scheme and host only"),
        ("https://a.example:99999", ERROR, "not an origin", "scheme and host only"),
        ("https://*.vercel.app", ERROR, "whole part", "at most one *"),
        ("https://*-a.*-b.example.com", ERROR, "more than one *", "at most one *"),
        ("https://shop-*.com", ERROR, "domain itself", "at most one *"),
        ("https://shop-*.vercel.app", WARNING, "other people", "-<your team>"),
        ("https://Shop.example", WARNING, "as a browser sends", "lower case"),
        ("https://a.example:443", WARNING, "as a browser sends", "without :443"),
        ("https://shop-*-acme.vercel.app", OK, "one origin", ""),
        ("'https://a.example', \"https://[::1]:8443\"", OK, "2 origins", ""),
    ];
    for (value, level, message, remedy) in rows {
        assert_found(&environment(&[("CORS_ORIGINS", value)]), "cors-origins", *level, message, remedy);
    }
    let development = [("ENVIRONMENT", "development"), ("CORS_ORIGINS", "http://localhost:3000")];
    assert_found(&environment(&development), "cors-origins", OK, "one origin", "");
}
