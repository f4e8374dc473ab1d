use super::*;

const S: Duration = Duration::from_secs(1);
const TERM: Action = Action::Send(Signal::TERM);
const INT: Action = Action::Send(Signal::INT);
const ASK_REST: Action = Action::AskRest;
const KILL: Action = Action::Kill;

/// What happens, at which second.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Term,
    Int,
    /// Ctrl-C, which the child got as well.
    CtrlC,
    Silent,
    /// SIGQUIT is passed on.
    Quit,
    Ends(Ended),
    /// A process that it left behind has ended, and this is left.
    Leaves(Rest),
    /// The time of the current state is over; the second is when it must be.
    Due,
}
use Happens::{CtrlC, Due, Ends, Int, Leaves, Quit, Silent, Term};

type Events<'a> = &'a [(u64, Happens, Action)];

/// Plays a course with a stop timeout of 10 s. Returns the exit code if something is left of the child's group, and if
/// nothing is, and how bad the end is.
fn play(drain_delay: Duration, events: Events<'_>) -> (Option<u8>, Option<u8>, Level) {
    let start = Instant::now();
    let mut course = Course::new(Times { drain_delay, stop_timeout: 10 * S }, OnCleanExit::Fail);
    for (second, happens, expected) in events {
        let now = start + Duration::from_secs(*second);
        let action = match happens {
            Term => course.stop(Signal::TERM, false, now),
            Int => course.stop(Signal::INT, false, now),
            CtrlC => course.stop(Signal::INT, true, now),
            Silent => course.unresponsive(now),
            Quit => {
                course.passed_on(Signal::QUIT, false, now);
                Action::Wait
            }
            Ends(how) => course.end(*how, now),
            Leaves(rest) => {
                let action = course.orphaned();
                course.left(*rest, now);
                action
            }
            Due => {
                assert_eq!(course.due(), Some(now), "due in {events:?}");
                course.pass(now)
            }
        };
        assert_eq!(action, *expected, "{happens:?} at {second} in {events:?}");
    }
    (course.exit_code(Rest::OfShell), course.exit_code(Rest::Nobody), course.describe_end("app").0)
}

#[test]
fn without_a_drain_delay_the_signal_goes_on_at_once() {
    let by_term = Ends(Ended::Signal(15));
    let zero = Ends(Ended::Code(0));
    let rows: [(Events<'_>, u8, Level); 9] = [
        (&[(1, Term, TERM), (2, by_term, ASK_REST)], 143, Level::Info),
        (&[(1, Term, TERM), (2, Ends(Ended::Code(143)), ASK_REST)], 143, Level::Info),
        (&[(1, Term, TERM), (2, zero, ASK_REST)], 0, Level::Info),
        (&[(1, Term, TERM), (2, Ends(Ended::Code(3)), ASK_REST)], 3, Level::Warn),
        (&[(1, Int, INT), (2, Ends(Ended::Signal(2)), ASK_REST)], 130, Level::Info),
        (&[(1, CtrlC, Action::Wait), (2, zero, ASK_REST)], 0, Level::Info),
        (&[(1, Term, TERM), (11, Due, KILL), (11, Ends(Ended::Signal(9)), KILL)], 137, Level::Warn),
        // A second one kills, and its number counts.
        (&[(1, Term, TERM), (2, Int, KILL), (2, Ends(Ended::Signal(9)), KILL)], 130, Level::Warn),
        (&[(1, Int, INT), (2, Term, KILL), (2, Ends(Ended::Signal(9)), KILL)], 143, Level::Warn),
    ];
    for (events, code, level) in rows {
        let (_, alone, told) = play(Duration::ZERO, events);
        assert_eq!((alone, told), (Some(code), level), "{events:?}");
    }
}

#[test]
fn a_drain_delay_comes_before_the_signal() {
    let rows: [(Events<'_>, u8); 4] = [
        (&[(1, Term, Action::Wait), (6, Due, TERM), (7, Ends(Ended::Signal(15)), ASK_REST)], 143),
        (&[(1, Term, Action::Wait), (6, Due, TERM), (16, Due, KILL), (16, Ends(Ended::Signal(9)), KILL)], 137),
        // Ended by itself meanwhile: what it left behind is asked to go as well.
        (&[(1, Term, Action::Wait), (2, Ends(Ended::Code(0)), ASK_REST)], 0),
        (&[(1, Term, Action::Wait), (2, Term, KILL), (2, Ends(Ended::Signal(9)), KILL)], 143),
    ];
    for (events, code) in rows {
        assert_eq!(play(5 * S, events).1, Some(code), "{events:?}");
    }
    // The child got Ctrl-C already: waiting before its time begins would only lengthen it.
    play(5 * S, &[(1, CtrlC, Action::Wait), (11, Due, KILL)]);
}

#[test]
fn an_end_that_nobody_asked_for_is_an_error() {
    for how in [Ended::Code(3), Ended::Signal(9), Ended::Signal(11)] {
        let (_, alone, level) = play(5 * S, &[(1, Ends(how), ASK_REST)]);
        assert_eq!((alone, level), (Some(how.code()), Level::Error));
    }
}

#[test]
fn a_clean_exit_that_nobody_asked_for_is_a_failure_unless_it_may_pass() {
    let times = Times { drain_delay: Duration::ZERO, stop_timeout: 10 * S };
    for (on_clean_exit, how, code) in [
        (OnCleanExit::Fail, Ended::Code(0), 1),
        (OnCleanExit::Pass, Ended::Code(0), 0),
        (OnCleanExit::Fail, Ended::Code(3), 3),
        (OnCleanExit::Pass, Ended::Code(3), 3),
    ] {
        let mut course = Course::new(times, on_clean_exit);
        assert_eq!(course.end(how, Instant::now()), ASK_REST);
        assert_eq!(course.exit_code(Rest::Nobody), Some(code), "{on_clean_exit:?} {how:?}");
        assert_eq!(course.describe_end("app").0, Level::Error);
    }
}

#[test]
fn sigquit_asks_for_an_end_too_if_it_follows_soon() {
    let zero = Ends(Ended::Code(0));
    let rows: [(Events<'_>, u8, Level); 3] = [
        (&[(1, Quit, Action::Wait), (10, zero, ASK_REST)], 0, Level::Info),
        (&[(1, Quit, Action::Wait), (2, Ends(Ended::Signal(3)), ASK_REST)], 131, Level::Info),
        // It wrote a dump, and ended later for another reason.
        (&[(1, Quit, Action::Wait), (12, zero, ASK_REST)], 1, Level::Error),
    ];
    for (events, code, level) in rows {
        let (_, alone, told) = play(5 * S, events);
        assert_eq!((alone, told), (Some(code), level), "{events:?}");
    }
}

#[test]
fn an_unresponsive_child_gets_no_drain_delay_and_the_code_is_70() {
    let killed = Ends(Ended::Signal(9));
    let rows: [(Events<'_>, u8); 4] = [
        (&[(1, Silent, TERM), (2, Ends(Ended::Signal(15)), ASK_REST)], 70),
        (&[(1, Silent, TERM), (11, Due, KILL), (11, killed, KILL)], 70),
        // The platform's SIGTERM meanwhile is the first of its kind.
        (&[(1, Silent, TERM), (2, Term, Action::Wait), (3, Ends(Ended::Code(0)), ASK_REST)], 70),
        (&[(1, Silent, TERM), (2, Term, Action::Wait), (3, Term, KILL), (3, killed, KILL)], 143),
    ];
    for (events, code) in rows {
        assert_eq!(play(5 * S, events).1, Some(code), "{events:?}");
    }
    // A child that is being stopped is not called unresponsive: uvicorn refuses connections while it drains.
    play(5 * S, &[(1, Term, Action::Wait), (2, Silent, Action::Wait), (6, Due, TERM)]);
}

#[test]
fn what_the_child_left_behind_is_ended_too() {
    // After a stop it keeps what is left of the time …
    let asked = [(1, Term, TERM), (2, Ends(Ended::Signal(15)), ASK_REST)];
    assert_eq!(play(Duration::ZERO, &asked).0, None);
    let next = [asked[0], asked[1], (3, Leaves(Rest::OfShell), ASK_REST), (11, Due, KILL)];
    assert_eq!(play(Duration::ZERO, &next).0, None, "SIGKILL takes a moment");
    // … and otherwise a second: the platform waits only for us.
    let unasked = [(1, Ends(Ended::Code(3)), ASK_REST), (2, Due, KILL)];
    assert_eq!(play(Duration::ZERO, &unasked), (None, Some(3), Level::Error));
    // What SIGKILL made an orphan gets it as well; what not even that ends is left behind.
    let stuck = [unasked[0], unasked[1], (2, Leaves(Rest::OfShell), KILL), (4, Due, Action::Wait)];
    assert_eq!(play(Duration::ZERO, &stuck).0, Some(3));
}

#[test]
fn what_a_shell_left_behind_that_a_signal_ended_has_the_stop_timeout() {
    let start = Instant::now();
    for (is_shell, how, time) in [
        (true, Ended::Signal(1), 10 * S),
        // The signal did nothing to these.
        (false, Ended::Signal(1), S),
        (true, Ended::Signal(9), S),
        (true, Ended::Code(0), S),
    ] {
        let mut course = Course::new(Times { drain_delay: Duration::ZERO, stop_timeout: 10 * S }, OnCleanExit::Fail);
        course.passed_on(Signal::HUP, is_shell, start);
        assert_eq!(course.end(how, start), ASK_REST);
        assert_eq!(course.due(), Some(start + time), "{is_shell} {how:?}");
    }
}

#[test]
fn what_a_server_left_behind_is_not_waited_for_as_the_server_is() {
    let start = Instant::now();
    let mut course = Course::new(Times { drain_delay: Duration::ZERO, stop_timeout: 10 * S }, OnCleanExit::Fail);
    course.stop(Signal::TERM, false, start);
    course.end(Ended::Signal(15), start + S);
    course.left(Rest::OfShell, start + S);
    assert_eq!(course.due(), Some(start + 10 * S));
    course.left(Rest::OfServer, start + 2 * S);
    assert_eq!(course.due(), Some(start + 2 * S + LEFT_BY_SERVER_TIME));
    // Asking again does not prolong it.
    course.left(Rest::OfServer, start + 3 * S);
    assert_eq!(course.due(), Some(start + 2 * S + LEFT_BY_SERVER_TIME));
}

#[test]
fn a_child_that_hangs_in_the_kernel_does_not_hold_us() {
    let events = [(1, Term, TERM), (11, Due, KILL), (12, Term, KILL), (13, Due, Action::Wait)];
    assert_eq!(play(Duration::ZERO, &events).0, Some(143));
    assert_eq!(play(Duration::ZERO, &[events[0], events[1], events[3]]).0, Some(137));
}
