//! The app's faults: what it answers, and the network in front of it.

use std::time::Duration;

use super::door::{Door, Trouble};
use super::lane::{Fault, Stage};
use super::ledger::{Check, Signs};
use crate::support::random::Random;
use crate::support::web_app::{Mode, WebApp};

/// An app behind a proxy (see `door.rs`).
pub(super) struct App {
    app: WebApp,
    pub(super) door: Door,
}

/// What can be done to it.
pub(super) enum Deed {
    App(Mode),
    Network(Trouble),
    /// Somewhere in the first half of the answer, which is within its head.
    Cut(fn(usize) -> Trouble),
}

impl App {
    pub(super) fn start() -> App {
        let app = WebApp::start();
        let door = Door::before(app.port());
        App { app, door }
    }
}

impl Stage for App {
    type Deed = Deed;
    const CHECKS: &'static [Check] = &[Check::App];
    const TIMEOUT: Duration = super::APP_TIMEOUT;

    fn deck() -> Vec<Fault<Deed>> {
        const NO_HTTP: &[u8] = b"220 mail.example ESMTP ready\r\n";
        const HALF_A_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Le";
        let one = |fault, proof, edge, deed| Fault { signs: Signs { fault, checks: &[Check::App], proof, edge }, deed };
        vec![
            one("app: answers 500", &["bad_status"], &[], Deed::App(Mode::Answer(500))),
            one("app: answers 503", &["bad_status"], &[], Deed::App(Mode::Answer(503))),
            one("app: hangs", &["response_timeout"], &[], Deed::App(Mode::Silent)),
            one("app: answers what is no HTTP", &["protocol_error"], &[], Deed::App(Mode::Bytes(NO_HTTP))),
            one("app: breaks off in its head", &["connection_lost"], &[], Deed::App(Mode::Bytes(HALF_A_HEAD))),
            // A connection that waits to be accepted is reset.
            one("app: refuses", &["connect_refused"], &["connection_lost"], Deed::Network(Trouble::Refuse)),
            one("app: accepts and hangs", &["response_timeout"], &[], Deed::Network(Trouble::Hang)),
            one("app: closes at once", &["connection_lost"], &[], Deed::Network(Trouble::Close)),
            one("app: resets at once", &["connection_lost"], &[], Deed::Network(Trouble::Reset)),
            one("app: answers late", &["response_timeout"], &[], Deed::Network(Trouble::Late)),
            one("app: drips", &["response_timeout"], &[], Deed::Network(Trouble::Drip)),
            one("app: resets in its answer", &["connection_lost"], &[], Deed::Cut(Trouble::ResetAfter)),
            one("app: stalls in its answer", &["response_timeout"], &[], Deed::Cut(Trouble::StallAfter)),
        ]
    }

    fn inflict(&mut self, deed: &Deed, random: &mut Random) {
        match deed {
            Deed::App(mode) => self.app.behave(mode.clone()),
            Deed::Network(trouble) => self.door.behave(*trouble),
            Deed::Cut(trouble) => self.door.behave(trouble(random.below(self.door.usual_bytes() / 2))),
        }
    }

    fn heal(&mut self, _: &Deed) {
        self.app.behave(Mode::Answer(200));
        self.door.behave(Trouble::None);
    }
}
