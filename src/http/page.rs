//! The status page: what is known, for a person. One HTML file, made on the server, without anything from outside.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

use super::health::millis;
use super::routes::View;
use crate::log::timestamp;
use crate::readiness::{self, Scope};
use crate::state::CheckState;

/// Only the style in the page itself.
pub(super) const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEMPLATE: &str = include_str!("page.html");

/// The page.
pub(super) fn body(view: View<'_>) -> Bytes {
    let status = readiness::health(Scope::All, view.snapshot, view.draining, view.now);
    let state = readiness::overall_state(&view.readiness(), view.ever_ready);
    let checks: String = view.snapshot.checks.iter().map(|check| article(check, view)).collect();
    // Every value is of a fixed vocabulary or a number: nothing needs escaping, and nothing comes from outside.
    TEMPLATE
        .replace("{title}", &format!("{state} · sidepulse"))
        .replace("{class}", status.as_str())
        .replace("{state}", state)
        .replace("{checks}", &checks)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{time}", &timestamp(view.now.wall))
        .into()
}

fn article(check: &CheckState, view: View<'_>) -> String {
    let judged = readiness::judge(check, view.snapshot, view.now);
    let mut text = format!(
        "<article><h2>{}: <span class=\"{}\">{}</span></h2><dl>",
        check.name,
        judged.status.as_str(),
        judged.state.as_str()
    );
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(text, "<dt>{name}</dt><dd>{value}</dd>");
    };
    if let Some(reason) = judged.reason {
        row("reason", reason.to_string());
        row("what to do", reason.remedy().to_owned());
    }
    if let Some(outcome) = &check.newest {
        row("last check", format!("{} ago", age(view.now.instant.saturating_duration_since(outcome.ended.0))));
        let phases: Vec<String> =
            outcome.phases.iter().map(|(phase, took)| format!("{} {} ms", phase.as_str(), millis(took))).collect();
        row("took", format!("{} ms ({})", millis(outcome.duration), phases.join(", ")));
    }
    if let Some((at, _)) = check.last_success {
        row("last success", format!("{} ago", age(view.now.instant.saturating_duration_since(at))));
    }
    text.push_str("</dl></article>\n");
    text
}

fn age(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
