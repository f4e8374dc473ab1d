//! At a terminal: which signals it sends itself, to everyone in the foreground, and which somebody sends to us alone, as
//! `docker stop` does. Only the sender tells them apart, and a handler does not see it: these signals are read.

use std::io::{self, IsTerminal};

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::TerminalSignals;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::hold_terminal_signals;
#[cfg(target_os = "linux")]
pub(super) use on_linux::TerminalSignals;
#[cfg(target_os = "linux")]
pub use on_linux::hold_terminal_signals;

/// Somebody may sit at a terminal: then the child stays in our group, where Ctrl-C reaches it.
pub(crate) fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::io;
    use std::task::{Context, Poll, ready};

    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::super::signals::Came;
    use super::at_terminal;

    /// The sender of what a terminal sends (`si_code` in sigaction(2)).
    const SI_KERNEL: i32 = 0x80;

    /// What a terminal sends.
    fn of_terminal() -> SigSet {
        [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGWINCH].into_iter().collect()
    }

    /// Keeps the terminal's signals for [`TerminalSignals`]. Call it before there is a second thread: each that is
    /// started later inherits this, but no child does (std starts it with no signal blocked).
    ///
    /// # Errors
    /// As the system says.
    pub fn hold_terminal_signals() -> io::Result<()> {
        if at_terminal() {
            of_terminal().thread_block()?;
        }
        Ok(())
    }

    /// INT, QUIT and WINCH with their sender.
    pub(in super::super) struct TerminalSignals(AsyncFd<SignalFd>);

    impl TerminalSignals {
        /// `None` where there is no terminal. Needs a runtime.
        ///
        /// # Errors
        /// As the system says.
        pub(in super::super) fn listen() -> io::Result<Option<Self>> {
            if !at_terminal() {
                return Ok(None);
            }
            let signals = SignalFd::with_flags(&of_terminal(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
            Ok(Some(TerminalSignals(AsyncFd::with_interest(signals, Interest::READABLE)?)))
        }

        /// The next one.
        pub(in super::super) fn poll(&self, context: &mut Context<'_>) -> Poll<Came> {
            loop {
                // An error is the runtime's end.
                let Ok(mut ready) = ready!(self.0.poll_read_ready(context)) else { return Poll::Pending };
                match self.0.get_ref().read_signal() {
                    Ok(Some(read)) => {
                        let number = i32::try_from(read.ssi_signo).unwrap_or_default();
                        return Poll::Ready(Came { number, from_terminal: read.ssi_code == SI_KERNEL });
                    }
                    _ => ready.clear_ready(),
                }
            }
        }
    }
}

/// Without signalfd.
#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::task::{Context, Poll};

    use super::super::signals::Came;

    /// Nothing is held.
    pub fn hold_terminal_signals() -> io::Result<()> {
        Ok(())
    }

    /// There are none.
    pub(in super::super) enum TerminalSignals {}

    impl TerminalSignals {
        pub(in super::super) fn listen() -> io::Result<Option<Self>> {
            Ok(None)
        }

        pub(in super::super) fn poll(&self, _: &mut Context<'_>) -> Poll<Came> {
            match *self {}
        }
    }
}
