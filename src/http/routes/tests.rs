use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::*;
use crate::config::Gate;
use crate::readiness::Now;
use crate::state::Snapshot;
use crate::state::samples::{DATABASE, NO_DATABASE, SQL, TOKEN, config, ended, wall};

const S: Duration = Duration::from_secs(1);

/// What a reply depends on, to be changed by each test.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    gate: Gate,
    pub(crate) draining: bool,
    pub(crate) ever_ready: bool,
    live: bool,
    token: Option<&'static str>,
    pub(crate) now: Now,
}

impl World {
    /// Each check has these results; `None` passes.
    pub(crate) fn new(variables: &[(&str, &str)], results: &[&[Option<Reason>]]) -> World {
        let now = Now { instant: Instant::now(), wall: wall() };
        let config = config(variables);
        let mut snapshot = Snapshot::new(&config, now.instant);
        for (check, results) in snapshot.checks_mut().zip(results) {
            for reason in *results {
                check.record(ended(now.instant, *reason));
            }
        }
        let gate = config.database.map_or(Gate::Never, |database| database.gate);
        World { snapshot, gate, draining: false, ever_ready: true, live: true, token: None, now }
    }

    fn healthy() -> World {
        World::new(&[SQL], &[UP, UP, UP])
    }

    fn reply(&self, method: &Method, target: &str, authorization: Option<&str>) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let authorization = authorization.map(|text| HeaderValue::from_str(text).unwrap());
        let World { snapshot, gate, draining, ever_ready, live, token, now } = self;
        let view = View {
            snapshot,
            gate: *gate,
            draining: *draining,
            ever_ready: *ever_ready,
            live: *live,
            token: *token,
            now: *now,
        };
        respond(Ask { method, path, query, authorization: authorization.as_ref() }, view)
    }

    /// Status and body.
    pub(crate) fn get(&self, target: &str) -> (u16, String) {
        let reply = self.reply(&Method::GET, target, None);
        (reply.code, text_of(&reply.body))
    }
}

/// Nothing for the metrics, which are encoded when they are sent.
fn text_of(body: &Body) -> String {
    body.bytes().map_or(String::new(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn kind_of(body: &Body) -> &'static str {
    match body {
        Body::Text(_) => "Text",
        Body::Health(_) => "Health",
        Body::Page(_) => "Page",
        Body::Metrics => "Metrics",
    }
}

/// Every path that the request counter knows.
fn paths() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(|route| route.path).chain([OTHER])
}

pub(crate) const UP: &[Option<Reason>] = &[None];
pub(crate) const NOT_RUN: &[Option<Reason>] = &[];
const REFUSED: &[Option<Reason>] = &[Some(Reason::ConnectRefused)];
pub(crate) const WRONG: &[Option<Reason>] = &[Some(Reason::AuthFailed)];
pub(crate) const FELL: &[Option<Reason>] = &[None, Some(Reason::BadStatus), Some(Reason::BadStatus)];

#[test]
fn every_path_answers_with_and_without_a_trailing_slash() {
    for (path, kind) in [
        ("/livez", "Text"),
        ("/startupz", "Text"),
        ("/readyz", "Text"),
        ("/health", "Health"),
        ("/healthz", "Health"),
        ("/health/shallow", "Health"),
        ("/health/deep", "Health"),
        ("/metrics", "Metrics"),
        ("/", "Page"),
    ] {
        let world = World::healthy();
        let slashed = format!("{}/", path.trim_end_matches('/'));
        for target in [path, &slashed, &format!("{slashed}?a=b&verbose"), &format!("{path}?")] {
            let reply = world.reply(&Method::GET, target, None);
            assert_eq!((reply.path, reply.code, kind_of(&reply.body)), (path, 200, kind), "{target}");
            let head = world.reply(&Method::HEAD, target, None);
            assert_eq!((head.path, head.code, head.body), (reply.path, 200, reply.body), "{target}");
        }
    }
}

#[test]
fn every_other_path_is_not_found() {
    let paths = "/x //x //livez /livez// /livez/x /livezz /LIVEZ /live /ready /healthz/deep /health/deep/x /health/app \
                 /metrics.txt /index.html /favicon.ico /%6civez /livez;x /../livez * livez";
    for path in paths.split_whitespace().chain(["", " /livez"]) {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::CONNECT, Method::OPTIONS] {
            let reply = World::healthy().reply(&method, path, None);
            let found = (reply.path, reply.code, reply.body);
            assert_eq!(found, ("other", 404, Body::fixed("not found\n")), "{method} {path}");
        }
    }
}

#[test]
fn without_a_database_there_is_no_deep_health() {
    let world = World::new(&[NO_DATABASE], &[UP]);
    for path in ["/health/deep", "/health/deep/"] {
        assert_eq!(world.get(path), (404, "not found\n".into()));
    }
    let (code, body) = world.get("/health");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, body["checks"].as_object().unwrap().len()), (200, 1));
    assert_eq!(world.get("/readyz?verbose"), (200, "[+]app ok\nreadyz check passed\n".into()));
}

#[test]
fn refusals_come_in_the_order_path_method_token() {
    let mut world = World::healthy();
    world.token = Some(TOKEN.1);
    for path in paths() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE, Method::PATCH] {
            let reply = world.reply(&method, path, None);
            let expected = if path == "other" { (404, "not found\n") } else { (405, "method not allowed\n") };
            assert_eq!((reply.code, &*text_of(&reply.body)), expected, "{method} {path}");
        }
        let code = world.reply(&Method::GET, path, None).code;
        let expected = match path {
            "other" => 404,
            "/" | "/metrics" => 401,
            _ => 200,
        };
        assert_eq!(code, expected, "{path}");
    }
    assert_eq!(world.get("/metrics/"), (401, "unauthorized\n".into()));
}

#[test]
fn the_token_is_taken_as_bearer_and_as_the_password_of_basic() {
    let mut world = World::healthy();
    world.token = Some(TOKEN.1);
    let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
    let with = |scheme: &str| format!("{scheme} {}", TOKEN.1);
    for (header, passes) in [
        (with("Bearer"), true),
        (with("bearer"), true),
        (with("BEARER "), true),
        (basic(&format!("prometheus:{}", TOKEN.1)), true),
        (basic(&format!(":{}", TOKEN.1)), true),
        (basic(&format!("u:{}", TOKEN.1)).replacen("Basic", "basic", 1), true),
        (TOKEN.1.into(), false),
        ("Bearer".into(), false),
        ("Bearer ".into(), false),
        (with("Bearer").to_uppercase(), false),
        (format!("{}0", with("Bearer")), false),
        (with("Bearer")[..22].into(), false),
        (with("Token"), false),
        (with("Basic"), false),
        ("Basic !!!".into(), false),
        (basic(TOKEN.1), false),
        (basic(&format!("{}:", TOKEN.1)), false),
        (basic(&format!("u:{} ", TOKEN.1)), false),
        (basic("u:"), false),
        (basic("no colon"), false),
    ] {
        for path in ["/", "/metrics"] {
            let code = world.reply(&Method::GET, path, Some(&header)).code;
            assert_eq!(code, if passes { 200 } else { 401 }, "{path} with {header}");
        }
        let body = world.reply(&Method::GET, "/health", Some(&header)).body;
        let shown = text_of(&body).contains("\"checks\"");
        assert_eq!(shown, passes, "/health with {header}");
    }
}

#[test]
fn health_is_never_refused_but_leaves_the_checks_out() {
    let mut world = World::new(&[], &[UP, WRONG]);
    world.token = Some(TOKEN.1);
    let version = env!("CARGO_PKG_VERSION");
    let (code, body) = world.get("/healthz");
    let fail = r#"{"status":"fail","state":"starting","output":"database: auth_failed","version":""#;
    assert_eq!((code, body), (503, format!("{}{version}\"}}\n", fail.replace("starting", "unready"))));
    let (code, body) = world.get("/health/shallow");
    assert_eq!(
        (code, body),
        (200, format!("{{\"status\":\"pass\",\"state\":\"unready\",\"version\":\"{version}\"}}\n"))
    );
}

#[test]
fn liveness_depends_only_on_the_check_thread() {
    let mut world = World::new(&[SQL], &[WRONG, WRONG, WRONG]);
    world.draining = true;
    assert_eq!(world.get("/livez"), (200, "ok\n".into()));
    let mut world = World::healthy();
    world.live = false;
    assert_eq!(world.get("/livez"), (503, "fail: internal\n".into()));
    assert_eq!((world.get("/readyz").0, world.get("/health").0, world.get("/startupz").0), (200, 200, 200));
}

#[test]
fn startup_is_over_when_the_app_was_up_once() {
    for (app, code, body) in [
        (NOT_RUN, 503, "fail: app: not_run\n"),
        (REFUSED, 503, "fail: app: connect_refused\n"),
        (UP, 200, "ok\n"),
        (FELL, 200, "ok\n"),
    ] {
        let mut world = World::new(&[], &[app, WRONG]);
        assert_eq!(world.get("/startupz"), (code, body.into()), "{app:?}");
        world.draining = true;
        assert_eq!(world.get("/startupz"), (code, body.into()), "{app:?} while draining");
        world.now.instant += 1000 * S;
        let late = if code == 200 { body } else { "fail: app: stale\n" };
        assert_eq!(world.get("/startupz"), (code, late.into()), "{app:?}, overdue");
    }
}

#[test]
fn readiness_byte_for_byte() {
    const ALWAYS: (&str, &str) = ("SIDEPULSE_DATABASE_GATE", "always");
    const NEVER: (&str, &str) = ("SIDEPULSE_DATABASE_GATE", "never");
    const STARTUP: (&str, &str) = ("SIDEPULSE_DATABASE_GATE", "startup");
    let both = "fail: app: connect_refused; database: auth_failed\n";
    for (gate, app, database, draining, query, code, body) in [
        (STARTUP, UP, UP, false, "", 200, "ok\n"),
        (STARTUP, REFUSED, WRONG, false, "", 503, both),
        (STARTUP, REFUSED, WRONG, true, "", 503, &*both.replace("fail: ", "fail: draining; ")),
        (STARTUP, UP, UP, true, "", 503, "fail: draining\n"),
        (STARTUP, UP, FELL, false, "", 200, "ok\n"),
        (ALWAYS, UP, FELL, false, "", 503, "fail: database: bad_status\n"),
        (NEVER, NOT_RUN, NOT_RUN, false, "", 503, "fail: app: not_run\n"),
        // Exclude, alone and combined; what is unknown is ignored and never echoed.
        (ALWAYS, UP, FELL, false, "exclude=database", 200, "ok\n"),
        (ALWAYS, REFUSED, FELL, false, "exclude=app", 503, "fail: database: bad_status\n"),
        (ALWAYS, REFUSED, FELL, false, "exclude=app&exclude=database", 200, "ok\n"),
        (ALWAYS, REFUSED, FELL, true, "exclude=app&exclude=database", 503, "fail: draining\n"),
        (ALWAYS, UP, FELL, false, "exclude=hunter2&exclude=", 503, "fail: database: bad_status\n"),
        (ALWAYS, UP, FELL, false, "exclude=draining&excludes=database", 503, "fail: database: bad_status\n"),
        (ALWAYS, UP, UP, false, "hunter2", 200, "ok\n"),
        (ALWAYS, UP, UP, false, "verbose=0", 200, "ok\n"),
        // Verbose.
        (ALWAYS, UP, UP, false, "verbose", 200, "[+]app ok\n[+]database ok\nreadyz check passed\n"),
        (ALWAYS, UP, UP, false, "verbose=", 200, "[+]app ok\n[+]database ok\nreadyz check passed\n"),
        (ALWAYS, UP, UP, false, "x&verbose=true", 200, "[+]app ok\n[+]database ok\nreadyz check passed\n"),
        (
            STARTUP,
            REFUSED,
            WRONG,
            false,
            "verbose",
            503,
            "[-]app failed: connect_refused\n[-]database failed: auth_failed\nreadyz check failed\n",
        ),
        (STARTUP, UP, FELL, false, "verbose", 200, "[+]app ok\n[+]database ok (gate=startup)\nreadyz check passed\n"),
        (NEVER, UP, NOT_RUN, false, "verbose", 200, "[+]app ok\n[+]database ok (gate=never)\nreadyz check passed\n"),
        (NEVER, UP, UP, false, "verbose", 200, "[+]app ok\n[+]database ok\nreadyz check passed\n"),
        (
            ALWAYS,
            UP,
            FELL,
            false,
            "verbose&exclude=database&exclude=hunter2",
            200,
            "[+]app ok\n[+]database excluded: ok\nreadyz check passed\n",
        ),
    ] {
        let mut world = World::new(&[gate, SQL], &[app, database, WRONG]);
        world.draining = draining;
        assert_eq!(world.get(&format!("/readyz?{query}")), (code, body.into()), "{gate:?} {query}");
    }
}

#[test]
fn readyz_while_draining_says_so_when_asked_for_more() {
    let mut world = World::healthy();
    world.draining = true;
    let (code, body) = world.get("/readyz?verbose");
    assert_eq!(code, 503);
    let lines: Vec<_> = body.lines().collect();
    assert!(lines.contains(&"[+]app ok") && lines.contains(&"[-]draining"), "{body}");
    assert_eq!(lines.last(), Some(&"readyz check failed"));
}

#[test]
fn what_is_overdue_is_not_ready_where_the_gate_needs_it() {
    let mut world = World::new(&[("SIDEPULSE_DATABASE_GATE", "always")], &[UP, UP]);
    world.now.instant += 51 * S;
    assert_eq!(world.get("/readyz"), (503, "fail: app: stale; database: stale\n".into()));
    world.snapshot.app.due = world.now.instant;
    assert_eq!(world.get("/readyz"), (503, "fail: database: stale\n".into()));
    world.gate = Gate::Startup;
    let text = "[+]app ok\n[+]database ok (gate=startup)\nreadyz check passed\n";
    assert_eq!(world.get("/readyz?verbose"), (200, text.into()));
}

#[test]
fn the_page_is_whole_and_nothing_holds_a_secret() {
    let world = World::new(&[SQL], &[REFUSED, WRONG, UP]);
    let (_, page) = world.get("/");
    for part in ["<!doctype html>", "sql_migrations", "auth_failed", Reason::AuthFailed.remedy(), "1.2 ms", "unready"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert_eq!(page.matches("<script>").count(), 1, "{page}");
    assert!(!page.contains(" src=") && !page.contains("http:") && !page.contains("{checks}"), "{page}");
    let hidden = ["alice", "hunter2", "5433", "alembic", DATABASE.1];
    for path in paths() {
        let (_, body) = world.get(&format!("{path}?verbose&exclude=hunter2"));
        assert!(hidden.iter().all(|secret| !body.contains(secret)), "{path}: {body}");
    }
}
