//! Real disks of a few megabytes, filled to the last byte: tmpfs, and ext4 in a file. `make test-disk`.
//!
//! Mounting needs root. Without it each test says so in one line and passes; `tests/full.rs` in the suite
//! tries what can be tried without.

#![cfg(all(target_os = "linux", feature = "cli", feature = "whisper"))]

#[path = "../support/mod.rs"]
mod support;

mod drain;
mod failing;
mod mount;
mod outputs;
