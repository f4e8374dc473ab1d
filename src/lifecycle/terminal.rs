//! At a terminal: tells the signals that it sends to the whole foreground group from those sent only to us, e.g. by
//! `docker stop`. They differ only in the sender, which a handler does not see: so these signals are read instead.

use std::io::{self, IsTerminal};

use tokio::signal::unix::SignalKind;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::TerminalSignals;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::hold_terminal_signals;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::with_none_held;
#[cfg(target_os = "linux")]
pub(super) use on_linux::TerminalSignals;
#[cfg(target_os = "linux")]
pub(crate) use on_linux::hold_terminal_signals;
#[cfg(target_os = "linux")]
pub(crate) use on_linux::with_none_held;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedSignal {
    pub(crate) number: i32,
    /// The terminal sent it, to everyone in the foreground.
    pub(crate) from_terminal: bool,
}

impl ReceivedSignal {
    /// One that a handler received, which does not see the sender. On Linux the terminal's signals are read instead;
    /// elsewhere any but SIGTERM is taken for the terminal's where there is one.
    pub(super) fn by_handler(number: i32) -> Self {
        let is_term = number == SignalKind::terminate().as_raw_value();
        ReceivedSignal { number, from_terminal: cfg!(not(target_os = "linux")) && !is_term && at_terminal() }
    }
}

/// Whether this runs at a terminal: then the child stays in our group, where Ctrl-C reaches it.
pub(crate) fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::io;
    use std::task::{Context, Poll};

    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use tokio::sync::mpsc;

    use super::{ReceivedSignal, at_terminal};

    /// The origin of what a terminal sends (`si_code` in sigaction(2)).
    const SI_KERNEL: i32 = 0x80;
    /// More than a person types before they are read.
    const QUEUE: usize = 16;

    /// What a terminal sends.
    fn of_terminal() -> SigSet {
        [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGWINCH].into_iter().collect()
    }

    /// Holds the terminal's signals back for [`TerminalSignals`]. To be called before there is a second thread: threads
    /// inherit it.
    pub(crate) fn hold_terminal_signals() -> io::Result<()> {
        if at_terminal() {
            of_terminal().thread_block()?;
        }
        Ok(())
    }

    /// Starts a child with nothing held back, since it would inherit that. A signal at this moment goes to the handlers.
    pub(crate) fn with_none_held<T>(start: impl FnOnce() -> T) -> T {
        let let_go = at_terminal() && of_terminal().thread_unblock().is_ok();
        let started = start();
        if let_go {
            let _ = of_terminal().thread_block();
        }
        started
    }

    /// INT, QUIT and WINCH with their sender.
    pub(in super::super) struct TerminalSignals(mpsc::Receiver<ReceivedSignal>);

    impl TerminalSignals {
        /// `None` without a terminal. They are read on a thread of their own.
        pub(in super::super) fn listen() -> io::Result<Option<Self>> {
            if !at_terminal() {
                return Ok(None);
            }
            let signals = SignalFd::with_flags(&of_terminal(), SfdFlags::SFD_CLOEXEC)?;
            let (tell, told) = mpsc::channel(QUEUE);
            std::thread::Builder::new().name("terminal".into()).spawn(move || read(&signals, &tell))?;
            Ok(Some(TerminalSignals(told)))
        }

        pub(in super::super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<ReceivedSignal> {
            match self.0.poll_recv(context) {
                Poll::Ready(Some(signal)) => Poll::Ready(signal),
                // `None`: the reader has ended.
                _ => Poll::Pending,
            }
        }
    }

    fn read(signals: &SignalFd, tell: &mpsc::Sender<ReceivedSignal>) {
        while let Ok(Some(read)) = signals.read_signal() {
            let number = i32::try_from(read.ssi_signo).unwrap_or_default();
            let signal = ReceivedSignal { number, from_terminal: read.ssi_code == SI_KERNEL };
            if tell.blocking_send(signal).is_err() {
                return;
            }
        }
    }
}

/// Without signalfd.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::task::{Context, Poll};

    use super::ReceivedSignal;

    /// Nothing is held back.
    pub(crate) fn hold_terminal_signals() -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn with_none_held<T>(start: impl FnOnce() -> T) -> T {
        start()
    }

    /// There are none.
    pub(in super::super) enum TerminalSignals {}

    impl TerminalSignals {
        pub(in super::super) fn listen() -> io::Result<Option<Self>> {
            Ok(None)
        }

        pub(in super::super) fn poll(&mut self, _: &mut Context<'_>) -> Poll<ReceivedSignal> {
            match *self {}
        }
    }
}
