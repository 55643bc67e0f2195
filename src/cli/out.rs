//! What a command writes to stdout and stderr. Neither a closed pipe nor a full disk behind one of them
//! brings a thread down, as `println!` and `eprintln!` would.

use std::fmt::Arguments;
use std::io::{self, Write, stderr, stdout};

use super::Failure;

/// Writes a line for the person at the terminal to stderr. Where nobody can read it, it is lost.
pub(crate) fn note(line: Arguments<'_>) {
    // In one piece, so that no other thread's line is in it.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes a line of the command's result to stdout.
///
/// # Errors
/// As [`written`].
pub(crate) fn line(line: Arguments<'_>) -> Result<(), Failure> {
    written(writeln!(stdout(), "{line}"))
}

/// A write to stdout, as the command sees it: a reader that has enough, such as `head`, ends the command
/// without a word.
///
/// # Errors
/// [`Failure::ReaderGone`], or what the system said.
pub(crate) fn written<T>(result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::failed(format!("the output cannot be written: {error}")),
    })
}
