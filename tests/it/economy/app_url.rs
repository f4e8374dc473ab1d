//! An app URL that uses the database keeps it awake: sidepulse notices, and says so.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

/// An app that queries the database at each request, over a new connection or through a pool. Returns its port.
fn app_with_database(url: &DatabaseUrl, pooled: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let url = url.clone();
    thread::spawn(move || {
        let pool = pooled.then(|| session(&url));
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            // At the end of the test the database is gone.
            let asked = match &pool {
                Some(session) => session.sql("SELECT 1").is_ok(),
                None => Session::open(&url.config()).is_ok_and(|session| session.sql("SELECT 1").is_ok()),
            };
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if !asked {
                return;
            }
        }
    });
    port
}

const NOTE: &str = "the app URL uses the database";

fn found_out(pooled: bool) {
    let database = Sleepy::start(WAKEFUL);
    let port = app_with_database(&database.url(), pooled);
    let idle_app = WebApp::start();
    let with_database = economy(database.url(), &idle_app).set("SIDEPULSE_APP_INTERVAL", "500ms").app(port);
    let sidecar = with_database.start();
    let said = |sidecar: &Sidecar| {
        let lines = sidecar.events("warning");
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(NOTE))).count()
    };
    assert!(eventually(SOON, || said(&sidecar) == 1), "{}", sidecar.log_text());
    assert!(sidecar.get("/").body.contains(NOTE), "{}", sidecar.get("/").body);
    assert!(stays(LOOKS, || said(&sidecar) == 1), "{}", sidecar.log_text());
    drop(sidecar);
    // A command has less time: on a machine too busy to tell one moment from the next, it accuses no app.
    let (check, mut shown) = (with_database.arg("check"), String::new());
    let found = eventually(SOON, || {
        let (code, stdout, _) = check.finish();
        assert_eq!(code, Some(0), "{stdout}");
        shown = stdout;
        shown.contains(NOTE)
    });
    assert!(found, "{shown}");
}

#[test]
fn through_a_pool() {
    found_out(true);
}

#[test]
fn over_connections_of_their_own() {
    found_out(false);
}

#[test]
fn an_app_that_uses_the_database_at_other_times_is_not_accused() {
    let (database, app) = (Sleepy::start(WAKEFUL), WebApp::start());
    let builder = economy(database.url(), &app).set("SIDEPULSE_APP_INTERVAL", "500ms");
    let sidecar = builder.start();
    sidecar.wait_for_check(CHECK, |check| check["status"] == "pass");
    let (first, session) = (newest(&sidecar), session(&database.url()));
    let busy = stays(Duration::from_secs(4), || session.sql("SELECT 1").is_ok());
    assert!(busy && !sidecar.log_text().contains(NOTE), "{}", sidecar.log_text());
    assert!(newest(&sidecar) > first, "{}", sidecar.log_text());
    let (code, shown, _) = builder.arg("check").finish();
    assert!(code == Some(0) && !shown.contains(NOTE), "{code:?} {shown}");
}
