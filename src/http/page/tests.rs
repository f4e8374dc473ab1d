use std::time::Duration;

use super::*;
use crate::config::WarnAt;
use crate::http::routes::tests::{FELL, NOT_RUN, UP, WRONG, World};
use crate::probe::Reason;
use crate::probe::vitals::{Limit, Room, Vitals};
use crate::state::samples::{NO_DATABASE, SQL, deep, query};

const S: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn page(world: &World) -> String {
    world.get("/").1
}

/// From the heading of a check to the end of its section.
fn part<'a>(page: &'a str, check: &str) -> &'a str {
    let start = page.find(&format!("<h2 id=\"{check}\">")).unwrap();
    let whole = &page[start..];
    &whole[..whole.find("</section>").unwrap()]
}

fn verdict(page: &str) -> &str {
    page.lines().find(|line| line.contains("role=\"status\"")).unwrap()
}

#[test]
fn the_verdict_says_the_state_what_fails_and_how_bad_that_is() {
    for (app, database, draining, ever_ready, tone, state, sentence) in [
        (UP, UP, false, true, "pass", "ready", "all checks pass"),
        (UP, FELL, false, true, "warn", "ready", "failing: database (bad_status)"),
        (FELL, UP, false, true, "fail", "unready", "failing: app (bad_status)"),
        (FELL, WRONG, false, true, "fail", "unready", "failing: app (bad_status), database (auth_failed)"),
        (NOT_RUN, NOT_RUN, false, false, "warn", "starting", "waiting for: app (not_run), database (not_run)"),
        (UP, WRONG, false, false, "fail", "starting", "waiting for: database (auth_failed)"),
        (UP, UP, true, true, "warn", "draining", "stopping: no new traffic"),
        (FELL, UP, true, true, "warn", "draining", "stopping: no new traffic"),
    ] {
        let mut world = World::new(&[], &[app, database]);
        (world.draining, world.ever_ready) = (draining, ever_ready);
        let page = page(&world);
        let expected = format!("<p class=\"verdict {tone}\" role=\"status\"><strong>{state}</strong> {sentence}</p>");
        assert_eq!(verdict(&page), expected);
        assert!(page.contains(&format!("<title>{state} · sidepulse</title>")), "{page}");
        let icon = match tone {
            "pass" => icon(Status::Pass),
            "warn" => icon(Status::Warn),
            _ => icon(Status::Fail),
        };
        // Without it, browsers with a window ask for /favicon.ico; headless ones do not.
        assert!(page.contains(&format!("<link rel=\"icon\" href=\"{icon}\">")), "{page}");
    }
}

#[test]
fn a_warning_is_shown() {
    let mut world = World::new(&[], &[UP, UP]);
    deep(&mut world.snapshot).read_only = true;
    let page = page(&world);
    assert!(verdict(&page).contains("verdict warn"), "{page}");
    assert!(verdict(&page).contains("all checks pass, with a warning: database (read_only)"), "{page}");
}

#[test]
fn idle_is_calm_and_says_why_and_since_when() {
    let mut world = World::new(&[], &[UP, UP]);
    world.now.instant += 90 * S;
    for check in world.snapshot.checks_mut() {
        check.due = world.now.instant + 5 * S;
    }
    query(&mut world.snapshot).idle_since = Some(world.now.instant - 80 * S);
    let page = page(&world);
    assert!(verdict(&page).contains("<strong>ready</strong> all checks pass"), "{page}");
    assert!(page.contains("<section class=\"idle\" aria-labelledby=\"database\">"), "{page}");
    let database = part(&page, "database");
    for words in [
        "<span class=\"state\">idle</span>",
        "<p>idle for 1m 20s: the app does not use the database.</p>",
        "checked 1m 30s ago · last success 1m 30s ago · next in 5s",
    ] {
        assert!(database.contains(words), "{words} is missing in {database}");
    }
    assert!(!part(&page, "app").contains("idle"), "{page}");
}

#[test]
fn what_the_server_says_about_itself_is_shown_as_text() {
    let mut world = World::new(&[SQL], &[UP, UP, UP]);
    assert!(!page(&world).contains("server version") && !page(&world).contains("certificate"));
    deep(&mut world.snapshot).server_version = Some("16.4 (Debian)".into());
    deep(&mut world.snapshot).certificate_expiry = Some(world.now.wall + 82 * DAY + 5 * S);
    let good = page(&world);
    let line = "<p class=\"dim\">server version 16.4 (Debian) · certificate ends <time \
                datetime=\"2027-04-07T08:00:05Z\">2027-04-07 08:00:05</time> UTC (82 days left)</p>";
    assert!(part(&good, "database").contains(line), "{good}");
    assert_eq!(good.matches(line).count(), 1, "the database's section alone");
    deep(&mut world.snapshot).certificate_expiry = Some(world.now.wall - DAY);
    assert!(part(&page(&world), "database").contains("certificate ended <time datetime=\"2027-01-14"));

    deep(&mut world.snapshot).server_version =
        Some(format!("\"><script>x</script>'&amp;{{style}}\n\0{}", "9".repeat(200)));
    let evil = page(&world);
    let shown = "&quot;&gt;&lt;script&gt;x&lt;/script&gt;&#39;&amp;amp;{style}9";
    assert!(part(&evil, "database").contains(shown), "{evil}");
    assert_eq!((evil.matches("<script>").count(), evil.contains('\0')), (1, false), "{evil}");
    assert!(!evil.contains(&"9".repeat(LONGEST_VERSION)), "{evil}");
}

#[test]
fn a_failure_stays_listed_when_successes_have_pushed_it_off_the_line() {
    let mut results = vec![Some(Reason::ConnectRefused)];
    results.extend([None; 40]);
    let page = page(&World::new(&[NO_DATABASE], &[&results]));
    let app = part(&page, "app");
    assert!(app.contains("newest 30 results: none failed"), "{app}");
    assert!(app.contains("2027-01-15 08:00:00</time> connect_refused, 2&nbsp;ms"), "{app}");
    assert_eq!((app.matches("class=\"ok\"").count(), app.matches("class=\"bad\"").count()), (30, 0));
}

#[test]
fn before_the_first_result_there_is_nothing_to_draw() {
    let page = page(&World::new(&[], &[NOT_RUN, NOT_RUN]));
    assert!(part(&page, "app").contains("no result yet · never passed · next check now"), "{page}");
    assert!(!page.contains("<svg"), "{page}");
}

#[test]
fn every_placeholder_is_filled() {
    for name in TEMPLATE.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
        assert!(!page(&World::new(&[SQL], &[UP, UP, UP])).contains(&format!("{{{}}}", name.0)), "{}", name.0);
    }
}

#[test]
fn what_may_hurt_the_database_soon_is_shown_as_used_of_limit() {
    let mut world = World::new(&[], &[UP, UP]);
    assert!(!part(&page(&world), "database").contains("sessions:"), "nothing is known yet");
    for (used, width, class) in [(5, "300.0", "ok"), (9, "540.0", "low")] {
        let vitals = Vitals {
            room: Some(Room { of: Limit::Server, limit: 10, used }),
            oldest_transaction: Some(Duration::from_secs(75)),
            lock_waiters: 2,
            storage_limit: Some(512 << 20),
            stored: Some(128 << 20),
            ..Vitals::default()
        };
        for _ in 0..2 {
            deep(&mut world.snapshot).early.take(vitals.clone(), &WarnAt::default());
        }
        let page = page(&world);
        let database = part(&page, "database");
        let bar = format!("<rect class=\"{class}\" width=\"{width}\"");
        let sessions = format!("sessions: {used} of 10");
        for piece in [&*bar, &sessions, "storage: 128 of 512 MB", "oldest transaction 1m 15s", "waiting for a lock: 2"]
        {
            assert!(database.contains(piece), "{piece}: {database}");
        }
    }
}
