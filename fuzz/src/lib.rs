//! What the targets share: a server that follows the fuzzer's script, a paused clock, and a count of the memory in use.

pub mod postgres;
pub mod script;
pub mod world;
