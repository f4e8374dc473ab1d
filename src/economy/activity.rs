//! Is the app using the database? Two dumps of the kernel's sockets, one after the other, show it. Pure.
//!
//! - A connection that is held open, and over which nothing comes, is not activity: a suspended compute stays asleep.
//! - Nor is the error (57P01) that a server that suspends sends over every open connection before it closes it: of the
//!   sockets that an earlier dump had listed neither those count whose peer has closed, nor the end of one. Between the
//!   error and the close such a socket looks like one in use: where all that was found came over sockets of this kind,
//!   a second dump a moment later decides.
//! - Nor is a connection that never logs in (a port that is tried, `pg_isready`, a TLS handshake alone, a wrong
//!   password): less has come over it than the prober's own login brought.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The kernel counts the age of data in jiffies, of 10 ms at most: data this close before a dump counts at the next
/// one as well, so that none is missed.
pub(super) const JIFFY: Duration = Duration::from_millis(10);
/// Ends that came this close together are one: a busy app closes thousands between two dumps.
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
    /// Since data last came, or since it was connected.
    pub(crate) quiet_for: Duration,
    /// Bytes that came so far, where the kernel counts them.
    pub(crate) received: Option<u64>,
}

/// A TCP socket that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedSocket {
    /// The kernel's name for it.
    pub(crate) cookie: u64,
    /// The other end; never a mapped address.
    pub(crate) peer: IpAddr,
    /// When data last came, or it was connected.
    pub(crate) last_data: Instant,
    /// Bytes that came in all, where the kernel counted them.
    pub(crate) received: Option<u64>,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The prober's own, or it leads elsewhere.
    NotTheApps,
    /// Somebody else's to the database, and too little has come for a login.
    LoggedOut,
    /// Somebody else's, who has logged in to the database: the app's.
    TheApps,
}

/// What a dump found, beside the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// The app's open connections to the database.
    pub(crate) connections: usize,
    /// When the app's connections received data at the latest, where that is since the dump before.
    pub(crate) moments: Vec<Instant>,
    /// The same for connections that an earlier dump had listed: perhaps only the error with which a server shuts down.
    pub(crate) held: Vec<(u64, Instant)>,
    /// More ended than the kernel could report.
    pub(crate) overflow: bool,
    /// How long the dump took: data may have come this much earlier.
    pub(crate) took: Duration,
}

impl Activity {
    /// The app has used the database since the dump before.
    pub(crate) fn is_active(&self) -> bool {
        self.overflow || !self.moments.is_empty() || !self.held.is_empty()
    }

    /// It may have been a server that shuts down instead.
    pub(crate) fn is_doubtful(&self) -> bool {
        !self.overflow && self.moments.is_empty() && !self.held.is_empty()
    }

    /// Takes a second dump in: a connection that the server has ended is closed by now.
    pub(crate) fn confirm(&mut self, seen: &[ListedSocket]) {
        let open = |cookie| seen.iter().any(|socket| socket.cookie == cookie && socket.established);
        self.held.retain(|(cookie, _)| open(*cookie));
    }
}

/// What is remembered from dump to dump.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The last two dumps: the kernel may report an end some milliseconds late, after the next dump.
    dumps: [Dump; 2],
    moments: Vec<Instant>,
    overflow: bool,
    ever_seen: bool,
}

/// When it began, and the sockets that it listed.
#[derive(Debug, Default)]
struct Dump {
    began: Option<Instant>,
    listed: HashSet<u64>,
}

impl Dump {
    /// Whether data that came at this moment was not there yet.
    fn precedes(&self, moment: Instant) -> bool {
        self.began.is_none_or(|began| moment + JIFFY > began)
    }
}

impl History {
    /// A foreign socket to the database was seen at least once.
    pub(crate) fn ever_seen(&self) -> bool {
        self.ever_seen
    }

    /// A connection to the database's port has ended.
    pub(crate) fn ended(&mut self, ending: &EndedSocket, whose: Whose) {
        self.ever_seen |= whose != Whose::NotTheApps;
        if whose != Whose::TheApps {
            return;
        }
        // One that neither dump lists was opened after the earlier of them, or was old then.
        if !self.has_listed(ending.cookie) && self.dumps[1].precedes(ending.last_data) {
            self.note(ending.last_data);
        }
    }

    /// Connections have ended, and it is not known which.
    pub(crate) fn lost(&mut self) {
        self.overflow = true;
    }

    /// A dump from `began` to `ended`: all sockets to the database's port, and whose each is. The kernel read the ages
    /// at some moment in between.
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
