//! The integration tests: one binary.
#![allow(clippy::disallowed_methods, reason = "tests read TMPDIR and the like themselves")]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]
#![allow(clippy::needless_pass_by_value, reason = "helpers read better where they take what they are given")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a failing test shows the daemon's log")]

mod addresses;
mod attack;
mod beside_uvicorn;
mod client_certificates;
mod commands;
mod dialects;
mod doctor;
mod early_warnings;
mod economy;
mod faults;
mod neon;
mod pooler;
mod postgres_for_real;
mod prometheus;
mod reference;
mod run;
mod secrets;
mod serve;
mod servers;
mod soak;
mod spellings;
mod sql_checks;
mod support;
mod tls;
mod versions;
