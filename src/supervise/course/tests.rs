use super::*;

const S: Duration = Duration::from_secs(1);
const TERM: Step = Step::Send(Signal::TERM);
const INT: Step = Step::Send(Signal::INT);
const KILL: Step = Step::Send(Signal::KILL);

/// What happens, at which second.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Term,
    Int,
    /// Ctrl-C, which the child got as well.
    CtrlC,
    Silent,
    Ends(Ended),
    /// The phase's time is over; the second is when it must be.
    Due,
}
use Happens::{CtrlC, Due, Ends, Int, Silent, Term};

type Events<'a> = &'a [(u64, Happens, Step)];

/// Plays a course with a stop timeout of 10 s. Gives back the exit code where somebody is left in the child's group, and
/// where nobody is, and how bad the end is.
fn play(drain_delay: Duration, events: Events<'_>) -> (Option<u8>, Option<u8>, Level) {
    let start = Instant::now();
    let mut course = Course::new(Times { drain_delay, stop_timeout: 10 * S });
    for (second, happens, expected) in events {
        let now = start + Duration::from_secs(*second);
        let step = match happens {
            Term => course.stop(Signal::TERM, false, now),
            Int => course.stop(Signal::INT, false, now),
            CtrlC => course.stop(Signal::INT, true, now),
            Silent => course.unresponsive(now),
            Ends(how) => course.end(*how, now),
            Due => {
                assert_eq!(course.due(), Some(now), "due in {events:?}");
                course.pass(now)
            }
        };
        assert_eq!(step, *expected, "{happens:?} at {second} in {events:?}");
    }
    (course.exit_code(true), course.exit_code(false), course.story("app").0)
}

#[test]
fn without_a_drain_delay_the_signal_goes_on_at_once() {
    let by_term = Ends(Ended::Signal(15));
    let zero = Ends(Ended::Code(0));
    let rows: [(Events<'_>, u8, Level); 9] = [
        (&[(1, Term, TERM), (2, by_term, Step::Wait)], 143, Level::Info),
        (&[(1, Term, TERM), (2, Ends(Ended::Code(143)), Step::Wait)], 143, Level::Info),
        (&[(1, Term, TERM), (2, zero, Step::Wait)], 0, Level::Info),
        (&[(1, Term, TERM), (2, Ends(Ended::Code(3)), Step::Wait)], 3, Level::Warn),
        (&[(1, Int, INT), (2, Ends(Ended::Signal(2)), Step::Wait)], 130, Level::Info),
        (&[(1, CtrlC, Step::Wait), (2, zero, Step::Wait)], 0, Level::Info),
        (&[(1, Term, TERM), (11, Due, KILL), (11, Ends(Ended::Signal(9)), Step::Wait)], 137, Level::Warn),
        // A second one kills, and its number counts.
        (&[(1, Term, TERM), (2, Int, KILL), (2, Ends(Ended::Signal(9)), Step::Wait)], 130, Level::Warn),
        (&[(1, Int, INT), (2, Term, KILL), (2, Ends(Ended::Signal(9)), Step::Wait)], 143, Level::Warn),
    ];
    for (events, code, level) in rows {
        let (_, alone, told) = play(Duration::ZERO, events);
        assert_eq!((alone, told), (Some(code), level), "{events:?}");
    }
}

#[test]
fn a_drain_delay_comes_before_the_signal() {
    let rows: [(Events<'_>, u8); 4] = [
        (&[(1, Term, Step::Wait), (6, Due, TERM), (7, Ends(Ended::Signal(15)), Step::Wait)], 143),
        (&[(1, Term, Step::Wait), (6, Due, TERM), (16, Due, KILL), (16, Ends(Ended::Signal(9)), Step::Wait)], 137),
        // Ended by itself meanwhile: what it left behind is asked to go as well.
        (&[(1, Term, Step::Wait), (2, Ends(Ended::Code(0)), TERM)], 0),
        (&[(1, Term, Step::Wait), (2, Term, KILL), (2, Ends(Ended::Signal(9)), Step::Wait)], 143),
    ];
    for (events, code) in rows {
        assert_eq!(play(5 * S, events).1, Some(code), "{events:?}");
    }
    // The child got Ctrl-C already: waiting before its time begins would only lengthen it.
    play(5 * S, &[(1, CtrlC, Step::Wait), (11, Due, KILL)]);
}

#[test]
fn an_end_that_nobody_asked_for_is_an_error() {
    for how in [Ended::Code(0), Ended::Code(3), Ended::Signal(9), Ended::Signal(11)] {
        let (_, alone, level) = play(5 * S, &[(1, Ends(how), TERM)]);
        assert_eq!((alone, level), (Some(how.code()), Level::Error));
    }
}

#[test]
fn an_unresponsive_child_gets_no_drain_delay_and_the_code_is_70() {
    let rows: [(Events<'_>, u8); 4] = [
        (&[(1, Silent, TERM), (2, Ends(Ended::Signal(15)), Step::Wait)], 70),
        (&[(1, Silent, TERM), (11, Due, KILL), (11, Ends(Ended::Signal(9)), Step::Wait)], 70),
        // The platform's SIGTERM meanwhile is the first of its kind.
        (&[(1, Silent, TERM), (2, Term, Step::Wait), (3, Ends(Ended::Code(0)), Step::Wait)], 70),
        (&[(1, Silent, TERM), (2, Term, Step::Wait), (3, Term, KILL), (3, Ends(Ended::Signal(9)), Step::Wait)], 143),
    ];
    for (events, code) in rows {
        assert_eq!(play(5 * S, events).1, Some(code), "{events:?}");
    }
    // Who is being stopped is not called unresponsive: uvicorn refuses connections while it drains.
    play(5 * S, &[(1, Term, Step::Wait), (2, Silent, Step::Wait), (6, Due, TERM)]);
}

#[test]
fn what_the_child_left_behind_is_ended_too() {
    // After a stop it keeps what is left of the time …
    let asked = [(1, Term, TERM), (2, Ends(Ended::Signal(15)), Step::Wait)];
    assert_eq!(play(Duration::ZERO, &asked).0, None);
    let killed = [asked[0], asked[1], (11, Due, KILL)];
    assert_eq!(play(Duration::ZERO, &killed).0, None, "SIGKILL takes a moment");
    // … and else a second: the platform waits for us alone.
    let unasked = [(1, Ends(Ended::Code(3)), TERM), (2, Due, KILL)];
    assert_eq!(play(Duration::ZERO, &unasked), (None, Some(3), Level::Error));
    // What not even SIGKILL ends is left behind.
    let stuck = [unasked[0], unasked[1], (4, Due, Step::Wait)];
    assert_eq!(play(Duration::ZERO, &stuck).0, Some(3));
}

#[test]
fn a_child_that_hangs_in_the_kernel_does_not_hold_us() {
    let events = [(1, Term, TERM), (11, Due, KILL), (12, Term, KILL), (13, Due, Step::Wait)];
    assert_eq!(play(Duration::ZERO, &events).0, Some(143));
    assert_eq!(play(Duration::ZERO, &[events[0], events[1], events[3]]).0, Some(137));
}
