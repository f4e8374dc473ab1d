//! Names with several addresses, dead ones among them, and a name server that never answers.
//!
//! They need name servers, hosts and routes of their own: each test here runs another one of this file in namespaces,
//! or says why it cannot.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::namespace;
use crate::support::postgres::Postgres;
use crate::support::sidecar::Sidecar;

/// Loopback and nothing else. The higher precedence in `gai.conf` comes first.
const NETWORK: &str = "
set -e
export PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
mount -t tmpfs none /mnt
cat > /mnt/hosts <<END
127.0.0.1 localhost
127.0.0.1 three.test
127.0.0.2 three.test
127.0.0.3 three.test
127.0.0.4 refused-first.test
127.0.0.1 refused-first.test
127.0.0.77 silent-first.test
127.0.0.1 silent-first.test
127.0.0.77 silent.test
127.0.0.78 silent.test
127.0.0.77 silent-and-refused.test
127.0.0.4 silent-and-refused.test
2001:db8::1 v6-only.test
2001:db8::1 v6-and-v4.test
127.0.0.1 v6-and-v4.test
END
echo 'multi on' > /mnt/host.conf
cat > /mnt/gai.conf <<END
precedence ::ffff:127.0.0.4/128 100
precedence ::ffff:127.0.0.77/128 100
precedence ::ffff:0:0/96 10
precedence ::/0 40
END
printf 'nameserver 127.0.0.1\\noptions timeout:1 attempts:2\\n' > /mnt/resolv.conf
echo 'hosts: files dns' > /mnt/nsswitch.conf
for file in hosts host.conf gai.conf resolv.conf nsswitch.conf; do
    [ -e /etc/$file ] || touch /etc/$file
    mount --bind /mnt/$file /etc/$file
done
exec \"$0\" \"$@\"
";

/// Runs one of the ignored tests below in namespaces of its own.
fn inside(test: &str) {
    if let Err(reason) = namespace::allowed() {
        return println!("skipped: {reason}");
    }
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", NETWORK])
        .arg(std::env::current_exe().expect("our own path"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .expect("run unshare");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn one_login_an_attempt_however_many_addresses_and_dead_ones_are_skipped() {
    inside("addresses::several_addresses");
}

#[test]
fn a_name_server_that_never_answers_costs_one_thread_a_check_and_may_recover() {
    inside("addresses::a_silent_name_server");
}

#[test]
#[ignore = "run in namespaces of its own"]
fn several_addresses() {
    let postgres = Postgres::builder().setting("listen_addresses = '127.0.0.1, 127.0.0.2, 127.0.0.3'").start();
    let _silent = [77, 78].map(|last| Silent::on(Ipv4Addr::new(127, 0, 0, last), postgres.port()));
    let url = |host: &str| postgres.url().host(host).param("sslmode", "disable");
    let check = |host: &str, password: Option<&str>| {
        let url = password.map_or(url(host), |password| url(host).password(password));
        let run = Sidecar::on(url).set("SIDEPULSE_DATABASE_TIMEOUT", "3s");
        run.set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "2s").check_database().1
    };
    let logins = || postgres.log_text().matches("password authentication failed").count();
    for attempt in 1..=2 {
        let found = check("three.test", Some("wrong"));
        assert_eq!((found["reason"].as_str(), found["attempts"].as_u64()), (Some("auth_failed"), Some(1)), "{found}");
        assert!(eventually(SOON, || logins() == attempt), "{} logins", logins());
    }
    // Name, reason, and the least and the most that `connect` may take in ms.
    for (host, reason, least, most) in [
        ("three.test", None, 0.0, 500.0),
        ("refused-first.test", None, 0.0, 500.0),
        // Half of the attempt's 2 s, then the address that answers.
        ("silent-first.test", None, 950.0, 1900.0),
        ("silent.test", Some("connect_timeout"), 0.0, 2500.0),
        ("silent-and-refused.test", Some("connect_refused"), 0.0, 2500.0),
        // There is no route to any IPv6 address here.
        ("v6-only.test", Some("unreachable"), 0.0, 500.0),
        ("v6-and-v4.test", None, 0.0, 500.0),
    ] {
        let found = check(host, None);
        assert_eq!(found["reason"].as_str(), reason, "{host}: {found}");
        let connect = found["phases_ms"]["connect"].as_f64().unwrap_or(-1.0);
        assert!((least..most).contains(&connect), "{host}: {found}");
        assert!(found["phases_ms"]["resolve"].is_number(), "{host}: {found}");
    }
    let missing = check("missing.test", None);
    assert_eq!(
        (missing["reason"].as_str(), missing["attempts"].as_u64() > Some(1)),
        (Some("dns_failure"), true),
        "{missing}"
    );
}

#[test]
#[ignore = "run in namespaces of its own"]
fn a_silent_name_server() {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    let answers = Arc::new(AtomicBool::new(false));
    let answering = Arc::clone(&answers);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            if answering.load(Ordering::Relaxed) {
                let _ = socket.send_to(&dns_answer(&query[..length]), client);
            }
        }
    });
    let fake = FakePostgres::start([Behaviour::good()]);
    let sidecar = Sidecar::on(fake.url().host("db.test").param("sslmode", "disable"))
        .set("SIDEPULSE_APP_URL", "http://app.test/")
        .set("SIDEPULSE_APP_TIMEOUT", "100ms")
        .set("SIDEPULSE_APP_INTERVAL", "100ms")
        .set("SIDEPULSE_DATABASE_TIMEOUT", "300ms")
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "100ms")
        .set("SIDEPULSE_DATABASE_INTERVAL", "100ms")
        .start();
    let threads = || std::fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap().count();
    let mut most = 0;
    let many = eventually(SOON, || {
        most = most.max(threads());
        sidecar.metric("sidepulse_checks_total{check=\"database\"}") >= Some(12.0)
    });
    assert!(many, "{}", sidecar.log_text());
    // HTTP, checks and log; then one look-up for each check.
    assert!(most <= 5, "{most} threads");
    for key in ["app:http", "database:query"] {
        let check = sidecar.check(key);
        assert_eq!(
            (check["reason"].as_str(), check["status"].as_str()),
            (Some("dns_failure"), Some("fail")),
            "{check}"
        );
        let phases = check["phases"].as_object().unwrap();
        assert!(phases.keys().eq(["resolve"]), "{check}");
    }
    assert_eq!(sidecar.get("/livez").status, 200);
    assert_eq!(fake.counts().accepted, 0);
    answers.store(true, Ordering::Relaxed);
    sidecar.wait_for_check("database:query", |check| check["state"] == "up");
    assert!(eventually(Duration::from_secs(60), || threads() <= 5));
}

/// An address that swallows every SYN: a listener whose backlog is full.
struct Silent {
    _listener: Socket,
    _guest: TcpStream,
}

impl Silent {
    fn on(ip: Ipv4Addr, port: u16) -> Silent {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddr::from((ip, port));
        listener.bind(&address.into()).expect("an address of loopback");
        listener.listen(0).expect("a backlog");
        Silent { _listener: listener, _guest: TcpStream::connect(address).expect("the one place") }
    }
}

/// 127.0.0.1 for a question of type A, and no record of any other type (RFC 1035, section 4).
fn dns_answer(query: &[u8]) -> Vec<u8> {
    const TYPE_A: &[u8] = &[0, 1, 0, 1];
    let names_end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap_or(0) + 1;
    let question = &query[12..names_end + 4];
    let is_a = question.ends_with(TYPE_A);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(question);
    if is_a {
        // The name as in the question, type, class, 60 s, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
