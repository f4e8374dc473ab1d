//! One file of a backend, read as if it were of every kind: no panic, no endless recursion, and no input that takes
//! long (fuzz/run allows ten seconds for each).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A repeated piece shows what is not linear.
    let repeated = bytes.repeat(1 + 8_192 / bytes.len().max(1));
    for file in [bytes, &repeated] {
        sidepulse::fuzzed::read_anything(file);
    }
});
