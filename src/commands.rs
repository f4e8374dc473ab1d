//! The commands that run once and print their result to stdout.

use std::io::{self, Write};

pub mod check;
pub mod doctor;
pub mod ping;

/// Prints a command's result. A reader that has gone is no fault of ours, and `print!` would panic.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
