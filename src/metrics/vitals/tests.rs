use tokio::time::sleep;

use super::super::scrape::{Scrape, scrape};
use super::super::tests::{S, start, vitals};
use crate::config::WarnAt;
use crate::state::samples::deep;

#[tokio::test(start_paused = true)]
async fn the_numbers_of_the_early_warnings_show_while_they_are_known() {
    let (metrics, mut snapshot) = start(&[]);
    let numbers = |found: &Scrape| {
        let samples = found.samples.iter().filter(|(series, _)| {
            ["sessions", "oldest", "lock", "size"]
                .iter()
                .any(|name| series.starts_with(&format!("sidepulse_database_{name}")))
        });
        samples.map(|(series, value)| format!("{} {value}", series.trim_start_matches("sidepulse_database_"))).collect()
    };
    let none: Vec<String> = numbers(&scrape(&metrics, &snapshot).await);
    assert!(none.is_empty(), "{none:?}");
    deep(&mut snapshot).early.take(vitals(), &WarnAt::default());
    sleep(2 * S).await;
    let mut all: Vec<String> = numbers(&scrape(&metrics, &snapshot).await);
    all.sort();
    assert_eq!(
        all,
        [
            "lock_waiters 5",
            "oldest_transaction_seconds 75.5",
            "sessions state=active 1",
            "sessions state=idle 2",
            "sessions state=idle_in_transaction 3",
            "sessions state=other 4",
            "sessions_limit 17",
            "size_bytes 950",
            "size_limit_bytes 1000",
        ]
    );
    deep(&mut snapshot).early.forget();
    sleep(2 * S).await;
    let none: Vec<String> = numbers(&scrape(&metrics, &snapshot).await);
    assert!(none.is_empty(), "{none:?}");
}
