//! Clients: requests over keep-alive connections, each answer checked and counted.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::Run;
use super::ledger::{Check, Moment};
use crate::support::http::Answer;

/// An answer from memory takes less than a millisecond; this is for a machine that stalls.
const LIMIT: Duration = Duration::from_secs(10);
/// What the clients ask for, in turn.
const PATHS: [&str; 9] = [
    "/health",
    "/readyz",
    "/livez",
    "/health/deep",
    "/readyz?verbose",
    "/health/shallow",
    "/startupz",
    "/healthz",
    "/",
];

/// Every request of a run.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Clone, Debug, Default)]
struct Counts {
    by_path_and_code: BTreeMap<(String, u16), u64>,
    /// By the power of two of its microseconds.
    latencies: [u64; 32],
    longest: Duration,
}

impl Tally {
    fn count(&self, path: &str, code: u16, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let path = path.split('?').next().unwrap_or(path).to_owned();
        *counts.by_path_and_code.entry((path, code)).or_default() += 1;
        counts.latencies[(took.as_micros().max(1).ilog2() as usize).min(31)] += 1;
        counts.longest = counts.longest.max(took);
    }

    fn read(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests so far, by path and status.
    pub(super) fn by_path_and_code(&self) -> BTreeMap<(String, u16), u64> {
        self.read().by_path_and_code
    }

    /// The number of all requests.
    pub(super) fn total(&self) -> u64 {
        self.read().by_path_and_code.values().sum()
    }

    /// The number of requests of `/metrics`.
    pub(super) fn scrapes(&self) -> u64 {
        self.read().by_path_and_code.get(&("/metrics".to_owned(), 200)).copied().unwrap_or(0)
    }

    /// The longest latency, and one that all but a thousandth stay below.
    pub(super) fn latency(&self) -> (Duration, Duration) {
        let counts = self.read();
        let (all, mut so_far) = (counts.latencies.iter().sum::<u64>(), 0);
        let power = counts.latencies.iter().position(|bucket| {
            so_far += bucket;
            so_far * 1000 >= all * 999
        });
        (counts.longest, Duration::from_micros(2 << power.unwrap_or(0)))
    }
}

/// A keep-alive connection.
pub(super) struct Line<'a> {
    stream: BufReader<TcpStream>,
    tally: &'a Tally,
}

impl<'a> Line<'a> {
    pub(super) fn open(address: SocketAddr, tally: &'a Tally) -> Line<'a> {
        let stream = TcpStream::connect(address).expect("connect to sidepulse");
        stream.set_read_timeout(Some(LIMIT)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        Line { stream: BufReader::new(stream), tally }
    }

    /// GETs a path; panics unless an answer arrives in time.
    pub(super) fn get(&mut self, path: &str) -> Answer {
        let started = Instant::now();
        let answer = self.try_get(path).unwrap_or_else(|error| panic!("{path}: {error} after {:?}", started.elapsed()));
        self.tally.count(path, answer.status, started.elapsed());
        answer
    }

    fn try_get(&mut self, path: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n").as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        self.stream.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(answer)
    }
}

/// Waits for a moment.
pub(super) fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// One of several clients: requests one path after another at its pace, late ones at once, until the run is over and
/// its share is done.
pub(super) fn ask_for_health(run: &Run<'_>, share: u64) {
    let mut line = Line::open(run.address, &run.tally);
    let pause = run.length.div_f64(share.max(1) as f64);
    for (sent, path) in (0..).zip(PATHS.iter().cycle()) {
        if !run.goes_on() && sent >= share || run.has_failed() {
            return;
        }
        wait_until(run.started + pause.mul_f64(sent as f64));
        let before = run.ledger.moment();
        let answer = line.get(path);
        if let Err(fault) = judge(run, path, &answer, before) {
            panic!("GET {path}: {fault}: {answer:?}");
        }
    }
}

/// Scrapes at its pace, each time over a new connection, as a Prometheus with a long interval would.
pub(super) fn scrape(run: &Run<'_>, share: u64) {
    let pause = run.length.div_f64(share.max(1) as f64);
    let mut sent = 0;
    while (run.goes_on() || sent < share) && !run.has_failed() {
        wait_until(run.started + pause.mul_f64(sent as f64));
        let answer = Line::open(run.address, &run.tally).get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let ends = answer.body.ends_with('\n');
        let broken = answer.body.lines().find(|line| !line.starts_with('#') && value_of(line).is_none());
        assert!(ends && broken.is_none(), "{broken:?} in {}", answer.body);
        sent += 1;
    }
}

/// The value in a line of the metrics.
pub(super) fn value_of(line: &str) -> Option<(&str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    Some((series, value.parse().ok()?))
}

/// Whether an answer is consistent with its path, its status, and the faults since `before`.
fn judge(run: &Run<'_>, path: &str, answer: &Answer, before: Moment) -> Result<(), &'static str> {
    let (green, body) = (answer.status == 200, answer.body.as_str());
    let plain = body.strip_suffix('\n').ok_or("no line's end")?;
    // The parts that fail, as `name: reason; name: reason`.
    let failing = match path {
        "/livez" | "/startupz" => return (green && body == "ok\n").then_some(()).ok_or("it never depends on a fault"),
        "/" => return (green && body.contains("</html>")).then_some(()).ok_or("no page"),
        "/readyz" if green => return (body == "ok\n").then_some(()).ok_or("green, but not ok"),
        "/readyz" => plain.strip_prefix("fail: ").ok_or("red without a reason")?.to_owned(),
        "/readyz?verbose" => {
            let said = if green { "readyz check passed" } else { "readyz check failed" };
            let lines = plain.strip_suffix(said).ok_or("it does not end as it should")?;
            let failed = lines.lines().filter_map(|line| line.strip_prefix("[-]")?.split_once(" failed: "));
            failed.map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ")
        }
        _ => {
            let health = answer.json();
            let status = health["status"].as_str().ok_or("no status")?;
            let checks = health["checks"].as_object().ok_or("no checks")?;
            let fails = checks.values().any(|check| check[0]["status"] == "fail");
            if fails != (status == "fail") || !["pass", "warn", "fail"].contains(&status) {
                return Err("its status is not that of its checks");
            }
            let output = health["output"].as_str().unwrap_or_default();
            if (status == "pass") != output.is_empty() || green != (status != "fail") {
                return Err("status, output and code differ");
            }
            output.to_owned()
        }
    };
    if !matches!(answer.status, 200 | 503) || green && path.starts_with("/readyz") && !failing.is_empty() {
        return Err("not its status");
    }
    for part in failing.split("; ").filter(|part| !part.is_empty()) {
        let (name, _) = part.split_once(": ").ok_or("a part without a reason")?;
        let check = Check::ALL.into_iter().find(|check| check.name() == name).ok_or("no such check")?;
        if !run.ledger.lasted_since(before, check) {
            return Err("an invented fault");
        }
    }
    (green || !failing.is_empty()).then_some(()).ok_or("red, and nothing fails")
}
