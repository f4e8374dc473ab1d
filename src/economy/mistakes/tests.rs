use super::*;

const S: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What a query found, whether activity was its cause, and how long after the one before it was made.
type Found = (Compute, bool, Duration);
/// A name, what was found, and the waits that follow.
type Row<'a> = (&'a str, &'a [Found], &'a [u64]);

/// The wait after each of these, in seconds; 0: activity is believed.
fn waits(mistakes: &mut Mistakes, found: &[Found]) -> Vec<u64> {
    let take = |(compute, by_activity, after): &Found| {
        mistakes.take(*compute, *by_activity, *after);
        mistakes.wait().map_or(0, |wait| wait.as_secs())
    };
    found.iter().map(take).collect()
}

#[test]
fn each_mistake_doubles_the_wait_and_proof_of_use_ends_it() {
    use Compute::{Restarted, Unchanged, Woken};
    let table: [Row<'_>; 7] = [
        ("an app that uses it", &[(Restarted, true, HOUR), (Unchanged, true, 15 * S)], &[0, 0]),
        ("a query by age wakes it on purpose", &[(Woken, false, 6 * HOUR)], &[0]),
        ("awake, but because of our own query", &[(Woken, true, HOUR), (Unchanged, true, 30 * S)], &[30, 60]),
        (
            "nobody but us",
            &[
                (Woken, true, HOUR),
                (Unchanged, true, 30 * S),
                (Unchanged, true, MINUTE),
                (Unchanged, true, 2 * MINUTE),
                (Unchanged, true, 4 * MINUTE),
                (Woken, true, 8 * MINUTE),
                (Woken, true, 16 * MINUTE),
            ],
            &[30, 60, 120, 240, 480, 960, 1920],
        ),
        (
            "kept awake for longer than it would be by us",
            &[(Woken, true, HOUR), (Unchanged, true, 5 * MINUTE), (Unchanged, true, 6 * MINUTE)],
            &[30, 60, 0],
        ),
        (
            "it sleeps sooner than Neon's do: so does the proof come",
            &[(Woken, true, 20 * S), (Unchanged, true, 19 * S), (Unchanged, true, 20 * S)],
            &[30, 60, 0],
        ),
        (
            "started by somebody else; and a query by age proves it as well",
            &[(Woken, true, HOUR), (Restarted, true, 30 * S), (Woken, true, HOUR), (Unchanged, false, HOUR)],
            &[30, 0, 30, 0],
        ),
    ];
    for (name, found, expected) in table {
        let mut mistakes = Mistakes::new(15 * S, Some(6 * HOUR));
        assert_eq!(waits(&mut mistakes, found), expected, "{name}");
    }
}

#[test]
fn the_wait_ends_at_the_age_at_which_a_query_is_made_anyway() {
    for (max_age, expected) in [(Some(40 * S), [30, 40, 40]), (Some(S), [1, 1, 1]), (None, [30, 60, 120])] {
        let mut mistakes = Mistakes::new(15 * S, max_age);
        assert_eq!(waits(&mut mistakes, &[(Compute::Woken, true, HOUR); 3]), expected);
    }
    let mut mistakes = Mistakes::new(15 * S, None);
    assert_eq!(waits(&mut mistakes, &[(Compute::Woken, true, HOUR); 40]).last(), Some(&(6 * 3600)));
}

#[test]
fn use_that_lasts_is_proven_now_and_then() {
    use Compute::{Restarted, Unchanged, Woken};
    let busy = |mistakes: &mut Mistakes| {
        for _ in 1..6 * 240 {
            assert_eq!(waits(mistakes, &[(Unchanged, true, 15 * S)]), [0]);
        }
        assert_eq!(waits(mistakes, &[(Unchanged, true, 15 * S)]), [360], "after six hours");
    };
    for (found, expected) in [(Unchanged, 0), (Restarted, 0), (Woken, 30)] {
        let mut mistakes = Mistakes::new(15 * S, Some(MINUTE));
        busy(&mut mistakes);
        assert_eq!(waits(&mut mistakes, &[(found, true, 6 * MINUTE)]), [expected], "{found:?}");
        if expected == 0 {
            busy(&mut mistakes);
        }
    }
}
