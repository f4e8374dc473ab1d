//! Any sequence of results, moments and settings: the model is in `src/fuzzed/state_machine.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| sidepulse::fuzzed::state_machine(input));
