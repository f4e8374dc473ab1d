//! What to do next, from the first signal to the exit code. Pure: events go in, the next action comes out; the caller has
//! the clock and the process.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::config::OnCleanExit;
use crate::lifecycle::{code_of, signal_name};
use crate::log::Level;

/// How long what the child left behind may take after SIGTERM if no stop was requested: the platform waits only for us to
/// restart the container.
const REST_TIME: Duration = Duration::from_secs(1);
/// How long what a server left behind, e.g. the idle workers of a process pool, may take after SIGTERM: the server itself
/// ended only after it had finished its work.
const LEFT_BY_SERVER_TIME: Duration = Duration::from_millis(250);
/// SIGKILL ends a process at once, unless it hangs in the kernel: after this time we exit anyway.
const KILLED_TIME: Duration = Duration::from_secs(2);
/// The exit code if the child ends with 0 on its own.
const CLEAN_BUT_UNASKED: u8 = 1;
/// The exit code if sidepulse ended an unresponsive child (`EX_SOFTWARE` of sysexits.h).
const UNRESPONSIVE: u8 = 70;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// On its own.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl Ended {
    /// The exit code that a shell would report.
    pub(super) fn code(self) -> u8 {
        match self {
            Ended::Code(code) => code,
            Ended::Signal(number) => code_of(i32::from(number)),
        }
    }

    fn is(self, signal: Signal) -> bool {
        self.code() == code_of(signal.as_raw())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nobody,
    /// What a shell or another program that does not handle the signal left behind: it may be the server, still
    /// draining.
    OfShell,
    /// What a server left behind that ended when asked to.
    OfServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Wait,
    /// Send this signal only to the child.
    Send(Signal),
    /// Send SIGTERM to what the child left behind.
    AskRest,
    /// Send SIGKILL to the child and everything in its group.
    Kill,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From the signal to us to the signal to the child.
    pub(crate) drain_delay: Duration,
    /// From the signal to the child to SIGKILL.
    pub(crate) stop_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChildState {
    Running,
    /// A signal came, and goes on to the child later.
    Draining {
        until: Instant,
        then: Signal,
    },
    /// The child, or what it left behind, has been asked to stop.
    Stopping {
        until: Instant,
    },
    /// SIGKILL is under way.
    Killed {
        until: Instant,
    },
    /// It did not help, and we exit.
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhyStopped {
    /// By a signal to us.
    Asked(Signal),
    /// It no longer answered HTTP.
    Unresponsive,
}

/// Where a supervised child is between its start and its end.
#[derive(Clone, Debug)]
pub(super) struct Course {
    times: Times,
    on_clean_exit: OnCleanExit,
    state: ChildState,
    why: Option<WhyStopped>,
    /// A stop signal has come, whether or not it caused the stop.
    asked: bool,
    /// The signal that cut the stop short.
    cut_short: Option<Signal>,
    /// It was still running at its deadline.
    overdue: bool,
    /// When SIGQUIT was passed on, which ends some servers.
    quit: Option<Instant>,
    /// The newest signal that was passed on to a shell: it may end the shell, but not the server that the shell started.
    shell_told: Option<Signal>,
    ended: Option<Ended>,
}

impl Course {
    pub(super) fn new(times: Times, on_clean_exit: OnCleanExit) -> Self {
        Course {
            times,
            on_clean_exit,
            state: ChildState::Running,
            why: None,
            asked: false,
            cut_short: None,
            overdue: false,
            quit: None,
            shell_told: None,
            ended: None,
        }
    }

    /// The child has ended, though perhaps not what it left behind.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// No stop was requested, and it has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.state == ChildState::Running
    }

    /// SIGTERM or SIGINT came. `already_sent`: the terminal sent it to the child as well.
    pub(super) fn stop(&mut self, signal: Signal, already_sent: bool, now: Instant) -> Action {
        if self.asked {
            self.cut_short = Some(signal);
            return self.kill(now);
        }
        self.asked = true;
        if !self.is_running() {
            // It is being stopped for another reason already.
            return Action::Wait;
        }
        self.why = Some(WhyStopped::Asked(signal));
        if already_sent {
            self.state = ChildState::Stopping { until: now + self.times.stop_timeout };
            return Action::Wait;
        }
        if self.times.drain_delay.is_zero() {
            return self.send(signal, now);
        }
        self.state = ChildState::Draining { until: now + self.times.drain_delay, then: signal };
        Action::Wait
    }

    /// Any other signal is passed on to the child.
    pub(super) fn passed_on(&mut self, signal: Signal, is_shell: bool, now: Instant) {
        if signal == Signal::QUIT {
            self.quit = Some(now);
        }
        if is_shell {
            self.shell_told = Some(signal);
        }
    }

    /// It has not answered for too long.
    pub(super) fn unresponsive(&mut self, now: Instant) -> Action {
        if !self.is_running() {
            return Action::Wait;
        }
        self.why = Some(WhyStopped::Unresponsive);
        self.send(Signal::TERM, now)
    }

    /// The child has ended. What it left behind in its group is asked to stop too, and after a stop has the rest of the
    /// time: a shell ends at once, and the server that it started is asked only now.
    pub(super) fn end(&mut self, how: Ended, now: Instant) -> Action {
        self.ended = Some(how);
        if matches!(self.state, ChildState::Running | ChildState::Draining { .. }) {
            let by_signal = self.shell_told.is_some_and(|signal| how.is(signal));
            let time = if by_signal { self.times.stop_timeout } else { REST_TIME.min(self.times.stop_timeout) };
            self.state = ChildState::Stopping { until: now + time };
        }
        let quit = self.quit.is_some_and(|at| now.saturating_duration_since(at) <= self.times.stop_timeout);
        if quit && self.why.is_none() {
            self.why = Some(WhyStopped::Asked(Signal::QUIT));
        }
        self.orphaned()
    }

    /// Some process has ended; its children are ours now.
    pub(super) fn orphaned(&self) -> Action {
        match self.state {
            ChildState::Stopping { .. } if self.has_ended() => Action::AskRest,
            ChildState::Killed { .. } => Action::Kill,
            _ => Action::Wait,
        }
    }

    /// What is left of the child's group after it was asked to stop.
    pub(super) fn left(&mut self, rest: Rest, now: Instant) {
        if let ChildState::Stopping { until } = &mut self.state
            && rest == Rest::OfServer
        {
            *until = (*until).min(now + LEFT_BY_SERVER_TIME);
        }
    }

    /// When to call [`pass`](Course::pass).
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            ChildState::Draining { until, .. } | ChildState::Stopping { until } | ChildState::Killed { until } => {
                Some(until)
            }
            ChildState::Running | ChildState::GivenUp => None,
        }
    }

    /// The deadline of the current state has passed.
    pub(super) fn pass(&mut self, now: Instant) -> Action {
        match self.state {
            ChildState::Draining { then, .. } => self.send(then, now),
            ChildState::Stopping { .. } => {
                self.overdue = true;
                self.kill(now)
            }
            ChildState::Killed { .. } => {
                self.state = ChildState::GivenUp;
                Action::Wait
            }
            ChildState::Running | ChildState::GivenUp => Action::Wait,
        }
    }

    /// The exit code, if there is nothing left to wait for.
    pub(super) fn exit_code(&self, rest: Rest) -> Option<u8> {
        let ended = match self.ended {
            Some(ended) if rest == Rest::Nobody || self.state == ChildState::GivenUp => ended,
            None if self.state == ChildState::GivenUp => Ended::Signal(9),
            _ => return None,
        };
        Some(match (self.cut_short, self.why) {
            (Some(signal), _) => code_of(signal.as_raw()),
            (None, Some(WhyStopped::Unresponsive)) => UNRESPONSIVE,
            (None, None) if ended == Ended::Code(0) && self.on_clean_exit == OnCleanExit::Fail => CLEAN_BUT_UNASKED,
            (None, _) => ended.code(),
        })
    }

    /// The child's end as a sentence, and how bad it is.
    pub(super) fn describe_end(&self, name: &str) -> (Level, String) {
        let Some(ended) = self.ended else {
            return (Level::Error, format!("{name} could not be ended, not even with SIGKILL"));
        };
        let how = match ended {
            Ended::Code(code) => format!("{name} ended with exit code {code}"),
            Ended::Signal(number) => format!("{name} was ended by {}", signal_name(i32::from(number))),
        };
        let stop_timeout = humantime::format_duration(self.times.stop_timeout);
        match (self.cut_short, self.why) {
            (Some(signal), _) => {
                (Level::Warn, format!("{how}, since a second signal ({}) came", signal_name(signal.as_raw())))
            }
            (None, Some(WhyStopped::Unresponsive)) => {
                (Level::Error, format!("{how}, since it gave no HTTP answer any more"))
            }
            (None, Some(WhyStopped::Asked(signal))) if self.overdue => (
                Level::Warn,
                format!(
                    "{how}: it had not stopped {stop_timeout} after {} (SIDEPULSE_STOP_TIMEOUT)",
                    signal_name(signal.as_raw())
                ),
            ),
            (None, Some(WhyStopped::Asked(signal))) if ended == Ended::Code(0) || ended.is(signal) => {
                (Level::Info, format!("{how}, as {} asked", signal_name(signal.as_raw())))
            }
            (None, Some(WhyStopped::Asked(signal))) => {
                (Level::Warn, format!("{how} after {}", signal_name(signal.as_raw())))
            }
            (None, None) => (Level::Error, how + unasked(ended, self.on_clean_exit)),
        }
    }

    fn send(&mut self, signal: Signal, now: Instant) -> Action {
        self.state = ChildState::Stopping { until: now + self.times.stop_timeout };
        Action::Send(signal)
    }

    fn kill(&mut self, now: Instant) -> Action {
        // Another signal does not prolong it.
        if !matches!(self.state, ChildState::Killed { .. }) {
            self.state = ChildState::Killed { until: now + KILLED_TIME };
        }
        Action::Kill
    }
}

/// What to add about an end that was not requested.
fn unasked(ended: Ended, on_clean_exit: OnCleanExit) -> &'static str {
    match ended {
        Ended::Code(0) if on_clean_exit == OnCleanExit::Fail => {
            ", and nobody asked it to: sidepulse leaves with 1, so that the platform restarts it \
             (SIDEPULSE_ON_CLEAN_EXIT=fail)"
        }
        Ended::Code(0) => {
            ", and nobody asked it to: sidepulse leaves with 0 as well, after which Railway restarts nothing unless the \
             restart policy is Always"
        }
        Ended::Signal(9) => ", which did not come from sidepulse: out of memory?",
        Ended::Code(_) | Ended::Signal(_) => ", and nobody asked it to",
    }
}

#[cfg(test)]
mod tests;
