//! The drawings of the status page. They are hidden from screen readers: the text beside them says the same.

use std::fmt::Write;

use crate::millis;
use crate::probe::Outcome;
use crate::state::{KEPT, Mark};

/// The width in units of the drawing; the page stretches it.
const WIDTH: f64 = 600.0;
/// The height, likewise.
const HEIGHT: f64 = 100.0;
/// A phase is never drawn narrower.
const NARROWEST: f64 = 2.0;
/// The height of the slowest success; a failure has the full height, so that it differs in more than its colour.
const SLOWEST: f64 = 75.0;
/// A success is never drawn lower.
const LOWEST: f64 = 6.0;

fn svg(class: &str, rects: &str) -> String {
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\">{rects}</svg>\n"
    )
}

/// The phases of the newest attempt as one bar, and as text. Empty without phases.
pub(super) fn phases(outcome: &Outcome) -> String {
    let total: f64 = outcome.phases.iter().map(|(_, took)| took.as_secs_f64()).sum();
    let (mut rects, mut words, mut x) = (String::new(), String::new(), 0.0);
    for (phase, took) in outcome.phases.iter() {
        let (name, took) = (phase.as_str(), took.as_secs_f64());
        let width = (WIDTH * took / total.max(f64::MIN_POSITIVE)).max(NARROWEST);
        let _ = write!(rects, "<rect class=\"{name}\" x=\"{x:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>");
        let _ = write!(
            words,
            "<span><svg class=\"key\" viewBox=\"0 0 1 1\" aria-hidden=\"true\"><rect class=\"{name}\" width=\"1\" \
             height=\"1\"/></svg>{name} {:.1} ms</span> ",
            took * 1e3
        );
        x += width;
    }
    if words.is_empty() {
        return words;
    }
    let retries = if outcome.attempts > 1 { format!(", {} attempts", outcome.attempts) } else { String::new() };
    let all = millis::exact(outcome.duration);
    format!("{}<p class=\"dim phases\">{words}<span>in all {all:.1} ms{retries}</span></p>\n", svg("bar", &rects))
}

/// How much of something is used, as a bar and as text.
pub(super) fn used(name: &str, used: u64, limit: u64, unit: &str, is_scarce: bool) -> String {
    let width = WIDTH * (used.min(limit) as f64) / (limit.max(1) as f64);
    let class = if is_scarce { "low" } else { "ok" };
    let rects = format!(
        "<rect class=\"rest\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/><rect class=\"{class}\" width=\"{width:.1}\" \
         height=\"{HEIGHT}\"/>"
    );
    format!("{}<p class=\"dim\">{name}: {used} of {limit}{unit}</p>\n", svg("bar", &rects))
}

/// The newest results, the newest at the right: taller is slower. Empty without results.
pub(super) fn newest<'a>(marks: impl ExactSizeIterator<Item = &'a Mark> + Clone) -> String {
    let step = WIDTH / KEPT as f64;
    let (count, failed) = (marks.len(), marks.clone().filter(|mark| mark.reason.is_some()).count());
    if count == 0 {
        return String::new();
    }
    let passed = marks.clone().filter(|mark| mark.reason.is_none());
    let slowest = passed.map(|mark| mark.duration.as_secs_f64()).fold(0.0, f64::max);
    let mut rects = String::new();
    for (i, mark) in marks.enumerate() {
        let share = (mark.duration.as_secs_f64() / slowest.max(f64::MIN_POSITIVE)).sqrt();
        let (class, height) =
            if mark.reason.is_some() { ("bad", HEIGHT) } else { ("ok", (SLOWEST * share).max(LOWEST)) };
        let (x, y, width) = ((KEPT - count + i) as f64 * step, HEIGHT - height, step * 0.75);
        let _ =
            write!(rects, "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.0}\" width=\"{width}\" height=\"{height:.0}\"/>");
    }
    let results = if count == 1 { "newest result".to_owned() } else { format!("newest {count} results") };
    let failed = if failed == 0 { "none failed".to_owned() } else { format!("{failed} failed") };
    let slowest = if slowest > 0.0 { format!(", slowest success {:.1} ms", slowest * 1e3) } else { String::new() };
    format!("{}<p class=\"dim\">{results}: {failed}{slowest}</p>\n", svg("line", &rects))
}
