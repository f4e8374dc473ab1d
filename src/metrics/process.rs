//! `process_*`, read from `/proc` on the check thread: the thread that serves HTTP reads no files.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A check thread that hangs must not hold up a scrape: then the process metrics are those of the scrape before.
const SAMPLE_WAIT: Duration = Duration::from_millis(100);

/// The newest sample; clones share it.
#[derive(Clone)]
pub(crate) struct ProcessSample(Arc<Sample>);

struct Sample {
    families: Mutex<Vec<MetricFamily>>,
    wanted: Notify,
    taken: Notify,
    #[cfg(target_os = "linux")]
    collector: prometheus::process_collector::ProcessCollector,
}

impl ProcessSample {
    /// Takes the first sample, so that no scrape is without one.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<ProcessSample> {
        let sample = ProcessSample(Arc::new(Sample {
            families: Mutex::default(),
            wanted: Notify::new(),
            taken: Notify::new(),
            #[cfg(target_os = "linux")]
            collector: prometheus::process_collector::ProcessCollector::for_self(),
        }));
        sample.take();
        registry.register(Box::new(sample.clone()))?;
        Ok(sample)
    }

    /// Waits until a scrape wants a new sample. For the check thread.
    pub(crate) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// Takes a sample. For the check thread.
    pub(crate) fn take(&self) {
        #[cfg(target_os = "linux")]
        {
            *self.0.families.lock().unwrap_or_else(PoisonError::into_inner) = self.0.collector.collect();
        }
        self.0.taken.notify_waiters();
    }

    /// Asks the check thread for a new sample, and waits a moment for it. For the HTTP thread.
    pub(super) async fn renew(&self) {
        let taken = self.0.taken.notified();
        self.0.wanted.notify_one();
        let _ = timeout(SAMPLE_WAIT, taken).await;
    }
}

impl Collector for ProcessSample {
    fn desc(&self) -> Vec<&Desc> {
        #[cfg(target_os = "linux")]
        return self.0.collector.desc();
        #[cfg(not(target_os = "linux"))]
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.families.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
