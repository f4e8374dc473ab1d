//! What the targets share: a server that follows the fuzzer's script, a clock that costs no time, a count of memory.

pub mod postgres;
pub mod script;
pub mod world;
