//! What looks like a fault but is not: slow, chatty or old-fashioned servers, and those that recover in time.

use std::time::Duration;

use super::{Channel, server_certificate, side_by_side};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Auth, Behaviour, Fault, PASSWORD};
use crate::support::sidecar::Sidecar;

struct Case {
    name: &'static str,
    channel: Channel,
    script: Vec<Behaviour>,
    /// `-` is a plain pass.
    warning: &'static str,
    attempts: u64,
}

fn case(name: &'static str, channel: Channel, script: Vec<Behaviour>) -> Case {
    let attempts = script.len() as u64;
    Case { name, channel, script, warning: if attempts > 1 { "recovered_after_retry" } else { "-" }, attempts }
}

#[test]
fn a_slow_chatty_or_late_server_passes() {
    use Channel::{Bound, Direct, Plain, Prefer, Tls};
    let with = |auth| Behaviour::good().auth(auth);
    let fatal = |code, text| Behaviour::fault(At::Startup, Fault::fatal(code, text));
    let starting = || fatal("57P03", "the database system is starting up");
    let cases = [
        case("SCRAM", Plain, vec![Behaviour::good()]),
        case("SCRAM after an N", Prefer, vec![Behaviour::good()]),
        case("SCRAM", Tls, vec![Behaviour::good()]),
        case("SCRAM-PLUS", Bound, vec![Behaviour::good()]),
        case("direct TLS", Direct, vec![Behaviour::good()]),
        case("SCRAM without binding", Tls, vec![with(Auth::ScramUnbound)]),
        case("50000 iterations", Tls, vec![with(Auth::ScramIterations(50_000))]),
        case("cleartext over TLS", Tls, vec![with(Auth::Cleartext)]),
        case("md5", Plain, vec![with(Auth::Md5)]),
        case("md5", Tls, vec![with(Auth::Md5)]),
        case("no authentication", Tls, vec![with(Auth::Trust)]),
        case("a cold start of 0.8 s", Tls, vec![Behaviour::good().ready_after(Duration::from_millis(800))]),
        case("a thousand notices", Tls, vec![Behaviour::good().notices(1000)]),
        case("one byte a packet", Prefer, vec![Behaviour::good().drip(At::SslRequest, Duration::from_micros(100))]),
        case("two starts that were too early", Tls, vec![starting(), starting(), Behaviour::good()]),
        case("a lost connection", Plain, vec![Behaviour::fault(At::Query, Fault::Close), Behaviour::good()]),
        case("a frozen moment", Tls, vec![Behaviour::fault(At::SslRequest, Fault::Stall), Behaviour::good()]),
        Case { warning: "read_only", ..case("in recovery", Tls, vec![Behaviour::good().in_recovery()]) },
        Case { warning: "read_only", ..case("read-only", Plain, vec![starting(), Behaviour::good().read_only()]) },
    ];
    let certificate = server_certificate();
    let results = side_by_side(&cases, |case| {
        let fake = case.channel.serve(&certificate, case.script.clone());
        let sidecar = Sidecar::on(case.channel.url(fake.url()))
            .app(1)
            .set("SIDEPULSE_DATABASE_INTERVAL", "1h")
            // Only the frozen moment takes a whole attempt: the others have time, however busy the machine is.
            .set("SIDEPULSE_DATABASE_TIMEOUT", "15s")
            .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "5s")
            .start();
        let check = sidecar.wait_for_check("database:query", |check| check["state"] != "starting");
        let told = (check["state"].as_str(), check["reason"].as_str().unwrap_or("-"), check["attempts"].as_u64());
        assert_eq!(told, (Some("up"), case.warning, Some(case.attempts)), "{}", case.name);
        // The handshake for the certificate follows, and is not a login; a session is ended with Terminate.
        let connections = case.script.len() + 1;
        let settled = || fake.counts().accepted == connections && fake.counts().terminates == 1;
        assert!(eventually(SOON, || settled() && fake.connections_now() == 0), "{}: {:?}", case.name, fake.counts());
        let counts = fake.counts();
        assert_eq!((counts.max_concurrent, counts.cancels), (1, 0), "{}", case.name);
        let clear = case.name.starts_with("cleartext").then(|| PASSWORD.to_owned());
        assert_eq!(counts.clear_passwords, Vec::from_iter(clear), "{}", case.name);
        if case.channel == Channel::Bound {
            assert_eq!(counts.mechanisms, ["SCRAM-SHA-256-PLUS"]);
        }
        if case.channel == Channel::Direct {
            assert_eq!((counts.direct_tls, counts.ssl_requests), (2, 0));
        }
        if case.name.starts_with("a cold start") {
            assert!(check["phases"]["auth"].as_f64().is_some_and(|ms| ms >= 800.0), "the wake-up is auth's: {check}");
        }
    });
    let wrong: Vec<_> =
        cases.iter().zip(results).filter(|(_, done)| done.is_none()).map(|(case, _)| case.name).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
