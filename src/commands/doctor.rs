//! `sidepulse doctor`: the checklist of a deployment, from nothing but the environment and the backend's files.
//!
//! `read/` reads files and judges nothing, `rules/` judges and reads nothing, `deployment.rs` stands between. Nothing here
//! uses the network, runs the app's code, or shows a value of the environment or a line of a file.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{BAD_USAGE, print};
use crate::config::Lookup;

mod deployment;
mod finding;
mod read;
mod report;
mod rules;
#[cfg(test)]
mod tests;

use deployment::Deployment;
use finding::{Finding, Severity};
use read::files::Files;
use rules::{Judge, RULES};

/// Reads, judges and prints: one line for each rule, or JSON. `names` are those of all environment variables.
pub(crate) fn run(lookup: Lookup<'_>, names: &[String], backend: Option<&Path>, json: bool) -> ExitCode {
    let files = match backend.map(Files::read).transpose() {
        Ok(files) => files,
        Err(fault) => {
            let _ = writeln!(io::stderr(), "--backend: {fault}; e.g. --backend deploy/backend");
            return ExitCode::from(BAD_USAGE);
        }
    };
    let with_files = files.is_some();
    let findings = examine(&Deployment::read(lookup, names, files));
    let text = match json {
        true => report::json(&findings),
        false => report::text(&findings, with_files, io::stdout().is_terminal()),
    };
    let is_bad = report::worst(&findings) == Severity::Error;
    print(&text, if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints why a rule exists, and the source.
pub(crate) fn explain(rule: &str) -> ExitCode {
    if let Some(rule) = RULES.iter().find(|known| known.id == rule) {
        return print(&report::explanation(rule), ExitCode::SUCCESS);
    }
    let ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    let _ = writeln!(io::stderr(), "--explain: there is no such rule; there are {}", ids.join(", "));
    ExitCode::from(BAD_USAGE)
}

/// Runs every reader over the bytes of one file, for the fuzz target. Returns how many things they found.
#[cfg(fuzzing)]
pub fn read_anything(bytes: &[u8]) -> usize {
    read::every_reader(bytes)
}

/// Every rule's findings, in the order of the table.
fn examine(deployment: &Deployment<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        let found = match rule.judge {
            Judge::One(judge) => judge(deployment).into_iter().collect(),
            Judge::Each(judge) => report::cut(judge(deployment)),
        };
        findings.extend(found.into_iter().map(|finding| Finding { id: rule.id, ..finding }));
    }
    findings
}
