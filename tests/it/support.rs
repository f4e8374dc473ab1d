//! What the tests are built on: the servers that a database check can meet, and how to wait for what happens in them.

pub(crate) mod backends;
pub(crate) mod certificates;
pub(crate) mod daemon;
pub(crate) mod database_url;
pub(crate) mod eventually;
pub(crate) mod fake_postgres;
pub(crate) mod http;
pub(crate) mod namespace;
pub(crate) mod pgbouncer;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod run_app;
pub(crate) mod run_child;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod sidecar;
pub(crate) mod sleepy;
pub(crate) mod uvicorn;
pub(crate) mod web_app;
