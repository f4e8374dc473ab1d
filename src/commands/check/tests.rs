use std::net::TcpListener;

use super::*;
use crate::log::{Format, Settings};
use crate::state::samples::config;

#[tokio::test(start_paused = true)]
async fn waiting_goes_on_until_the_time_is_over() {
    // Nothing listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = config(&[("SIDEPULSE_APP_URL", &format!("http://{closed}/"))]);
    let silent = Log::start(Settings { level: Level::Error, format: Format::Json });
    for seconds in [0, 1, 2, 5] {
        let (start, wait) = (Instant::now(), Duration::from_secs(seconds));
        let mut probes = Probes::new(&config, Some(Only::App));
        let checks = wait_until_all_pass(&mut probes, Some(start + wait), &silent).await;
        assert_eq!((checks.len(), checks[0].reason), (1, Some("connect_refused")));
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}
