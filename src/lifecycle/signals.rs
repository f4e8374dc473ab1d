//! Signals, heard from the very beginning: as PID 1 an unhandled SIGTERM is ignored by the kernel.

use std::future::poll_fn;
use std::process;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::Signal as Known;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// `timeout` and other launchers signal the process and then its group: the same signal twice within this time is one.
const ECHO: Duration = Duration::from_millis(250);

/// What a shell adds to a signal's number.
const SIGNALLED: u8 = 128;

/// What `serve` ignores: by default they would end it, and a log rotation's stray SIGHUP must not end a probe.
const IGNORED: [SignalKind; 3] = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];

/// What `run` passes on to its child.
const PASSED_ON: [SignalKind; 5] = [
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::window_change(),
];

/// The handlers. Once registered they stay: a second signal is for the listener as well.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// In `run` for the child, in `serve` for nobody.
    others: Vec<(Signal, i32)>,
    /// That a child has ended: in `run` ours, as PID 1 any.
    child: Option<Signal>,
    /// The newest SIGTERM or SIGINT, and when it came.
    newest: Option<(i32, Instant)>,
}

/// A signal that came, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// SIGTERM or SIGINT.
    Stop(i32),
    /// One that is no stop: in `run` it is for the child.
    Other(i32),
    /// SIGCHLD: some child has ended.
    Child,
}

impl Signals {
    /// Registers the handlers of `serve`. Needs a runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen() -> std::io::Result<Signals> {
        let is_pid_1 = process::id() == 1;
        Signals::register(&IGNORED, is_pid_1)
    }

    /// Registers the handlers of `run`. Needs a runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen_with_child() -> std::io::Result<Signals> {
        Signals::register(&PASSED_ON, true)
    }

    fn register(others: &[SignalKind], children: bool) -> std::io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // A handler, even where SIGCHLD was ignored by whoever started us: else the kernel would swallow the status.
        let child = if children { Some(signal(SignalKind::child())?) } else { None };
        let mut signals = Signals { terminate, interrupt, others: Vec::new(), child, newest: None };
        let ignored = ignored_signals();
        for kind in others {
            let number = kind.as_raw_value();
            // `nohup sidepulse run`: ignored here and, since it inherits that, by the child.
            if ignored & (1 << (number - 1)) == 0 {
                signals.others.push((signal(*kind)?, number));
            }
        }
        Ok(signals)
    }

    /// Waits for the next of all of them. Dropping the future loses none.
    pub async fn heard(&mut self) -> Heard {
        poll_fn(|context| self.poll_heard(context)).await
    }

    /// The SIGTERM or SIGINT that came already, if one did.
    pub async fn came_already(&mut self) -> Option<i32> {
        // Gives way once, so that the runtime looks at the pipe of the signal handlers.
        tokio::task::yield_now().await;
        poll_fn(|context| match self.poll_stop(context) {
            Poll::Ready(number) => Poll::Ready(Some(number)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// The next one that is not the echo of the one before.
    fn poll_stop(&mut self, context: &mut Context<'_>) -> Poll<i32> {
        loop {
            let number = if self.terminate.poll_recv(context).is_ready() {
                SignalKind::terminate().as_raw_value()
            } else if self.interrupt.poll_recv(context).is_ready() {
                SignalKind::interrupt().as_raw_value()
            } else {
                return Poll::Pending;
            };
            let now = Instant::now();
            if self.newest.is_none_or(|(known, at)| known != number || now - at > ECHO) {
                self.newest = Some((number, now));
                return Poll::Ready(number);
            }
        }
    }

    /// The order matters: where Ctrl-C ends the child at the same moment, its end was asked for.
    fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(number) = self.poll_stop(context) {
            return Poll::Ready(Heard::Stop(number));
        }
        let mut came = |signal: &mut Signal| signal.poll_recv(context).is_ready();
        if let Some(number) = self.others.iter_mut().find_map(|(signal, number)| came(signal).then_some(*number)) {
            return Poll::Ready(Heard::Other(number));
        }
        if self.child.as_mut().is_some_and(came) { Poll::Ready(Heard::Child) } else { Poll::Pending }
    }
}

/// The signals that whoever started us has set to be ignored, as a bit mask (`SigIgn` in proc(5)).
fn ignored_signals() -> u64 {
    #[cfg(target_os = "linux")]
    return procfs::process::Process::myself().and_then(|own| own.status()).map_or(0, |status| status.sigign);
    #[cfg(not(target_os = "linux"))]
    0
}

/// The code that a shell gives to what a signal ended.
pub(crate) fn code_of(signal: i32) -> u8 {
    SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// A signal's name.
pub(crate) fn signal_name(number: i32) -> String {
    const NAMES: [(Known, &str); 14] = [
        (Known::HUP, "SIGHUP"),
        (Known::INT, "SIGINT"),
        (Known::QUIT, "SIGQUIT"),
        (Known::ILL, "SIGILL"),
        (Known::TRAP, "SIGTRAP"),
        (Known::ABORT, "SIGABRT"),
        (Known::BUS, "SIGBUS"),
        (Known::FPE, "SIGFPE"),
        (Known::KILL, "SIGKILL"),
        (Known::USR1, "SIGUSR1"),
        (Known::SEGV, "SIGSEGV"),
        (Known::USR2, "SIGUSR2"),
        (Known::PIPE, "SIGPIPE"),
        (Known::TERM, "SIGTERM"),
    ];
    let known = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}
