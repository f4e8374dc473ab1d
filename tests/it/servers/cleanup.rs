//! Nothing is left of the servers, even when the test process is killed.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::eventually::{SOON, eventually};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::scratch::{Scratch, root};

/// Where the victim says which ports and directory it uses.
const REPORT: &str = "SIDEPULSE_TEST_VICTIM_REPORT";

/// Not a test by itself, and empty where it has nowhere to report to: the process that the next test kills.
#[test]
fn victim() {
    let Some(report) = std::env::var_os(REPORT).map(PathBuf::from) else { return };
    let (frozen, running) = (Postgres::start_plain(), Postgres::start_plain());
    let pooler = PgBouncer::in_front_of(&running).start();
    frozen.freeze();
    let text = format!("{} {} {} {}", frozen.port(), running.port(), pooler.port(), root().display());
    fs::write(report.with_extension("new"), text).expect("write the report");
    fs::rename(report.with_extension("new"), report).expect("show the report");
    let _ = eventually(2 * SOON, || false);
}

#[test]
fn a_killed_process_leaves_nothing() {
    let place = Scratch::new("victim");
    let report = place.path().join("report");
    let mut victim = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "servers::cleanup::victim"])
        .env(REPORT, &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start ourselves");
    // It starts three servers and makes a template for them, each with a deadline of its own: it reports, or it ends.
    let reported = eventually(10 * SOON, || report.exists() || !matches!(victim.try_wait(), Ok(None)));
    victim.kill().expect("kill the victim");
    victim.wait().expect("the victim's end");
    assert!(reported, "the victim neither reports nor ends");
    let text = fs::read_to_string(&report).expect("a report");
    let mut words = text.split(' ');
    let ports: Vec<u16> = words.by_ref().take(3).map(|port| port.parse().expect("a port")).collect();
    let directory = PathBuf::from(words.next().expect("a directory"));
    assert_ne!(directory, root());
    assert!(eventually(SOON, || !directory.exists()), "{} is left", directory.display());
    for port in ports {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect_err("nobody listens");
    }
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let postgres = Postgres::start_plain();
    let (port, directory) = (postgres.port(), postgres.socket_directory().to_owned());
    postgres.freeze();
    drop(postgres);
    assert!(!directory.exists());
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect_err("nobody listens");
}

#[test]
fn a_panic_stops_the_servers_too() {
    let place = std::sync::Mutex::new(PathBuf::new());
    let outcome = std::panic::catch_unwind(|| {
        let postgres = Postgres::start_plain();
        postgres.socket_directory().clone_into(&mut place.lock().expect("a lock"));
        postgres.admin("SELECT 1/0");
    });
    assert!(outcome.is_err());
    let place = place.into_inner().expect("a path");
    assert!(!place.as_os_str().is_empty() && !place.exists());
}
