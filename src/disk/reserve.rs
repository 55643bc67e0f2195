//! A file that only takes up room, for the day on which something else has filled the disk: what it
//! gives up is enough to end the jobs that were accepted.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// How many times it can be asked for room.
const PARTS: u64 = 4;

/// The file. Only the process that holds the store's lock may have it.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    /// Bytes that it is to hold.
    whole: u64,
    /// Bytes that it holds.
    held: Mutex<u64>,
}

impl Reserve {
    /// Opens the file, or makes it; what an earlier process has left in it counts.
    pub(super) fn open(path: &Path, whole: u64) -> io::Result<Reserve> {
        let mut file = OpenOptions::new();
        file.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        let file = file.open(path)?;
        let held = allocated(&file)?;
        let reserve = Reserve { file, whole, held: Mutex::new(held) };
        if held > whole {
            reserve.set(&mut reserve.held(), whole)?;
        }
        Ok(reserve)
    }

    /// Bytes that it should hold and does not.
    pub(super) fn missing(&self) -> u64 {
        self.whole.saturating_sub(*self.held())
    }

    /// Gives up a part; false where nothing is left to give up.
    pub(super) fn give_up_part(&self) -> bool {
        let mut held = self.held();
        let left = held.saturating_sub(self.part());
        *held > 0 && self.set(&mut held, left).is_ok()
    }

    /// Whether there is something left to give up.
    pub(super) fn holds(&self) -> bool {
        *self.held() > 0
    }

    /// Takes back what it has given up, as far as `free` bytes leave as much again for others.
    pub(super) fn restore(&self, free: u64) {
        let mut held = self.held();
        let most = held.saturating_add(free / 2) / self.part() * self.part();
        let wanted = self.whole.min(most);
        // Without room it stays as it is, and the next sweep tries again.
        if wanted > *held && self.set(&mut held, wanted).is_err() {
            let before = *held;
            // What was allocated before the error goes back.
            let _ = self.set(&mut held, before);
        }
    }

    fn part(&self) -> u64 {
        self.whole.div_ceil(PARTS).max(1)
    }

    fn set(&self, held: &mut u64, bytes: u64) -> io::Result<()> {
        if bytes > *held {
            allocate(&self.file, *held, bytes - *held)?;
        } else {
            self.file.set_len(bytes)?;
        }
        *held = bytes;
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.held.lock().expect("invariant: no panic under this lock")
    }
}

/// Bytes of the file that have room on the disk: a copy of it may have none.
fn allocated(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    #[cfg(unix)]
    let room = std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512);
    #[cfg(not(unix))]
    let room = u64::MAX;
    Ok(metadata.len().min(room))
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    match fallocate(file, FallocateFlags::empty(), from, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write(file, from, bytes),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    write(file, from, bytes)
}

/// Writes bytes that no file system compresses away.
fn write(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};

    let mut writer = file;
    writer.seek(SeekFrom::Start(from))?;
    let mut piece = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len() as u64) as usize;
        fastrand::Rng::new().fill(&mut piece[..length]);
        writer.write_all(&piece[..length])?;
        left -= length as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_in_parts_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::open(&path, 1 << 20).unwrap();
        assert!(!reserve.give_up_part(), "it has nothing yet");
        reserve.restore(1 << 30);
        assert_eq!((reserve.missing(), allocated(&reserve.file).unwrap()), (0, 1 << 20));
        for part in 1..=PARTS {
            assert!(reserve.give_up_part());
            assert_eq!(allocated(&reserve.file).unwrap(), (1 << 20) / PARTS * (PARTS - part));
        }
        assert!(!reserve.give_up_part());
        reserve.restore(600_000);
        assert_eq!(reserve.missing(), (1 << 20) / PARTS * 3, "as much again is left to others");
        drop(reserve);
        let reserve = Reserve::open(&path, 1 << 20).unwrap();
        assert_eq!(reserve.missing(), (1 << 20) / PARTS * 3, "another process knows what it holds");
    }

    #[test]
    fn without_the_systems_help_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(folder.path().join("reserve"))
            .unwrap();
        write(&file, 0, 100_000).unwrap();
        write(&file, 100_000, 1).unwrap();
        assert_eq!(allocated(&file).unwrap(), 100_001);
    }
}
