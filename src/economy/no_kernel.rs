//! Systems other than Linux do not show of their sockets what [`super::activity`] needs.

use std::convert::Infallible;
use std::io;

use super::activity::{Ending, Sighting};

/// None can be seen.
pub(super) fn sockets(_port: u16) -> io::Result<Vec<Sighting>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nor can any be seen to end.
pub(super) struct Endings(Infallible);

impl Endings {
    pub(super) fn listen(_port: u16) -> io::Result<Endings> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(clippy::unused_async, reason = "as on Linux")]
    pub(super) async fn next(&self, _take: impl FnMut(Option<Ending>)) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn take(&self, _take: impl FnMut(Option<Ending>)) {
        match self.0 {}
    }
}
