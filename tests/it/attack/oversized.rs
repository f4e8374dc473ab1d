//! Heads longer than any prober's.

use super::{Target, statuses, talk};

/// Long enough to show in the memory, if it were kept.
const LONG: usize = 4 << 20;

#[test]
fn a_head_beyond_all_bounds_is_refused_and_not_kept() {
    let target = Target::start();
    let long = "x".repeat(LONG);
    let heads = [
        format!("GET /livez HTTP/1.1\r\nX: {long}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\n{long}: x\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /livez?{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET http://{long}/livez HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{long} /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5_000)),
        // They would fit if there were not so many.
        format!("GET /livez HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)),
        format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(8 * 1024)),
        // It never ends.
        format!("GET /livez HTTP/1.1\r\n{}", "A: b\r\n".repeat(LONG / 6)),
        "\r\n".repeat(LONG / 2),
    ];
    std::thread::scope(|scope| {
        for head in &heads {
            let address = target.address();
            scope.spawn(move || {
                for _ in 0..10 {
                    // The refusal may be lost in the reset that the rest of the head causes.
                    let found = statuses(&talk(address, head.as_bytes()));
                    assert!(
                        matches!(found[..], [] | [400 | 414 | 431]),
                        "{found:?} to {}… of {} bytes",
                        &head[..40],
                        head.len()
                    );
                }
            });
        }
    });
    target.recovers(0);
}

#[test]
fn a_long_head_that_fits_is_answered() {
    let target = Target::start();
    for head in [
        format!("GET /livez HTTP/1.1\r\nConnection: close\r\nCookie: {}\r\n\r\n", "x".repeat(7 * 1024)),
        format!("GET /livez?{} HTTP/1.1\r\nConnection: close\r\n\r\n", "x".repeat(7 * 1024)),
        format!("GET /livez HTTP/1.1\r\nConnection: close\r\n{}\r\n", "A: b\r\n".repeat(90)),
    ] {
        assert_eq!(statuses(&talk(target.address(), head.as_bytes())), [200], "{}", &head[..60]);
    }
    target.recovers(0);
}
