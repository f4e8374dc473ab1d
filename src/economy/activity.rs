//! Is the app using the database? Told from what the kernel shows of its sockets at one look and the next. Pure.
//!
//! - A connection that is held open, and over which nothing comes, is not activity: a suspended compute stays asleep.
//! - Nor is the server's farewell, which it writes to every pooled connection when it suspends: a socket whose peer has
//!   closed never counts, nor does the end of one that an earlier look had listed.

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
    /// When each of the app's connections last received data, where that is since the look before.
    pub moments: Vec<Instant>,
    /// More ended than could be told.
    pub overflow: bool,
}

impl Finding {
    /// The app has used the database since the look before.
    pub fn is_active(&self) -> bool {
        self.overflow || !self.moments.is_empty()
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
        if !self.listed.iter().any(|listed| listed.contains(&ending.cookie)) {
            self.note(ending.last_data);
        }
    }

    /// Connections have ended, and nobody knows which.
    pub fn lost(&mut self) {
        self.overflow = true;
    }

    /// A look: all sockets to the database's port, and whether each is one of the app's to the database.
    pub fn look(&mut self, seen: &[(Sighting, bool)], now: Instant) -> Finding {
        for (socket, _) in seen.iter().filter(|(socket, of_app)| *of_app && socket.established) {
            now.checked_sub(socket.quiet_for).into_iter().for_each(|moment| self.note(moment));
        }
        self.ever_seen |= seen.iter().any(|(_, of_app)| *of_app);
        let [last, before_last] = &mut self.listed;
        mem::swap(last, before_last);
        *last = seen.iter().map(|(socket, _)| socket.cookie).collect();
        self.looked = Some(now);
        Finding {
            connections: seen.iter().filter(|(socket, of_app)| *of_app && socket.established).count(),
            moments: mem::take(&mut self.moments),
            overflow: mem::take(&mut self.overflow),
        }
    }

    /// Data came at this moment: news, or known since an earlier look.
    fn note(&mut self, moment: Instant) {
        let news = self.looked.is_none_or(|looked| moment + JIFFY > looked);
        let told = self.moments.iter().any(|told| told.max(&moment).duration_since(*told.min(&moment)) < TOGETHER);
        if news && !told {
            self.moments.push(moment);
        }
    }
}

#[cfg(test)]
mod tests;
