//! `SIDEPULSE_IDLE_HANDSHAKE=0s`: a Railway Serverless service sleeps after 10 min without an outbound packet, so that
//! not one may leave.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

use rustix::process::geteuid;

use super::*;
use crate::support::scratch::Scratch;

/// Set where the test runs inside the namespace.
const INSIDE: &str = "SIDEPULSE_TEST_INSIDE";

/// An app on a Unix socket: asking it makes no packets.
fn app_without_packets(home: &Scratch) -> String {
    let path = home.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a Unix socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    format!("http://unix:{}:/", path.display())
}

/// Packets that all interfaces of this network namespace have sent so far.
fn packets() -> u64 {
    let table = fs::read_to_string("/proc/net/dev").expect("the interfaces' counters");
    let sent = |line: &str| line.split_once(':')?.1.split_ascii_whitespace().nth(9)?.parse::<u64>().ok();
    table.lines().filter_map(sent).sum()
}

/// Runs anywhere: no connection to the database while the app is idle, though the app holds one open.
fn is_silent(counts_packets: bool) {
    let home = Scratch::new("silence");
    let database = Sleepy::start(WAKEFUL);
    let held = session(&database.url());
    let unused = WebApp::start();
    let sidecar = economy(database.url(), &unused).set("SIDEPULSE_APP_URL", app_without_packets(&home)).start();
    sidecar.wait_for_check(CHECK, idle);
    // The connections of the start and of our own requests are over after this.
    let settled = eventually(SOON, || {
        let before = packets();
        let quiet = stays(Duration::from_millis(300), || packets() == before);
        quiet || !counts_packets
    });
    assert!(settled, "packets go on");
    let (connections, sent) = (database.counts().connections, packets());
    let silent =
        stays(2 * LOOKS, || database.counts().connections == connections && (!counts_packets || packets() == sent));
    assert!(silent, "{:?}, {} packets\n{}", database.counts(), packets() - sent, sidecar.log_text());
    assert_eq!(sidecar.check(CHECK)["status"], "pass");
    // It has been watching: a query through the connection that was held open is noticed.
    let first = newest(&sidecar);
    held.sql("SELECT 1").expect("a query");
    assert!(eventually(SOON, || newest(&sidecar) > first), "{}", sidecar.log_text());
}

#[test]
fn no_connection_is_made() {
    is_silent(false);
}

/// In a network namespace of its own, where every packet is the sidecar's.
#[test]
fn no_packet_is_sent() {
    if std::env::var_os(INSIDE).is_some() {
        return is_silent(true);
    }
    if !geteuid().is_root() {
        println!("not root: no network namespace to count packets in");
        return;
    }
    let mut inside = Command::new("unshare");
    inside.args(["--net", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]);
    inside.arg(std::env::current_exe().expect("this program"));
    inside.args(["--exact", "economy::silence::no_packet_is_sent"]).env(INSIDE, "1");
    let output = inside.output().expect("run unshare");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
