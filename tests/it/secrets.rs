//! Whatever goes wrong, nothing that leaves the process holds a secret, nor, except at level debug, a host or the
//! server's own words.

use rustix::process::Signal;
use sidepulse::without_daemon::reasons;

use crate::faults::table::cases;
use crate::faults::{Channel, server_certificate, side_by_side};
use crate::support::database_url::DatabaseUrl;
use crate::support::eventually::{SOON, eventually};
use crate::support::fake_postgres::PASSWORD;
use crate::support::sidecar::{Builder, Sidecar};

/// What only the person who configured it may see.
const TOKEN: &str = "marktoken7q-0123456789";
const HEADER: &str = "markheader7q";
const QUERY: &str = "SELECT 1 AS markquery7q";
const SQL_CHECKS: &str = "public_name: SELECT true AS marksql7q";
/// The password as it is, as the URL has it, and the parts of it that a careless parser would take for something else.
const SECRETS: [&str; 8] =
    [PASSWORD, "fake%20p%40ssword", "fake+p", "p@ssword", "p%40ssword", TOKEN, HEADER, "bWFya3Rva2VuN3E"];
/// What only the log at level debug and `check` may show.
const PRIVATE: [&str; 8] = [
    "markuser7q",
    "markdb7q",
    "markhost7q",
    "markquery7q",
    "marksql7q",
    "markoption7q",
    "markserver7q",
    "marksocket7q",
];
/// A server that quotes what it received.
const GOSSIP: &str = " (markserver7q: password=fake p@ssword, url=postgresql://u:fake%20p%40ssword@h)";

fn marked(url: DatabaseUrl) -> DatabaseUrl {
    let url = url.user("markuser7q").database("markdb7q").host("markhost7q.example").param("hostaddr", "127.0.0.1");
    url.param("options", "-c search_path=markoption7q")
}

fn sidecar(url: impl ToString, level: &str) -> Builder {
    Sidecar::on(url)
        .app(1)
        .set("SIDEPULSE_LOG", level)
        .set("SIDEPULSE_TOKEN", TOKEN)
        .set("SIDEPULSE_APP_HEADERS", format!("X-Key: {HEADER}"))
        .set("SIDEPULSE_DATABASE_QUERY", QUERY)
        .set("SIDEPULSE_SQL_CHECKS", SQL_CHECKS)
        .set("SIDEPULSE_DATABASE_TIMEOUT", "800ms")
        .set("SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT", "600ms")
}

/// Everything that leaves the daemon until it has made a check and was stopped: bodies, heads, log and stdout.
fn let_out(builder: &Builder) -> String {
    let mut sidecar = builder.start();
    let login = format!("Authorization: Bearer {TOKEN}\r\n");
    let get = |path: &str, header: &str| {
        let answer = sidecar.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"));
        format!("{}\r\n\r\n{}", answer.head, answer.body)
    };
    let checked = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("sidepulse_checks_total{check=\"database\"}"));
        line.is_some_and(|line| !line.ends_with(" 0"))
    };
    assert!(eventually(SOON, || checked(&get("/metrics", &login))), "{}", sidecar.log_text());
    let paths =
        ["/", "/metrics", "/health", "/health/deep", "/health/shallow", "/readyz?verbose", "/livez", "/startupz"];
    let mut out: String = paths.into_iter().flat_map(|path| [get(path, &login), get(path, "")]).collect();
    for path in ["/health", "/health/deep", "/health/shallow", "/readyz?verbose", "/livez", "/startupz", "/markpath"] {
        let body = sidecar.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{login}Connection: close\r\n\r\n")).body;
        assert_eq!(strange_words(&body), Vec::<&str>::new(), "{path}: {body}");
    }
    out += &get("/markpath?token=x", &login);
    sidecar.signal(Signal::TERM);
    sidecar.wait();
    assert!(eventually(SOON, || sidecar.events("stopped").len() == 1));
    out += &sidecar.log_text();
    out + &sidecar.output_text()
}

/// Every word that the JSON and text bodies may hold beside reasons: keys, statuses, states, phases, units.
const VOCABULARY: &str = "status state output version checks componentType reason observedValue observedUnit time \
    lastSuccess attempts consecutiveFailures phases pass warn fail ready unready starting draining up down idle stale \
    app http database query sql public_name sql_public_name component datastore ms resolve connect tls auth response \
    ok failed readyz check passed excluded gate startup always never not found unauthorized T Z";

/// The words of a public body that are in no closed set.
fn strange_words(body: &str) -> Vec<&str> {
    let known =
        |word: &str| VOCABULARY.split_whitespace().any(|known| known == word) || reasons().any(|reason| reason == word);
    let words = body.split(|c: char| !c.is_ascii_alphabetic() && c != '_').filter(|word| !word.is_empty());
    words.filter(|word| !known(word)).collect()
}

fn found<'a>(marks: &[&'a str], text: &str) -> Vec<&'a str> {
    marks.iter().copied().filter(|mark| text.contains(mark)).collect()
}

#[test]
fn nothing_that_leaves_the_daemon_at_any_fault_holds_a_mark() {
    let (cases, certificate) = (cases(), server_certificate());
    let leaks = side_by_side(&cases, |case| {
        let fake = case.channel.serve(&certificate, [case.behaviour.clone().gossip(GOSSIP)]);
        let url = case.channel.url(marked(fake.url()));
        let address = format!(":{}", fake.port());
        let out = let_out(&sidecar(&url, "info"));
        let mut leaks = found(&[&SECRETS[..], &PRIVATE].concat(), &out);
        leaks.extend(out.contains(&address).then_some("the server's port"));
        if case.behaviour.complains() {
            leaks.extend(found(&SECRETS, &let_out(&sidecar(&url, "debug"))));
            let (_, stdout, stderr) = sidecar(&url, "debug").arg("check").finish();
            leaks.extend(found(&SECRETS, &(stdout + &stderr)));
        }
        leaks
    });
    let leaks: Vec<_> =
        cases.iter().zip(leaks).filter(|(_, leaks)| leaks.as_ref().is_none_or(|l| !l.is_empty())).collect();
    let lines: Vec<_> =
        leaks.iter().map(|(case, leaks)| format!("{} ({:?}): {leaks:?}", case.name, case.channel)).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn nor_does_it_where_the_server_is_not_even_reached() {
    let unreachable = DatabaseUrl::new("markuser7q", PASSWORD, 1, "markdb7q");
    let missing = "/nonexistent/marksocket7q";
    let urls = [
        unreachable.clone().host("markhost7q.invalid"),
        marked(unreachable.clone()),
        unreachable.clone().host("").param("host", missing),
    ];
    for url in urls {
        let out = let_out(&sidecar(&url, "info"));
        assert_eq!(found(&[&SECRETS[..], &PRIVATE].concat(), &out), Vec::<&str>::new(), "{out}");
        let out = let_out(&sidecar(&url, "debug"));
        assert_eq!(found(&SECRETS, &out), Vec::<&str>::new(), "{out}");
        let (code, stdout, stderr) = sidecar(&url, "debug").arg("check").finish();
        assert_eq!((code, found(&SECRETS, &(stdout + &stderr))), (Some(1), vec![]));
    }
}

#[test]
fn level_debug_shows_the_servers_words_without_the_secret_in_them() {
    let case = cases().into_iter().find(|case| case.behaviour.complains() && case.channel == Channel::Plain);
    let case = case.expect("a row with an ErrorResponse");
    let fake = case.channel.serve(&server_certificate(), [case.behaviour.gossip(GOSSIP)]);
    let out = let_out(&sidecar(case.channel.url(marked(fake.url())), "debug"));
    assert!(out.contains("(markserver7q: password=***, url=postgresql://u:***@h)"), "{out}");
}

#[test]
fn a_url_that_cannot_be_used_is_not_shown() {
    for (url, what) in [
        ("postgresql://markuser7q:p@ssword@markhost7q/markdb7q", "an unescaped password"),
        ("postgresql://markuser7q:fake p@ssword@markhost7q.example:port/markdb7q", "a port that is none"),
        ("postgresql+markhost7q://markuser7q:p%40ssword@h/markdb7q", "an unknown scheme"),
        ("postgresql://markuser7q:p%40ssword@h/markdb7q?markoption7q=p%40ssword", "an unknown key"),
        ("postgresql://markuser7q:p%40ssword@h/markdb7q?sslmode=p%40ssword", "a value that is none"),
        ("markuser7q:p%40ssword@markhost7q/markdb7q", "no scheme"),
        ("host=markhost7q user=markuser7q password=p@ssword", "key=value"),
    ] {
        for level in ["info", "debug"] {
            let (_, stdout, stderr) = sidecar(url, level).arg("check").finish();
            let out = stdout + &stderr;
            let marks = [&SECRETS[..], &["markuser7q", "markdb7q", "markhost7q"]].concat();
            assert_eq!(found(&marks, &out), Vec::<&str>::new(), "{what}: {out}");
        }
    }
    for flag in ["--help", "--version"] {
        let (_, stdout, stderr) = sidecar(marked(DatabaseUrl::new("u", PASSWORD, 1, "d")), "info").arg(flag).finish();
        assert_eq!(found(&[&SECRETS[..], &PRIVATE].concat(), &(stdout + &stderr)), Vec::<&str>::new(), "{flag}");
    }
}
