//! At the end: the log, the metrics, the clients and the fault log say the same about the run.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::ledger::{Check, Entry};
use super::load::{Tally, value_of};

/// The tick in which the program counts the time that a check is down.
const TICK: f64 = 1.0;

/// What was reported about a run.
pub(super) struct Account<'a> {
    pub(super) faults: &'a [Entry],
    /// The log's lines with these events.
    pub(super) transitions: Vec<Value>,
    pub(super) warnings: Vec<Value>,
    metrics: BTreeMap<String, f64>,
}

impl<'a> Account<'a> {
    pub(super) fn new(faults: &'a [Entry], transitions: Vec<Value>, warnings: Vec<Value>, metrics: &str) -> Self {
        let series = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(value_of);
        let metrics = series.map(|(series, value)| (series.to_owned(), value)).collect();
        Account { faults, transitions, warnings, metrics }
    }

    fn metric(&self, series: &str) -> f64 {
        *self.metrics.get(series).unwrap_or_else(|| panic!("{series} is missing"))
    }

    /// The series whose names begin like this: the rest of the name, and the value.
    fn starting_with<'b>(&'b self, start: &'b str) -> impl Iterator<Item = (&'b str, f64)> {
        self.metrics.iter().filter_map(move |(series, value)| Some((series.strip_prefix(start)?, *value)))
    }

    fn faults_of(&self, check: Check) -> Vec<&'a Entry> {
        let mut faults: Vec<_> = self.faults.iter().filter(|fault| fault.signs.checks.contains(&check)).collect();
        faults.sort_by_key(|fault| fault.begun);
        faults
    }

    /// Up once, then down and up for each fault, each while the fault lasted and for its reason, and nothing else.
    pub(super) fn transitions_agree(&self, check: Check) {
        let (name, faults) = (check.name(), self.faults_of(check));
        let lines: Vec<&Value> = self.transitions.iter().filter(|line| line["check"] == name).collect();
        let levels = |line: &Value| format!("{} to {}", line["from"], line["to"]).replace('"', "");
        let mut down_seconds = 0.0;
        assert_eq!(lines.first().map(|line| levels(line)).as_deref(), Some("starting to up"), "{name}");
        let mut pairs = lines[1..].chunks(2);
        for fault in &faults {
            let Some([down, up]) = pairs.next() else { panic!("{name} did not go down and up for {fault:?}") };
            let fits = levels(down) == "up to down"
                && levels(up) == "down to up"
                && fault.covers(time(down))
                && fault.covers(time(up))
                && fault.signs.explain(name, text(down, "reason"));
            assert!(fits, "{down}\n{up}\nis not what the log should say of {fault:?}");
            down_seconds += seconds(time(up), time(down));
        }
        let rest: Vec<_> = pairs.flatten().collect();
        assert!(rest.is_empty(), "invented: {rest:?}");
        let to = |to: &str| self.metric(&format!("sidepulse_transitions_total{{check=\"{name}\",to=\"{to}\"}}"));
        assert_eq!((to("down"), to("up")), (faults.len() as f64, faults.len() as f64 + 1.0), "{name}");
        // Each time it goes down or up, the tick under way may count or not.
        let counted = self.metric(&format!("sidepulse_check_down_seconds_total{{check=\"{name}\"}}"));
        let off = (counted - down_seconds).abs();
        assert!(off <= TICK * (1.0 + faults.len() as f64), "{name}: {counted} s down, {down_seconds} by the log");
    }

    /// Every failure in the log belongs to a fault of its check, and the metrics count exactly those.
    pub(super) fn failures_agree(&self, check: Check) {
        let (name, faults) = (check.name(), self.faults_of(check));
        let mut by_reason = BTreeMap::<&str, f64>::new();
        // A reading for the early warnings that a fault cuts off has no reason: the check before it had passed.
        let failures = self.warnings.iter().filter(|line| line["check"] == name && !line["reason"].is_null());
        for line in failures {
            let (at, reason) = (time(line), text(line, "reason"));
            let mut there = faults.iter().filter(|fault| fault.covers(at));
            // A line with a remedy is not a failure: it says that there was one, and that a retry helped.
            let explained = if line["remedy"].is_null() {
                *by_reason.entry(reason).or_default() += 1.0;
                there.any(|fault| fault.signs.explain(name, reason))
            } else {
                reason == "recovered_after_retry" && there.next().is_some()
            };
            let nearest = faults.iter().rfind(|fault| fault.begun < at);
            assert!(explained, "no fault explains {line}; the last before it was {nearest:?}");
        }
        let start = format!("sidepulse_check_failures_total{{check=\"{name}\",reason=\"");
        for (rest, counted) in self.starting_with(&start) {
            let reason = rest.trim_end_matches("\"}");
            assert_eq!(counted, by_reason.remove(reason).unwrap_or(0.0), "{name}: {reason}");
        }
        assert!(by_reason.is_empty(), "{name}: the metrics do not know {by_reason:?}");
        let checks = self.metric(&format!("sidepulse_checks_total{{check=\"{name}\"}}"));
        let timed = self.metric(&format!("sidepulse_check_duration_seconds_count{{check=\"{name}\"}}"));
        assert_eq!(checks, timed, "{name}: every check is timed");
        let state = |state: &str| self.metric(&format!("sidepulse_check_state{{check=\"{name}\",state=\"{state}\"}}"));
        assert_eq!((state("up"), state("down")), (1.0, 0.0), "{name}");
    }

    /// The server counted what the clients sent, including the scrape that says so, which is counted before it is
    /// written.
    pub(super) fn requests_agree(&self, tally: &Tally) {
        let sent = tally.by_path_and_code();
        let mut counted = BTreeMap::new();
        for (rest, value) in self.starting_with("sidepulse_http_requests_total{code=\"") {
            let (code, path) = rest.trim_end_matches("\"}").split_once("\",path=\"").expect("code and path");
            if value > 0.0 {
                counted.insert((path.to_owned(), code.parse().expect("a code")), value as u64);
            }
        }
        assert_eq!(counted, sent, "requests counted and sent");
    }

    /// Everything else.
    pub(super) fn nothing_else_happened(&self, restarts: usize) {
        assert_eq!(self.metric("sidepulse_database_restarts_total"), restarts as f64, "restarts");
        assert_eq!(self.metric("sidepulse_log_lines_dropped_total"), 0.0, "lines dropped");
        for gauge in ["sidepulse_ready", "sidepulse_live"] {
            assert_eq!(self.metric(gauge), 1.0, "{gauge}");
        }
    }
}

/// How often each fault occurred, and how quickly it was found.
pub(super) fn table(faults: &[Entry]) -> String {
    let mut kinds = BTreeMap::<&str, (Vec<Duration>, Vec<Duration>)>::new();
    for fault in faults {
        let (found, recovered) = kinds.entry(fault.signs.fault).or_default();
        found.push(fault.found_after);
        recovered.push(fault.recovered_after);
    }
    let mut text = "| fault | times | found after, median | longest | well after, median | longest |\n".to_owned();
    for (kind, (mut found, mut recovered)) in kinds {
        found.sort_unstable();
        recovered.sort_unstable();
        let times = [&found, &recovered].map(|times| {
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            format!("{} ms | {} ms", median.as_millis(), longest.as_millis())
        });
        text += &format!("| {kind} | {} | {} | {} |\n", found.len(), times[0], times[1]);
    }
    text
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no {field} in {line}"))
}

fn time(line: &Value) -> SystemTime {
    humantime::parse_rfc3339(text(line, "timestamp")).expect("a timestamp")
}

fn seconds(later: SystemTime, earlier: SystemTime) -> f64 {
    later.duration_since(earlier).map_or(0.0, |passed| passed.as_secs_f64())
}
