//! The data directory that every test server starts from: created once in a process, copied for each server.

use std::fs::File;
use std::sync::OnceLock;

use super::super::daemon::{run, unprivileged};
use super::super::scratch::{Scratch, root};
use super::{ADMIN, ADMIN_PASSWORD, DATABASE, PASSWORD, ROLE, postgres_command, quoted};

/// Copies the template to `data` in the new server's directory; the first call creates it.
pub(super) fn copy_to(home: &Scratch) {
    static TEMPLATE: OnceLock<Scratch> = OnceLock::new();
    let template = TEMPLATE.get_or_init(make);
    let mut copy = unprivileged("cp");
    copy.args(["-a", "--reflink=auto"]).arg(template.path().join("data")).arg(home.path().join("data"));
    run(copy, root(), None);
}

/// `initdb`, then the role and its database, written by a server in single-user mode: quicker than a start.
fn make() -> Scratch {
    let home = Scratch::new("template");
    let data = home.path().join("data");
    let mut initdb = postgres_command("initdb");
    initdb.arg("-D").arg(&data).args(["-U", ADMIN, "-A", "scram-sha-256", "--pwfile"]);
    initdb.arg(home.write("password", &format!("{ADMIN_PASSWORD}\n")));
    initdb.args(["-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]);
    run(initdb, home.path(), None);

    let role = format!("CREATE ROLE {ROLE} LOGIN PASSWORD {}\n", quoted(PASSWORD));
    let statements = home.write("statements", &format!("{role}CREATE DATABASE {DATABASE} OWNER {ROLE}\n"));
    let mut single = postgres_command("postgres");
    single.args(["--single", "-c", "fsync=off", "-D"]).arg(&data).arg("postgres");
    run(single, home.path(), Some(File::open(statements).expect("open the statements")));
    home
}
