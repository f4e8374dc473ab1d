//! The backend of `deploy/backend` under a real uvicorn.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::certificates::ServerCertificate;
use super::eventually::{SOON, eventually};
use super::http;
use super::port::free_port;

/// A running backend. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Uvicorn {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

/// The interpreter that has the backend's requirements; `tests/run` creates it.
pub(crate) fn python() -> PathBuf {
    let given: Option<OsString> = std::env::var_os("SIDEPULSE_TEST_PYTHON");
    given
        .expect("run tests/run, or set SIDEPULSE_TEST_PYTHON to a python that has deploy/backend's requirements")
        .into()
}

/// Where `main.py` is.
pub(crate) fn backend() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backend")
}

impl Uvicorn {
    /// Starts it with this database and waits until it answers.
    pub(crate) fn start(database_url: &str) -> Uvicorn {
        let uvicorn = Uvicorn::launch(database_url, &[]);
        let up =
            eventually(SOON, || http::get(uvicorn.port, "/health/shallow").is_ok_and(|answer| answer.status == 200));
        assert!(up, "uvicorn does not answer:\n{}", uvicorn.log_text());
        uvicorn
    }

    /// Starts it with a certificate and waits until it listens.
    pub(crate) fn start_tls(database_url: &str, certificate: &ServerCertificate) -> Uvicorn {
        let (certificate, key) = certificate.files();
        let arguments = ["--ssl-certfile".into(), certificate.into_os_string(), "--ssl-keyfile".into(), key.into()];
        let uvicorn = Uvicorn::launch(database_url, &arguments);
        let up = eventually(SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, uvicorn.port)).is_ok());
        assert!(up, "uvicorn does not listen:\n{}", uvicorn.log_text());
        uvicorn
    }

    fn launch(database_url: &str, arguments: &[OsString]) -> Uvicorn {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let output = File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(python())
            .args(["-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(arguments)
            .current_dir(backend())
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("ENVIRONMENT", "development")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("its log"))
            .stderr(output)
            .spawn()
            .expect("start uvicorn");
        Uvicorn { child, port, directory }
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it has written.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("send a signal to uvicorn");
    }
}

impl Drop for Uvicorn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
