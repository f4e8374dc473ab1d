//! Is the app using the database? Told from what the kernel shows of its sockets at one look and the next. Pure.
//!
//! - A connection that is held open, and over which nothing comes, is not activity: a suspended compute stays asleep.
//! - Nor is the server's farewell, which it writes to every pooled connection when it suspends: of the sockets that an
//!   earlier look had listed neither those count whose peer has closed, nor the end of one. Between the farewell and the close
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
    /// When the app's connections received data at the latest, where that is since the look before.
    pub moments: Vec<Instant>,
    /// The same for connections that an earlier look had listed: perhaps only a farewell.
    pub held: Vec<(u64, Instant)>,
    /// More ended than could be told.
    pub overflow: bool,
    /// How long the look took: data may have come this much earlier.
    pub took: Duration,
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
    /// The last two looks: the kernel may tell an end some milliseconds late, after the next look.
    looks: [Look; 2],
    moments: Vec<Instant>,
    overflow: bool,
    ever_seen: bool,
}

/// When it began, and the sockets that it listed.
#[derive(Debug, Default)]
struct Look {
    began: Option<Instant>,
    listed: HashSet<u64>,
}

impl Look {
    /// Whether data that came at this moment was not there yet.
    fn precedes(&self, moment: Instant) -> bool {
        self.began.is_none_or(|began| moment + JIFFY > began)
    }
}

impl Ledger {
    /// A foreign socket to the database was seen at least once.
    pub fn ever_seen(&self) -> bool {
        self.ever_seen
    }

    /// A connection of the app to the database has ended.
    pub fn ended(&mut self, ending: &Ending) {
        self.ever_seen = true;
        // One that neither look lists was opened after the earlier of them, or was old then.
        if !self.has_listed(ending.cookie) && self.looks[1].precedes(ending.last_data) {
            self.note(ending.last_data);
        }
    }

    /// Connections have ended, and nobody knows which.
    pub fn lost(&mut self) {
        self.overflow = true;
    }

    /// A look from `began` to `ended`: all sockets to the database's port, and whether each is one of the app's to the
    /// database. The kernel told the ages at some moment in between.
    pub fn look(&mut self, seen: &[(Sighting, bool)], began: Instant, ended: Instant) -> Finding {
        let of_app = || seen.iter().filter(|(_, of_app)| *of_app).map(|(socket, _)| socket);
        let mut held = Vec::new();
        for socket in of_app() {
            let moment = ended.checked_sub(socket.quiet_for).filter(|moment| self.looks[0].precedes(*moment));
            match moment {
                Some(moment) if !self.has_listed(socket.cookie) => self.note(moment),
                Some(moment) if socket.established => held.push((socket.cookie, moment)),
                _ => {}
            }
        }
        self.ever_seen |= of_app().next().is_some();
        self.looks.swap(0, 1);
        self.looks[0] = Look { began: Some(began), listed: seen.iter().map(|(socket, _)| socket.cookie).collect() };
        let (moments, overflow) = (mem::take(&mut self.moments), mem::take(&mut self.overflow));
        let connections = of_app().filter(|socket| socket.established).count();
        Finding { connections, moments, held, overflow, took: ended.saturating_duration_since(began) }
    }

    fn has_listed(&self, cookie: u64) -> bool {
        self.looks.iter().any(|look| look.listed.contains(&cookie))
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
