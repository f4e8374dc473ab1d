//! A low limit on open files: clients never take the descriptors that the checks need.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::target::affordable;
use super::{Target, connect};
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::process::open_files;
use crate::support::sidecar::Sidecar;

const FEW: u32 = 64;
const CLIENTS: usize = 300;
/// Between two connections of the flood.
const PACE: Duration = Duration::from_millis(1);

fn half_request(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    // It may have been closed already.
    let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ");
    stream
}

/// Keeps many half requests open, and replaces those that are closed, until told to stop.
fn flood(address: SocketAddr, over: &AtomicBool) {
    let mut clients = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        clients.push_back(half_request(address));
        if clients.len() > CLIENTS {
            clients.pop_front();
        }
        std::thread::park_timeout(PACE);
    }
}

#[test]
fn with_few_open_files_clients_leave_enough_for_the_checks() {
    affordable(CLIENTS);
    let fake = FakePostgres::start([Behaviour::good()]);
    let builder = Sidecar::on(fake.url()).set("SIDEPULSE_DATABASE_GATE", "always").open_files(FEW);
    let target = Target::of(builder, &["/livez", "/readyz", "/livez"]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flood(target.address(), &over));
        target.wait_for_probes(50);
        // Each check needs a descriptor of its own.
        let logins = fake.counts().logins;
        let checked = eventually(SOON, || fake.counts().logins >= logins + 5);
        over.store(true, Ordering::Relaxed);
        assert!(checked, "{}", target.sidecar.log_text());
    });
    let failures = |check: &str| target.sidecar.check(check)["consecutiveFailures"].clone();
    assert_eq!((failures("app:http"), failures("database:query")), (0.into(), 0.into()));
    target.recovers(0);
}

#[test]
fn where_no_file_can_be_opened_it_says_so_once_and_liveness_is_answered() {
    affordable(CLIENTS);
    let target = Target::of(Sidecar::without_database(), &["/livez"]);
    let pid = target.sidecar.pid();
    // The system may have none left, whatever the limit was at the start.
    let limit = |most: u64| {
        let low = Rlimit { current: Some(most), maximum: getrlimit(Resource::Nofile).maximum };
        let process = Pid::from_raw(i32::try_from(pid).unwrap());
        prlimit(process, Resource::Nofile, low).expect("limit its open files")
    };
    let before = limit(u64::from(FEW));
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| half_request(target.address())).collect();
    // They stay open, so that the sidecar has to make room.
    target.wait_for_probes(50);
    target.is_at_ease();
    assert!(eventually(SOON, || !warnings(&target).is_empty()), "{}", target.sidecar.log_text());
    let files = open_files(pid);
    // Some may have been inherited, and the list does not show a single moment.
    assert!(files < 2 * FEW as usize, "{files} files\n{}", target.sidecar.log_text());
    drop(clients);
    limit(before.current.unwrap_or(u64::MAX));
    target.sidecar.wait_for_status("/health", 200);
    let warnings = warnings(&target);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    // The app check may have failed and recovered.
    target.recovers(5);
}

fn warnings(target: &Target) -> Vec<serde_json::Value> {
    let warnings = target.sidecar.events("warning").into_iter();
    warnings.filter(|line| line["message"].as_str().is_some_and(|text| text.contains("cannot accept"))).collect()
}
