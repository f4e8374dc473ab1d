//! The least that a deep check can cost: tokio-postgres alone. Connect, TLS, SCRAM, the check's own message, Terminate.
//!
//! Usage: raw once | every MILLISECONDS | beside PAIRS, then URL ROOT. The URL is one that tokio-postgres understands,
//! ROOT the file of the server's root certificate. `beside` makes PAIRS of one raw check and one of sidepulse's, in
//! turn, in one process, and prints for each pair the time and the CPU time of both in microseconds.
#![allow(clippy::print_stdout, reason = "its result")]

use std::error::Error;
use std::time::Duration;

use native_tls::{Certificate, Protocol, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use sidepulse::without_daemon::DeepCheck;
use tokio::time::{Instant, sleep};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// What sidepulse sends for `SELECT 1`, at an attempt timeout of 8 s.
const DEEP: &str = "BEGIN READ ONLY\n;SET LOCAL statement_timeout = 7740\n;SET LOCAL lock_timeout = 1000\n;SELECT 1\n;\
                    SELECT extract(epoch FROM pg_postmaster_start_time()) || ' ' || extract(epoch FROM \
                    clock_timestamp()), pg_is_in_recovery(), \
                    current_setting('default_transaction_read_only')\n;ROLLBACK";

/// Checks as one would write them without sidepulse.
struct Raw {
    config: tokio_postgres::Config,
    tls: MakeTlsConnector,
}

impl Raw {
    fn new(url: &str, root: &str) -> Fallible<Raw> {
        let mut builder = TlsConnector::builder();
        builder.min_protocol_version(Some(Protocol::Tlsv12)).disable_built_in_roots(true);
        builder.add_root_certificate(Certificate::from_pem(&std::fs::read(root)?)?);
        Ok(Raw { config: url.parse()?, tls: MakeTlsConnector::new(builder.build()?) })
    }

    async fn check(&self) -> Fallible<()> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let driver = tokio::spawn(connection);
        client.simple_query(DEEP).await?;
        drop(client);
        Ok(driver.await??)
    }
}

/// The same server, as sidepulse is configured with it.
fn probe(url: &str, root: &str) -> Fallible<DeepCheck> {
    let (host, _) = url.split_once('?').unwrap_or((url, ""));
    Ok(DeepCheck::new(&format!("{host}?sslmode=verify-full&sslrootcert={root}"))?)
}

/// CPU time of this thread, as the scheduler counts it.
fn cpu_time() -> Fallible<f64> {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(nanoseconds.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e3)
}

/// Time and CPU time in microseconds.
async fn timed<T>(work: impl Future<Output = Fallible<T>>) -> Fallible<(f64, f64)> {
    let (cpu, since) = (cpu_time()?, Instant::now());
    work.await?;
    Ok((since.elapsed().as_secs_f64() * 1e6, cpu_time()? - cpu))
}

async fn beside(pairs: usize, raw: &Raw, probe: &mut DeepCheck) -> Fallible<()> {
    // Both load their roots and grow their heap before the first pair.
    raw.check().await?;
    probe.run().await?;
    for i in 0..pairs {
        // The second finds warmer caches, so they take turns.
        let (one, other);
        if i % 2 == 0 {
            one = timed(raw.check()).await?;
            other = timed(async { Ok(probe.run().await?) }).await?;
        } else {
            other = timed(async { Ok(probe.run().await?) }).await?;
            one = timed(raw.check()).await?;
        }
        println!("{:.0} {:.0} {:.0} {:.0}", one.0, other.0, one.1, other.1);
    }
    Ok(())
}

async fn work(arguments: &[&str]) -> Fallible<()> {
    match arguments {
        ["once", url, root] => Raw::new(url, root)?.check().await,
        ["every", interval, url, root] => {
            let (raw, interval) = (Raw::new(url, root)?, Duration::from_millis(interval.parse()?));
            loop {
                raw.check().await?;
                sleep(interval).await;
            }
        }
        ["beside", pairs, url, root] => beside(pairs.parse()?, &Raw::new(url, root)?, &mut probe(url, root)?).await,
        _ => Err("usage: raw once | every MILLISECONDS | beside PAIRS, then URL ROOT".into()),
    }
}

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // One thread, as in sidepulse.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work(&arguments))
}
