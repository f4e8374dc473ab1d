//! `sidepulse doctor`: the checklist of a deployment, read from the environment and the backend's files alone.
//!
//! A rule is a line in one of the two tables below: a name that stays, and a pure function from what was read to what
//! was found. Nothing here asks the network, runs Python, or repeats a value of the environment or a line of a file.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::print;
use crate::config::Lookup;
use crate::redact::Redactor;

mod backend;
mod cors;
mod database;
mod environment;
mod literal;
mod procfile;
mod python;
mod report;
mod requirement;
mod requirements;
mod secrets;
mod shell;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_files;
#[cfg(test)]
mod tests_of_variables;

use backend::Backend;
use environment::Environment;

/// Bad usage, as for every command.
const BAD_USAGE: u8 = 2;

/// What the environment is asked; what the backend's files show may soften or sharpen an answer.
const RULES: &[Rule] = &[
    Rule { id: "environment", judge: environment::stage },
    Rule { id: "database-url", judge: database::url },
    Rule { id: "database-driver", judge: database::driver },
    Rule { id: "database-keys", judge: database::keys },
    Rule { id: "database-tls", judge: database::tls },
    Rule { id: "statement-cache", judge: database::statement_cache },
    Rule { id: "neon-awake", judge: database::neon_awake },
    Rule { id: "jwt-secret", judge: environment::jwt_secret },
    Rule { id: "cors-origins", judge: cors::origins },
    Rule { id: "port", judge: environment::port },
    Rule { id: "draining", judge: environment::draining },
    Rule { id: "settings", judge: environment::settings },
    Rule { id: "unknown-variables", judge: environment::unknown_variables },
];

/// What the backend's files are asked.
const FILE_RULES: &[FileRule] = &[
    FileRule { id: "app-file", judge: backend::app_file },
    FileRule { id: "cors-code", judge: cors::code },
    FileRule { id: "requirements", judge: requirements::judge },
    FileRule { id: "procfile", judge: procfile::judge },
    FileRule { id: "railway-file", judge: backend::railway_file },
    FileRule { id: "secret-in-file", judge: secrets::judge },
];

/// One line of the checklist. No finding at all means that the question does not arise.
struct Rule {
    id: &'static str,
    judge: fn(&Environment<'_>, Option<&Backend>) -> Vec<Finding>,
}

/// The same for a rule that without files has nothing to look at.
struct FileRule {
    id: &'static str,
    judge: fn(&Environment<'_>, &Backend) -> Vec<Finding>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// What a rule found. Its words are ours: they name variables, keys and places, never values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// The rule's name, which [`examine`] fills in.
    id: &'static str,
    level: Level,
    message: String,
    /// What to do; `None` where nothing is to be done.
    remedy: Option<String>,
    /// Relative to the repository, where there is one, else to the backend's directory.
    file: Option<String>,
    /// From 1 on.
    line: Option<u32>,
}

impl Finding {
    fn ok(message: impl Into<String>) -> Finding {
        Finding { id: "", level: Level::Ok, message: message.into(), remedy: None, file: None, line: None }
    }

    fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, remedy: Some(remedy.into()), ..Finding::ok(message) }
    }

    fn error(message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Error, remedy: Some(remedy.into()), ..Finding::ok(message) }
    }

    fn at(self, file: &str, line: impl Into<Option<u32>>) -> Finding {
        Finding { file: Some(printable(file)), line: line.into(), ..self }
    }
}

/// Reads, judges and prints: one line a rule, or JSON. `names` are those of all environment variables.
pub fn run(lookup: Lookup<'_>, names: &[String], backend: Option<&Path>, json: bool) -> ExitCode {
    let backend = match backend.map(Backend::read).transpose() {
        Ok(backend) => backend,
        Err(fault) => {
            let _ = writeln!(io::stderr(), "--backend: {fault}; e.g. --backend deploy/backend");
            return ExitCode::from(BAD_USAGE);
        }
    };
    let findings = examine(&Environment { lookup, names }, backend.as_ref());
    let with_files = backend.is_some();
    print(&if json {
        report::json(&findings)
    } else {
        report::text(&findings, with_files, io::stdout().is_terminal())
    });
    if report::worst(&findings) == Level::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Every rule's findings, in the order of the tables.
fn examine(environment: &Environment<'_>, backend: Option<&Backend>) -> Vec<Finding> {
    let named = |id, found: Vec<Finding>| found.into_iter().map(move |finding| Finding { id, ..finding });
    let mut findings: Vec<Finding> =
        RULES.iter().flat_map(|rule| named(rule.id, (rule.judge)(environment, backend))).collect();
    if let Some(backend) = backend {
        findings.extend(FILE_RULES.iter().flat_map(|rule| named(rule.id, (rule.judge)(environment, backend))));
    }
    findings
}

/// A name from the file system or a file, fit for a terminal: without control characters, and of bounded length.
fn printable(name: &str) -> String {
    Redactor::new(Vec::new()).clean(name)
}
