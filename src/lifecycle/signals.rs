//! Signals, handled from the very start: for PID 1 the kernel ignores a SIGTERM without a handler.

use std::future::poll_fn;
use std::process;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::Signal as Known;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::terminal::{ReceivedSignal, TerminalSignals};

/// `timeout` and other launchers signal the process and then its group: twice within this time counts as once.
const ECHO: Duration = Duration::from_millis(250);

/// What a shell adds to a signal's number to report it as an exit code.
const SIGNALLED: u8 = 128;

/// What `serve` ignores: by default these would end it, and a stray SIGHUP from a log rotation must not do so.
const IGNORED: [SignalKind; 3] = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];

/// What `run` passes on to its child.
const PASSED_ON: [SignalKind; 5] = [
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::window_change(),
];

/// The handlers. They stay registered, so that a second signal arrives as well.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Passed on to the child in `run`, ignored in `serve`.
    others: Vec<(Signal, i32)>,
    /// SIGCHLD: in `run`, and as PID 1.
    child: Option<Signal>,
    /// In `run` at a terminal: its signals, with their sender.
    terminal: Option<TerminalSignals>,
    /// The terminal's signals other than SIGINT that have not been returned yet.
    deferred: Vec<ReceivedSignal>,
    /// The newest SIGTERM or SIGINT, and when it was received.
    newest_stop: Option<(i32, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalEvent {
    /// SIGTERM or SIGINT.
    Stop(ReceivedSignal),
    /// Any other: in `run` it is for the child.
    Other(ReceivedSignal),
    /// SIGCHLD: some child has ended.
    ChildEnded,
}

impl Signals {
    /// Registers the handlers of `serve`. Needs a runtime.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        let is_pid_1 = process::id() == 1;
        Signals::register(&IGNORED, is_pid_1, None)
    }

    /// Registers the handlers of `run`. Needs a runtime.
    pub(crate) fn listen_with_child() -> std::io::Result<Signals> {
        Signals::register(&PASSED_ON, true, TerminalSignals::listen()?)
    }

    fn register(others: &[SignalKind], children: bool, terminal: Option<TerminalSignals>) -> std::io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // A handler, even where our parent ignored SIGCHLD: otherwise the kernel discards the status.
        let child = if children { Some(signal(SignalKind::child())?) } else { None };
        let mut signals = Signals {
            terminate,
            interrupt,
            others: Vec::new(),
            child,
            terminal,
            deferred: Vec::new(),
            newest_stop: None,
        };
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

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalEvent {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// A SIGTERM or SIGINT that has been received already.
    pub(crate) async fn received_stop(&mut self) -> Option<i32> {
        // Yields once, so that the runtime reads the pipe of the signal handlers.
        tokio::task::yield_now().await;
        poll_fn(|context| match self.poll_stop(context) {
            Poll::Ready(signal) => Poll::Ready(Some(signal.number)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// The next stop that is not the echo of the one before.
    fn poll_stop(&mut self, context: &mut Context<'_>) -> Poll<ReceivedSignal> {
        let (term, int) = (SignalKind::terminate().as_raw_value(), SignalKind::interrupt().as_raw_value());
        loop {
            let signal = if self.terminate.poll_recv(context).is_ready() {
                ReceivedSignal::by_handler(term)
            } else if self.interrupt.poll_recv(context).is_ready() {
                ReceivedSignal::by_handler(int)
            } else if let Some(terminal) = &mut self.terminal {
                ready!(terminal.poll(context))
            } else {
                return Poll::Pending;
            };
            if signal.number != term && signal.number != int {
                self.deferred.push(signal);
                continue;
            }
            let now = Instant::now();
            if self.newest_stop.is_none_or(|(known, at)| known != signal.number || now - at > ECHO) {
                self.newest_stop = Some((signal.number, now));
                return Poll::Ready(signal);
            }
        }
    }

    /// Stops come first: if Ctrl-C ends the child at the same moment, its end was requested.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<SignalEvent> {
        if let Poll::Ready(signal) = self.poll_stop(context) {
            return Poll::Ready(SignalEvent::Stop(signal));
        }
        if let Some(signal) = self.deferred.pop() {
            return Poll::Ready(SignalEvent::Other(signal));
        }
        for (signal, number) in &mut self.others {
            if signal.poll_recv(context).is_ready() {
                return Poll::Ready(SignalEvent::Other(ReceivedSignal::by_handler(*number)));
            }
        }
        if let Some(child) = &mut self.child
            && child.poll_recv(context).is_ready()
        {
            return Poll::Ready(SignalEvent::ChildEnded);
        }
        Poll::Pending
    }
}

/// The signals that our parent made us ignore, as a bit mask (`SigIgn` in proc(5)).
fn ignored_signals() -> u64 {
    #[cfg(target_os = "linux")]
    return procfs::process::Process::myself().and_then(|own| own.status()).map_or(0, |status| status.sigign);
    #[cfg(not(target_os = "linux"))]
    0
}

/// The exit code that a shell reports for a process that a signal ended.
pub(crate) fn code_of(signal: i32) -> u8 {
    SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0))
}

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
