//! Everything together: the real backend under a real uvicorn, a real PostgreSQL with TLS, and the sidecar beside them.

use rustix::process::Signal;

use crate::support::certificates::{Authority, Claims};
use crate::support::eventually::{SOON, eventually};
use crate::support::http;
use crate::support::port::free_port;
use crate::support::postgres::Postgres;
use crate::support::sidecar::Sidecar;
use crate::support::uvicorn::{Uvicorn, backend, python};

#[test]
fn app_and_database_fail_and_recover_each_under_its_own_name() {
    let authority = Authority::new();
    let postgres = Postgres::builder().tls(&authority.issue(&Claims::right())).start();
    let root = authority.root_file().to_owned();
    let url = postgres.url().scheme("postgresql+asyncpg").param("sslmode", "verify-full").param("sslrootcert", &root);
    let uvicorn = Uvicorn::start(&url.to_string());
    let sidecar = Sidecar::on(&url).app(uvicorn.port()).start();
    sidecar.wait_for_status("/health", 200);
    assert!(sidecar.check("database:query")["phases"]["tls"].is_f64());
    let expiry = "sidepulse_database_tls_certificate_expiry_timestamp_seconds";
    assert!(eventually(SOON, || sidecar.metric(expiry).is_some()));

    // A blocked event loop: the kernel accepts connections, and nothing answers.
    uvicorn.signal(Signal::STOP);
    sidecar.wait_for_check("app:http", |check| check["state"] == "down" && check["reason"] == "response_timeout");
    assert_eq!(sidecar.get("/readyz").body, "fail: app: response_timeout\n");
    assert_eq!(sidecar.check("database:query")["status"], "pass");
    uvicorn.signal(Signal::CONT);
    sidecar.wait_for_status("/readyz", 200);

    // A frozen database: the app still answers, and its own health route is bounded.
    postgres.freeze();
    sidecar.wait_for_check("database:query", |check| check["state"] == "down" && check["reason"] == "tls_timeout");
    assert_eq!(sidecar.get("/readyz").status, 200);
    assert_eq!(http::get(uvicorn.port(), "/health/shallow").unwrap().status, 200);
    assert_eq!(http::get(uvicorn.port(), "/health").unwrap().status, 503);
    postgres.thaw();
    sidecar.wait_for_status("/health", 200);

    assert!(!uvicorn.log_text().contains("sidepulse/"), "the probe's requests stay out of the access log");
    assert!(!uvicorn.log_text().contains("\"GET / HTTP"), "{}", uvicorn.log_text());
    let port = uvicorn.port();
    drop(uvicorn);
    sidecar.wait_for_check("app:http", |check| check["state"] == "down" && check["reason"] == "connect_refused");
    assert!(http::get(port, "/").is_err());
}

#[test]
fn run_works_with_uvicorn_in_each_of_its_forms_and_leaves_no_process() {
    // A single process dies of the signal once it has drained; the parent of workers or of a reloader exits with 0.
    for (more, code) in [(&[][..], 143), (&["--workers", "2"], 0), (&["--reload"], 0)] {
        let port = free_port();
        let (python, backend) = (python().display().to_string(), backend().display().to_string());
        let uvicorn = ["run", "--", &python, "-m", "uvicorn", "main:app", "--app-dir", &backend, "--port", "$PORT"];
        let settings = Sidecar::without_database()
            .set("SIDEPULSE_APP_PORT", port.to_string())
            .set("ENVIRONMENT", "development")
            .set("PYTHONDONTWRITEBYTECODE", "1");
        let mut sidecar =
            uvicorn.iter().chain(more).fold(settings, |settings, argument| settings.arg(*argument)).start();
        sidecar.wait_for_status("/readyz", 200);
        assert_eq!(http::get(port, "/health/shallow").unwrap().status, 200, "{more:?}");
        sidecar.signal(Signal::TERM);
        // It also waits until no process holds its stderr.
        assert_eq!(sidecar.wait().code(), Some(code), "{more:?}: {}", sidecar.log_text());
        assert!(http::get(port, "/").is_err(), "{more:?}");
    }
}
