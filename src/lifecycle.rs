//! From the first signal handler to the exit code: two threads, each with a runtime of its own. This one serves HTTP
//! and receives signals; the other runs the checks.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::WaitOptions;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::config::{Config, Gate};
use crate::http::{self, Misdirected, Site, routes};
use crate::log::{Level, Log};
use crate::metrics::Metrics;
use crate::process_state::ProcessState;
use crate::pulse::TICK;
use crate::readiness;
use crate::record::Recorder;
use crate::schedule::Schedule;
use crate::state::Snapshot;

mod signals;
mod terminal;

pub(crate) use signals::Signals;
pub(crate) use signals::{SignalEvent, code_of, signal_name};
pub(crate) use terminal::hold_terminal_signals;
pub(crate) use terminal::{ReceivedSignal, at_terminal, with_none_held};

/// One look-up for the app, one for the database, and two to spare.
const BLOCKING_THREADS: usize = 4;
/// Until it is ready for the first time, it logs this often what it is waiting for …
const WAITING_INTERVAL: Duration = Duration::from_secs(10);
/// … and this often when the platform's time is over.
const LATE_WAITING_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Files that a runtime opens: epoll and its waker, and the pipe of the signal handlers.
const FILES_OF_RUNTIME: usize = 6;
/// Files that serving and checking need at once: a client, both checks, a name look-up, certificates, `/proc`, the
/// kernel's socket diagnostics.
const FILES_AT_WORK: usize = 12;
/// EMFILE, for which `ErrorKind` has no variant.
const TOO_MANY_OPEN_FILES: i32 = 24;
/// How long the last lines may take to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// A runtime of one thread.
///
/// # Errors
/// E.g. if no file descriptors are left.
pub(crate) fn runtime() -> Result<Runtime, StartError> {
    // tokio panics if it gets no descriptors for its signals: open as many as a runtime needs, so that it is an error
    // instead.
    spare_files(FILES_OF_RUNTIME)?;
    let built = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build();
    built.map_err(StartError::of)
}

/// Fails if `count` more files cannot be opened.
fn spare_files(count: usize) -> Result<(), StartError> {
    let (one, _other) = std::os::unix::net::UnixStream::pair().map_err(StartError::of)?;
    let more = (2..count).map(|_| one.try_clone()).collect::<std::io::Result<Vec<_>>>();
    more.map(drop).map_err(StartError::of)
}

/// Why the daemon could not start. Each is shown as one line.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The address, and the system's error.
    Listen(SocketAddr, std::io::Error),
    /// Not enough file descriptors.
    OpenFiles(std::io::Error),
    /// Threads, runtimes, metrics.
    Internal(String),
}

impl StartError {
    fn of(error: std::io::Error) -> Self {
        if error.raw_os_error() == Some(TOO_MANY_OPEN_FILES) {
            StartError::OpenFiles(error)
        } else {
            StartError::Internal(error.to_string())
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: the port is in use; if it is the app's, give the app another one \
                           (Railway's PORT belongs to sidepulse, SIDEPULSE_APP_PORT to the app)"
                )
            }
            StartError::Listen(address, error) if error.raw_os_error() == Some(TOO_MANY_OPEN_FILES) => {
                write!(f, "cannot listen on {address}: {error}; raise the limit of open files (ulimit -n)")
            }
            StartError::Listen(address, error) => {
                write!(
                    f,
                    "cannot listen on {address}: {error}; set SIDEPULSE_LISTEN or PORT to an address of this machine"
                )
            }
            StartError::OpenFiles(error) => {
                write!(f, "cannot start: {error}; raise the limit of open files (ulimit -n), to 64 at least")
            }
            StartError::Internal(what) => write!(f, "cannot start: {what}"),
        }
    }
}

/// The daemon without its signals: a listening socket, and the checks on their own thread.
pub(crate) struct Daemon {
    listener: TcpListener,
    site: Arc<Site>,
    gate_timeout: Duration,
    started: Instant,
    log: Log,
}

impl Daemon {
    /// Listens, then starts the checks: an early client is not refused.
    ///
    /// # Errors
    /// If it cannot listen, or no thread can be started.
    pub(crate) fn start(config: &Config, log: &Log) -> Result<Daemon, StartError> {
        let internal = |error: String| StartError::Internal(error);
        let listener = http::bind(config.listen).map_err(|error| StartError::Listen(config.listen, error))?;
        let address = listener.local_addr().map_err(|error| internal(error.to_string()))?;
        let started = Instant::now();
        let snapshot = Snapshot::new(config, started);
        let metrics = Metrics::new(config, &snapshot, routes::request_labels(config))
            .map_err(|error| internal(error.to_string()))?;
        let (sender, board) = watch::channel(Arc::new(snapshot));
        let site = Arc::new(Site {
            board,
            process: Arc::new(ProcessState::new(started)),
            metrics: Arc::new(metrics),
            gate: config.database.as_ref().map_or(Gate::Never, |database| database.gate),
            token: config.token.clone(),
            misdirected: Misdirected::of(config),
            log: log.clone(),
        });
        let checks = CheckThread {
            config: config.clone(),
            board: sender,
            process: Arc::clone(&site.process),
            metrics: Arc::clone(&site.metrics),
            gate: site.gate,
            log: log.clone(),
        };
        let (tell, begun) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("checks".into())
            .spawn(move || checks.start(address, &tell))
            .map_err(|error| internal(format!("no thread for the checks: {error}")))?;
        begun.recv().unwrap_or_else(|_| Err(internal("the check thread has ended".to_owned())))?;
        Ok(Daemon { listener, site, gate_timeout: config.railway.gate_timeout, started, log: log.clone() })
    }

    pub(crate) fn process(&self) -> Arc<ProcessState> {
        Arc::clone(&self.site.process)
    }

    /// The newest snapshot, and notice of each new one.
    pub(crate) fn board(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.site.board.clone()
    }

    /// Serves until `shutdown` completes and the requests under way have ended.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) {
        let site = Arc::clone(&self.site);
        tokio::select! {
            () = http::run(self.listener, site, shutdown) => {}
            () = tell_what_it_waits_for(&self.site, self.started, self.gate_timeout, &self.log) => {}
        }
    }
}

/// `sidepulse serve`: serves until a signal comes.
pub(crate) async fn serve(config: Config, signals: Signals, log: Log) -> ExitCode {
    let daemon = match Daemon::start(&config, &log) {
        Ok(daemon) => daemon,
        Err(error) => {
            log.line(Level::Error, "stopped", error.to_string()).send();
            return ExitCode::FAILURE;
        }
    };
    let process = daemon.process();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = daemon.serve(async {
        let _ = stopped.await;
    });
    let mut alone = Alone { signals, log: log.clone(), has_logged: false };
    let control = async {
        let name = alone.next_stop().await;
        process.draining.store(true, Ordering::Relaxed);
        let delay = humantime::format_duration(config.drain_delay);
        log.line(Level::Info, "draining", format!("{name}: readiness is red from now on; stopping in {delay}")).send();
        tokio::select! {
            () = sleep(config.drain_delay) => {}
            name = alone.next_stop() => return name,
        }
        let _ = stop.send(());
        alone.next_stop().await
    };
    tokio::select! {
        () = serving => log.line(Level::Info, "stopped", "stopped").send(),
        name = control => log.line(Level::Warn, "stopped", format!("{name} again: stopped at once")).send(),
    }
    ExitCode::SUCCESS
}

/// The signals of a daemon without a child.
struct Alone {
    signals: Signals,
    log: Log,
    has_logged: bool,
}

impl Alone {
    /// Waits for the next SIGTERM or SIGINT, and returns its name.
    async fn next_stop(&mut self) -> String {
        loop {
            match self.signals.next().await {
                SignalEvent::Stop(signal) => return signal_name(signal.number),
                SignalEvent::Other(signal) if !self.has_logged => {
                    self.has_logged = true;
                    let name = signal_name(signal.number);
                    self.log.warning(format!("{name} is ignored: there is nothing to reload; SIGTERM stops sidepulse"));
                }
                SignalEvent::Other(_) => {}
                SignalEvent::ChildEnded => take_orphans_in(),
            }
        }
    }
}

/// As PID 1 we inherit each process that loses its parent, e.g. one that an `exec` probe started; only we can reap it.
fn take_orphans_in() {
    while let Ok(Some(_)) | Err(Errno::INTR) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// Until it is ready for the first time, logs what it is waiting for and how much of the platform's time is left. Never
/// ends.
async fn tell_what_it_waits_for(site: &Site, started: Instant, window: Duration, log: &Log) {
    let mut next = started + WAITING_INTERVAL;
    loop {
        sleep_until(next).await;
        if site.process.ever_ready.load(Ordering::Relaxed) || site.process.is_draining() {
            return std::future::pending().await;
        }
        let snapshot = Arc::clone(&site.board.borrow());
        let readiness = readiness::decide(site.gate, &snapshot, false, Instant::now());
        let left = window.saturating_sub(started.elapsed());
        let level = if left.is_zero() { Level::Warn } else { Level::Info };
        log.line(level, "waiting", format!("not ready yet: {readiness}"))
            .field("waiting_for", readiness.to_string())
            .field("gate_left_s", left.as_secs())
            .send();
        next += if left.is_zero() { LATE_WAITING_INTERVAL } else { WAITING_INTERVAL };
    }
}

struct CheckThread {
    config: Config,
    board: watch::Sender<Arc<Snapshot>>,
    process: Arc<ProcessState>,
    metrics: Arc<Metrics>,
    gate: Gate,
    log: Log,
}

impl CheckThread {
    /// Acquires a runtime and file descriptors, reports whether that worked, then runs the checks.
    fn start(self, address: SocketAddr, tell: &mpsc::SyncSender<Result<(), StartError>>) {
        match runtime().and_then(|runtime| spare_files(FILES_AT_WORK).map(|()| runtime)) {
            Ok(runtime) => {
                let started = format!("sidepulse {} listens on {address}", env!("CARGO_PKG_VERSION"));
                self.log.line(Level::Info, "started", started).send();
                let _ = tell.send(Ok(()));
                self.run(runtime);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    }

    /// Runs the checks until the program ends. After a panic outside a check they start again, with a new runtime.
    fn run(&self, first: Runtime) {
        let mut next = Some(first);
        loop {
            let ran = catch_unwind(AssertUnwindSafe(|| match next.take().map_or_else(runtime, Ok) {
                Ok(runtime) => runtime.block_on(LocalSet::new().run_until(self.schedule())),
                Err(error) => self.log.warning(format!("no runtime for the checks: {error}")),
            }));
            if ran.is_err() {
                self.log.line(Level::Error, "warning", "the check thread broke and begins anew").send();
            }
            // An error that returns at once must not spin. Nothing is served from this thread.
            std::thread::park_timeout(TICK);
        }
    }

    async fn schedule(&self) {
        let config = &self.config;
        let private = config.database.as_ref().is_none_or(|database| database.plan.private);
        let recorder = RefCell::new(Recorder::new(
            self.board.clone(),
            Arc::clone(&self.process),
            Arc::clone(&self.metrics),
            self.log.clone(),
            self.gate,
            private,
        ));
        let schedule = Schedule::new(&self.process.pulse, &recorder);
        let app = schedule.check_app(config.app.clone(), config.railway.present);
        let database = async {
            match &config.database {
                Some(database) => schedule.check_database(database.clone(), Arc::clone(&config.redactor)).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(app, database, self.tick(&recorder));
    }

    /// The heartbeat, and what is cheap enough to do with it.
    async fn tick(&self, recorder: &RefCell<Recorder>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                planned = ticks.tick() => {
                    let now = Instant::now();
                    self.process.pulse.tick(now, now.saturating_duration_since(planned));
                    recorder.borrow_mut().count_down_time();
                }
                () = self.metrics.process.wanted() => self.metrics.process.take(),
            }
        }
    }
}

/// Waits a moment for the last lines to be written.
pub(crate) fn flush(log: &Log) {
    log.flush(FLUSH);
}
