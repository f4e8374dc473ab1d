//! sidepulse: a health and readiness probe sidecar.
//!
//! Three things always hold:
//!
//! - No request triggers a check: handlers read the newest snapshot from memory.
//! - It holds at most one connection to the database, and every wait has a deadline.
//! - No body, label or log line contains a secret, a host name, SQL or a server's own message.
//!
//! ```text
//! environment ─► config, dsn ─► probe (app | database) ─► schedule ─► state ─► readiness ─► http
//!                                 └ tls, diagnosis        └ economy     └──► metrics ◄───┘        lifecycle, supervise: signals, the child
//! ```
//!
//! | where is … | file |
//! |---|---|
//! | the readiness decision | `readiness.rs` |
//! | what a setting is called, its default | `config/settings.rs` |
//! | what `/readyz` returns | `http/routes.rs` |
//! | why a database check failed, and what to do | `probe/diagnosis.rs`, `probe/reason.rs`, `probe/cause.rs` |
//! | how often it probes | `schedule.rs`, `retry.rs` |
//! | whether it may wake the database | `economy.rs` |
//! | what will hurt soon, and how often that is asked | `early_warnings.rs`; `probe/vitals.rs`, `probe/vitals/reader.rs`, `config/warn_at.rs` |
//! | what a server refuses of what is added to the user's query | `probe/query.rs`, `probe/refusal.rs` |
//! | what happens to a result: snapshot, metrics, log | `record.rs` |
//! | what happens on SIGTERM | `lifecycle.rs`; with a child `supervise.rs`, `supervise/course.rs` |
//! | what happens before a command runs | `commands.rs` |
//! | what each command prints | `commands/check.rs`, `commands/ping.rs`, `commands/doctor.rs` |
//! | whether the check thread is alive, whether the process is stopping | `pulse.rs`, `process_state.rs` |
//! | the metric names | `metrics.rs`, `metrics/checks.rs`, `metrics/database.rs`, `metrics/vitals.rs`, `metrics/process.rs` |
//! | where the password is handled | `dsn.rs`; the client's key `tls/client.rs` |

mod cli;
mod commands;
mod config;
mod dsn;
mod early_warnings;
mod economy;
#[cfg(fuzzing)]
pub mod fuzzed;
mod http;
mod lifecycle;
mod log;
mod metrics;
mod millis;
mod probe;
mod process_state;
mod pulse;
mod readiness;
mod record;
mod redact;
#[cfg(test)]
mod reference;
mod retry;
mod schedule;
mod state;
mod supervise;
mod tls;
pub mod without_daemon;

pub use commands::run;
