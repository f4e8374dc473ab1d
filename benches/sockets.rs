//! What economy costs: comparing this network namespace's sockets, and the end of a connection.
#![allow(clippy::print_stdout, reason = "its result")]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use sidepulse::without_daemon::Sockets;
use tokio::task::LocalSet;
use tokio::time::Instant;

type Connection = (TcpStream, TcpStream);

/// The best time is what it costs; the median says how busy the machine was meanwhile.
fn measure(name: &str, times: usize, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        work()?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_unstable_by(f64::total_cmp);
    println!("{:8.1} µs (median {:8.1})  {name}", took[0], took[times / 2]);
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

fn connect_many(server: &TcpListener, count: usize) -> io::Result<Vec<Connection>> {
    (0..count).map(|_| connect(server)).collect()
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(async { sockets() }))
}

fn sockets() -> io::Result<()> {
    let (web, database) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let mut connections = Sockets::to(database.local_addr()?)?;
    let mut compare = |expected: usize| {
        assert_eq!(connections.compare()?, expected);
        Ok(())
    };
    measure("an idle machine", 300, || compare(0))?;
    let requests = connect_many(&web, 500)?;
    let mut pool = connect_many(&database, 20)?;
    measure("1,000 sockets of a web server, and a pool of 20", 300, || compare(20))?;
    pool.extend(connect_many(&database, 980)?);
    measure("1,000 connections to the database", 300, || compare(1000))?;
    drop((requests, pool));

    measure("a web connection made and closed, nobody listens", 2_000, || connect(&web).map(drop))?;
    connections.listen()?;
    connections.compare()?;
    measure("the same while economy listens", 2_000, || connect(&web).map(drop))?;
    measure("comparing after them", 1, || connections.compare().map(drop))?;
    for _ in 0..500 {
        connect(&database)?;
    }
    measure("comparing after 500 short connections to the database", 1, || connections.compare().map(drop))
}
