//! What was found → text for a person, JSON for a machine.

use serde::Serialize;

use super::{Finding, Level};

#[derive(Serialize)]
struct Report<'a> {
    status: Level,
    rules: &'a [Finding],
}

/// The worst level of all.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// `{"status", "rules": […]}` on one line.
pub(super) fn json(findings: &[Finding]) -> String {
    let report = Report { status: worst(findings), rules: findings };
    format!("{}\n", serde_json::to_string(&report).unwrap_or_default())
}

/// One line a finding, then the summary.
pub(super) fn text(findings: &[Finding], with_files: bool, colour: bool) -> String {
    let width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or_default();
    let mut text: String = findings.iter().map(|finding| line(finding, width, colour)).collect();
    text.push_str(&format!("\n{}\n", painted(&summary(findings), worst(findings), colour)));
    if !with_files {
        text.push_str(
            "The files were not looked at: --backend DIR reads main.py, requirements.txt, Procfile and more.\n",
        );
    }
    text
}

fn line(finding: &Finding, width: usize, colour: bool) -> String {
    let (sign, word) = match finding.level {
        Level::Ok => ("✓", "ok"),
        Level::Warning => ("!", "warning"),
        Level::Error => ("✗", "error"),
    };
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    let remedy = finding.remedy.as_ref().map_or(String::new(), |remedy| format!(" → {remedy}"));
    let level = painted(&format!("{sign} {word:<7}"), finding.level, colour);
    format!("{level}  {:<width$}  {place}{}{remedy}\n", finding.id, finding.message)
}

fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings, ok) = (count(Level::Error), count(Level::Warning), count(Level::Ok));
    let verdict = match worst(findings) {
        Level::Error => "not ready to deploy: mend the errors first",
        Level::Warning => "nothing prevents the deployment, but read the warnings",
        Level::Ok => "ready to deploy",
    };
    format!("{}, {}, {ok} ok: {verdict}", counted(errors, "error"), counted(warnings, "warning"))
}

fn painted(text: &str, level: Level, colour: bool) -> String {
    let code = match level {
        Level::Ok => "32",
        Level::Warning => "33",
        Level::Error => "31",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
