//! `docs/reference.md` is what users rely on: its tables are those of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tokio::time::Instant;

use crate::cli;
use crate::config::WarnAt;
use crate::config::settings::SETTINGS;
use crate::http::routes;
use crate::metrics::Metrics;
use crate::metrics::scrape::scrape;
use crate::probe::vitals::{Limit, Room, Vitals};
use crate::probe::{Cause, CheckId, Class, Reason};
use crate::state::Snapshot;
use crate::state::samples::{NO_DATABASE, SQL, TOKEN, config, deep, ended, wall};

const REFERENCE: &str = include_str!("../docs/reference.md");

/// The rows of the table whose first column is called so, as cells.
fn table(first: &str) -> Vec<Vec<&'static str>> {
    let mut lines = REFERENCE.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    assert!(lines.next().is_some(), "there is no table of {first}");
    let rows = lines.skip(1).map_while(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The backticks of a cell that holds nothing else.
fn name(cell: &'static str) -> &'static str {
    cell.trim_matches('`')
}

fn letter(reason: Reason) -> &'static str {
    match reason.class() {
        Class::Retry => "R",
        Class::Count => "C",
        Class::Permanent => "P",
        Class::NotAFailure if Reason::WARNINGS.contains(&reason) => "W",
        Class::NotAFailure => "–",
    }
}

/// After a change of the remedies: `cargo test --lib reference::renew -- --ignored`.
#[test]
#[ignore = "it writes the table of reasons anew"]
fn renew_the_table_of_reasons() {
    let meanings: BTreeMap<&str, &str> = table("reason").iter().map(|row| (name(row[0]), row[2])).collect();
    let row = |reason: &Reason| {
        let meaning = meanings.get(reason.as_str()).unwrap_or(&"");
        format!("| `{reason}` | {} | {meaning} | {} |\n", letter(*reason), reason.remedy())
    };
    let rows: String = Reason::ALL.iter().map(row).collect();
    let head = "| reason | class | meaning | what to do |\n|---|---|---|---|\n";
    let (before, rest) = REFERENCE.split_once(head).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    fs::write(path, format!("{before}{head}{rows}\n{after}")).unwrap();
}

#[test]
fn every_reason_has_its_class_a_meaning_and_its_remedy() {
    let told: Vec<_> =
        table("reason").into_iter().map(|row| (name(row[0]), row[1], row[3], row[2].len() > 10)).collect();
    let all = Reason::ALL.iter().map(|reason| (reason.as_str(), letter(*reason), reason.remedy(), true));
    assert_eq!(told, all.collect::<Vec<_>>());
}

#[test]
fn every_cause_has_its_reasons_and_its_remedy() {
    let told: Vec<_> = table("cause").into_iter().map(|row| row[2]).collect();
    assert_eq!(told, Cause::ALL.iter().map(|cause| cause.remedy()).collect::<Vec<_>>());
    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    for row in table("cause") {
        assert!(!quoted(row[1]).is_empty() && quoted(row[1]).iter().all(|reason| reasons.contains(reason)), "{row:?}");
    }
}

#[test]
fn every_setting_has_its_default() {
    let told: Vec<_> = table("variable").into_iter().map(|row| (name(row[0]), name(row[1]))).collect();
    assert_eq!(told, SETTINGS.iter().map(|setting| (setting.variable, setting.default)).collect::<Vec<_>>());
}

#[test]
fn every_secret_is_named_as_one() {
    let sentence = REFERENCE.split_once("those\nthat may hold a secret: ").unwrap().1.split_once(". ").unwrap().0;
    let told: BTreeSet<&str> = quoted(sentence).into_iter().collect();
    assert_eq!(told, SETTINGS.iter().filter(|setting| setting.secret).map(|setting| setting.variable).collect());
}

#[test]
fn every_command_and_option_is_there() {
    let command = cli::command();
    let told: BTreeSet<&str> = table("command").iter().flat_map(|row| quoted(row[0])).collect();
    let told: BTreeSet<&str> = told.iter().map(|words| words.split(' ').nth(1).unwrap_or("serve")).collect();
    assert_eq!(told, command.get_subcommands().map(clap::Command::get_name).collect());

    let told: BTreeSet<(String, &str)> = table("option")
        .iter()
        .flat_map(|row| quoted(row[1]).into_iter().map(|of| (name(row[0]).to_owned(), of)))
        .collect();
    let setting = |id: &str| SETTINGS.iter().any(|setting| setting.variable == id);
    let mut all = BTreeSet::new();
    for of in command.get_subcommands() {
        for argument in of.get_arguments().filter(|argument| !setting(argument.get_id().as_str())) {
            let Some(long) = argument.get_long() else { continue };
            let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
            let value = value.map_or(String::new(), |names| format!(" {}", names[0]));
            all.insert((format!("--{long}{value}"), of.get_name()));
        }
    }
    assert_eq!(told, all);
}

#[test]
fn every_path_and_status_is_there() {
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for config in [config(&[TOKEN]), config(&[NO_DATABASE])] {
        for (path, code) in routes::request_labels(&config).filter(|(path, _)| *path != routes::OTHER) {
            all.entry(path).or_default().insert(code.to_string());
        }
    }
    let codes = |cell: &str| cell.split(' ').map(str::to_owned).collect();
    assert_eq!(table("path").iter().map(|row| (name(row[0]), codes(row[1]))).collect::<BTreeMap<_, _>>(), all);
}

#[tokio::test(start_paused = true)]
async fn every_metric_has_its_type_and_labels() {
    let config = config(&[SQL, TOKEN, ("SIDEPULSE_DATABASE_MODE", "economy")]);
    let mut snapshot = Snapshot::new(&config, Instant::now());
    let metrics = Metrics::new(&config, &snapshot, routes::request_labels(&config)).unwrap();
    // What appears only when first known.
    deep(&mut snapshot).certificate_expiry = Some(wall());
    metrics.database.as_ref().unwrap().app_connections(1);
    let (room, bytes) = (Room { of: Limit::Server, limit: 1, used: 0 }, Some(1));
    let vitals = Vitals { room: Some(room), storage_limit: bytes, stored: bytes, ..Vitals::default() };
    deep(&mut snapshot).early.take(vitals, &WarnAt::default());
    metrics.checks.record(&CheckId::App, &ended(Instant::now(), None));
    let found = scrape(&metrics, &snapshot).await;

    let mut all: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for (family, kind) in found.types.iter().filter(|(family, _)| !family.starts_with("process_")) {
        let of_family = |sample: &&String| {
            let suffix = sample.split(' ').next().and_then(|name| name.strip_prefix(family.as_str()));
            suffix.is_some_and(|suffix| ["", "_count"].contains(&suffix))
        };
        let samples = found.samples.keys().filter(of_family);
        let labels = samples.flat_map(|sample| sample.split(' ').skip(1)).filter_map(|label| label.split('=').next());
        all.insert(family, (kind, labels.collect()));
    }
    let told: BTreeMap<&str, (&str, BTreeSet<&str>)> =
        table("name").into_iter().map(|row| (name(row[0]), (row[1], quoted(row[2]).into_iter().collect()))).collect();
    assert_eq!(told, all);
}

/// The sources of the program, without their tests.
fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !stem.contains("tests") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
}

/// Every line of the log is begun with `.line(level, "event", …)`, goes on with `.field("name", …)` or `.maybe(…)`, and
/// ends with `.send()`.
#[test]
fn every_event_and_field_of_the_log_is_there() {
    let mut texts = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
    let (mut events, mut fields) = (BTreeSet::new(), BTreeSet::from(["timestamp", "level", "message", "event"]));
    for text in &texts {
        for rest in text.split(".line(").skip(1) {
            let line = rest.split(".send()").next().unwrap_or_default();
            events.extend(line.split('"').nth(1).filter(|_| line.len() < rest.len()));
            for part in [".field(", ".maybe("].iter().flat_map(|call| line.split(call).skip(1)) {
                fields.extend(part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()));
            }
        }
    }
    assert!(events.len() > 5, "{events:?}");
    assert_eq!(table("event").iter().map(|row| name(row[0])).collect::<BTreeSet<_>>(), events);
    assert_eq!(table("field").iter().flat_map(|row| quoted(row[0])).collect::<BTreeSet<_>>(), fields);
}
