//! `sidepulse run`: beside uvicorn in one container. Railway restarts a container only when its process ends, so
//! sidepulse exits when its child does, with the same exit code.

use std::ffi::OsString;
use std::future::pending;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use humantime::format_duration;
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::{AppSettings, ChildSettings, Config, Lookup, OnUnresponsive};
use crate::lifecycle::{self, Daemon, ReceivedSignal, SignalEvent, Signals, code_of, signal_name};
use crate::log::{Level, Log};
use crate::probe::app::AppProbe;
use crate::process_state::ProcessState;
use crate::state::Snapshot;

mod child;
mod command;
mod course;
mod processes;
mod request_limit;
mod server_options;
mod silence;

use child::Child;
use course::{Action, Course, Rest, Times};
use silence::{LAST_REQUEST_TIME, LastRequest, Silence};

/// The exit code of a command that cannot be right.
const BAD_USAGE: u8 = 2;
/// A shell that is still running this long after the signal is waiting for its command, which did not get the signal.
const SHELL_WAITS: Duration = Duration::from_millis(250);

/// Serves, with CMD as the child. Ends when the child does. `environment` is what CMD inherits.
pub(crate) async fn run(
    config: Config,
    command: Vec<OsString>,
    environment: Lookup<'_>,
    mut signals: Signals,
    log: Log,
) -> ExitCode {
    let refuse = |code: u8, why: String| {
        log.line(Level::Error, "stopped", why).send();
        ExitCode::from(code)
    };
    let variable = |name: &str| environment(name)?.text;
    if let Err(why) = command::check_ports(&command, &config, &variable) {
        return refuse(BAD_USAGE, why);
    }
    warn_of_short_draining(&config, &log);
    if let Some(warning) = request_limit::warning(&command, config.app.interval, &variable) {
        log.warning(warning);
    }
    let daemon = match Daemon::start(&config, &log) {
        Ok(daemon) => daemon,
        Err(error) => return refuse(1, error.to_string()),
    };
    if let Some(signal) = signals.received_stop().await {
        log.line(Level::Info, "stopped", format!("{} came before CMD was started", signal_name(signal))).send();
        return ExitCode::from(code_of(signal));
    }
    child::adopt_orphans();
    let leads = !lifecycle::at_terminal();
    let name = command::name(&command);
    let child = match command::start(&command, &config, leads) {
        Ok(process) => Child::new(process, leads),
        Err((code, why)) => return refuse(code, why),
    };
    let started = format!("started {name} as process {}, with PORT={}", child.pid(), config.child.app_port);
    log.line(Level::Info, "child_started", started).send();
    let times = Times { drain_delay: config.drain_delay, stop_timeout: config.child.stop_timeout };
    let supervisor = Supervisor {
        child,
        name,
        course: Course::new(times, config.child.on_clean_exit),
        silence: Silence::new(config.child.unresponsive_after),
        last_request: None,
        shell_waits: None,
        board: daemon.board(),
        process: daemon.process(),
        app: config.app,
        settings: config.child,
        times,
        signals,
        log: log.clone(),
    };
    // Served until the child is gone, and no longer.
    let code = tokio::select! {
        code = supervisor.supervise() => code,
        () = daemon.serve(pending()) => 1,
    };
    log.line(Level::Info, "stopped", format!("stopped with exit code {code}")).send();
    ExitCode::from(code)
}

fn warn_of_short_draining(config: &Config, log: &Log) {
    let needed = config.drain_delay + config.child.stop_timeout;
    let granted = config.railway.draining;
    if config.railway.present && granted < needed {
        log.warning(format!(
            "Railway kills the container {} after SIGTERM, but drain delay and stop timeout are {} together; set \
             RAILWAY_DEPLOYMENT_DRAINING_SECONDS={}",
            format_duration(granted),
            format_duration(needed),
            needed.as_secs() + u64::from(needed.subsec_nanos() > 0)
        ));
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Signal(SignalEvent),
    /// The deadline of the current state has passed.
    Due,
    /// The board has changed.
    Checked,
    /// The shell that got the signal has not ended.
    ShellWaits,
    /// The app was silent for too long.
    Silent,
    LastRequest(LastRequest),
}

struct Supervisor {
    child: Child,
    name: String,
    course: Course,
    silence: Silence,
    last_request: Option<oneshot::Receiver<LastRequest>>,
    shell_waits: Option<Instant>,
    board: watch::Receiver<Arc<Snapshot>>,
    process: Arc<ProcessState>,
    app: AppSettings,
    settings: ChildSettings,
    times: Times,
    signals: Signals,
    log: Log,
}

impl Supervisor {
    /// Runs until the child is gone; returns the exit code.
    async fn supervise(mut self) -> u8 {
        // It may have ended before the first wait.
        let mut event = Event::Signal(SignalEvent::ChildEnded);
        loop {
            match self.take(event) {
                Ok(action) => self.perform(action),
                Err(code) => return code,
            }
            let rest = if self.course.has_ended() { self.child.rest() } else { Rest::Nobody };
            self.course.left(rest, Instant::now());
            if let Some(code) = self.course.exit_code(rest) {
                if !self.course.has_ended() {
                    self.tell_the_end();
                }
                return code;
            }
            event = self.next().await;
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Wait => {}
            Action::Send(signal) => {
                if matches!(signal, Signal::TERM | Signal::INT) {
                    self.child.note_asked(signal);
                    self.shell_waits = self.child.is_shell().then(|| Instant::now() + SHELL_WAITS);
                }
                self.tell_failure(signal, self.child.send(signal));
            }
            Action::AskRest => self.child.ask_rest(),
            Action::Kill => self.tell_failure(Signal::KILL, self.child.kill()),
        }
    }

    async fn next(&mut self) -> Event {
        let running = self.course.is_running();
        let silent_at = self.silence.due().filter(|_| running && self.last_request.is_none());
        tokio::select! {
            biased;
            event = self.signals.next() => Event::Signal(event),
            () = until(self.course.due()) => Event::Due,
            () = until(self.shell_waits) => Event::ShellWaits,
            Ok(()) = self.board.changed(), if running => Event::Checked,
            found = answer(&mut self.last_request), if running => Event::LastRequest(found),
            () = until(silent_at) => Event::Silent,
        }
    }

    /// Handles an event. Returns what to do, or as `Err` the exit code.
    fn take(&mut self, event: Event) -> Result<Action, u8> {
        let now = Instant::now();
        match event {
            Event::Signal(SignalEvent::Stop(signal)) => Ok(self.stop(signal, now)),
            Event::Signal(SignalEvent::Other(signal)) => Ok(self.pass_on(signal, now)),
            Event::Signal(SignalEvent::ChildEnded) => self.reap(now),
            Event::Due => Ok(self.course.pass(now)),
            Event::ShellWaits => {
                self.shell_waits = None;
                if !self.course.has_ended() {
                    self.child.ask_behind_shell();
                }
                Ok(Action::Wait)
            }
            Event::Checked => {
                self.look_at_app();
                Ok(Action::Wait)
            }
            Event::Silent => {
                self.last_request = Some(ask_once_more(&self.app));
                Ok(Action::Wait)
            }
            Event::LastRequest(found) => {
                self.last_request = None;
                Ok(self.judge(found, now))
            }
        }
    }

    fn pass_on(&mut self, received: ReceivedSignal, now: Instant) -> Action {
        let Some(signal) = Signal::from_named_raw(received.number) else { return Action::Wait };
        self.course.passed_on(signal, self.child.is_shell(), now);
        if received.from_terminal { Action::Wait } else { Action::Send(signal) }
    }

    fn stop(&mut self, received: ReceivedSignal, now: Instant) -> Action {
        let signal = Signal::from_named_raw(received.number).unwrap_or(Signal::TERM);
        let already_sent = received.from_terminal;
        if already_sent {
            self.child.note_asked(signal);
        }
        let was_running = self.course.is_running();
        let action = self.course.stop(signal, already_sent, now);
        // Before anything is logged: no new traffic should arrive from here on.
        self.process.draining.store(true, Ordering::Relaxed);
        let (stop, name) = (signal_name(received.number), &self.name);
        let said = match action {
            Action::Kill => format!("{stop} again: {name} is killed"),
            _ if !was_running => format!("{stop}: {name} is being stopped already"),
            Action::Wait if already_sent => format!("{stop}: readiness is red from now on; the terminal told {name}"),
            _ => {
                let delay = format_duration(self.times.drain_delay);
                format!("{stop}: readiness is red from now on; it goes on to {name} in {delay}")
            }
        };
        self.log.line(Level::Info, "draining", said).send();
        action
    }

    fn tell_failure(&self, signal: Signal, sent: Result<(), Errno>) {
        if let Err(error) = sent {
            let what = format!("cannot send {} to {}: {error}", signal_name(signal.as_raw()), self.name);
            self.log.warning(what);
        }
    }

    fn reap(&mut self, now: Instant) -> Result<Action, u8> {
        match self.child.reap() {
            Ok(None) => Ok(self.course.orphaned()),
            Ok(Some(how)) => {
                self.process.draining.store(true, Ordering::Relaxed);
                let action = self.course.end(how, now);
                self.tell_the_end();
                Ok(action)
            }
            Err(error) => {
                let what = format!("how {} ended cannot be learned: {error}", self.name);
                self.log.line(Level::Error, "child_exited", what).send();
                Err(1)
            }
        }
    }

    fn tell_the_end(&self) {
        let (level, how) = self.course.describe_end(&self.name);
        self.log.line(level, "child_exited", how).send();
    }

    fn look_at_app(&mut self) {
        let snapshot = self.board.borrow_and_update();
        let app = &snapshot.app;
        if let Some(outcome) = &app.newest {
            self.silence.take(app.ever_up, outcome);
        }
        if self.silence.due().is_none() {
            // It answered while the last request was under way.
            self.last_request = None;
        }
    }

    fn judge(&mut self, found: LastRequest, now: Instant) -> Action {
        if found == LastRequest::NotMade {
            self.log.warning("the app is silent, but a last request could not be made: counting begins anew");
        }
        let Some((silent, reason)) = self.silence.judge(found, now) else { return Action::Wait };
        let silent = format_duration(Duration::from_secs(silent.as_secs()));
        let what = format!("{} has given no HTTP answer for {silent}, nor to a last request", self.name);
        let (action, consequence) = match self.settings.on_unresponsive {
            OnUnresponsive::Exit => {
                self.process.draining.store(true, Ordering::Relaxed);
                (self.course.unresponsive(now), "it is stopped, and sidepulse leaves with 70")
            }
            OnUnresponsive::Report => (Action::Wait, "SIDEPULSE_ON_UNRESPONSIVE=exit would end it"),
        };
        let line = self.log.line(Level::Error, "warning", format!("{what}: {consequence}")).field("check", "app");
        line.field("reason", reason.as_str()).send();
        action
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

async fn answer(last_request: &mut Option<oneshot::Receiver<LastRequest>>) -> LastRequest {
    match last_request {
        // If the sender is gone, there was no thread or runtime for it.
        Some(found) => found.await.unwrap_or(LastRequest::NotMade),
        None => pending().await,
    }
}

/// One app check with more time than usual, on a thread of its own: it may need TLS or a name look-up, and this thread
/// serves.
fn ask_once_more(app: &AppSettings) -> oneshot::Receiver<LastRequest> {
    let (tell, found) = oneshot::channel();
    let settings = AppSettings { timeout: LAST_REQUEST_TIME, ..app.clone() };
    let ask = move || {
        if let Ok(runtime) = lifecycle::runtime() {
            let outcome = runtime.block_on(AppProbe::new(settings, false).check());
            let _ = tell.send(outcome.reason().map_or(LastRequest::Answered, LastRequest::Failed));
        }
    };
    let _ = std::thread::Builder::new().name("last-request".into()).spawn(ask);
    found
}
