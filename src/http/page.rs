//! The status page: what is known, for a person. One HTML file, made on the server, without anything from outside.
//!
//! Without JavaScript it reloads itself; with it only what has changed is replaced.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use super::view::View;
use crate::early_warnings::EarlyWarnings;
use crate::economy::app_url;
use crate::millis;
use crate::probe::{CheckId, Reason};
use crate::readiness::{self, Judgement, Scope, State, Status};
use crate::state::{CheckState, Deep};

mod drawings;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

const LISTED_FAILURES: usize = 5;
/// At most so many characters of the server's version are shown: the server chooses it.
const LONGEST_VERSION: usize = 80;

/// Exactly this style and this script, the icon in the page itself, and requests only to ourselves. Width and height are
/// attributes, not styles, so that nothing inline has to be allowed.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

pub(super) fn body(view: View<'_>) -> Bytes {
    let state = readiness::overall_state(&view.readiness(), view.ever_ready);
    let tone = tone(state, view);
    let checks: String = view.snapshot.checks().map(|check| section(check, view)).collect();
    let (title, sentence, time) = (format!("{state} · sidepulse"), sentence(state, view), time(view.now.wall));
    let value = |name: &str| match name {
        "title" => &title,
        "icon" => icon(tone),
        "lost_icon" => icon(Status::Fail),
        "style" => STYLE,
        "script" => SCRIPT,
        "tone" => tone.as_str(),
        "state" => state,
        "sentence" => &sentence,
        "version" => env!("CARGO_PKG_VERSION"),
        "time" => &time,
        "checks" => &checks,
        _ => "",
    };
    fill(TEMPLATE, value).into()
}

/// Replaces each `{name}` by its value. In one pass: nothing is replaced within a value, be it a server's text, the style
/// or the script.
fn fill<'a>(template: &'a str, value: impl Fn(&str) -> &'a str) -> String {
    let mut text = String::with_capacity(2 * (TEMPLATE.len() + STYLE.len() + SCRIPT.len()));
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{')
        && let Some((name, after)) = after.split_once('}')
    {
        text.push_str(before);
        text.push_str(value(name));
        rest = after;
    }
    text + rest
}

/// The colour of the verdict. Red is for what needs attention: not for what is stopping or starting, nor for what is
/// ready in spite of a failing check because the gate is satisfied.
fn tone(state: &str, view: View<'_>) -> Status {
    let is_bad = |check| matches!(judge(check, view).state, State::Down | State::Stale);
    match readiness::health(Scope::All, view.snapshot, view.draining, view.now) {
        Status::Fail if state == "draining" || state == "ready" => Status::Warn,
        Status::Fail if state == "starting" && !view.snapshot.checks().any(is_bad) => Status::Warn,
        status => status,
    }
}

/// A disc, a triangle or a square, so that the browser's tab shows the verdict. It also saves the request for
/// `/favicon.ico`.
fn icon(tone: Status) -> &'static str {
    macro_rules! drawn {
        ($colour:literal, $path:literal) => {
            concat!(
                "data:image/svg+xml,%3csvg xmlns='http%3a//www.w3.org/2000/svg' viewBox='0 0 16 16'%3e%3cpath fill='%23",
                $colour,
                "' d='",
                $path,
                "'/%3e%3c/svg%3e"
            )
        };
    }
    match tone {
        Status::Pass => drawn!("2da44e", "M8 1a7 7 0 1 0 0 14A7 7 0 1 0 8 1z"),
        Status::Warn => drawn!("bf8700", "M8 1l8 14H0z"),
        Status::Fail => drawn!("cf222e", "M1 1h14v14H1z"),
    }
}

fn sentence(state: &str, view: View<'_>) -> String {
    let status = readiness::health(Scope::All, view.snapshot, false, view.now);
    let parts: Vec<String> = view
        .snapshot
        .checks()
        .filter_map(|check| {
            let judged = judge(check, view);
            let reason = judged.reason.filter(|_| judged.status == status)?;
            Some(format!("{} ({reason})", escaped(&check.name)))
        })
        .collect();
    let parts = parts.join(", ");
    match status {
        _ if state == "draining" => "stopping: no new traffic".to_owned(),
        Status::Pass => "all checks pass".to_owned(),
        Status::Warn => format!("all checks pass, with a warning: {parts}"),
        Status::Fail if state == "starting" => format!("waiting for: {parts}"),
        Status::Fail => format!("failing: {parts}"),
    }
}

fn judge(check: &CheckState, view: View<'_>) -> Judgement {
    readiness::judge(check, view.snapshot, view.now)
}

fn section(check: &CheckState, view: View<'_>) -> String {
    let judged = judge(check, view);
    let class = match judged.state {
        State::Idle if judged.status == Status::Pass => "idle",
        State::Starting => "warn",
        _ => judged.status.as_str(),
    };
    let (name, state) = (escaped(&check.name), judged.state.as_str());
    let mut text = format!("<section class=\"{class}\" aria-labelledby=\"{name}\">\n");
    let _ = writeln!(text, "<h2 id=\"{name}\">{name} <span class=\"state\">{state}</span></h2>");
    if let Some(reason) = judged.reason {
        let remedy = escaped(check.remedy(reason));
        let _ = writeln!(text, "<p class=\"reason\"><strong>{reason}</strong>: {remedy}.</p>");
    }
    if check.id == CheckId::App && view.snapshot.app_uses_database {
        let _ = writeln!(text, "<p>{}</p>", escaped(app_url::REMEDY));
    }
    if let Some(at) = check.idle_since {
        let idle = length(view.now.instant.saturating_duration_since(at));
        let _ = writeln!(text, "<p>idle for {idle}: the app does not use the database.</p>");
    }
    text.push_str(&check.newest.as_ref().map(drawings::phases).unwrap_or_default());
    text.push_str(&drawings::newest(check.recent.iter()));
    let _ = writeln!(text, "<p class=\"dim\">{}</p>", ages(check, judged, view));
    text.push_str(&failures(check));
    if check.id == CheckId::Database
        && let Some(database) = &view.snapshot.database
    {
        text.push_str(&server(database, view.now.wall));
        text.push_str(&numbers(&database.early));
    }
    text.push_str("</section>\n");
    text
}

fn ages(check: &CheckState, judged: Judgement, view: View<'_>) -> String {
    let since = |at| view.now.instant.saturating_duration_since(at);
    let mut parts = Vec::new();
    parts.push(match &check.newest {
        Some(outcome) => format!("checked {}", ago(since(outcome.ended.0))),
        None => "no result yet".to_owned(),
    });
    match check.last_success {
        Some((at, _)) if judged.status != Status::Pass || check.idle_since.is_some() => {
            parts.push(format!("last success {}", ago(since(at))));
        }
        Some(_) => {}
        None => parts.push("never passed".to_owned()),
    }
    let left = check.due.saturating_duration_since(view.now.instant);
    parts.push(if left.as_secs() == 0 { "next check now".to_owned() } else { format!("next in {}", length(left)) });
    parts.join(" · ")
}

/// The newest failures, which stay when successes have long pushed them out of the line above.
fn failures(check: &CheckState) -> String {
    let newest = check.recent_failures.iter().rev().take(LISTED_FAILURES);
    let rows: String = newest
        .filter_map(|mark| Some((mark, mark.reason?)))
        .map(|(mark, reason)| {
            format!("<li>{} {reason}, {:.0}&nbsp;ms</li>\n", time(mark.at), millis::exact(mark.duration))
        })
        .collect();
    if rows.is_empty() {
        rows
    } else {
        format!("<p class=\"dim\">newest failures (UTC):</p>\n<ul class=\"dim\">\n{rows}</ul>\n")
    }
}

/// What is known about the server itself.
fn server(database: &Deep, now: SystemTime) -> String {
    let mut parts = Vec::new();
    if let Some(version) = &database.server_version {
        let shown: String = version.chars().filter(|c| !c.is_control()).take(LONGEST_VERSION).collect();
        parts.push(format!("server version {}", escaped(&shown)));
    }
    if let Some(end) = database.certificate_expiry {
        parts.push(match end.duration_since(now) {
            Ok(left) => format!("certificate ends {} UTC ({} days left)", time(end), left.as_secs() / (24 * 3600)),
            Err(_) => format!("certificate ended {} UTC", time(end)),
        });
    }
    let mut text = String::new();
    if !parts.is_empty() {
        let _ = writeln!(text, "<p class=\"dim\">{}</p>", parts.join(" · "));
    }
    if !database.refused.is_empty() {
        let each: Vec<String> =
            database.refused.iter().map(|refusal| escaped(&refusal.to_string()).to_string()).collect();
        let _ = writeln!(text, "<p class=\"dim\">the server refuses {}: its checks do without.</p>", each.join(", "));
    }
    text
}

/// What may hurt the database soon.
fn numbers(early: &EarlyWarnings) -> String {
    let Some(vitals) = early.vitals() else { return String::new() };
    let mut text = String::new();
    if let Some(room) = vitals.room {
        let is_scarce = early.shows(Reason::ConnectionsScarce);
        text.push_str(&drawings::used("sessions", room.used, room.limit, "", is_scarce));
    }
    if let (Some(stored), Some(limit)) = (vitals.stored, vitals.storage_limit) {
        let is_scarce = early.shows(Reason::StorageScarce);
        text.push_str(&drawings::used("storage", stored >> 20, limit >> 20, " MB", is_scarce));
    }
    let mut parts = Vec::new();
    if let Some(age) = vitals.oldest_transaction {
        parts.push(format!("oldest transaction {}", length(age)));
    }
    if vitals.lock_waiters > 0 {
        parts.push(format!("waiting for a lock: {}", vitals.lock_waiters));
    }
    if !parts.is_empty() {
        let _ = writeln!(text, "<p class=\"dim\">{}</p>", parts.join(" · "));
    }
    text
}

/// A moment for a person, in whole seconds; the text beside it says that it is UTC.
fn time(at: SystemTime) -> String {
    let machine = humantime::format_rfc3339_seconds(at).to_string();
    format!("<time datetime=\"{machine}\">{}</time>", machine.replace('T', " ").trim_end_matches('Z'))
}

fn ago(duration: Duration) -> String {
    if duration.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", length(duration)) }
}

fn length(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// The text with everything escaped that could be markup or end an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
