use super::*;

const S: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The defaults.
const POLICY: Policy =
    Policy { max_age: Some(Duration::from_secs(6 * 3600)), idle_handshake: Some(MINUTE), blind_interval: HOUR };
const SILENT: Policy = Policy { max_age: None, idle_handshake: None, ..POLICY };

/// Up, and the app is idle; the newest query and handshake were just now.
const IDLE: Situation = Situation {
    healthy: true,
    active: false,
    rested: true,
    blind: false,
    unverified_for: Duration::ZERO,
    unproven_for: Duration::ZERO,
};

fn later(unverified_for: Duration, unproven_for: Duration) -> Situation {
    Situation { unverified_for, unproven_for, ..IDLE }
}

#[test]
fn what_the_moment_calls_for() {
    use Look::{Deep, Handshake, Stay};
    let starting = Situation { healthy: false, ..IDLE };
    let active = Situation { active: true, ..IDLE };
    let restless = Situation { rested: false, ..active };
    let blind = |situation| Situation { blind: true, ..situation };
    let table = [
        // Failing, down, or not up yet: as in steady mode, whatever else.
        ("starting", POLICY, starting, Deep),
        ("starting, silent", SILENT, starting, Deep),
        ("starting, blind", POLICY, blind(starting), Deep),
        ("failing soon after a query", POLICY, Situation { rested: false, ..starting }, Deep),
        // Within one interval of activity, and no more often.
        ("active", POLICY, active, Deep),
        ("active, silent", SILENT, active, Deep),
        ("active, but queried just now", POLICY, restless, Stay),
        ("active, queried just now, way unproven", POLICY, Situation { unproven_for: MINUTE, ..restless }, Handshake),
        // Idle.
        ("idle", POLICY, later(59 * S, 59 * S), Stay),
        ("idle for a minute", POLICY, later(MINUTE, MINUTE), Handshake),
        ("idle for hours, way proven", POLICY, later(5 * HOUR, 10 * S), Stay),
        ("idle for six hours", POLICY, later(6 * HOUR, 10 * S), Deep),
        ("silent for a year", SILENT, later(8760 * HOUR, 8760 * HOUR), Stay),
        ("never by age, with handshakes", Policy { max_age: None, ..POLICY }, later(8760 * HOUR, MINUTE), Handshake),
        ("by age alone", Policy { idle_handshake: None, ..POLICY }, later(6 * HOUR, 6 * HOUR), Deep),
        // Blind.
        ("blind", POLICY, blind(later(59 * MINUTE, S)), Stay),
        ("blind, way unproven", POLICY, blind(later(59 * MINUTE, MINUTE)), Handshake),
        ("blind for an hour", POLICY, blind(later(HOUR, S)), Deep),
        ("blind and silent for an hour", SILENT, blind(later(HOUR, HOUR)), Deep),
    ];
    for (name, policy, situation, expected) in table {
        assert_eq!(decide(&policy, &situation), expected, "{name}");
    }
}

#[test]
fn until_the_passing_of_time_changes_the_decision() {
    let table = [
        ("the handshake is next", POLICY, later(10 * S, 10 * S), Some(50 * S)),
        ("the age is next", POLICY, later(6 * HOUR - S, 10 * S), Some(S)),
        ("overdue", POLICY, later(7 * HOUR, 10 * S), Some(Duration::ZERO)),
        ("silent", SILENT, later(HOUR, HOUR), None),
        ("blind and silent", SILENT, Situation { blind: true, ..later(HOUR - S, HOUR) }, Some(S)),
    ];
    for (name, policy, situation, expected) in table {
        assert_eq!(settled_for(&policy, &situation), expected, "{name}");
        if let Some(wait) = expected {
            let then = later(situation.unverified_for + wait, situation.unproven_for + wait);
            let then = Situation { blind: situation.blind, ..then };
            assert_ne!(decide(&policy, &then), Look::Stay, "{name}");
        }
    }
}

#[test]
fn where_the_app_cannot_be_seen() {
    let now = Instant::now() + HOUR;
    let up_for = |time: Duration| now.checked_sub(time);
    let table = [
        ("no diagnostics", false, false, None, Some(Blindness::NoDiagnostics)),
        ("no diagnostics any more", false, true, up_for(HOUR), Some(Blindness::NoDiagnostics)),
        ("the app is not up", true, false, None, None),
        ("the app is up for nine minutes", true, false, up_for(9 * MINUTE), None),
        ("the app is up for ten minutes", true, false, up_for(10 * MINUTE), Some(Blindness::NeverSeen)),
        ("seen once", true, true, up_for(HOUR), None),
    ];
    for (name, diagnostics, ever_seen, app_up_since, expected) in table {
        assert_eq!(blindness(diagnostics, ever_seen, app_up_since, now), expected, "{name}");
    }
}
