//! Is the app using the database? Told from what the kernel shows of its sockets at one look and the next. Pure.
//!
//! - A connection that is held open, and over which nothing comes, is not activity: a suspended compute stays asleep.
//! - Nor is the server's farewell, which it writes to every pooled connection when it suspends: a socket whose peer has
//!   closed never counts, nor does the end of one that an earlier look had listed. Between the farewell and the close
//!   such a socket looks like one in use: where all that was found came over sockets of this kind, a second look a
//!   moment later decides.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// The kernel counts the age of data in jiffies, of 10 ms at most: data this close before a look counts at the next
/// one as well, so that none is missed.
pub(super) const JIFFY: Duration = Duration::from_millis(10);
/// Ends that came this close together are one: a busy app closes thousands between two looks.
const TOGETHER: Duration = Duration::from_millis(50);

/// A TCP socket, as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The kernel's name for it.
    pub cookie: u64,
    /// The other end; never a mapped address.
    pub peer: IpAddr,
    /// Neither side has closed it.
    pub established: bool,
    /// Since data last came, or since it was connected.
    pub quiet_for: Duration,
}

/// A TCP socket that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The kernel's name for it.
    pub cookie: u64,
    /// The other end; never a mapped address.
    pub peer: IpAddr,
    /// When data last came, or it was connected.
    pub last_data: Instant,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The app's open connections to the database.
    pub connections: usize,
    /// When the app's connections received data, where that is since the look before.
    pub moments: Vec<Instant>,
    /// The same for connections that an earlier look had listed: perhaps only a farewell.
    pub held: Vec<(u64, Instant)>,
    /// More ended than could be told.
    pub overflow: bool,
}

impl Finding {
    /// The app has used the database since the look before.
    pub fn is_active(&self) -> bool {
        self.overflow || !self.moments.is_empty() || !self.held.is_empty()
    }

    /// It may have been the server's farewell instead.
    pub fn is_doubtful(&self) -> bool {
        !self.overflow && self.moments.is_empty() && !self.held.is_empty()
    }

    /// Takes a second look in: a connection over which the server said farewell is closed by now.
    pub fn confirm(&mut self, seen: &[Sighting]) {
        let open = |cookie| seen.iter().any(|socket| socket.cookie == cookie && socket.established);
        self.held.retain(|(cookie, _)| open(*cookie));
    }
}

/// What is remembered from look to look.
#[derive(Debug, Default)]
pub struct Ledger {
    looked: Option<Instant>,
    /// What the last two looks listed: the kernel may tell an end some milliseconds late, after the next look.
    listed: [HashSet<u64>; 2],
    moments: Vec<Instant>,
    overflow: bool,
    ever_seen: bool,
}

impl Ledger {
    /// A foreign socket to the database was seen at least once.
    pub fn ever_seen(&self) -> bool {
        self.ever_seen
    }

    /// A connection of the app to the database has ended.
    pub fn ended(&mut self, ending: &Ending) {
        self.ever_seen = true;
        if !self.has_listed(ending.cookie) && self.is_news(ending.last_data) {
            self.note(ending.last_data);
        }
    }

    /// Connections have ended, and nobody knows which.
    pub fn lost(&mut self) {
        self.overflow = true;
    }

    /// A look: all sockets to the database's port, and whether each is one of the app's to the database.
    pub fn look(&mut self, seen: &[(Sighting, bool)], now: Instant) -> Finding {
        let mut held = Vec::new();
        let open = || seen.iter().filter(|(socket, of_app)| *of_app && socket.established).map(|(socket, _)| socket);
        for socket in open() {
            match now.checked_sub(socket.quiet_for).filter(|moment| self.is_news(*moment)) {
                Some(moment) if self.has_listed(socket.cookie) => held.push((socket.cookie, moment)),
                Some(moment) => self.note(moment),
                None => {}
            }
        }
        self.ever_seen |= seen.iter().any(|(_, of_app)| *of_app);
        self.listed.swap(0, 1);
        self.listed[0] = seen.iter().map(|(socket, _)| socket.cookie).collect();
        self.looked = Some(now);
        let (moments, overflow) = (mem::take(&mut self.moments), mem::take(&mut self.overflow));
        Finding { connections: open().count(), moments, held, overflow }
    }

    fn has_listed(&self, cookie: u64) -> bool {
        self.listed.iter().any(|listed| listed.contains(&cookie))
    }

    /// Whether data that came at this moment was not there at the look before.
    fn is_news(&self, moment: Instant) -> bool {
        self.looked.is_none_or(|looked| moment + JIFFY > looked)
    }

    fn note(&mut self, moment: Instant) {
        let told = |told: &Instant| told.max(&moment).duration_since(*told.min(&moment)) < TOGETHER;
        if !self.moments.iter().any(told) {
            self.moments.push(moment);
        }
    }
}

#[cfg(test)]
mod tests;
