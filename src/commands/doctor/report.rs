//! The findings → text for a person, or JSON for a machine.

use serde::Serialize;

use super::finding::{Finding, Severity};
use super::rules::{RULES, Rule};

/// More findings of one rule would say nothing new.
const MOST: usize = 20;

#[derive(Serialize)]
struct Report<'a> {
    status: Severity,
    rules: &'a [Finding],
}

/// The worst of all; unknown counts as ok.
pub(super) fn worst(findings: &[Finding]) -> Severity {
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    if worst == Severity::Unknown { Severity::Ok } else { worst }
}

/// At most [`MOST`] findings of a rule, and one more that says how many were left out.
pub(super) fn cut(found: Vec<Finding>) -> Vec<Finding> {
    let left_out = found.len().saturating_sub(MOST);
    let worst = found.iter().skip(MOST).map(|finding| finding.severity).max();
    let mut kept: Vec<Finding> = found.into_iter().take(MOST).collect();
    if let Some(severity) = worst {
        let message = format!("{left_out} more of this kind are not shown");
        kept.push(Finding { severity, ..Finding::unknown(message, "correct those above, then run doctor again") });
    }
    kept
}

/// `{"status", "rules": […]}` on one line.
pub(super) fn json(findings: &[Finding]) -> String {
    let report = Report { status: worst(findings), rules: findings };
    format!("{}\n", serde_json::to_string(&report).unwrap_or_default())
}

/// One paragraph for each subject, those with errors first, then the summary.
pub(super) fn text(findings: &[Finding], with_files: bool, colour: bool) -> String {
    let width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or_default();
    let mut subjects: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        let subject = RULES.iter().find(|rule| rule.id == finding.id).map_or("", |rule| rule.subject);
        match subjects.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, of_it)) => of_it.push(finding),
            None => subjects.push((subject, vec![finding])),
        }
    }
    for (_, of_it) in &mut subjects {
        of_it.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
    subjects.sort_by_key(|(_, of_it)| std::cmp::Reverse(of_it.first().map(|finding| finding.severity)));
    let mut text = String::new();
    for (subject, of_it) in subjects {
        text.push_str(&format!("{subject}\n"));
        text.extend(of_it.into_iter().map(|finding| line(finding, width, colour)));
        text.push('\n');
    }
    text.push_str(&format!("{}\n", painted(&summary(findings), worst(findings), colour)));
    if !with_files {
        text.push_str("The files were not looked at: --backend DIR reads what decides how the app starts.\n");
    }
    text
}

/// Why a rule exists, and the source.
pub(super) fn explanation(rule: &Rule) -> String {
    format!("{} ({})\n\n{}\n\nSource: {}\n", rule.id, rule.subject, rule.why, rule.source)
}

fn line(finding: &Finding, width: usize, colour: bool) -> String {
    let (sign, word) = match finding.severity {
        Severity::Ok => ("✓", "ok"),
        Severity::Unknown => ("?", "unknown"),
        Severity::Warning => ("!", "warning"),
        Severity::Error => ("✗", "error"),
    };
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    let remedy = finding.remedy.as_ref().map_or(String::new(), |remedy| format!(" → {remedy}"));
    let level = painted(&format!("{sign} {word:<7}"), finding.severity, colour);
    format!("  {level}  {:<width$}  {place}{}{remedy}\n", finding.id, finding.message)
}

fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let (unknown, ok) = (count(Severity::Unknown), count(Severity::Ok));
    let verdict = match worst(findings) {
        Severity::Error => "not ready to deploy: correct the errors first",
        Severity::Warning => "nothing prevents the deployment, but read the warnings",
        _ if unknown > 0 => "nothing prevents the deployment that doctor can see; code decides what is unknown",
        _ => "ready to deploy",
    };
    format!("{}, {}, {unknown} unknown, {ok} ok: {verdict}", counted(errors, "error"), counted(warnings, "warning"))
}

fn painted(text: &str, severity: Severity, colour: bool) -> String {
    let code = match severity {
        Severity::Ok => "32",
        Severity::Unknown => "36",
        Severity::Warning => "33",
        Severity::Error => "31",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
