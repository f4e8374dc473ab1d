//! The network of the fuzz targets (`--cfg fuzzing` alone): where a probe would connect, a target hands it a stream in
//! memory whose other end it holds. With tokio's clock paused a silent server costs no time, and a run has one course.

use std::cell::RefCell;

use super::dial::Socket;

type Network = Box<dyn FnMut() -> Socket>;

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// From now on each connection that a probe of this thread makes is one of these.
pub fn serve(network: impl FnMut() -> Socket + 'static) {
    NETWORK.with_borrow_mut(|served| *served = Some(Box::new(network)));
}

/// A connection, where a target serves them.
pub(super) fn connect() -> Option<Socket> {
    NETWORK.with_borrow_mut(|served| served.as_mut().map(|network| network()))
}
