//! What economy costs: a look at this network namespace's sockets, and the end of a connection. Processor time of this
//! thread, the kernel's part included, so that other processes do not matter much.
#![allow(clippy::print_stdout, reason = "its result")]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use sidepulse::dsn::Endpoint;
use sidepulse::economy::Sight;
use sidepulse::probe::trail::Trail;
use tokio::time::Instant;

type Connection = (TcpStream, TcpStream);

/// So far, in microseconds (`Documentation/scheduler/sched-stats.rst`).
fn spent() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|time| time.parse::<f64>().ok()).map_or(f64::NAN, |time| time / 1e3)
}

fn measure(name: &str, times: u32, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let before = spent();
    for _ in 0..times {
        work()?;
    }
    println!("{:8.2} µs  {name}", (spent() - before) / f64::from(times));
    Ok(())
}

/// A connection over which the server has sent something.
fn connect(server: &TcpListener) -> io::Result<Connection> {
    let mut client = TcpStream::connect(server.local_addr()?)?;
    let (mut served, _) = server.accept()?;
    served.write_all(b"!")?;
    client.read_exact(&mut [0])?;
    Ok((client, served))
}

fn connections(server: &TcpListener, count: usize) -> io::Result<Vec<Connection>> {
    (0..count).map(|_| connect(server)).collect()
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let (web, database) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let address = database.local_addr()?;
    let trail = Trail::default();
    trail.resolved(&[address], Instant::now());
    let mut sight = Sight::of(&Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: address.port() }, &trail)?;
    let mut look = |expected: usize| {
        let found = sight.glance()?;
        assert_eq!(found.connections, expected);
        Ok(())
    };
    measure("a look at an idle machine", 300, || look(0))?;
    let requests = connections(&web, 500)?;
    let mut pool = connections(&database, 20)?;
    measure("a look at 1,000 sockets of a web server, and a pool of 20", 300, || look(20))?;
    pool.extend(connections(&database, 980)?);
    measure("a look at 1,000 connections to the database", 300, || look(1000))?;
    drop((requests, pool));

    measure("a web connection made and closed, nobody listens", 10_000, || connect(&web).map(drop))?;
    sight.hear()?;
    sight.glance()?;
    measure("the same while economy listens", 10_000, || connect(&web).map(drop))?;
    measure("the look after them", 1, || sight.glance().map(drop))?;
    for _ in 0..500 {
        connect(&database)?;
    }
    measure("the look after 500 short connections to the database", 1, || {
        assert!(sight.glance()?.is_active());
        Ok(())
    })
}
