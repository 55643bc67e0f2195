//! Looking after the disk, once for every sweep.

use std::time::Instant;

use super::disk;
use super::schema;
use super::unstored::Unstored;
use super::writer::{Survives, Tx};
use super::{LOOK_AGAIN, LocalQueue};
use crate::repeated::Repeated;

/// Looks after the disk that failed.
static NOT_TENDED: Repeated = Repeated::new(log::Level::Error);

/// Transactions that give pages back to the disk in one sweep; each gives back 256 KiB.
const PORTIONS: usize = 16;

impl LocalQueue {
    /// Takes room back that was given up, tries whether a store that failed takes changes again, and
    /// gives the disk pages of the store that hold nothing once an input was refused. True where the
    /// disk is to be looked at again soon.
    pub(super) fn tend_disk(&self) -> bool {
        let room = self.spool.room();
        if self.is_time_to_look() {
            room.restore();
            if let Err(error) = self.touch().and_then(|()| self.shrink()) {
                NOT_TENDED.say(format_args!("the disk could not be looked after: {error}"));
                return true;
            }
        }
        room.wants_spare()
            || room.is_short()
            || room.is_relieved()
            || self.condition.trouble().is_some()
    }

    /// Writes, where only that can tell whether the store works again.
    fn touch(&self) -> Result<(), Unstored> {
        if self.condition.is_stuck() {
            self.change(Survives::PowerCut, |tx| schema::touch(tx.conn))?;
        }
        Ok(())
    }

    /// Gives the disk what the store does not need, where inputs want it.
    fn shrink(&self) -> Result<(), Unstored> {
        let room = self.spool.room();
        if !room.wants_spare() {
            return Ok(());
        }
        for _ in 0..PORTIONS {
            if !self.change(Survives::Kill, |tx: &mut Tx<'_>| disk::shrink(tx.conn))? {
                room.forget_refusal();
                break;
            }
        }
        self.change(Survives::Kill, |tx| {
            tx.move_log();
            Ok(())
        })?;
        room.restore();
        Ok(())
    }

    /// Once in [`LOOK_AGAIN`], however often a sweep is asked for.
    fn is_time_to_look(&self) -> bool {
        let mut looked = self.looked.lock().expect("invariant: no panic under this lock");
        let due = looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
        if due {
            *looked = Some(Instant::now());
        }
        due
    }
}
