//! Systems other than Linux do not show of their sockets what [`super::activity`] needs.

use std::convert::Infallible;
use std::io;

use super::activity::{EndedSocket, ListedSocket};

/// There is no way to list them.
pub(super) fn sockets(_port: u16) -> io::Result<Vec<ListedSocket>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nor to learn of their ends.
pub(super) struct EndedSockets(Infallible);

impl EndedSockets {
    pub(super) fn listen(_port: u16) -> io::Result<EndedSockets> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(clippy::unused_async, reason = "as on Linux")]
    pub(super) async fn next(&self, _take: impl FnMut(Option<EndedSocket>)) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn take(&self, _take: impl FnMut(Option<EndedSocket>)) {
        match self.0 {}
    }
}
