//! A real Prometheus scrapes the real binary, and `promtool` finds nothing to criticise.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::eventually::{SOON, poll};
use crate::support::http;
use crate::support::port::free_port;
use crate::support::postgres::Postgres;
use crate::support::sidecar::Sidecar;
use crate::support::web_app::WebApp;

/// A running Prometheus; dropping it ends it.
struct Prometheus {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: std::net::SocketAddr) -> Prometheus {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 200ms}}\nscrape_configs:\n- job_name: sidepulse\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start prometheus");
        Prometheus { child, port, directory }
    }

    /// The value of an instant query that returns one series.
    fn query(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = http::get(self.port, &format!("/api/v1/query?query={encoded}")).ok()?;
        let result: Value = serde_json::from_str(&answer.body).ok()?;
        result["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    fn wait_for(&self, query: &str, value: f64) {
        let mut last = None;
        let came = poll(SOON, || {
            last = self.query(query);
            (last == Some(value)).then_some(())
        });
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        assert!(came.is_some(), "{query} stays {last:?}, not {value}\n{log}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_it_and_sees_a_fault() {
    let (app, postgres) = (WebApp::start(), Postgres::start_plain());
    let sidecar = Sidecar::on(postgres.url()).app(app.port()).start();
    sidecar.wait_for_status("/health", 200);
    let prometheus = Prometheus::scraping(sidecar.address());
    prometheus.wait_for("up", 1.0);
    prometheus.wait_for("sidepulse_ready", 1.0);
    prometheus.wait_for("sidepulse_check_up{check=\"database\"}", 1.0);
    prometheus.wait_for("sum(sidepulse_check_state{check=\"database\"})", 1.0);
    prometheus
        .wait_for("sidepulse_check_phase_duration_seconds_count{check=\"database\",phase=\"query\"} > bool 0", 1.0);
    prometheus.wait_for("process_resident_memory_bytes > bool 1000000", 1.0);
    drop(app);
    prometheus.wait_for("sidepulse_check_up{check=\"app\"}", 0.0);
    prometheus.wait_for("sidepulse_check_failures_total{check=\"app\",reason=\"connect_refused\"} > bool 1", 1.0);
    prometheus.wait_for("sidepulse_check_down_seconds_total{check=\"app\"} > bool 0", 1.0);
    prometheus.wait_for("sidepulse_transitions_total{check=\"app\",to=\"down\"}", 1.0);
}

#[test]
fn promtool_finds_nothing_to_criticise() {
    let app = WebApp::start();
    for sidecar in [
        Sidecar::without_database().app(app.port()),
        Sidecar::on("postgresql://u:p@127.0.0.1:1/d").app(app.port()).set("SIDEPULSE_SQL_CHECKS", "one: SELECT true"),
        Sidecar::on("postgresql://u:p@127.0.0.1:1/d")
            .set("SIDEPULSE_DATABASE_MODE", "economy")
            .set("RAILWAY_REPLICA_ID", "r1"),
    ] {
        let sidecar = sidecar.start();
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start promtool");
        promtool.stdin.take().unwrap().write_all(sidecar.get("/metrics").body.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
