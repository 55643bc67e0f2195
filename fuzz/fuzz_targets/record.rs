//! A job in the store: whatever words a client gave it are read back as they were written; and whatever is
//! written over its rows later, within what the tables let in, it is read as a job or an error, and
//! the jobs beside it are looked at, claimed, delivered and deleted as before.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use ringback::fuzzing::{Cell, Damage, Record, Shelf, Stage};

thread_local! {
    static SHELF: RefCell<Shelf> = RefCell::new(Shelf::new());
}

fuzz_target!(|bytes: &[u8]| {
    let record = Bytes(bytes).record();
    SHELF.with_borrow_mut(|shelf| shelf.check(&record));
});

/// The bytes of an input, from front to back; zeros behind its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn record(&mut self) -> Record {
        let stages = [
            Stage::Queued,
            Stage::Running,
            Stage::Retried,
            Stage::Failed,
            Stage::Text,
            Stage::Json,
            Stage::File,
        ];
        let stage = stages[usize::from(self.byte()) % stages.len()];
        let damages = self.byte() % 6;
        Record {
            stage,
            damage: (0..damages).map(|_| self.damage()).collect(),
            duration_s: Some(f64::from_le_bytes(self.eight()))
                .filter(|seconds| seconds.is_finite()),
            input: self.some(),
            words: std::array::from_fn(|_| String::from_utf8_lossy(&self.some()).into_owned()),
        }
    }

    fn damage(&mut self) -> Damage {
        let place = (self.byte(), self.byte());
        let cell = match self.byte() % 5 {
            0 => Cell::Null,
            1 => Cell::Integer(i64::from_le_bytes(self.eight())),
            2 => Cell::Real(f64::from_le_bytes(self.eight())),
            3 => Cell::Text(self.some()),
            _ => Cell::Blob(self.some()),
        };
        Damage { place, cell }
    }

    /// As many bytes as the next one says.
    fn some(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some.to_vec()
    }

    fn eight(&mut self) -> [u8; 8] {
        std::array::from_fn(|_| self.byte())
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}
