//! What a rule found: how bad it is, what it is, and where.

use serde::Serialize;

use crate::redact::Redactor;

/// How bad it is. `Unknown` is not bad: it depends on code that was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Ok,
    Unknown,
    Warning,
    Error,
}

/// What a rule found. The text names variables, keys and places, never values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The rule's name, which the table of rules fills in.
    pub(super) id: &'static str,
    #[serde(rename = "level")]
    pub(super) severity: Severity,
    pub(super) message: String,
    /// What to do or to look for; `None` if there is nothing to do.
    pub(super) remedy: Option<String>,
    /// Relative to the repository or, without one, to the backend's directory.
    pub(super) file: Option<String>,
    /// From 1 on.
    pub(super) line: Option<u32>,
}

impl Finding {
    pub(super) fn ok(message: impl Into<String>) -> Finding {
        Finding { id: "", severity: Severity::Ok, message: message.into(), remedy: None, file: None, line: None }
    }

    /// It depends on code; `look_for` says what to look for there.
    pub(super) fn unknown(message: impl Into<String>, look_for: impl Into<String>) -> Finding {
        Finding { severity: Severity::Unknown, remedy: Some(look_for.into()), ..Finding::ok(message) }
    }

    pub(super) fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, remedy: Some(remedy.into()), ..Finding::ok(message) }
    }

    pub(super) fn error(message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, remedy: Some(remedy.into()), ..Finding::ok(message) }
    }

    pub(super) fn at(self, file: &str, line: impl Into<Option<u32>>) -> Finding {
        Finding { file: Some(printable(file)), line: line.into(), ..self }
    }
}

/// A name from the file system or a file as it can be printed: without control characters, and of limited length.
pub(super) fn printable(name: &str) -> String {
    Redactor::new(Vec::new()).clean(name)
}
