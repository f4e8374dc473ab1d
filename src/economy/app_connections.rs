//! The app's connections to the database, seen from outside: the kernel's sockets without our own and those that lead
//! elsewhere.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::activity::{Activity, EndedSocket, History, ListedSocket, Whose};
use super::kernel::{self, EndedSockets};
use crate::dsn::Endpoint;
use crate::probe::traffic::Traffic;

/// What both the dumps and the listener add to.
struct Observed {
    port: u16,
    traffic: Traffic,
    history: RefCell<History>,
}

impl Observed {
    /// Notes the end of a connection; `None`: some ends were lost.
    fn ended(&self, ending: Option<EndedSocket>) {
        let Some(ending) = ending else { return self.history.borrow_mut().lost() };
        let whose = self.whose(ending.cookie, ending.peer, ending.received, Instant::now());
        self.history.borrow_mut().ended(&ending, whose);
    }

    /// If the kernel does not count bytes, any connection may have logged in.
    fn whose(&self, cookie: u64, peer: IpAddr, received: Option<u64>, now: Instant) -> Whose {
        if !self.traffic.reaches_database(peer, now) || self.traffic.is_ours(cookie) {
            Whose::NotTheApps
        } else if received.is_some_and(|received| received < self.traffic.least_login()) {
            Whose::LoggedOut
        } else {
            Whose::TheApps
        }
    }
}

/// A view of the app's connections to one database.
pub(crate) struct AppConnections {
    observed: Rc<Observed>,
    endings: Option<Rc<EndedSockets>>,
    listener: Option<JoinHandle<()>>,
}

impl AppConnections {
    /// Of the database at this endpoint; `traffic` is that of the probe.
    ///
    /// # Errors
    /// If the kernel shows no sockets, or the database is not reached over TCP.
    pub(crate) fn of(endpoint: &Endpoint, traffic: &Traffic) -> io::Result<AppConnections> {
        let Endpoint::Tcp { port, .. } = endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
        kernel::sockets(*port)?;
        let observed = Observed { port: *port, traffic: traffic.clone(), history: RefCell::default() };
        Ok(AppConnections { observed: Rc::new(observed), endings: None, listener: None })
    }

    /// From now on notes the ends of connections too, as they happen. Needs a local set.
    ///
    /// # Errors
    /// If the kernel does not report them.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let endings = Rc::new(EndedSockets::listen(self.observed.port)?);
        let (heard, observed) = (Rc::clone(&endings), Rc::clone(&self.observed));
        self.endings = Some(endings);
        self.listener = Some(tokio::task::spawn_local(async move {
            while heard.next(|ending| observed.ended(ending)).await.is_ok() {}
        }));
        Ok(())
    }

    /// Another process's socket to the database was seen at least once.
    pub(crate) fn ever_seen(&self) -> bool {
        self.observed.history.borrow().ever_seen()
    }

    /// What has happened since the last call, which may only be a server that shuts down.
    ///
    /// # Errors
    /// If the kernel shows no sockets, or our own cannot be told from the app's.
    pub(crate) fn compare(&mut self) -> io::Result<Activity> {
        let observed = &self.observed;
        if !observed.traffic.is_complete() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Those that the listener has not read yet.
        if let Some(endings) = &self.endings {
            endings.take(|ending| observed.ended(ending));
        }
        let began = Instant::now();
        let seen = kernel::sockets(observed.port)?;
        let ended = Instant::now();
        let whose = |socket: &ListedSocket| observed.whose(socket.cookie, socket.peer, socket.received, began);
        let judged: Vec<_> = seen.into_iter().map(|socket| (socket, whose(&socket))).collect();
        Ok(observed.history.borrow_mut().compare(&judged, began, ended))
    }

    /// What the app has done since the last call. In doubt the sockets are dumped again after `pause`.
    ///
    /// # Errors
    /// As for [`compare`](Self::compare).
    pub(crate) async fn compare_twice(&mut self, pause: Duration) -> io::Result<Activity> {
        let mut found = self.compare()?;
        if found.is_doubtful() {
            sleep(pause).await;
            found.confirm(&kernel::sockets(self.observed.port)?);
        }
        Ok(found)
    }
}

impl Drop for AppConnections {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}
