//! Behind Neon's proxy: a login that waits for a compute to wake up is not cut off, and what the proxy has itself
//! retried long enough is not retried again and again. The script is what the real proxy was seen to do.

use std::time::Duration;

use serde_json::Value;

use crate::support::certificates::{Authority, Claims};
use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::{At, Behaviour, FakePostgres, Fault};
use crate::support::sidecar::{Builder, Sidecar};

const HOST: &str = "ep-cool-sun-123456.eu-central-1.aws.neon.tech";

/// A proxy, and clients that trust it.
struct Neon {
    authority: Authority,
    fake: FakePostgres,
}

impl Neon {
    fn start(script: impl IntoIterator<Item = Behaviour>) -> Neon {
        let authority = Authority::new();
        let certificate = authority.issue(&Claims::right().dns(HOST));
        Neon { fake: FakePostgres::start_tls(&certificate, script), authority }
    }

    /// A sidepulse that believes it is Neon.
    fn sidecar(&self, check: Duration, attempt: Duration) -> Builder {
        self.on(self.fake.url().host(HOST).param("hostaddr", "127.0.0.1"), check, attempt)
    }

    /// One that believes it is any other server.
    fn elsewhere(&self, check: Duration, attempt: Duration) -> Builder {
        self.on(self.fake.url().param("sslmode", "verify-full"), check, attempt)
    }

    fn on(&self, url: DatabaseUrl, check: Duration, attempt: Duration) -> Builder {
        Sidecar::on(url)
            .app(1)
            .set("SSL_CERT_FILE", self.authority.root_file())
            .set("SIDEPULSE_DATABASE_TIMEOUT", format!("{}ms", check.as_millis()))
            .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", format!("{}ms", attempt.as_millis()))
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn waking(milliseconds: u64) -> Behaviour {
    Behaviour::good().ready_after(ms(milliseconds))
}

/// The proxy's error when its own retries are over, at the end of the silence.
fn failing(milliseconds: u64, message: &str) -> Behaviour {
    Behaviour::fault(At::Login, Fault::error("XX000", message)).ready_after(ms(milliseconds))
}

const CONTROL_PLANE: &str = "Control plane request failed";
const UNREACHABLE: &str = "Couldn't connect to compute node";

fn told(check: &Value) -> (Option<&str>, Option<u64>) {
    (check["reason"].as_str(), check["attempts"].as_u64())
}

#[test]
fn a_login_that_waits_for_a_wake_up_is_not_cut() {
    let neon = Neon::start([waking(2500)]);
    let (_, check) = neon.sidecar(ms(6000), ms(1000)).check_database();
    assert_eq!(told(&check), (None, Some(1)), "{check}");
    assert_eq!(neon.fake.counts().startups.len(), 1, "one login, one wake-up");

    // Any other server that is silent there is frozen: another attempt may fare better.
    let frozen = FakePostgres::start([waking(60_000), Behaviour::good()]);
    let (_, check) = Sidecar::on(frozen.url()).check_database();
    assert_eq!(told(&check), (Some("recovered_after_retry"), Some(2)), "{check}");
    let neon = Neon::start([waking(60_000), Behaviour::good()]);
    let (_, check) = neon.elsewhere(ms(3000), ms(1000)).check_database();
    assert_eq!(told(&check), (Some("recovered_after_retry"), Some(2)), "{check}");
}

#[test]
fn it_is_not_cut_once_a_check_and_never_beyond_the_check() {
    // The second login that waits has only an attempt's time.
    let neon = Neon::start([failing(1500, CONTROL_PLANE), waking(60_000), Behaviour::good()]);
    let (_, check) = neon.sidecar(ms(6000), ms(1000)).check_database();
    assert_eq!(told(&check), (Some("recovered_after_retry"), Some(3)), "{check}");

    let neon = Neon::start([waking(60_000)]);
    let (_, check) = neon.sidecar(ms(2000), ms(500)).check_database();
    assert_eq!(told(&check), (Some("auth_timeout"), Some(1)), "{check}");
    let took = check["duration_ms"].as_f64().unwrap_or_default();
    assert!(took >= 1990.0, "it had the whole check's time: {check}");
    assert_eq!(neon.fake.counts().startups.len(), 1);

    // Silence before our last message is not a wake-up.
    let neon = Neon::start([Behaviour::fault(At::SaslFirst, Fault::Stall), Behaviour::good()]);
    let (_, check) = neon.sidecar(ms(4000), ms(500)).check_database();
    assert_eq!(told(&check), (Some("recovered_after_retry"), Some(2)), "{check}");
}

#[test]
fn an_earlier_reason_takes_precedence_over_the_timeout_of_a_shortened_attempt() {
    let neon = Neon::start([failing(1500, UNREACHABLE), waking(60_000)]);
    let (_, check) = neon.sidecar(ms(2400), ms(1000)).check_database();
    assert_eq!(told(&check), (Some("compute_unreachable"), Some(2)), "{check}");
}

#[test]
fn a_check_logs_in_there_at_most_four_times() {
    let neon = Neon::start([failing(0, CONTROL_PLANE)]);
    let (_, check) = neon.sidecar(ms(20_000), ms(8000)).check_database();
    assert_eq!(told(&check), (Some("control_plane"), Some(4)), "{check}");
    assert_eq!(neon.fake.counts().startups.len(), 4);
    // A connection that is closed before then is not a login.
    let neon = Neon::start([Behaviour::fault(At::SslRequest, Fault::Close)]);
    let (_, check) = neon.sidecar(ms(8000), ms(3000)).check_database();
    assert!(check["attempts"].as_u64() > Some(4), "{check}");
}

#[test]
fn the_time_of_a_wake_up_counts_from_the_first_attempt_that_waited() {
    let good = || Behaviour::good().started("1");
    // The second connection reads the certificate. Then two checks wait in vain.
    let script = [good(), good(), waking(60_000), waking(60_000), Behaviour::good().started("2")];
    let neon = Neon::start(script);
    let sidecar = neon.sidecar(ms(1000), ms(500)).set("SIDEPULSE_DATABASE_MODE", "steady").start();
    let wakes = |what: &str| sidecar.metric(&format!("sidepulse_database_wake_seconds_{what}"));
    assert!(eventually(SOON, || wakes("count") == Some(1.0)), "{}", sidecar.log_text());
    let took = wakes("sum").unwrap_or_default();
    assert!(took >= 2.0, "{took}: two checks of a second each");
    assert!(sidecar.events("warning").iter().any(|line| line["reason"] == "auth_timeout"));
}
