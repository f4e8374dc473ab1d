use super::*;
use crate::probe::{Failure, Phase, Phases};

const AFTER: Duration = Duration::from_secs(30);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A check that took 2 s and ended then.
fn outcome(ended: Instant, reason: Option<Reason>) -> Outcome {
    let result = reason.map_or(Ok(()), |reason| Err(Failure::new(reason, Phase::Response)));
    let mut outcome = Outcome::now(result, 1, ended, Phases::default());
    outcome.ended.0 = ended;
    outcome.duration = seconds(2);
    outcome
}

type Checks<'a> = &'a [(u64, Option<Reason>)];

/// The second at which the last request is due after checks that ended at these.
fn due(was_up: bool, checks: Checks<'_>) -> Option<u64> {
    let start = Instant::now();
    let mut silence = Silence::new(AFTER);
    for (second, reason) in checks {
        silence.take(was_up, &outcome(start + seconds(*second), *reason));
    }
    silence.due().map(|due| (due - start).as_secs())
}

#[test]
fn only_time_without_an_http_answer_counts() {
    use Reason::{
        BadStatus, ConnectRefused, ConnectTimeout, ConnectionLost, LoopbackOnly, ProtocolError, ResponseTimeout,
    };
    let rows: [(Checks<'_>, Option<u64>); 9] = [
        (&[(10, None)], None),
        // From the start of the first check without an answer.
        (&[(10, Some(ConnectRefused))], Some(38)),
        (&[(10, Some(ConnectTimeout)), (15, Some(ResponseTimeout)), (20, Some(ConnectRefused))], Some(38)),
        // After an answer of any status it starts over.
        (&[(10, Some(ResponseTimeout)), (15, None)], None),
        (&[(10, Some(ResponseTimeout)), (15, Some(BadStatus)), (20, Some(ResponseTimeout))], Some(48)),
        (&[(10, Some(ResponseTimeout)), (15, Some(LoopbackOnly))], None),
        (&[(10, Some(ResponseTimeout)), (15, Some(ProtocolError))], None),
        // A connection that is cut is not silence.
        (&[(10, Some(ConnectionLost)), (15, Some(ConnectionLost))], None),
        (&[(10, Some(Reason::Internal)), (15, Some(Reason::DnsFailure)), (20, Some(Reason::TlsTimeout))], None),
    ];
    for (checks, expected) in rows {
        assert_eq!(due(true, checks), expected, "{checks:?}");
    }
}

#[test]
fn an_app_that_was_never_up_is_starting() {
    assert_eq!(due(false, &[(10, Some(Reason::ConnectRefused)), (50, Some(Reason::ConnectRefused))]), None);
}

#[test]
fn no_reason_of_the_database_counts() {
    let silent: Vec<_> = Reason::ALL.iter().filter(|reason| is_silence(**reason)).collect();
    assert_eq!(silent, [&Reason::ConnectRefused, &Reason::ConnectTimeout, &Reason::ResponseTimeout]);
}

#[test]
fn the_last_request_decides_and_the_verdict_is_given_once() {
    let start = Instant::now();
    let at = |second: u64| start + seconds(second);
    let silent = |silence: &mut Silence, second: u64| {
        silence.take(true, &outcome(at(second), Some(Reason::ResponseTimeout)));
    };
    for (last, verdict) in [
        (LastRequest::Failed(Reason::ResponseTimeout), true),
        (LastRequest::Failed(Reason::ConnectRefused), true),
        (LastRequest::Failed(Reason::ConnectTimeout), true),
        (LastRequest::Failed(Reason::ConnectionLost), true),
        (LastRequest::Answered, false),
        (LastRequest::Failed(Reason::BadStatus), false),
        (LastRequest::Failed(Reason::ProtocolError), false),
        (LastRequest::Failed(Reason::Internal), false),
        (LastRequest::NotMade, false),
    ] {
        let mut silence = Silence::new(AFTER);
        silent(&mut silence, 2);
        let judged = silence.judge(last, at(42)).map(|(time, _)| time);
        assert_eq!(judged, verdict.then_some(seconds(42)), "{last:?}");
        silent(&mut silence, 50);
        // Not again for the same silence; after an answer it counts from the next silence on.
        assert_eq!(silence.due(), if verdict { None } else { Some(at(78)) }, "{last:?}");
        silence.take(true, &outcome(at(60), None));
        silent(&mut silence, 70);
        assert_eq!(silence.due(), Some(at(98)), "{last:?}");
    }
}

#[test]
fn an_answer_while_asking_once_more_wins() {
    let start = Instant::now();
    let mut silence = Silence::new(AFTER);
    silence.take(true, &outcome(start + seconds(2), Some(Reason::ResponseTimeout)));
    silence.take(true, &outcome(start + seconds(35), Some(Reason::BadStatus)));
    assert_eq!(silence.judge(LastRequest::Failed(Reason::ResponseTimeout), start + seconds(42)), None);
}

#[test]
fn the_board_may_change_without_a_new_result() {
    let start = Instant::now();
    let mut silence = Silence::new(AFTER);
    let first = outcome(start + seconds(2), Some(Reason::ResponseTimeout));
    silence.take(true, &first);
    assert_eq!(silence.judge(LastRequest::Answered, start + seconds(42)), None);
    silence.take(true, &first);
    assert_eq!(silence.due(), None, "the same result says nothing new");
}
