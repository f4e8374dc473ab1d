//! A hostile server: whatever it sends, and however often, it costs little memory and delays no endpoint.

use std::time::{Duration, Instant};

use super::{Channel, server_certificate, side_by_side};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Auth, Behaviour, Fault};
use crate::support::process::status;
use crate::support::sidecar::Sidecar;

/// The most memory that a hostile server may cost beyond an honest one, in KiB: a check reads at most 256 KiB from it,
/// and what the driver makes of that may be several times as much.
const ROOM: u64 = 8 * 1024;
/// From memory, on a machine that is busy with other tests.
const PROMPT: Duration = Duration::from_secs(3);

struct Case {
    name: &'static str,
    channel: Channel,
    behaviour: Behaviour,
    /// What Neon caches is not asked again within 30 s.
    checks: f64,
}

fn case(name: &'static str, channel: Channel, behaviour: Behaviour) -> Case {
    Case { name, channel, behaviour, checks: 4.0 }
}

#[test]
fn a_hostile_server_costs_little_memory_and_delays_no_endpoint() {
    use Channel::{Plain, Tls};
    let at = |point, fault| Behaviour::fault(point, fault);
    let with = |auth| Behaviour::good().auth(auth);
    let long = "a".repeat(200_000);
    let cases = [
        case("an honest one", Plain, Behaviour::good()),
        case("an honest one", Tls, Behaviour::good()),
        Case { checks: 1.0, ..case("2^31 - 1 iterations", Plain, with(Auth::ScramIterations(i32::MAX as u32))) },
        case("as many iterations as are allowed", Plain, with(Auth::ScramIterations(100_000))),
        case("a gigabyte announced at login", Plain, at(At::Startup, Fault::gigabyte(b'R'))),
        case("a gigabyte announced at login", Tls, at(At::Login, Fault::gigabyte(b'S'))),
        case("a gigabyte announced in the query", Plain, at(At::MidQuery, Fault::gigabyte(b'D'))),
        case("a gigabyte announced in the query", Tls, at(At::MidQuery, Fault::gigabyte(b'D'))),
        case("a gigabyte announced in a SQL check", Tls, at(At::SqlCheck, Fault::gigabyte(b'T'))),
        case("endless rows", Plain, at(At::MidQuery, Fault::EndlessRows)),
        case("endless rows", Tls, at(At::MidQuery, Fault::EndlessRows)),
        case("endless rows in a SQL check", Plain, at(At::SqlCheck, Fault::EndlessRows)),
        case("a notice flood at login", Tls, at(At::Login, Fault::EndlessNotices)),
        case("a notice flood", Plain, at(At::Query, Fault::EndlessNotices)),
        case("a notice flood in a SQL check", Tls, at(At::SqlCheck, Fault::EndlessNotices)),
        case("a complaint of 200 kB", Plain, at(At::Startup, Fault::fatal("XX000", &long))),
        case("a version of 200 kB", Tls, Behaviour::good().server_version(&long)),
    ];
    let certificate = server_certificate();
    let costs = side_by_side(&cases, |case| {
        let fake = case.channel.serve(&certificate, [case.behaviour.clone()]);
        let sidecar = Sidecar::on(case.channel.url(fake.url()))
            .app(1)
            .set("SIDEPULSE_DATABASE_INTERVAL", "200ms")
            .set("SIDEPULSE_DATABASE_TIMEOUT", "2s")
            .set("SIDEPULSE_SQL_CHECKS", "fine: SELECT true")
            .start();
        let done = || sidecar.metric("sidepulse_checks_total{check=\"database\"}").is_some_and(|n| n >= case.checks);
        let mut slowest = Duration::ZERO;
        let checked = eventually(SOON, || {
            let asked = Instant::now();
            assert_eq!(sidecar.get("/livez").status, 200, "{}", case.name);
            slowest = slowest.max(asked.elapsed());
            done()
        });
        assert!(checked, "{}: not enough checks\n{}", case.name, sidecar.log_text());
        assert!(slowest < PROMPT, "{}: /livez took {slowest:?}", case.name);
        assert_eq!(fake.counts().max_concurrent, 1, "{}", case.name);
        status(sidecar.pid(), "VmHWM")
    });
    let kib = |row: usize| costs[row].unwrap_or_else(|| panic!("{} failed", cases[row].name));
    for (row, case) in cases.iter().enumerate() {
        let honest = kib(usize::from(case.channel == Tls));
        println!("| {} | {:?} | {} KiB over {honest} KiB |", case.name, case.channel, kib(row).saturating_sub(honest));
        assert!(kib(row) < honest + ROOM, "{} ({:?}): {} KiB", case.name, case.channel, kib(row));
    }
}
