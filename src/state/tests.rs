use proptest::prelude::*;

use super::samples::{NO_DATABASE, SQL, config, ended};
use super::*;

const S: Duration = Duration::from_secs(1);

fn check(failure: u32, success: u32) -> CheckState {
    CheckState::new(CheckId::Database, Thresholds { failure, success }, 20 * S, 15 * S, Instant::now())
}

/// `+` passes; `r`, `c` and `p` fail with a reason of that class.
fn event(letter: char) -> Option<Reason> {
    match letter {
        'r' => Some(Reason::ConnectRefused),
        'c' => Some(Reason::QueryFailed),
        'p' => Some(Reason::AuthFailed),
        _ => None,
    }
}

/// The verdict after each event, as its first letter. Each transition must be returned exactly when it happens.
fn levels(check: &mut CheckState, events: &str) -> String {
    let record = |letter| {
        let from = check.verdict;
        let told = check.record(ended(Instant::now(), event(letter)));
        let changed = (from != check.verdict).then_some(Transition { from, to: check.verdict });
        assert_eq!(told, changed, "{letter} in {events}");
        check.verdict.as_str().chars().next().unwrap()
    };
    events.chars().map(record).collect()
}

#[test]
fn thresholds_make_the_verdict() {
    for (failure, success, events, expected) in [
        (2, 1, "rrrrcccc", "ssssssss"),
        (1, 1, "rc", "ss"),
        (2, 1, "rcp", "ssd"),
        (2, 1, "p", "d"),
        (9, 9, "+p", "ud"),
        (2, 5, "r+", "su"),
        (2, 5, "+", "u"),
        (1, 1, "+r", "ud"),
        (2, 1, "+r+c+r+", "uuuuuuu"),
        (2, 1, "+rc", "uud"),
        (3, 1, "+rr+rrr", "uuuuuud"),
        (2, 1, "+rrrr+rr", "uuddduud"),
        (2, 3, "+p++r+++", "uddddddu"),
        (2, 2, "p+r++", "ddddu"),
        (2, 1, "p+", "du"),
    ] {
        assert_eq!(levels(&mut check(failure, success), events), expected, "{failure}/{success}: {events}");
    }
}

/// A name, events with their times in seconds since the start, and the verdict after each.
type Start<'a> = (&'a str, &'a [(u64, char)], &'a str);

#[test]
fn starting_ends() {
    let table: [Start<'_>; 7] = [
        ("a failure just before the end", &[(1, 'r'), (299, 'c')], "ss"),
        ("the next failure after it", &[(1, 'r'), (299, 'r'), (300, 'r'), (301, 'r')], "ssdd"),
        ("a failure of class C", &[(300, 'c')], "d"),
        ("class P needs no time", &[(1, 'p'), (300, 'r')], "dd"),
        ("one success at start suffices, however late", &[(299, 'r'), (900, '+')], "su"),
        ("up in time: the threshold decides from then on", &[(299, '+'), (300, 'r'), (301, 'r'), (302, 'r')], "uuud"),
        ("an outage that ends needs as many successes as any", &[(300, 'r'), (301, '+'), (302, '+')], "ddu"),
    ];
    for (name, events, expected) in table {
        let (start, mut check) = (Instant::now(), check(3, 2));
        let mut told = String::new();
        for (at, letter) in events {
            // The check began a moment after `start`.
            let now = start + Duration::from_secs(*at) + Duration::from_millis(100);
            let from = check.verdict;
            let transition = check.record(ended(now, event(*letter)));
            let changed = (from != check.verdict).then_some(Transition { from, to: check.verdict });
            assert_eq!(transition, changed, "{name}");
            told.push(check.verdict.as_str().chars().next().unwrap());
        }
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn a_database_that_was_reached_breaks_a_row_of_failures() {
    let mut check = check(2, 1);
    levels(&mut check, "+r");
    check.reached();
    assert_eq!(levels(&mut check, "rr"), "ud");
    check.reached();
    assert_eq!(check.verdict, Verdict::Down, "it was not asked anything");
}

#[test]
fn it_counts_in_a_row_and_remembers_the_newest() {
    let now = Instant::now();
    let mut check = check(2, 1);
    assert_eq!((check.ever_up, check.newest_failure, check.last_success.is_some()), (false, None, false));
    levels(&mut check, "rc");
    assert_eq!((check.failures, check.successes, check.ever_up), (2, 0, false));
    check.record(Outcome { attempts: 3, ..ended(now, None) });
    assert_eq!((check.failures, check.successes, check.ever_up), (0, 1, true));
    assert_eq!((check.retried, check.last_success.map(|(at, _)| at)), (true, Some(now)));
    levels(&mut check, "rp");
    assert_eq!((check.failures, check.successes, check.ever_up), (2, 0, true));
    assert_eq!((check.newest_failure, check.last_success.map(|(at, _)| at)), (Some(Reason::AuthFailed), Some(now)));
    levels(&mut check, "+");
    assert!(!check.retried, "warnings are those of the newest success");
}

#[test]
fn it_is_stale_when_the_next_result_is_overdue() {
    let ms = Duration::from_millis(1);
    let mut check = check(2, 1);
    let due = Instant::now() + 100 * S;
    check.due = due;
    for (late, stale) in
        [(Duration::ZERO, false), (20 * S, false), (50 * S, false), (50 * S + ms, true), (999 * S, true)]
    {
        assert_eq!(check.is_stale(due + late), stale, "{late:?} after it was due");
    }
    assert!(!check.is_stale(due - 99 * S), "what is planned for later is not overdue");
}

#[test]
fn the_reason_is_stale_else_the_newest_failure_else_not_run() {
    let mut check = check(2, 1);
    let (now, late) = (check.due, check.due + 51 * S);
    assert_eq!((check.reason(now), check.reason(late)), (Reason::NotRun, Reason::Stale));
    levels(&mut check, "rc");
    assert_eq!((check.reason(now), check.reason(late)), (Reason::QueryFailed, Reason::Stale));
    levels(&mut check, "p");
    assert_eq!(check.reason(now), Reason::AuthFailed);
}

#[test]
fn the_lists_are_bounded_and_successes_push_no_failure_out() {
    let mut check = check(2, 1);
    levels(&mut check, &"r".repeat(KEPT * 2));
    levels(&mut check, &"c".repeat(3));
    levels(&mut check, &"+".repeat(KEPT * 2));
    let reasons = |marks: &VecDeque<Mark>| marks.iter().map(|mark| mark.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&check.recent), vec![None; KEPT]);
    let failures = reasons(&check.recent_failures);
    assert_eq!(failures.len(), KEPT);
    assert_eq!(failures[..KEPT - 3], vec![Some(Reason::ConnectRefused); KEPT - 3], "oldest first");
    assert_eq!(failures[KEPT - 3..], vec![Some(Reason::QueryFailed); 3]);
}

#[test]
fn a_snapshot_holds_the_checks_in_order_with_times_of_their_own() {
    let more = [SQL, ("SIDEPULSE_APP_INTERVAL", "3s"), ("SIDEPULSE_DATABASE_TIMEOUT", "7s")];
    let now = Instant::now();
    let snapshot = Snapshot::new(&config(&more), now);
    let found: Vec<_> = snapshot.checks().map(|c| (&*c.name, &*c.health_key, c.grace.as_secs())).collect();
    let expected = [
        ("app", "app:http", 2 + 2 * 3),
        ("database", "database:query", 7 + 2 * 15),
        ("sql_migrations", "sql:migrations", 7 + 2 * 15),
    ];
    assert_eq!(found, expected);
    assert!(snapshot.checks().all(|c| c.verdict == Verdict::Starting && c.due == now && c.newest.is_none()));
    assert_eq!(snapshot.database.map(|database| database.checks().count()), Some(2));

    let alone = Snapshot::new(&config(&[NO_DATABASE, SQL]), now);
    assert_eq!((alone.checks().count(), alone.database.is_none()), (1, true));
}

proptest! {
    /// Fewer failures in a row than the threshold never flip an up check, and fewer successes never a down one.
    #[test]
    fn below_the_threshold_nothing_flips(failure in 1_u32..5, success in 1_u32..5, events in "[+rcp]{0,60}") {
        let mut check = check(failure, success);
        let (mut bad, mut good, mut ever_up) = (0, 0, false);
        for letter in events.chars() {
            let before = check.verdict;
            levels(&mut check, &letter.to_string());
            (bad, good) = if letter == '+' { (0, good + 1) } else { (bad + 1, 0) };
            let expected = match (before, letter) {
                (_, 'p') => Verdict::Down,
                (Verdict::Starting, '+') => Verdict::Up,
                (Verdict::Up, 'r' | 'c') if bad >= failure => Verdict::Down,
                (Verdict::Down, '+') if good >= success => Verdict::Up,
                _ => before,
            };
            ever_up |= expected == Verdict::Up;
            prop_assert_eq!(check.verdict, expected, "{} of {} with {}/{}", letter, events, failure, success);
        }
        prop_assert_eq!(check.ever_up, ever_up);
    }
}
