//! The steps on a local disk that decide what a power cut leaves, behind a trait, so that tests can cut between them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::PutPayload;

/// The steps, one system call each (a write may take several).
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Writes all of the payload.
    fn write(&self, file: &mut File, payload: &PutPayload) -> io::Result<()> {
        payload.iter().try_for_each(|chunk| file.write_all(chunk))
    }

    /// Makes the content of a file durable.
    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Gives a file another name, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Creates a directory.
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// The disk itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalDisk;

impl Disk for LocalDisk {}

/// Durable writes, made of the steps of a [`Disk`].
#[derive(Debug)]
pub(super) struct Durably {
    disk: Box<dyn Disk>,
    /// Directories that are in their parents for good.
    made: Mutex<HashSet<PathBuf>>,
    /// Directories whose sync failed. Somebody may have seen what was put there and build on it, so nothing else
    /// succeeds before they are synced.
    owed: Mutex<BTreeSet<PathBuf>>,
}

impl Durably {
    pub(super) fn on(disk: Box<dyn Disk>) -> Self {
        Self { disk, made: Mutex::default(), owed: Mutex::default() }
    }

    /// Makes a directory with its parents, each of them durable. That one is there already doesn't tell that it stays:
    /// whoever made it may not have come to the sync. So it is synced once, and as nobody puts anything into a
    /// directory before that, those above it need no look.
    pub(super) fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let there = dir.is_dir();
        if there && locked(&self.made).contains(dir) {
            return Ok(());
        }
        let Some(parent) = dir.parent() else { return Ok(()) };
        if !there {
            self.make_dir(or_here(parent))?;
            match self.disk.create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        match self.sync_dir(or_here(parent)) {
            // A mount point or a home below what isn't ours to open or can't be synced: we didn't make it.
            Err(error) if there && is_foreign(&error) => {
                locked(&self.owed).remove(or_here(parent));
            }
            synced => synced?,
        }
        locked(&self.made).insert(dir.to_owned());
        Ok(())
    }

    /// Writes an object: all of it under its name, or not there at all.
    pub(super) fn write(&self, staging: &Path, target: &Path, payload: &PutPayload, create: bool) -> io::Result<()> {
        let parent = target.parent().unwrap_or_else(|| Path::new("/"));
        self.make_dir(parent)?;
        let write = || {
            // A leftover of the same name is not the object: it must not read as "already there".
            let created = self.disk.create(staging);
            let mut file = created.map_err(|error| io::Error::other(format!("staging file: {error}")))?;
            self.disk.write(&mut file, payload)?;
            self.disk.sync_file(&file)
        };
        let placed = write()
            .and_then(|()| if create { self.disk.link(staging, target) } else { self.disk.rename(staging, target) });
        if create || placed.is_err() {
            // A leftover would only take space: listings skip it. The error that matters is the one above.
            let _ = fs::remove_file(staging);
        }
        placed?;
        self.sync_dir(parent)?;
        self.settle_debts()
    }

    /// Makes an object durable that somebody else put there.
    pub(super) fn sync(&self, target: &Path) -> io::Result<()> {
        self.disk.sync_file(&File::open(target)?)?;
        self.sync_dir(target.parent().unwrap_or_else(|| Path::new("/")))?;
        self.settle_debts()
    }

    /// Makes the entries of a directory durable.
    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let synced = self.disk.sync_dir(dir);
        let mut owed = locked(&self.owed);
        if synced.is_err() {
            owed.insert(dir.to_owned());
        } else {
            owed.remove(dir);
        }
        synced
    }

    /// Syncs what could not be synced before.
    pub(super) fn settle_debts(&self) -> io::Result<()> {
        let owed = locked(&self.owed).clone();
        owed.iter().try_for_each(|dir| self.sync_dir(dir))
    }
}

/// The parent of a relative path of one element is the empty path.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
