//! The network of the fuzz targets (`--cfg fuzzing` alone): where a probe would connect, a target hands it a stream in
//! memory whose other end it holds. With tokio's clock paused a silent server costs no time, and an input always takes the
//! same course.

use std::cell::RefCell;

use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::{self, Socket};

/// Any two-way byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The probe's end of a connection.
pub type Stream = Box<dyn Duplex>;

type Network = Box<dyn FnMut() -> Stream>;

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// From now on each connection that a probe of this thread makes is one of these.
pub fn serve(network: impl FnMut() -> Stream + 'static) {
    NETWORK.with_borrow_mut(|served| *served = Some(Box::new(network)));
}

/// A connection, where a target serves them.
pub(super) fn connect() -> Option<Socket> {
    NETWORK.with_borrow_mut(|served| served.as_mut().map(|network| dial::socket(network())))
}
