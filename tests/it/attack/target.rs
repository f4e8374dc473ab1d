//! The sidecar under attack, a kubelet that keeps probing it, and what the attack costs.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::support::eventually::{SOON, eventually, poll};
use crate::support::http;
use crate::support::process::{open_files, status};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::web_app::WebApp;

/// The sidecar serves this many clients at once.
pub(super) const MOST_CLIENTS: usize = 512;
/// How much memory an attack may cost, in KB: 512 connections of 10 KB each, and their buffers.
const MOST_MEMORY: u64 = 16 * 1024;
/// Descriptors that checks, look-ups and departing clients may hold in addition to the clients.
const PASSING_FILES: usize = 16;
/// Of one core, while no client sends anything.
const MOST_IDLE_CPU: f64 = 0.3;
/// `USER_HZ`: 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Between two probes.
const PACE: Duration = Duration::from_millis(10);

/// A sidecar that is ready, beside an app that passes.
pub(super) struct Target {
    pub(super) sidecar: Sidecar,
    app: WebApp,
    files: usize,
    memory: u64,
    lines: usize,
    kubelet: Kubelet,
}

impl Target {
    /// A daemon without a database, probed for liveness and readiness.
    pub(super) fn start() -> Target {
        Target::of(Sidecar::without_database(), &["/livez", "/readyz"])
    }

    /// This daemon, probed on these paths.
    pub(super) fn of(builder: Builder, probes: &'static [&'static str]) -> Target {
        let app = WebApp::start();
        let sidecar = builder.app(app.port()).start();
        sidecar.wait_for_status("/health", 200);
        let checks = sidecar.get("/health").json()["checks"].as_object().unwrap().len();
        // One line for each, and one that it is ready.
        assert!(eventually(SOON, || sidecar.events("transition").len() == checks + 1), "{}", sidecar.log_text());
        // Without a check under way or a client that is disconnecting.
        let begun = app.requests();
        let mut files = usize::MAX;
        assert!(eventually(SOON, || {
            files = files.min(open_files(sidecar.pid()));
            app.requests() >= begun + 2
        }));
        // From now on the peak belongs to the attack.
        fs::write(format!("/proc/{}/clear_refs", sidecar.pid()), "5").expect("forget the peak of its memory");
        let memory = status(sidecar.pid(), "VmRSS");
        let lines = sidecar.log_text().lines().count();
        let kubelet = Kubelet::start(sidecar.address(), sidecar.pid(), probes);
        Target { sidecar, app, files, memory, lines, kubelet }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.sidecar.address()
    }

    /// Returns when the kubelet has got this many more answers.
    pub(super) fn wait_for_probes(&self, more: usize) {
        let until = self.kubelet.seen().asked + more;
        let came = eventually(2 * SOON, || self.kubelet.seen().asked >= until);
        assert!(came, "the kubelet waits: {:?}\n{}", self.kubelet.seen(), self.sidecar.log_text());
    }

    /// No client sends anything: the sidecar has only its checks to do.
    pub(super) fn is_at_ease(&self) {
        let share = self.cpu_share();
        assert!(share < MOST_IDLE_CPU, "it uses {share} of a core");
    }

    /// Waits until it has done all it can for clients that have stopped sending.
    pub(super) fn comes_to_ease(&self) {
        assert!(eventually(SOON, || self.cpu_share() < MOST_IDLE_CPU), "it works on and on");
    }

    /// CPU use over a second, of one core, without the probes.
    fn cpu_share(&self) -> f64 {
        let _no_probes = self.kubelet.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, before) = (Instant::now(), cpu_ticks(self.sidecar.pid()));
        // There is one every 200 ms.
        let checks = self.app.requests();
        assert!(eventually(SOON, || self.app.requests() >= checks + 5), "it checks no more");
        let ticks = cpu_ticks(self.sidecar.pid()) - before;
        let share = f64::from(ticks) / TICKS_PER_SECOND / begun.elapsed().as_secs_f64();
        eprintln!("{}: idle CPU {share:.2}", std::thread::current().name().unwrap_or_default());
        share
    }

    /// Waits until it holds only its own connections.
    pub(super) fn lets_all_go(&self) {
        let _no_probes = self.kubelet.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = self.sidecar.pid();
        assert!(eventually(SOON, || open_files(pid) <= self.files), "{} files, {} before", open_files(pid), self.files);
    }

    /// The attackers have left: no client was kept out, the costs were bounded, all is as before, and the log has no
    /// more lines about it than these.
    pub(super) fn recovers(self, lines: usize) {
        self.wait_for_probes(2);
        self.lets_all_go();
        let Target { sidecar, app: _app, files, memory, lines: lines_before, kubelet } = self;
        let seen = kubelet.stop();
        assert_eq!(seen.failures, Vec::<String>::new(), "{}", sidecar.log_text());
        let peak = status(sidecar.pid(), "VmHWM").saturating_sub(memory);
        let text = sidecar.log_text();
        let said: Vec<_> = text.lines().skip(lines_before).collect();
        eprintln!(
            "{}: memory +{peak} KB on {memory} KB; files +{} on {files}; worst answer {:?} of {}; log lines {}",
            std::thread::current().name().unwrap_or_default(),
            seen.most_files.saturating_sub(files),
            seen.worst,
            seen.asked,
            said.len()
        );
        assert!(peak <= MOST_MEMORY, "{peak} KB more");
        assert!(seen.most_files <= files + MOST_CLIENTS + PASSING_FILES, "{} files", seen.most_files);
        assert!(said.len() <= lines, "{said:#?}");
        for path in ["/livez", "/readyz", "/health", "/metrics", "/"] {
            assert_eq!(sidecar.get(path).status, 200, "{path}");
        }
    }
}

/// Probes over a fresh connection every few milliseconds, as a kubelet does every few seconds.
struct Kubelet {
    seen: Arc<Mutex<Seen>>,
    /// Held during a probe: holding it stops the probes.
    turn: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the kubelet saw.
#[derive(Clone, Debug, Default)]
struct Seen {
    asked: usize,
    worst: Duration,
    most_files: usize,
    failures: Vec<String>,
}

impl Kubelet {
    fn start(address: SocketAddr, pid: u32, paths: &'static [&'static str]) -> Kubelet {
        let mut kubelet = Kubelet { seen: Arc::default(), turn: Arc::default(), stop: Arc::default(), thread: None };
        let (seen, turn, stop) = (Arc::clone(&kubelet.seen), Arc::clone(&kubelet.turn), Arc::clone(&kubelet.stop));
        let thread = std::thread::spawn(move || {
            for path in paths.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                {
                    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                    probe(address, path, &seen);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.most_files = seen.most_files.max(open_files(pid));
                }
                std::thread::park_timeout(PACE);
            }
        });
        kubelet.thread = Some(thread);
        kubelet
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(mut self) -> Seen {
        self.end();
        self.seen().clone()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.end();
    }
}

fn probe(address: SocketAddr, path: &str, seen: &Mutex<Seen>) {
    let began = Instant::now();
    let answer = http::ask(address, &format!("GET {path} HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"));
    let took = began.elapsed();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.asked += 1;
    seen.worst = seen.worst.max(took);
    match answer {
        Ok(answer) if answer.status == 200 && answer.body == "ok\n" => {}
        failure => seen.failures.push(format!("{path} after {took:?}: {failure:?}")),
    }
}

/// The most bytes that the kernel buffers for one connection of this port, in both directions.
pub(super) fn longest_queue(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").expect("the connections of this machine");
    let queues = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?.rsplit_once(':')?.1;
        let (sent, received) = fields.nth(2)?.split_once(':')?;
        let bytes = |hex| u64::from_str_radix(hex, 16).unwrap_or_default();
        (u16::from_str_radix(local, 16) == Ok(port)).then(|| bytes(sent) + bytes(received))
    });
    queues.max().unwrap_or_default()
}

/// The state of a process, such as `T` for stopped.
pub(super) fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
    stat.rsplit(") ").next().and_then(|fields| fields.chars().next()).expect("a state")
}

/// CPU time of a process so far.
fn cpu_ticks(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its CPU time");
    // The name may contain anything; utime and stime are the 12th and 13th field after it.
    let fields = stat.rsplit(") ").next().expect("the fields").split(' ').skip(11).take(2);
    fields.map(|field| field.parse::<u32>().expect("ticks")).sum()
}

/// How many connections this process can open alongside the other tests, up to `wanted`.
pub(super) fn affordable(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("raise a limit");
    limit.maximum.map_or(wanted, |most| wanted.min(usize::try_from(most).unwrap_or(wanted) / 2))
}

/// Waits until a condition holds for the attacked sidecar, and shows its log if it does not.
pub(super) fn soon(target: &Target, what: &str, mut happened: impl FnMut() -> bool) {
    let came = poll(SOON, || happened().then_some(()));
    assert!(came.is_some(), "{what}\n{}", target.sidecar.log_text());
}
