//! The status page: what is known, for a person. One HTML file, made on the server, without anything from outside.
//!
//! It works without JavaScript (then it reloads itself); with it, only what changed is replaced.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use super::health::millis;
use super::routes::View;
use crate::economy::app_url;
use crate::log::timestamp;
use crate::probe::{CheckId, Outcome};
use crate::readiness::{self, Judgement, Scope, State, Status};
use crate::state::{CheckState, Mark};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Width of the drawings in their own units.
const WIDTH: f64 = 600.0;
/// The newest failures that are listed.
const LISTED_FAILURES: usize = 5;

/// Exactly this style and this script, and requests to ourselves alone. Width and height are attributes, not styles,
/// so that nothing inline has to be allowed.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page. Every value is of a fixed vocabulary or a number, so that nothing needs escaping.
pub(super) fn body(view: View<'_>) -> Bytes {
    let status = readiness::health(Scope::All, view.snapshot, view.draining, view.now);
    let state = readiness::overall_state(&view.readiness(), view.ever_ready);
    let sentence = match status {
        Status::Pass => "all checks pass",
        Status::Warn => "all checks pass, with a warning",
        Status::Fail if view.draining => "stopping: no new traffic",
        Status::Fail => "a check fails",
    };
    let checks: String = view.snapshot.checks.iter().map(|check| section(check, view)).collect();
    TEMPLATE
        .replace("{title}", &format!("{state} · sidepulse"))
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT)
        .replace("{status}", status.as_str())
        .replace("{state}", state)
        .replace("{sentence}", sentence)
        .replace("{checks}", &checks)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{time}", &timestamp(view.now.wall))
        .into()
}

fn section(check: &CheckState, view: View<'_>) -> String {
    let judged = readiness::judge(check, view.snapshot, view.now);
    let class =
        if judged.state == State::Idle && judged.status == Status::Pass { "idle" } else { judged.status.as_str() };
    let (name, state) = (&check.name, judged.state.as_str());
    let mut text = format!("<section aria-labelledby=\"{name}\">\n");
    let _ = writeln!(text, "<h2 id=\"{name}\">{name}: <span class=\"{class} word\">{state}</span></h2>");
    if let Some(reason) = judged.reason {
        let _ = writeln!(text, "<p><strong>{reason}</strong>. {}</p>", reason.remedy());
    }
    if check.id == CheckId::App && view.snapshot.app_uses_database {
        let _ = writeln!(text, "<p>{}</p>", app_url::REMEDY);
    }
    if let Some(outcome) = &check.newest {
        text.push_str(&bars(name, outcome));
    }
    text.push_str(&sparkline(name, check.recent.iter()));
    let _ = writeln!(text, "<p class=\"dim\">{}</p>", ages(check, judged, view));
    text.push_str(&failures(check));
    text.push_str("</section>\n");
    text
}

/// The phases of the newest attempt as one bar, and in words.
fn bars(name: &str, outcome: &Outcome) -> String {
    let total: f64 = outcome.phases.iter().map(|(_, took)| took.as_secs_f64()).sum();
    let words: Vec<String> =
        outcome.phases.iter().map(|(phase, took)| format!("{} {:.1} ms", phase.as_str(), millis(took))).collect();
    if words.is_empty() {
        return String::new();
    }
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} 14\" role=\"img\" aria-label=\"{name}, phases of the newest attempt: {}\">",
        words.join(", ")
    );
    let mut x = 0.0;
    for (phase, took) in outcome.phases.iter() {
        let width = WIDTH * took.as_secs_f64() / total.max(f64::MIN_POSITIVE);
        let _ =
            write!(svg, "<rect class=\"{}\" x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"14\"/>", phase.as_str());
        x += width;
    }
    let retries = if outcome.attempts > 1 { format!(", {} attempts", outcome.attempts) } else { String::new() };
    let _ = writeln!(
        svg,
        "</svg>\n<p class=\"dim\">{}; {:.1} ms in all{retries}</p>",
        words.join(" · "),
        millis(outcome.duration)
    );
    svg
}

/// The newest results, oldest first: taller is slower, and a failure has the full height and another colour.
fn sparkline<'a>(name: &str, marks: impl ExactSizeIterator<Item = &'a Mark> + Clone) -> String {
    const HEIGHT: f64 = 28.0;
    const STEP: f64 = 20.0;
    if marks.len() == 0 {
        return String::new();
    }
    let failed = marks.clone().filter(|mark| mark.reason.is_some()).count();
    let slowest = marks.clone().map(|mark| mark.duration.as_secs_f64()).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}, newest {} results: {failed} failed\">",
        marks.len()
    );
    for (i, mark) in marks.enumerate() {
        let share = (mark.duration.as_secs_f64() / slowest).sqrt();
        let (class, height) = if mark.reason.is_some() { ("bad", HEIGHT) } else { ("ok", (HEIGHT * share).max(2.0)) };
        let (x, y) = (i as f64 * STEP, HEIGHT - height);
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{height:.1}\"/>",
            STEP - 4.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn ages(check: &CheckState, judged: Judgement, view: View<'_>) -> String {
    let since = |at| age(view.now.instant.saturating_duration_since(at));
    let mut parts = Vec::new();
    if let Some(at) = check.idle_since {
        parts.push(format!("idle for {}: the app does not use the database", since(at)));
    }
    parts.push(match &check.newest {
        Some(outcome) => format!("checked {} ago", since(outcome.ended.0)),
        None => "no result yet".to_owned(),
    });
    match check.last_success {
        Some((at, _)) if judged.status != Status::Pass || check.idle_since.is_some() => {
            parts.push(format!("last success {} ago", since(at)));
        }
        Some(_) => {}
        None => parts.push("never passed".to_owned()),
    }
    let left = check.due.saturating_duration_since(view.now.instant);
    parts.push(if left.is_zero() { "checking now".to_owned() } else { format!("next in {}", age(left)) });
    parts.join(" · ")
}

/// The newest failures: they are kept when successes have long pushed them off the line above.
fn failures(check: &CheckState) -> String {
    let rows: String = check
        .recent_failures
        .iter()
        .rev()
        .take(LISTED_FAILURES)
        .filter_map(|mark| Some((mark, mark.reason?)))
        .map(|(mark, reason)| format!("<li>{} {reason} after {:.0} ms</li>", timestamp(mark.at), millis(mark.duration)))
        .collect();
    if rows.is_empty() {
        rows
    } else {
        format!("<p class=\"dim\">newest failures:</p>\n<ul class=\"dim\">{rows}</ul>\n")
    }
}

fn age(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
