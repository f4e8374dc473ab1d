//! The app's connections to the database, seen from outside: what the kernel shows, less what is ours or leads
//! elsewhere.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::activity::{Ending, Finding, Ledger};
use super::kernel::{self, Endings};
use crate::dsn::Endpoint;
use crate::probe::traffic::Traffic;

/// What both the looks and the listener have a hand in.
struct Shared {
    port: u16,
    traffic: Traffic,
    ledger: RefCell<Ledger>,
}

impl Shared {
    /// Takes an end in; `None`: one that nobody could take in time.
    fn ended(&self, ending: Option<Ending>) {
        let Some(ending) = ending else { return self.ledger.borrow_mut().lost() };
        if self.is_of_app(ending.cookie, ending.peer, Instant::now()) {
            self.ledger.borrow_mut().ended(&ending);
        }
    }

    fn is_of_app(&self, cookie: u64, peer: IpAddr, now: Instant) -> bool {
        self.traffic.reaches_database(peer, now) && !self.traffic.is_ours(cookie)
    }
}

/// A view of the app's connections to one database.
pub struct Sight {
    shared: Rc<Shared>,
    endings: Option<Rc<Endings>>,
    listener: Option<JoinHandle<()>>,
}

impl Sight {
    /// A view of who else uses the database at this endpoint; `traffic` is that of the probe.
    ///
    /// # Errors
    /// Where the kernel shows nothing, or the database is not reached over TCP.
    pub fn of(endpoint: &Endpoint, traffic: &Traffic) -> io::Result<Sight> {
        let Endpoint::Tcp { port, .. } = endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
        kernel::sockets(*port)?;
        let shared = Shared { port: *port, traffic: traffic.clone(), ledger: RefCell::default() };
        Ok(Sight { shared: Rc::new(shared), endings: None, listener: None })
    }

    /// From now on takes in the ends of connections too, at the moment at which they come. Needs a local set.
    ///
    /// # Errors
    /// Where the kernel tells of none.
    pub fn listen(&mut self) -> io::Result<()> {
        let endings = Rc::new(Endings::listen(self.shared.port)?);
        let (heard, shared) = (Rc::clone(&endings), Rc::clone(&self.shared));
        self.endings = Some(endings);
        self.listener =
            Some(tokio::task::spawn_local(
                async move { while heard.next(|ending| shared.ended(ending)).await.is_ok() {} },
            ));
        Ok(())
    }

    /// A foreign socket to the database was seen at least once.
    pub fn ever_seen(&self) -> bool {
        self.shared.ledger.borrow().ever_seen()
    }

    /// What has happened since the look before, farewells of the server included.
    ///
    /// # Errors
    /// Where the kernel shows nothing, or our own sockets cannot be told from the app's.
    pub fn glance(&mut self) -> io::Result<Finding> {
        let shared = &self.shared;
        if !shared.traffic.is_complete() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // What the listener has not come to yet.
        self.endings.iter().for_each(|endings| endings.take(|ending| shared.ended(ending)));
        let began = Instant::now();
        let seen = kernel::sockets(shared.port)?;
        let ended = Instant::now();
        let judged = seen.into_iter().map(|socket| (socket, shared.is_of_app(socket.cookie, socket.peer, began)));
        Ok(shared.ledger.borrow_mut().look(&judged.collect::<Vec<_>>(), began, ended))
    }

    /// What the app has done since the look before. Where that is in doubt, it looks again after `pause`.
    ///
    /// # Errors
    /// As for [`glance`](Self::glance).
    pub async fn look(&mut self, pause: Duration) -> io::Result<Finding> {
        let mut found = self.glance()?;
        if found.is_doubtful() {
            sleep(pause).await;
            found.confirm(&kernel::sockets(self.shared.port)?);
        }
        Ok(found)
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.listener.iter().for_each(JoinHandle::abort);
    }
}
