//! Room on the disk: how much there is, how much of it new inputs may have, and what is kept back so
//! that accepted work can be done.
//!
//! Two things keep a full disk from stopping the queue. New inputs are refused while less than
//! `--min-free` is left ([`Room`]). And a file holds room that the store gives up when something
//! else has filled the disk ([`reserve`]).

mod reserve;
mod room;
mod volume;

pub(crate) use room::{NoRoom, Promise, Room};

use self::volume::Usage;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Whether an error says that there is no room: on the disk, in a user's quota, or in the longest file
/// that this process may write.
pub(crate) fn is_no_room(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// How much room goes to what, in bytes. Small disks have less of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The store's write-ahead log: a fortieth of the disk, at most 16 MiB.
    pub(crate) log: u64,
    /// The reserve: twice the log, since what is in it may have to go into the store's file as well.
    pub(crate) reserve: u64,
    /// What new inputs must leave free: `--min-free`, else a twentieth of the disk, at most 256 MiB.
    pub(crate) min_free: u64,
    /// Files that new inputs must leave: a twentieth of those the disk can have, at most 64.
    pub(crate) min_files: u64,
}

impl Sizes {
    fn of(usage: Option<Usage>, min_free: Option<u64>) -> Sizes {
        let total = usage.map_or(u64::MAX, |usage| usage.total);
        let files = usage.and_then(|usage| usage.files).map_or(0, |files| files.total);
        let log = (total / 40).clamp(256 * KIB, 16 * MIB);
        Sizes {
            log,
            reserve: 2 * log,
            min_free: min_free.unwrap_or((total / 20).min(256 * MIB)),
            min_files: (files / 20).min(64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_disks_have_less_of_everything() {
        let of = |total| Sizes::of(Some(Usage { total, free: total, files: None }), None);
        let sizes = of(20 * MIB);
        assert_eq!((sizes.log, sizes.reserve, sizes.min_free), (MIB / 2, MIB, MIB));
        let sizes = of(1 << 40);
        assert_eq!((sizes.log, sizes.reserve, sizes.min_free), (16 * MIB, 32 * MIB, 256 * MIB));
        assert_eq!(of(MIB).log, 256 * KIB);
        assert_eq!(Sizes::of(None, Some(7)).min_free, 7);
    }
}
