//! What the tests stand on.

pub(crate) mod run_app;
pub(crate) mod run_child;
