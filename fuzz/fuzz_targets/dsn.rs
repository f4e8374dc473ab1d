//! Any text as `DATABASE_URL`: what must hold is in `src/fuzzed/dsn.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| sidepulse::fuzzed::database_url(text));
