//! Every spelling of a password in `tests/urls.json` logs in to a real PostgreSQL, as in the backend's own tests.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::postgres::Postgres;
use crate::support::sidecar::Sidecar;

/// The heading of the rows that a real server judges.
const HEADING: &str = "Characters in the password";

#[test]
fn every_spelling_of_a_password_logs_in() {
    let table: Value = serde_json::from_str(include_str!("../urls.json")).unwrap();
    let rows = table["rows"].as_array().unwrap().iter().skip_while(|row| **row != HEADING);
    let rows: Vec<&Value> = rows.skip(1).take_while(|row| row.is_object()).collect();
    assert!(rows.len() > 20, "{HEADING}");

    let word = |row: &Value, key: &str, usual: &str| row[key].as_str().unwrap_or(usual).to_owned();
    let postgres = Postgres::start_plain();
    for database in rows.iter().map(|row| word(row, "database", "d")).collect::<BTreeSet<_>>() {
        postgres.admin(&format!("CREATE DATABASE \"{database}\""));
    }
    for row in rows {
        let (user, password) = (word(row, "user", "u"), word(row, "password", "p").replace('\'', "''"));
        postgres.admin(&format!("CREATE ROLE \"{user}\" LOGIN PASSWORD '{password}'"));
        let url = word(row, "url", "").replace("@h/", &format!("@127.0.0.1:{}/", postgres.port()));
        let (code, check) = Sidecar::on(url).check_database();
        assert_eq!((code, &check["status"]), (Some(0), &"pass".into()), "{}: {check}", row["url"]);
        postgres.admin(&format!("DROP ROLE \"{user}\""));
    }
}
