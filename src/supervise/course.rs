//! What comes next, from the first signal to the exit code. Pure: events go in, the next step comes out; the clock, the
//! process and the wait are the caller's.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::log::Level;

/// What the child left behind has this long after SIGTERM where nobody asked for a stop: the platform is to restart the
/// container, and waits for us alone.
const REMAINS_TIME: Duration = Duration::from_secs(1);
/// The kernel ends what got SIGKILL at once, unless it hangs in the kernel itself: then nothing helps, and we leave.
const KILLED_TIME: Duration = Duration::from_secs(2);
/// What a shell adds to a signal's number.
const SIGNALLED: u8 = 128;
/// The exit code where sidepulse ended an unresponsive child (`EX_SOFTWARE` of sysexits.h).
const UNRESPONSIVE: u8 = 70;

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl Ended {
    /// The code that a shell would give.
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

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for the next event.
    Wait,
    /// Send this to the child, and to its group if it leads one.
    Send(Signal),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From the signal to us to the signal to the child.
    pub drain_delay: Duration,
    /// From the signal to the child to SIGKILL.
    pub stop_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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
    /// Not even that helped.
    GivenUp,
}

/// Why the child is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A signal to us.
    Asked(Signal),
    /// It gave no HTTP answer any more.
    Unresponsive,
}

/// Where a supervised child is on its way.
#[derive(Clone, Debug)]
pub(super) struct Course {
    times: Times,
    phase: Phase,
    cause: Option<Cause>,
    /// A stop signal has come, whatever the cause.
    asked: bool,
    /// The signal that cut the stop short.
    cut_short: Option<Signal>,
    /// It was still there when its time was over.
    overdue: bool,
    ended: Option<Ended>,
}

impl Course {
    /// The child has just been started.
    pub(super) fn new(times: Times) -> Self {
        Course { times, phase: Phase::Running, cause: None, asked: false, cut_short: None, overdue: false, ended: None }
    }

    /// It is gone, though perhaps not what it left behind.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Nobody wants it to stop, and it has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// SIGTERM or SIGINT came. `already_sent`: the terminal gave it to the child as well.
    pub(super) fn stop(&mut self, signal: Signal, already_sent: bool, now: Instant) -> Step {
        if self.asked {
            self.cut_short = Some(signal);
            return self.kill(now);
        }
        self.asked = true;
        if !self.is_running() {
            // It is being stopped for another reason: this one adds nothing.
            return Step::Wait;
        }
        self.cause = Some(Cause::Asked(signal));
        if already_sent {
            self.phase = Phase::Stopping { until: now + self.times.stop_timeout };
            return Step::Wait;
        }
        if self.times.drain_delay.is_zero() {
            return self.send(signal, now);
        }
        self.phase = Phase::Draining { until: now + self.times.drain_delay, then: signal };
        Step::Wait
    }

    /// It gave no answer for too long.
    pub(super) fn unresponsive(&mut self, now: Instant) -> Step {
        if !self.is_running() {
            return Step::Wait;
        }
        self.cause = Some(Cause::Unresponsive);
        self.send(Signal::TERM, now)
    }

    /// The child has ended. What it left behind in its group follows: after a stop it has had the signal, and keeps
    /// what is left of the time (a shell dies at once, the server that it started drains first).
    pub(super) fn end(&mut self, how: Ended, now: Instant) -> Step {
        self.ended = Some(how);
        match self.phase {
            Phase::Running | Phase::Draining { .. } => {
                self.phase = Phase::Stopping { until: now + REMAINS_TIME.min(self.times.stop_timeout) };
                Step::Send(Signal::TERM)
            }
            _ => Step::Wait,
        }
    }

    /// When [`pass`](Course::pass) is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining { until, .. } | Phase::Stopping { until } | Phase::Killed { until } => Some(until),
            Phase::Running | Phase::GivenUp => None,
        }
    }

    /// The time of the present phase is over.
    pub(super) fn pass(&mut self, now: Instant) -> Step {
        match self.phase {
            Phase::Draining { then, .. } => self.send(then, now),
            Phase::Stopping { .. } => {
                self.overdue = true;
                self.kill(now)
            }
            Phase::Killed { .. } => {
                self.phase = Phase::GivenUp;
                Step::Wait
            }
            Phase::Running | Phase::GivenUp => Step::Wait,
        }
    }

    /// The exit code, as soon as there is nothing left to wait for. `remains`: somebody is left in the child's group.
    pub(super) fn exit_code(&self, remains: bool) -> Option<u8> {
        let ended = match self.ended {
            Some(ended) if !remains || self.phase == Phase::GivenUp => ended,
            None if self.phase == Phase::GivenUp => Ended::Signal(9),
            _ => return None,
        };
        Some(match (self.cut_short, self.cause) {
            (Some(signal), _) => code_of(signal.as_raw()),
            (None, Some(Cause::Unresponsive)) => UNRESPONSIVE,
            (None, _) => ended.code(),
        })
    }

    /// The child's end as a sentence, and how bad it is.
    pub(super) fn story(&self, name: &str) -> (Level, String) {
        let Some(ended) = self.ended else {
            return (Level::Error, format!("{name} could not be ended, not even with SIGKILL"));
        };
        let how = match ended {
            Ended::Code(code) => format!("{name} ended with exit code {code}"),
            Ended::Signal(number) => format!("{name} was ended by {}", word(i32::from(number))),
        };
        let stop_timeout = humantime::format_duration(self.times.stop_timeout);
        match (self.cut_short, self.cause) {
            (Some(signal), _) => {
                (Level::Warn, format!("{how}, since a second signal ({}) came", word(signal.as_raw())))
            }
            (None, Some(Cause::Unresponsive)) => {
                (Level::Error, format!("{how}, since it gave no HTTP answer any more"))
            }
            (None, Some(Cause::Asked(signal))) if self.overdue => (
                Level::Warn,
                format!(
                    "{how}: it had not stopped {stop_timeout} after {} (SIDEPULSE_STOP_TIMEOUT)",
                    word(signal.as_raw())
                ),
            ),
            (None, Some(Cause::Asked(signal))) if ended == Ended::Code(0) || ended.is(signal) => {
                (Level::Info, format!("{how}, as {} asked", word(signal.as_raw())))
            }
            (None, Some(Cause::Asked(signal))) => (Level::Warn, format!("{how} after {}", word(signal.as_raw()))),
            (None, None) => (Level::Error, how + unasked(ended)),
        }
    }

    fn send(&mut self, signal: Signal, now: Instant) -> Step {
        self.phase = Phase::Stopping { until: now + self.times.stop_timeout };
        Step::Send(signal)
    }

    fn kill(&mut self, now: Instant) -> Step {
        // A further signal does not prolong it.
        if !matches!(self.phase, Phase::Killed { .. }) {
            self.phase = Phase::Killed { until: now + KILLED_TIME };
        }
        Step::Send(Signal::KILL)
    }
}

/// What to know about an end that nobody asked for.
fn unasked(ended: Ended) -> &'static str {
    match ended {
        Ended::Code(0) => {
            ", and nobody asked it to: sidepulse leaves with 0 as well, after which Railway restarts nothing unless the \
             restart policy is Always"
        }
        Ended::Signal(9) => ", which did not come from sidepulse: out of memory?",
        Ended::Code(_) | Ended::Signal(_) => ", and nobody asked it to",
    }
}

/// The code that a shell gives to what a signal ended.
pub(super) fn code_of(signal: i32) -> u8 {
    SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0))
}

/// A signal's name.
pub(super) fn word(number: i32) -> String {
    const NAMES: [(Signal, &str); 14] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    let known = NAMES.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests;
