use super::*;

const S: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);

/// A dump that takes no time.
fn dump(history: &mut History, seen: &[(ListedSocket, Whose)], now: Instant) -> Activity {
    history.compare(seen, now, now)
}

fn start() -> Instant {
    Instant::now() + LONG
}

fn socket(cookie: u64, quiet_for: Duration) -> (ListedSocket, Whose) {
    (
        ListedSocket { cookie, peer: "192.0.2.1".parse().unwrap(), established: true, quiet_for, received: None },
        Whose::TheApps,
    )
}

fn closing((socket, whose): (ListedSocket, Whose)) -> (ListedSocket, Whose) {
    (ListedSocket { established: false, ..socket }, whose)
}

fn end(cookie: u64, last_data: Instant) -> EndedSocket {
    EndedSocket { cookie, peer: "192.0.2.1".parse().unwrap(), last_data, received: None }
}

#[test]
fn a_pool_that_is_held_open_is_not_activity_and_a_query_through_it_is() {
    let (mut history, t) = (History::default(), start());
    assert!(!history.ever_seen());
    dump(&mut history, &[socket(1, 60 * S), socket(2, 60 * S)], t);
    let idle = dump(&mut history, &[socket(1, 75 * S), socket(2, 75 * S)], t + 15 * S);
    assert!(!idle.is_active() && idle.connections == 2 && history.ever_seen());
    let queried = dump(&mut history, &[socket(1, 90 * S), socket(2, 4 * S)], t + 30 * S);
    assert!(queried.is_active() && queried.is_doubtful());
    assert_eq!((queried.moments, queried.held), (vec![], vec![(2, t + 26 * S)]));
    assert!(!dump(&mut history, &[socket(1, 105 * S), socket(2, 19 * S)], t + 45 * S).is_active(), "it counts once");
}

#[test]
fn a_socket_that_came_and_went_between_two_dumps_is_activity() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[], t);
    history.ended(&end(1, t + 3 * S), Whose::TheApps);
    assert!(history.ever_seen());
    let found = dump(&mut history, &[], t + 15 * S);
    assert_eq!((found.moments.as_slice(), found.connections), (&[t + 3 * S][..], 0));
    assert!(!dump(&mut history, &[], t + 30 * S).is_active());
}

#[test]
fn what_a_server_that_suspends_sends_is_not_activity() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[socket(1, LONG), socket(2, LONG)], t);
    // It writes 57P01 and closes: the one client closes at once, the other one when it next uses the connection.
    history.ended(&end(1, t + 3 * S), Whose::TheApps);
    assert!(!dump(&mut history, &[closing(socket(2, 12 * S))], t + 15 * S).is_active());
    assert_eq!(dump(&mut history, &[closing(socket(2, 27 * S))], t + 30 * S).connections, 0);
    history.ended(&end(2, t + 3 * S), Whose::TheApps);
    assert!(!dump(&mut history, &[], t + 45 * S).is_active());
}

#[test]
fn a_dump_between_the_last_message_and_the_close_is_in_doubt_and_the_second_one_decides() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[socket(1, LONG), socket(2, LONG), socket(3, LONG)], t);
    let said = [socket(1, 3 * S), socket(2, 3 * S), socket(3, LONG)];
    let mut found = dump(&mut history, &said, t + 15 * S);
    assert!(found.is_doubtful());
    found.confirm(&[closing(socket(1, 3 * S)).0, socket(3, LONG).0]);
    assert!(!found.is_active());
    // A query leaves its connection open.
    let mut found = dump(&mut history, &[socket(3, S)], t + 30 * S);
    found.confirm(&[socket(3, 2 * S).0]);
    assert!(found.is_active());
    // A new connection is none that a suspend would end: it is believed, and what else was found with it.
    let found = dump(&mut history, &[socket(3, S), socket(4, S)], t + 45 * S);
    assert!(!found.is_doubtful());
}

#[test]
fn an_end_that_is_reported_late_is_not_news() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[socket(1, LONG)], t);
    // Its last message came just before this dump, which lists it no more, and the kernel reports its end after it.
    dump(&mut history, &[], t + 15 * S);
    history.ended(&end(1, t + 15 * S - Duration::from_millis(5)), Whose::TheApps);
    assert!(!dump(&mut history, &[], t + 30 * S).is_active());
    // One that was reset, and that its owner closes hours later.
    history.ended(&end(7, t + S), Whose::TheApps);
    assert!(!dump(&mut history, &[], t + 45 * S).is_active());
}

#[test]
fn what_is_not_the_apps_counts_nowhere_but_its_name_is_kept() {
    let (mut history, t) = (History::default(), start());
    let ours = (socket(1, S).0, Whose::NotTheApps);
    assert_eq!(dump(&mut history, &[ours], t), Activity::default());
    assert!(!history.ever_seen());
}

#[test]
fn data_that_came_with_the_dump_itself_counts_at_the_next_one() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[socket(1, LONG)], t);
    // The kernel's clock is coarse: this age puts it 3 ms before the dump before.
    assert!(dump(&mut history, &[socket(1, 15 * S + Duration::from_millis(3))], t + 15 * S).is_active());
    assert!(!dump(&mut history, &[socket(1, 30 * S + Duration::from_millis(3))], t + 30 * S).is_active());
}

#[test]
fn a_short_connection_is_seen_at_whatever_moment_of_its_life_the_dump_comes() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[], t);
    // In use; closing; gone, but its end is reported after the dump that might have listed it.
    assert!(dump(&mut history, &[socket(1, S)], t + 15 * S).is_active());
    assert!(dump(&mut history, &[closing(socket(2, S))], t + 30 * S).is_active());
    history.ended(&end(2, t + 29 * S), Whose::TheApps);
    assert!(!dump(&mut history, &[], t + 45 * S).is_active(), "each counts once");
    history.ended(&end(3, t + 44 * S), Whose::TheApps);
    assert!(dump(&mut history, &[], t + 60 * S).is_active());
}

#[test]
fn a_dump_that_takes_its_time_misses_nothing() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[socket(1, LONG)], t);
    // The data came 50 ms after the dump before; this one begins, is held up for 400 ms, and only then gets the age.
    let (began, ended) = (t + 15 * S, t + 15 * S + Duration::from_millis(400));
    assert!(history.compare(&[socket(1, ended - t - Duration::from_millis(50))], began, ended).is_active());
}

#[test]
fn a_socket_over_which_no_login_came_is_not_activity_and_its_login_is_new() {
    let (mut history, t) = (History::default(), start());
    let logging_in = |cookie, quiet_for| (socket(cookie, quiet_for).0, Whose::LoggedOut);
    dump(&mut history, &[], t);
    // Tried and closed; held open; still logging in, while the compute wakes up.
    history.ended(&end(1, t + S), Whose::LoggedOut);
    assert!(history.ever_seen(), "such sockets would be seen");
    let found = dump(&mut history, &[logging_in(2, 14 * S), logging_in(3, S)], t + 15 * S);
    assert!(!found.is_active() && found.connections == 2);
    // This one is in now: believed, a server that suspends ends connections that were logged in before.
    let found = dump(&mut history, &[logging_in(2, 29 * S), socket(3, S)], t + 30 * S);
    assert!(found.is_active() && !found.is_doubtful());
    assert!(!dump(&mut history, &[logging_in(2, 44 * S), socket(3, 16 * S)], t + 45 * S).is_active());
    // It logs in and ends between two dumps.
    history.ended(&end(2, t + 50 * S), Whose::TheApps);
    assert!(dump(&mut history, &[], t + 60 * S).is_active());
}

#[test]
fn thousands_of_ends_take_no_memory() {
    let (mut history, t) = (History::default(), start());
    dump(&mut history, &[], t);
    for n in 0..10_000 {
        history.ended(&end(n, t + S + n as u32 * Duration::from_micros(10)), Whose::TheApps);
    }
    assert!(dump(&mut history, &[], t + 15 * S).moments.len() <= 3);
}

#[test]
fn an_overflow_is_activity_once() {
    let (mut history, t) = (History::default(), start());
    history.lost();
    assert!(dump(&mut history, &[], t).is_active());
    assert!(!dump(&mut history, &[], t + 15 * S).is_active());
}
