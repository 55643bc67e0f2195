//! The slow work that all eight programs do, and a model of the machine they do it on: a card that
//! computes two things at once and has memory for eight. It sleeps where a real one would compute, so
//! that the numbers are about the same on any computer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// This many runs compute at full speed; more of them share, so that each is slower.
const UNITS: u32 = 2;
/// The data of this many runs fit on the card. With more of them, data are brought in and thrown out
/// again at each turn, and everything takes twice as long.
const ROOM: u32 = 8;
/// A run is ten turns of 5 ms: 50 ms, where it need not share.
const TURNS: u32 = 10;
const TURN: Duration = Duration::from_millis(5);
/// What a run holds in the computer's own memory, in bytes.
const WORKING_SET: usize = 1024 * 1024;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Turns a text into capitals, slowly, and says so. As every library does on some input, it panics,
/// here on the text `panic`.
pub fn work(text: &str) -> String {
    assert_ne!(text, "panic", "this text breaks the work");
    let working_set = vec![1u8; WORKING_SET];
    RUNS.fetch_add(1, Ordering::SeqCst);
    for _ in 0..TURNS {
        let runs = RUNS.load(Ordering::SeqCst);
        let crowded = if runs > ROOM { 2 } else { 1 };
        thread::sleep(TURN * runs.max(UNITS) * crowded / UNITS);
    }
    RUNS.fetch_sub(1, Ordering::SeqCst);
    drop(std::hint::black_box(working_set));
    println!("finished {text}");
    text.to_uppercase()
}
