//! Small file systems, and programs that fill them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What a test's disk is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Tmpfs,
    Ext4,
}

pub const KINDS: [Kind; 2] = [Kind::Tmpfs, Kind::Ext4];

/// A disk of its own, until it is dropped.
pub struct Disk {
    folder: TempDir,
    /// Holds the image of an ext4.
    _image: Option<TempDir>,
}

impl Disk {
    /// Mounts one of so many MiB with further mount options. `None`, and a line that says why, where that
    /// is not allowed.
    pub fn mount(kind: Kind, mib: u64, options: &str) -> Option<Disk> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut image = None;
        let mounted = match kind {
            Kind::Tmpfs => run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={mib}M,{options}"), "tmpfs"])
                .arg(folder.path())),
            Kind::Ext4 => {
                let place = tempfile::tempdir().expect("a folder");
                let path = place.path().join("image");
                let file = File::create(&path).expect("an image");
                file.set_len(mib << 20).expect("an image");
                image = Some(place);
                run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&path)).and_then(
                    |()| {
                        run(Command::new("mount")
                            .args(["-o", &format!("loop,{options}")])
                            .arg(&path)
                            .arg(folder.path()))
                    },
                )
            }
        };
        match mounted {
            Ok(()) => Some(Disk { folder, _image: image }),
            Err(why) => {
                eprintln!("not tried: a {kind:?} cannot be mounted here: {}", why.trim());
                None
            }
        }
    }

    /// Where the server's data goes.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves so many bytes of it free, and fills the others with a file that somebody else might have.
    pub fn fill_to(&self, free: u64) -> Filler {
        let stat = rustix::fs::statvfs(self.path()).expect("a mounted disk");
        let path = self.folder.path().join("filler");
        let mut file = File::create(&path).expect("a file");
        let piece = vec![0x55; 64 * 1024];
        for _ in 0..(stat.f_bavail * stat.f_frsize).saturating_sub(free) / piece.len() as u64 {
            file.write_all(&piece).expect("there is room");
        }
        Filler { path }
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Filler {
        let path = self.folder.path().join("filler");
        let mut file = File::options().create(true).append(true).open(&path).expect("a file");
        let mut piece = vec![0x55; 64 * 1024];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        Filler { path }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server that is still ending may hold it: it goes when that has ended.
        let unmounted = run(Command::new("umount").arg("--lazy").arg(self.path()));
        unmounted.expect("unmounted");
    }
}

/// A file that takes the room. Dropping it gives that back.
pub struct Filler {
    path: PathBuf,
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.path).expect("it is there");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
