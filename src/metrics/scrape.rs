//! Reads `/metrics` as a scraper would, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::{FRESH, Gauges, Metrics};
use crate::state::Snapshot;

/// What a scraper reads: the type of each family, and the value of each sample by its name and sorted labels.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the text format 0.0.4, and is strict: `HELP` and `TYPE` come first, no sample comes twice.
    pub(crate) fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        let mut family = "";
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(help.len() > family.len() + 1, "a help for {family}");
            } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').unwrap();
                assert_eq!(name, family, "the type follows the help");
                assert_eq!(scrape.types.insert(name.into(), kind.into()), None, "{name} comes twice");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} stands in {family}"));
                let suffixes: &[&str] =
                    if scrape.types[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                let mut labels: Vec<String> = labels
                    .strip_suffix('}')
                    .unwrap()
                    .split_terminator("\",")
                    .map(|l| l.trim_end_matches('"').into())
                    .collect();
                labels.sort_unstable();
                let sample = format!("{name} {}", labels.join(" ").replace("=\"", "="));
                let known = scrape.samples.insert(sample.trim_end().to_owned(), value.parse().unwrap());
                assert_eq!(known, None, "{sample} comes twice");
            }
        }
        scrape
    }

    pub(crate) fn get(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("{sample} is missing"))
    }

    /// The series without what a histogram adds to them.
    pub(crate) fn series(&self) -> BTreeSet<String> {
        let kept = self.samples.keys().filter(|s| !s.contains("_bucket ") && !s.contains("_sum")).cloned();
        kept.filter(|s| !s.starts_with("process_")).collect()
    }
}

pub(crate) const GAUGES: Gauges = Gauges { ready: false, live: true, draining: false, dropped: 0, lag: Duration::ZERO };

/// A fresh encoding.
pub(crate) async fn scrape(metrics: &Metrics, snapshot: &Snapshot) -> Scrape {
    sleep(FRESH).await;
    Scrape::parse(std::str::from_utf8(&metrics.text(snapshot, || GAUGES).await).unwrap())
}
