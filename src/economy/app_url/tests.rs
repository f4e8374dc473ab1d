use super::*;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn found(moments: &[Instant]) -> Activity {
    Activity { connections: 1, moments: moments.to_vec(), ..Activity::default() }
}

/// A check of 20 ms every 5 s, ten minutes long.
fn checked(start: Instant) -> AppChecks {
    let mut checks = AppChecks::default();
    for n in 0..20 {
        checks.begins(start + n * 5 * S, 5 * S);
        checks.ends(start + n * 5 * S + 20 * MS);
    }
    checks
}

#[test]
fn a_moment_belongs_to_a_check_until_shortly_after_its_end() {
    let start = Instant::now() + 100 * S;
    let mut checks = checked(start);
    let table: [(i32, bool); 8] =
        [(-20, false), (-5, true), (0, true), (19, true), (400, true), (521, false), (4_980, false), (5_001, true)];
    for (ms, expected) in table {
        let distance = ms.unsigned_abs() * MS;
        let moment = if ms < 0 { start - distance } else { start + distance };
        assert_eq!(checks.include(moment, Duration::ZERO), expected, "{ms} ms");
    }
    assert!(checks.include(start + 600 * MS, 100 * MS), "a comparison that took 100 ms");
    checks.begins(start + 100 * S, 5 * S);
    assert!(checks.include(start + 101 * S, Duration::ZERO), "the newest is still under way");
    // At a short interval there is little time between two checks, and most of it must belong to no check.
    let mut dense = AppChecks::default();
    dense.begins(start, 200 * MS);
    dense.ends(start + 2 * MS);
    assert!(dense.include(start + 40 * MS, Duration::ZERO) && !dense.include(start + 60 * MS, Duration::ZERO));
}

#[test]
fn ten_in_a_row_are_a_certainty() {
    let start = Instant::now() + 100 * S;
    let (checks, mut suspicion) = (checked(start), Suspicion::default());
    let during = found(&[start + 10 * MS, start + 5 * S + 15 * MS]);
    for n in 1..=IN_A_ROW {
        assert!(suspicion.grows(&during, &checks));
        // An observation without activity proves nothing.
        assert!(suspicion.grows(&Activity::default(), &checks));
        assert_eq!(suspicion.is_certain(), n == IN_A_ROW, "{n}");
    }
}

#[test]
fn use_at_another_time_clears_the_app_url() {
    let start = Instant::now() + 100 * S;
    let (checks, mut suspicion) = (checked(start), Suspicion::default());
    let during = found(&[start + 10 * MS]);
    let others = [
        found(&[start + 10 * MS, start + 3 * S]),
        Activity { held: vec![(1, start + 3 * S)], ..during.clone() },
        Activity { overflow: true, ..during.clone() },
    ];
    for other in others {
        for _ in 1..IN_A_ROW {
            assert!(suspicion.grows(&during, &checks));
        }
        assert!(!suspicion.grows(&other, &checks));
        assert!(suspicion.grows(&during, &checks) && !suspicion.is_certain());
        suspicion = Suspicion::default();
    }
}

#[test]
fn memory_is_bounded() {
    let start = Instant::now();
    let mut checks = AppChecks::default();
    for n in 0..5_000 {
        checks.begins(start + n * 10 * MS, 100 * MS);
    }
    assert!(checks.spans.len() <= MOST_KEPT);
    checks.begins(start + 1_000 * S, 100 * MS);
    assert_eq!(checks.spans.len(), 1);
}
