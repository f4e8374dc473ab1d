//! Floods of connections: no client that asks is kept out.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::target::{MOST_CLIENTS, affordable, soon, state};
use super::{LIVEZ, Target, connect, is_closed, read_answer, read_to_end, statuses};
use crate::support::fake_postgres::{Behaviour, FakePostgres};
use crate::support::process::open_files;
use crate::support::sidecar::Sidecar;

const THOUSANDS: usize = 3_000;
/// How many connect between two requests of an active client: fewer than there is room for.
const BATCH: usize = 100;
/// How many connections each of two flooders holds: together more than there is room for.
const HELD: usize = MOST_CLIENTS * 2 / 3;
/// Clients that hold the longest possible answer: some 230 KB with as many SQL checks as are allowed.
const SCRAPERS: usize = 200;
const SQL_CHECKS: usize = 32;
/// Between two connections of a flooder.
const FLOOD_PACE: Duration = Duration::from_millis(1);

#[test]
fn thousands_of_idle_clients_keep_neither_a_new_nor_an_active_one_out() {
    let target = Target::start();
    let mut active = connect(target.address());
    let mut clients = Vec::new();
    for n in 0..affordable(THOUSANDS) {
        clients.push(connect(target.address()));
        if n % BATCH == 0 {
            // Clients are accepted in order: this one's answer shows that all before it were accepted.
            assert_eq!(target.sidecar.get("/livez").status, 200);
            active.write_all(LIVEZ.as_bytes()).unwrap();
            let answer = read_answer(&mut active).unwrap_or_else(|error| panic!("{error} at client {n}"));
            assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        }
    }
    assert!(clients.len() > MOST_CLIENTS, "the limit on open files is too low for this test");
    target.wait_for_probes(20);
    let open = clients.iter().filter(|stream| !is_closed(stream)).count();
    assert!(open <= MOST_CLIENTS, "{open} idle clients are still served");
    assert!(
        is_closed(&clients[0]) && !is_closed(&clients[clients.len() - 1]),
        "the one that was silent longest goes first"
    );
    target.is_at_ease();
    drop((active, clients));
    target.recovers(0);
}

#[test]
fn a_scraper_that_stays_connected_keeps_no_copy_of_the_answer_alive() {
    let fake = FakePostgres::start([Behaviour::good()]);
    let checks: String = (0..SQL_CHECKS).map(|n| format!("check_{n}: SELECT true\n")).collect();
    let target = Target::of(Sidecar::on(fake.url()).set("SIDEPULSE_SQL_CHECKS", checks), &["/livez"]);
    let clients: Vec<TcpStream> = (0..SCRAPERS)
        .map(|_| {
            let mut stream = connect(target.address());
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_whole(&mut stream);
            stream
        })
        .collect();
    target.wait_for_probes(2);
    drop(clients);
    target.recovers(0);
}

/// Reads an answer to the end announced by its head.
fn read_whole(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "closed after {} bytes", answer.len());
        answer.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse().unwrap() {
            return;
        }
    }
}

#[test]
fn a_flood_that_comes_back_keeps_no_client_out() {
    let target = Target::start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(target.address(), &over));
        }
        soon(&target, "the flood does not fill it", || open_files(target.sidecar.pid()) >= MOST_CLIENTS);
        target.wait_for_probes(100);
        over.store(true, Ordering::Relaxed);
    });
    target.recovers(0);
}

/// Connects again and again, and sends half a request, none, or one whose answer it does not read.
fn flood(address: SocketAddr, over: &AtomicBool) {
    let mut held = VecDeque::new();
    for request in ["", "GET /livez HTT", LIVEZ].iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let mut stream = connect(address);
        let _ = stream.write_all(request.as_bytes());
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
        std::thread::park_timeout(FLOOD_PACE);
    }
}

#[test]
fn requests_that_arrived_while_it_could_not_run_are_answered() {
    let backlog = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    // More than it serves at once, and no more than the kernel queues.
    for (open_files, asking) in [(1024, 900), (64, 100)] {
        let asking = affordable(asking).min(backlog);
        let target = Target::of(Sidecar::without_database().open_files(open_files), &["/livez"]);
        // As in a container that has used up its share of the CPU.
        target.sidecar.signal(Signal::STOP);
        soon(&target, "it runs on", || state(target.sidecar.pid()) == 'T');
        let clients: Vec<TcpStream> = (0..asking)
            .map(|_| {
                let mut stream = connect(target.address());
                stream.write_all(LIVEZ.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
                stream
            })
            .collect();
        target.sidecar.signal(Signal::CONT);
        let answered = clients.into_iter().filter_map(|mut stream| read_to_end(&mut stream).ok());
        let answered = answered.filter(|read| statuses(read) == [200]).count();
        assert_eq!(answered, asking, "answered with {open_files} open files");
        target.recovers(0);
    }
}
