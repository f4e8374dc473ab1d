//! Is the app using the database? Two consecutive dumps of the kernel's sockets show it. Pure.
//!
//! - A connection that is open but receives nothing is not activity: a suspended compute stays asleep.
//! - Nor is the error (57P01) that a server sends over every open connection before it suspends: a socket that an earlier
//!   dump has listed does not count once its peer has closed it, and its end does not count either. Between the error and
//!   the close such a socket looks as if it were in use: if sockets like this are all that was found, a second dump a
//!   moment later decides.
//! - Nor is a connection that never logs in (a port scan, `pg_isready`, a mere TLS handshake, a wrong password): it has
//!   received less than our own login did.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The kernel counts the age of data in jiffies, of at most 10 ms: data this close before a dump counts for the next one
/// as well, so that none is missed.
pub(super) const JIFFY: Duration = Duration::from_millis(10);
/// Ends this close together count as one: a busy app closes thousands of connections between two dumps.
const TOGETHER: Duration = Duration::from_millis(50);

/// A TCP socket, as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedSocket {
    /// The kernel's name for it.
    pub(crate) cookie: u64,
    /// The other end; never a mapped address.
    pub(crate) peer: IpAddr,
    /// Neither side has closed it.
    pub(crate) established: bool,
    /// Time since data was last received, or since it was connected.
    pub(crate) quiet_for: Duration,
    /// Bytes received so far, if the kernel counts them.
    pub(crate) received: Option<u64>,
}

/// A TCP socket that has been destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedSocket {
    /// The kernel's name for it.
    pub(crate) cookie: u64,
    /// The other end; never a mapped address.
    pub(crate) peer: IpAddr,
    /// When data was last received, or when it was connected.
    pub(crate) last_data: Instant,
    /// Bytes received in all, if the kernel counted them.
    pub(crate) received: Option<u64>,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Our own, or one that leads elsewhere.
    NotTheApps,
    /// Another process's, to the database, which has received too little for a login.
    LoggedOut,
    /// Another process's, which has logged in to the database: the app's.
    TheApps,
}

/// What a dump shows, compared with the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) connections: usize,
    /// When the app's connections last received data, if that was since the dump before.
    pub(crate) moments: Vec<Instant>,
    /// The same for connections that an earlier dump has listed: perhaps only the error with which a server shuts down.
    pub(crate) held: Vec<(u64, Instant)>,
    /// More connections ended than the kernel could report.
    pub(crate) overflow: bool,
    /// How long the dump took: data may have been received this much earlier.
    pub(crate) took: Duration,
}

impl Activity {
    /// The app has used the database since the dump before.
    pub(crate) fn is_active(&self) -> bool {
        self.overflow || !self.moments.is_empty() || !self.held.is_empty()
    }

    /// It may only have been a server that shuts down.
    pub(crate) fn is_doubtful(&self) -> bool {
        !self.overflow && self.moments.is_empty() && !self.held.is_empty()
    }

    /// Compares with a second dump: a connection that the server has ended is closed by now.
    pub(crate) fn confirm(&mut self, seen: &[ListedSocket]) {
        let open = |cookie| seen.iter().any(|socket| socket.cookie == cookie && socket.established);
        self.held.retain(|(cookie, _)| open(*cookie));
    }
}

/// What is remembered from one dump to the next.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The last two: the kernel may report an end some milliseconds late, after the next dump.
    dumps: [Dump; 2],
    moments: Vec<Instant>,
    overflow: bool,
    ever_seen: bool,
}

/// When a dump began, and the sockets that it listed.
#[derive(Debug, Default)]
struct Dump {
    began: Option<Instant>,
    listed: HashSet<u64>,
}

impl Dump {
    /// Whether data received at this moment had not been received yet.
    fn precedes(&self, moment: Instant) -> bool {
        self.began.is_none_or(|began| moment + JIFFY > began)
    }
}

impl History {
    /// Another process's socket to the database was seen at least once.
    pub(crate) fn ever_seen(&self) -> bool {
        self.ever_seen
    }

    /// A connection to the database's port has ended.
    pub(crate) fn ended(&mut self, ending: &EndedSocket, whose: Whose) {
        self.ever_seen |= whose != Whose::NotTheApps;
        if whose != Whose::TheApps {
            return;
        }
        // One that neither dump lists was opened after the earlier of them, or had been closed before it.
        if !self.has_listed(ending.cookie) && self.dumps[1].precedes(ending.last_data) {
            self.note(ending.last_data);
        }
    }

    /// Connections have ended, but it is not known which.
    pub(crate) fn lost(&mut self) {
        self.overflow = true;
    }

    /// A dump made between `began` and `ended`: all sockets to the database's port, and whose each is. The kernel read
    /// the ages at some moment in between.
    pub(crate) fn compare(&mut self, seen: &[(ListedSocket, Whose)], began: Instant, ended: Instant) -> Activity {
        let mut held = Vec::new();
        for (socket, _) in seen.iter().filter(|(_, whose)| *whose == Whose::TheApps) {
            let moment = ended.checked_sub(socket.quiet_for).filter(|moment| self.dumps[0].precedes(*moment));
            match moment {
                Some(moment) if !self.has_listed(socket.cookie) => self.note(moment),
                Some(moment) if socket.established => held.push((socket.cookie, moment)),
                _ => {}
            }
        }
        let of_others = || seen.iter().filter(|(_, whose)| *whose != Whose::NotTheApps);
        self.ever_seen |= of_others().next().is_some();
        self.dumps.swap(0, 1);
        // A socket is new until it has logged in, however long that takes.
        let known = seen.iter().filter(|(_, whose)| *whose != Whose::LoggedOut);
        self.dumps[0] = Dump { began: Some(began), listed: known.map(|(socket, _)| socket.cookie).collect() };
        let (moments, overflow) = (mem::take(&mut self.moments), mem::take(&mut self.overflow));
        let connections = of_others().filter(|(socket, _)| socket.established).count();
        Activity { connections, moments, held, overflow, took: ended.saturating_duration_since(began) }
    }

    fn has_listed(&self, cookie: u64) -> bool {
        self.dumps.iter().any(|dump| dump.listed.contains(&cookie))
    }

    fn note(&mut self, moment: Instant) {
        let close = |known: &Instant| known.max(&moment).duration_since(*known.min(&moment)) < TOGETHER;
        if !self.moments.iter().any(close) {
            self.moments.push(moment);
        }
    }
}

#[cfg(test)]
mod tests;
