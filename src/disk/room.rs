//! Who may have how much of the disk. Uploads ask before they write, and what they were promised counts
//! until they have written it: many that come at once cannot all be promised the same bytes.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::reserve::Reserve;
use super::volume::{Usage, Volume};
use super::{KIB, Sizes};
use crate::repeated::Repeated;
use crate::spool::INLINE_MAX;

/// Bytes promised at a time to an upload whose length is not known.
const STEP: u64 = INLINE_MAX as u64;
/// The rows of one job, and what they cost in indexes and half-full pages.
const ROWS: u64 = 16 * KIB;

/// Bytes of an outcome that needs no look at the disk.
const SMALL: u64 = 64 * KIB;

/// Room that the store gave up for its work.
static GIVEN_UP: Repeated = Repeated::new(log::Level::Warn);

/// The disk under the data folder.
#[derive(Debug)]
pub(crate) struct Room {
    /// Of the spool and of the store, which may be on two disks.
    volumes: [Volume; 2],
    sizes: Sizes,
    /// Bytes that uploads may still write.
    promised: AtomicU64,
    /// Bytes by which the store's file grows when its log is moved into it.
    growth: AtomicU64,
    /// Bytes in the store's file that hold nothing: inputs that live there may have them.
    spare: AtomicU64,
    /// Whether an input was refused since the store last gave back what it did not need.
    refused: AtomicBool,
    /// Set by the process that holds the store's lock.
    reserve: OnceLock<Reserve>,
}

/// There is too little room for one more input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk has no room for another input beside what is kept free (--min-free)")
    }
}

impl From<NoRoom> for io::Error {
    fn from(none: NoRoom) -> io::Error {
        io::Error::new(io::ErrorKind::StorageFull, none.to_string())
    }
}

impl Room {
    /// The room in the folders of the spool and of the store. `min_free` is in bytes; without one it
    /// goes by the size of the disk.
    pub(crate) fn of(spool: &Path, store: &Path, min_free: Option<u64>) -> Room {
        let volumes = [Volume::of(spool), Volume::of(store)];
        let sizes = Sizes::of(volumes[1].usage(), min_free);
        Room {
            volumes,
            sizes,
            promised: AtomicU64::new(0),
            growth: AtomicU64::new(0),
            spare: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            reserve: OnceLock::new(),
        }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Opens the reserve in the store's folder. Where the disk is short its room is given up at once:
    /// a start needs some. For the process that holds the store's lock.
    pub(crate) fn open_reserve(&self, folder: &Path) {
        match Reserve::open(&folder.join("reserve"), self.sizes.reserve) {
            Ok(reserve) => {
                let reserve = self.reserve.get_or_init(|| reserve);
                if self.free().is_some_and(|free| free < self.sizes.reserve) {
                    while reserve.give_up_part() {}
                }
            }
            Err(error) => log::warn!("no room can be kept back for a full disk: {error}"),
        }
    }

    /// Gives up a part of the reserve to the work; false where nothing is left.
    pub(crate) fn relieve(&self) -> bool {
        let relieved = self.reserve.get().is_some_and(Reserve::give_up_part);
        if relieved {
            GIVEN_UP
                .say("the disk is full: room that was kept back is given up for the jobs in work");
        }
        relieved
    }

    /// Whether [`relieve`](Room::relieve) would give up something.
    pub(crate) fn can_relieve(&self) -> bool {
        self.reserve.get().is_some_and(Reserve::holds)
    }

    /// Whether it holds less than it should.
    pub(crate) fn is_relieved(&self) -> bool {
        self.reserve.get().is_some_and(|reserve| reserve.missing() > 0)
    }

    /// Takes back what the reserve has given up, as far as there is room.
    pub(crate) fn restore(&self) {
        if let (Some(reserve), Some(free)) = (self.reserve.get(), self.free())
            && reserve.missing() > 0
        {
            reserve.restore(free.saturating_sub(self.growth.load(Ordering::Relaxed)));
            if reserve.missing() == 0 {
                GIVEN_UP.over("the room that is kept back for a full disk is whole again");
            }
        }
    }

    /// Whether there is less room than is kept for the work.
    pub(crate) fn is_short(&self) -> bool {
        !self.has(0, Needs::Inline) || !self.has_files()
    }

    /// Whether an outcome of so many bytes can go into the store now: into its log, and into its file. A large
    /// one leaves half of the reserve to the small ones.
    pub(crate) fn fits_work(&self, bytes: u64) -> bool {
        if bytes <= SMALL {
            return true;
        }
        let held = self.reserve.get().map_or(0, |reserve| self.sizes.reserve - reserve.missing());
        let wanted = bytes.saturating_add(bytes.saturating_sub(self.spare())).saturating_add(SMALL);
        self.free().is_none_or(|free| free.saturating_add(held / 2) >= wanted)
    }

    /// Whether so many bytes would go into the store, were it empty: they go through its log.
    pub(crate) fn could_hold(&self, bytes: u64) -> bool {
        let usage = self.volumes[1].usage();
        bytes <= SMALL
            || usage.is_none_or(|usage| {
                bytes.saturating_mul(2).saturating_add(self.sizes.reserve) <= usage.total
            })
    }

    /// Whether nothing can be written, as far as the system says.
    pub(crate) fn is_full(&self) -> bool {
        let full = |usage: Usage| usage.free < 64 * KIB || usage.files.is_some_and(|f| f.free == 0);
        self.volumes.iter().filter_map(Volume::usage).any(full)
    }

    /// How the store's file stands: the bytes that its log adds to it, and those in it that hold nothing.
    pub(crate) fn set_store(&self, growth: u64, spare: u64) {
        self.growth.store(growth, Ordering::Relaxed);
        self.spare.store(spare, Ordering::Relaxed);
    }

    /// Whether the store should give the disk what it does not need: an input was refused, and the store
    /// has bytes that hold nothing.
    pub(crate) fn wants_spare(&self) -> bool {
        let wants = self.refused.load(Ordering::Relaxed) && self.spare() > 0;
        if !wants {
            self.refused.store(false, Ordering::Relaxed);
        }
        wants
    }

    /// The store has nothing more to give.
    pub(crate) fn forget_refusal(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    fn refuse(&self) -> NoRoom {
        self.refused.store(true, Ordering::Relaxed);
        NoRoom
    }

    fn spare(&self) -> u64 {
        self.spare.load(Ordering::Relaxed)
    }

    /// Whether an input of this length, where it is known, would have room now.
    pub(crate) fn check(&self, length: Option<u64>) -> Result<(), NoRoom> {
        let (bytes, needs) = cost(length);
        if self.has(bytes, needs) { Ok(()) } else { Err(self.refuse()) }
    }

    /// Promises room to an input of this length, where it is known.
    pub(crate) fn promise(self: &Arc<Self>, length: Option<u64>) -> Result<Promise, NoRoom> {
        let (bytes, needs) = cost(length);
        let mut promise = Promise { room: Arc::clone(self), left: 0 };
        promise.add(bytes, needs)?;
        Ok(promise)
    }

    /// Whether `bytes` more leave what has to stay free.
    fn has(&self, bytes: u64, needs: Needs) -> bool {
        let missing = self.reserve.get().map_or(0, Reserve::missing);
        let spare = if needs == Needs::Inline { self.spare() } else { 0 };
        let kept = self.sizes.min_free.saturating_add(missing);
        let taken = [self.promised.load(Ordering::SeqCst), self.growth.load(Ordering::Relaxed)];
        let wanted = taken.into_iter().fold(bytes.saturating_add(kept), u64::saturating_add);
        let mut usages = self.volumes.iter().filter_map(Volume::usage);
        usages.all(|usage| usage.free.saturating_add(spare) >= wanted)
            && (needs == Needs::Inline || self.has_files())
    }

    fn has_files(&self) -> bool {
        let mut files = self.volumes.iter().filter_map(|volume| volume.usage()?.files);
        files.all(|files| files.free >= self.sizes.min_files)
    }

    fn free(&self) -> Option<u64> {
        self.volumes[1].usage().map(|usage: Usage| usage.free)
    }
}

/// Where an input's bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Into the store.
    Inline,
    /// Into a file of their own.
    File,
}

/// What an input costs until its job is stored: one in the store is in its log and in its file.
fn cost(length: Option<u64>) -> (u64, Needs) {
    match length {
        Some(length) if length <= INLINE_MAX as u64 => (2 * length + ROWS, Needs::Inline),
        Some(length) => (length.min(1 << 60) + ROWS, Needs::File),
        None => (2 * STEP + ROWS, Needs::Inline),
    }
}

/// Room for one input. What is left of it is free for others when this is dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    room: Arc<Room>,
    /// Bytes that were promised and are not written yet.
    left: u64,
}

impl Promise {
    /// So many bytes are about to be written into a file: they count as the disk's from now on. Asks for
    /// more where they were not promised, and for none where the disk has got short meanwhile.
    pub(crate) fn use_up(&mut self, bytes: u64) -> Result<(), NoRoom> {
        if self.left < bytes + ROWS {
            self.add(bytes + STEP, Needs::File)?;
        } else if !self.room.has(0, Needs::File) {
            return Err(self.room.refuse());
        }
        self.give_back(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: u64, needs: Needs) -> Result<(), NoRoom> {
        // Counted first: of two that ask at once, at least one sees the other.
        self.room.promised.fetch_add(bytes, Ordering::SeqCst);
        self.left += bytes;
        if self.room.has(0, needs) {
            return Ok(());
        }
        self.give_back(bytes);
        Err(self.room.refuse())
    }

    fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.room.promised.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.give_back(self.left);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A room in which so many bytes are left to new inputs, as far as the disk stands still.
    fn with_left(bytes: u64) -> Arc<Room> {
        let folder = std::env::temp_dir();
        let free = Volume::of(&folder).usage().expect("a usage").free;
        Arc::new(Room::of(&folder, &folder, Some(free - bytes)))
    }

    const MIB: u64 = 1024 * KIB;

    #[test]
    fn uploads_that_come_at_once_are_not_promised_the_same_bytes() {
        // Other tests write meanwhile: the sizes are far from what they need.
        let room = with_left(4096 * MIB);
        let first = room.promise(Some(3000 * MIB)).expect("there is room");
        assert_eq!(room.check(Some(3000 * MIB)), Err(NoRoom), "a look counts promises too");
        assert!(room.promise(Some(3000 * MIB)).is_err());
        let small = room.promise(Some(1000)).expect("there is room for a small one");
        drop(first);
        assert!(room.promise(Some(3000 * MIB)).is_ok(), "what was not used is free again");
        drop(small);
        assert_eq!(room.promised.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_upload_of_unknown_length_asks_again_and_again() {
        let room = with_left(4096 * MIB);
        let mut promise = room.promise(None).expect("there is room");
        for _ in 0..100 {
            promise.use_up(STEP).expect("there is room");
            assert!(promise.left <= 4 * STEP, "{}", promise.left);
        }
        // All that is left goes to another one.
        room.promised.fetch_add(1 << 50, Ordering::SeqCst);
        assert!(promise.use_up(STEP).is_err());
    }

    #[test]
    fn what_the_log_will_add_to_the_store_is_not_free() {
        let room = with_left(4096 * MIB);
        assert_eq!(room.check(Some(1000)), Ok(()));
        room.set_store(8192 * MIB, 0);
        assert_eq!(room.check(Some(1000)), Err(NoRoom));
        // Pages that hold nothing take inputs that live in the store, and no files.
        room.set_store(8192 * MIB, 8192 * MIB);
        assert_eq!(room.check(Some(1000)), Ok(()));
        assert_eq!(room.check(Some(MIB)), Err(NoRoom));
    }

    #[test]
    fn an_absurd_length_is_no_panic() {
        let room = with_left(4096 * MIB);
        assert_eq!(room.check(Some(u64::MAX)), Err(NoRoom));
        assert!(room.promise(Some(u64::MAX)).is_err());
    }
}
