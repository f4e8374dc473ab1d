//! The JSON forms in `docs/reference.md` are those of the program; `src/reference.rs` compares the other tables.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::sidecar::Sidecar;
use crate::support::web_app::{Mode, WebApp};

const REFERENCE: &str = include_str!("../../docs/reference.md");

/// The first column of the first table below this heading whose header begins like this.
fn keys(heading: &str, first: &str) -> BTreeSet<String> {
    let (_, section) = REFERENCE.split_once(&format!("\n{heading}\n")).expect("the heading");
    let (_, table) = section.split_once(&format!("\n| {first} |")).expect("the table");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

fn keys_of(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_body_of_health_has_these_keys() {
    let app = WebApp::start();
    let sidecar = Sidecar::without_database().app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    app.behave(Mode::Answer(500));
    sidecar.wait_for_status("/health", 503);
    let body = sidecar.get("/health").json();
    assert_eq!(keys_of(&body), keys("### The body of /health", "key"));
    assert_eq!(keys_of(&body["checks"]["app:http"][0]), keys("### The body of /health", "key of a check"));
}

#[test]
fn the_json_of_check_has_these_keys() {
    let app = WebApp::start();
    let (_, text, _) = Sidecar::without_database().app(app.port()).arg("check").arg("--json").finish();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys_of(&json), BTreeSet::from(["status", "checks"].map(str::to_owned)));
    assert_eq!(keys_of(&json["checks"][0]), keys("### JSON of check", "key"));
}

#[test]
fn the_json_of_doctor_has_these_keys() {
    let (_, text, _) = Sidecar::bare().arg("doctor").arg("--json").finish();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys_of(&json), BTreeSet::from(["status", "rules"].map(str::to_owned)));
    assert_eq!(keys_of(&json["rules"][0]), keys("### JSON of doctor", "key"));
}

#[test]
fn every_rule_of_doctor_is_there() {
    let (_, table) = REFERENCE.split_once("\n| subject | rules |\n").expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let told: BTreeSet<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let (_, _, said) = Sidecar::bare().arg("doctor").arg("--explain").arg("none").finish();
    let (_, all) = said.trim().split_once("there are ").expect("every rule, where there is none of that name");
    assert_eq!(told, all.split(", ").collect());
}
