//! A recording: what it is, and its samples, until it ends, breaks or is longer than a minute.
//!
//! A library's panic is let through: a worker takes it for the end of the attempt, and goes on. What
//! must hold even then is that it ends (`-timeout`), and that its memory is bounded, whatever the
//! file claims: that is asserted of every allocation on the way. A panic in this project's own code is
//! a failure, as is a block that is empty, too long or holds what is no number.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ringback::audio::{Error, Reader, SAMPLE_RATE};

/// The longest recording.
const LIMIT: Duration = Duration::from_secs(60);
/// The most memory for one of some thousand bytes, in bytes.
const MEMORY_MAX: usize = 64 * 1024 * 1024;

#[global_allocator]
static COUNTING: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(
    init: std::panic::set_hook(Box::new(judge)),
    |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        // Nothing is used after a panic.
        let ended = catch_unwind(AssertUnwindSafe(|| read(bytes)));
        let most = MOST.load(Ordering::Relaxed) - before;
        assert!(most <= MEMORY_MAX, "{most} bytes at once");
        if let Ok(Err(error)) = ended {
            assert_ne!(error.code(), "io", "{error}");
        }
    }
);

fn read(bytes: Vec<u8>) -> Result<(), Error> {
    let mut reader = Reader::open(Cursor::new(bytes), LIMIT)?;
    while let Some(block) = reader.next_block()? {
        // The longest packet there is (ten seconds of PCM) and the longest step of a conversion.
        assert!(!block.is_empty() && block.len() <= 60 * SAMPLE_RATE as usize, "{}", block.len());
        assert!(block.iter().all(|sample| sample.is_finite()));
        assert!((0.0..=1.0).contains(&reader.fraction_read()));
    }
    Ok(())
}

/// Ends the process, unless the panic is a library's.
fn judge(panic: &PanicHookInfo<'_>) {
    let file = panic.location().map_or("", |location| location.file());
    let is_library = file.contains("/registry/src/") || file.starts_with("/rustc/");
    if !is_library {
        eprintln!("{panic}");
        std::process::abort();
    }
}

/// The system's allocator, and how much is held of it.
struct Counting;

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}
