//! Signals, heard from the very beginning: as PID 1 an unhandled SIGTERM is ignored by the kernel.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// `timeout` and other launchers signal the process and then its group: the same signal twice within this time is one.
const ECHO: Duration = Duration::from_millis(250);

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
    /// Only for `run`: signals for the child, and what the kernel says of it.
    passed_on: Vec<(Signal, i32)>,
    child: Option<Signal>,
    /// The newest SIGTERM or SIGINT, and when it came.
    newest: Option<(i32, Instant)>,
}

/// A signal that came, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// SIGTERM or SIGINT.
    Stop(i32),
    /// One that is for the child.
    PassOn(i32),
    /// SIGCHLD: some child has ended.
    Child,
}

impl Signals {
    /// Registers the handlers of `serve`. Needs a runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            passed_on: Vec::new(),
            child: None,
            newest: None,
        })
    }

    /// The same, and those of `run`. Needs a runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen_with_child() -> std::io::Result<Signals> {
        let mut signals = Signals::listen()?;
        // A handler, even where SIGCHLD was ignored by whoever started us: else the kernel would swallow the status.
        signals.child = Some(signal(SignalKind::child())?);
        let ignored = ignored_signals();
        for kind in PASSED_ON {
            let number = kind.as_raw_value();
            // `nohup sidepulse run`: ignored here and, since it inherits that, by the child.
            if ignored & (1 << (number - 1)) == 0 {
                signals.passed_on.push((signal(kind)?, number));
            }
        }
        Ok(signals)
    }

    /// Waits for the next SIGTERM or SIGINT; gives back its name and number.
    pub async fn next(&mut self) -> (&'static str, u8) {
        match poll_fn(|context| self.poll_stop(context)).await {
            2 => ("SIGINT", 2),
            _ => ("SIGTERM", 15),
        }
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
        if let Some(number) = self.passed_on.iter_mut().find_map(|(signal, number)| came(signal).then_some(*number)) {
            return Poll::Ready(Heard::PassOn(number));
        }
        if self.child.as_mut().is_some_and(came) { Poll::Ready(Heard::Child) } else { Poll::Pending }
    }
}

/// The signals that whoever started us has set to be ignored, as a bit mask (`SigIgn` in proc(5)).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
