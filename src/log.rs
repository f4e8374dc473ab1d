//! Events as lines on stderr: transitions, not ticks. Lines go through a bounded queue to a writer thread, so that a reader
//! that never reads blocks nothing; lines that do not fit are dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Lines that may wait for the writer: hours at the usual few lines a minute; in a storm it bounds memory to about 1 MB.
const QUEUE: usize = 1024;
/// The writer only formats and writes.
const WRITER_STACK: usize = 128 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Something is broken.
    Error,
    /// Something is odd, or will break.
    Warn,
    /// For the operator.
    Info,
    /// Every result, with host and server message (secrets masked).
    Debug,
}

impl Level {
    /// Lower case, as Railway reads it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Lines above this level are not written.
    pub(crate) level: Level,
    pub(crate) format: Format,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// A handle to the writer; clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    level: Level,
    json: bool,
}

/// A line that is being put together; [`send`](Line::send) queues it.
#[must_use]
pub(crate) struct Line<'a> {
    log: &'a Log,
    level: Level,
    event: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Log {
    /// Starts the writer on stderr. If no thread can be started, lines are dropped and counted.
    pub(crate) fn start(settings: Settings) -> Log {
        let json = match settings.format {
            Format::Text => false,
            Format::Json => true,
            Format::Auto => !io::stderr().is_terminal(),
        };
        Log::start_on(settings.level, json, io::stderr())
    }

    fn start_on(level: Level, json: bool, out: impl Write + Send + 'static) -> Log {
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("log".into()).stack_size(WRITER_STACK);
        if writer.spawn(move || write_lines(&lines, out)).is_err() {
            // Otherwise even the reason for the exit would be lost.
            let _ = io::stderr().write_all(b"sidepulse: no thread for the log (limit of processes?): no log lines\n");
        }
        Log { queue, dropped: Arc::default(), level, json }
    }

    /// Begins a line. `event` is one of the constant names in docs/reference.md.
    pub(crate) fn line(&self, level: Level, event: &'static str, message: impl Into<String>) -> Line<'_> {
        Line { log: self, level, event, message: message.into(), fields: Vec::new() }
    }

    pub(crate) fn warning(&self, message: impl Into<String>) {
        self.line(Level::Warn, "warning", message).send();
    }

    /// Whether lines of this level are written; if not, none need be put together.
    pub(crate) fn wants(&self, level: Level) -> bool {
        level <= self.level
    }

    /// How many lines have not fitted into the queue so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything queued so far is written, or the time is over.
    pub(crate) fn flush(&self, at_most: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(at_most);
        }
    }
}

impl Line<'_> {
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    pub(crate) fn send(self) {
        if !self.log.wants(self.level) {
            return;
        }
        let line = if self.log.json { self.json() } else { self.text() };
        if self.log.queue.try_send(Message::Line(line)).is_err() {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn json(&self) -> String {
        let head = [
            ("timestamp", Value::from(timestamp(SystemTime::now()))),
            ("level", Value::from(self.level.as_str())),
            ("message", Value::from(self.message.as_str())),
            ("event", Value::from(self.event)),
        ];
        let members: Vec<String> =
            head.iter().chain(&self.fields).map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
        format!("{{{}}}\n", members.join(","))
    }

    fn text(&self) -> String {
        let mut line = format!("{} {:<5} {}", timestamp(SystemTime::now()), self.level.as_str(), self.message);
        for (name, value) in &self.fields {
            // A string is shown as JSON only if it could not be told from its neighbours.
            match value.as_str() {
                Some(text) if !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => {
                    line.push_str(&format!(" {name}={text}"));
                }
                _ => line.push_str(&format!(" {name}={value}")),
            }
        }
        line.push('\n');
        line
    }
}

/// RFC 3339, UTC, milliseconds.
pub(crate) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn write_lines(lines: &Receiver<Message>, mut out: impl Write) {
    while let Ok(message) = lines.recv() {
        // Even with stderr closed it goes on, since flushes have to be answered.
        match message {
            Message::Line(line) => drop(out.write_all(line.as_bytes()).and_then(|()| out.flush())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by `write`.
    pub(crate) fn written(level: Level, json: bool, write: impl FnOnce(&Log)) -> String {
        let buffer = Buffer::default();
        let log = Log::start_on(level, json, buffer.clone());
        write(&log);
        log.flush(Duration::from_secs(10));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_with_fixed_names() {
        let text = written(Level::Info, true, |log| {
            log.line(Level::Error, "transition", "database is \"down\"\n")
                .field("check", "database")
                .field("attempts", 3)
                .send();
        });
        assert_eq!(text.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["event"], "transition");
        assert_eq!(line["message"], "database is \"down\"\n");
        assert_eq!(line["attempts"], 3);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_quotes_only_what_needs_it() {
        let text = written(Level::Info, false, |log| {
            log.line(Level::Info, "transition", "up").field("reason", "none").field("remedy", "do this").send();
        });
        assert!(text.ends_with("info  up reason=none remedy=\"do this\"\n"), "{text}");
    }

    #[test]
    fn lower_levels_are_not_written() {
        assert_eq!(written(Level::Info, true, |log| log.line(Level::Debug, "transition", "x").send()), "");
    }

    #[test]
    fn a_reader_that_never_reads_blocks_nothing_and_lines_are_counted() {
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let log = Log::start_on(Level::Info, true, Stuck(stuck));
        for _ in 0..QUEUE * 2 {
            log.warning("x");
        }
        assert!(log.dropped() >= QUEUE as u64 - 1, "{}", log.dropped());
        drop(release);
    }
}
