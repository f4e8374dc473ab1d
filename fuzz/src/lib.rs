//! What the targets share: a server that follows the fuzzer's script, a clock that costs nothing, the memory in use.

pub mod postgres;
pub mod script;
pub mod world;
