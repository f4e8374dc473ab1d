use std::time::Duration;

use serde_json::{Value, json};

use crate::http::routes::tests::{FELL, NOT_RUN, UP, WRONG, World};
use crate::probe::{Outcome, Reason};
use crate::state::samples::{SQL, deep, ended, query};

const S: Duration = Duration::from_secs(1);

fn health(world: &World, path: &str) -> (u16, Value) {
    let (code, body) = world.get(path);
    assert!(body.ends_with("}\n"), "{body}");
    (code, serde_json::from_str(&body).unwrap())
}

#[test]
fn health_json_has_its_members_in_order() {
    let mut world = World::new(&[SQL], &[UP, NOT_RUN, WRONG]);
    let slow = Outcome { duration: 2 * S, attempts: 3, ..ended(world.now.instant, None) };
    query(&mut world.snapshot).record(slow);
    deep(&mut world.snapshot).read_only = true;
    let version = env!("CARGO_PKG_VERSION");
    let at = "2027-01-15T08:00:00.000Z";
    let expected = [
        r#"{"status":"fail","state":"ready","output":"sql_migrations: auth_failed","version":""#,
        version,
        r#"","checks":{"app:http":[{"componentType":"component","status":"pass","state":"up","observedValue":2.0,"#,
        r#""observedUnit":"ms","time":"AT","lastSuccess":"AT","attempts":1,"consecutiveFailures":0,"#,
        r#""phases":{"connect":1.25}}],"#,
        r#""database:query":[{"componentType":"datastore","status":"warn","state":"up","reason":"read_only","#,
        r#""observedValue":2000.0,"observedUnit":"ms","time":"AT","lastSuccess":"AT","attempts":3,"#,
        r#""consecutiveFailures":0,"phases":{"connect":1.25}}],"#,
        r#""sql:migrations":[{"componentType":"datastore","status":"fail","state":"down","reason":"auth_failed","#,
        r#""observedValue":2.0,"observedUnit":"ms","time":"AT","attempts":1,"consecutiveFailures":1,"#,
        r#""phases":{"connect":1.25}}]}}"#,
        "\n",
    ];
    assert_eq!(world.get("/health"), (503, expected.concat().replace("AT", at)));
}

#[test]
fn health_json_before_the_first_result() {
    let mut world = World::new(&[], &[]);
    world.ever_ready = false;
    let (code, body) = health(&world, "/health");
    let unknown = |kind| {
        json!([{"componentType": kind, "status": "fail", "state": "starting", "reason": "not_run",
        "attempts": 0, "consecutiveFailures": 0, "phases": {}}])
    };
    let expected = json!({"status": "fail", "state": "starting", "output": "app: not_run; database: not_run",
        "version": env!("CARGO_PKG_VERSION"),
        "checks": {"app:http": unknown("component"), "database:query": unknown("datastore")}});
    assert_eq!((code, body), (503, expected));
}

#[test]
fn status_state_and_output_of_health() {
    let warned = |world: &mut World| query(&mut world.snapshot).retried = true;
    let sleeping = |world: &mut World| query(&mut world.snapshot).idle_since = Some(world.now.instant);
    let late = |world: &mut World| world.now.instant += 51 * S;
    let draining = |world: &mut World| world.draining = true;
    let nothing = |_: &mut World| ();
    type Change<'a> = &'a dyn Fn(&mut World);
    type Row<'a> = (&'a str, &'a [&'a [Option<Reason>]], Change<'a>, u16, &'a str, &'a str, Option<&'a str>);
    let rows: &[Row<'_>] = &[
        ("/health", &[UP, UP, UP], &nothing, 200, "pass", "ready", None),
        ("/health", &[UP, UP, UP], &warned, 200, "warn", "ready", Some("database: recovered_after_retry")),
        ("/health", &[UP, UP, UP], &sleeping, 200, "pass", "ready", None),
        (
            "/health",
            &[UP, FELL, WRONG],
            &nothing,
            503,
            "fail",
            "ready",
            Some("database: bad_status; sql_migrations: auth_failed"),
        ),
        ("/health", &[FELL, UP, UP], &warned, 503, "fail", "unready", Some("app: bad_status")),
        (
            "/health",
            &[UP, UP, UP],
            &late,
            503,
            "fail",
            "unready",
            Some("app: stale; database: stale; sql_migrations: stale"),
        ),
        ("/health", &[UP, UP, UP], &draining, 503, "fail", "draining", Some("draining")),
        ("/health", &[UP, FELL, UP], &draining, 503, "fail", "draining", Some("draining; database: bad_status")),
        ("/health/shallow", &[UP, WRONG, UP], &draining, 200, "pass", "draining", None),
        ("/health/shallow", &[FELL, UP, UP], &nothing, 503, "fail", "unready", Some("app: bad_status")),
        ("/health/shallow", &[FELL, UP, UP], &draining, 503, "fail", "draining", Some("app: bad_status")),
        ("/health/deep", &[FELL, UP, UP], &draining, 200, "pass", "draining", None),
        ("/health/deep", &[UP, UP, FELL], &warned, 503, "fail", "ready", Some("sql_migrations: bad_status")),
    ];
    for (path, results, change, code, status, state, output) in rows {
        let mut world = World::new(&[SQL], results);
        change(&mut world);
        let (found, body) = health(&world, path);
        assert_eq!(found, *code, "{path} {results:?}");
        let output = output.map_or(Value::Null, Value::from);
        assert_eq!((&body["status"], &body["state"], &body["output"]), (&json!(status), &json!(state), &output));
        let keys: Vec<_> = body["checks"].as_object().unwrap().keys().cloned().collect();
        let expected: &[&str] = match *path {
            "/health/shallow" => &["app:http"],
            "/health/deep" => &["database:query", "sql:migrations"],
            _ => &["app:http", "database:query", "sql:migrations"],
        };
        assert_eq!(keys, expected);
    }
}
