//! A disk for tests that knows what a power cut leaves: of each file what it held at its last sync, of each directory
//! the names that it had at its last sync. What was never synced may be there or not, so there are several worlds.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use object_store::PutPayload;

use super::disk::{Disk, LocalDisk};

/// What became of the names that were not synced. Content that was not synced is lost in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// None is there, and what was deleted is back.
    Synced,
    /// All are there, and what was deleted is gone.
    Written,
    /// None is there, and what was deleted is gone.
    Fewest,
}

impl World {
    pub(crate) const ALL: [Self; 3] = [Self::Synced, Self::Written, Self::Fewest];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Write,
    SyncFile,
    Link,
    Rename,
    CreateDir,
    SyncDir,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Nothing,
    /// The power is cut after this many steps: every further one fails.
    CutAfter(usize),
    /// This step (from 1) fails with this error number, the others go well.
    Once(usize, i32),
    /// These steps report success and do nothing.
    Ignored(Step),
}

/// Input/output error.
pub(crate) const EIO: i32 = 5;
/// No space left on the device.
pub(crate) const ENOSPC: i32 = 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Dir,
    /// By inode, so that links and renames carry the content.
    File(u64),
}

type Tree = HashMap<PathBuf, BTreeMap<OsString, Entry>>;

#[derive(Debug)]
struct State {
    root: PathBuf,
    fault: Fault,
    steps: Vec<Step>,
    durable: Tree,
    content: HashMap<u64, Vec<u8>>,
    /// Open files keep their inode numbers from being given to others.
    held: HashMap<u64, File>,
    /// The names at the moment of the cut.
    at_cut: Option<Tree>,
}

/// A directory on a disk that can fail; clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// What is below `root` now counts as durable.
    pub(crate) fn new(root: &Path, fault: Fault) -> Self {
        let root = root.canonicalize().unwrap();
        let mut state = State {
            root: root.clone(),
            fault,
            steps: Vec::new(),
            durable: Tree::new(),
            content: HashMap::new(),
            held: HashMap::new(),
            at_cut: None,
        };
        state.durable = state.scan(&root);
        state.content = state.held.iter().map(|(inode, file)| (*inode, content(file).unwrap())).collect();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The steps that were asked for, refused ones included.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.0.lock().unwrap().steps.clone()
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().unwrap().at_cut.is_some()
    }

    /// Sets what goes wrong from now on; steps are counted anew.
    pub(crate) fn set(&self, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        (state.fault, state.at_cut) = (fault, None);
        state.steps.clear();
    }

    /// Builds in `target` what is found when the power comes back.
    pub(crate) fn after(&self, world: World, target: &Path) {
        let mut state = self.0.lock().unwrap();
        let root = state.root.clone();
        let now = match state.at_cut.clone() {
            Some(now) => now,
            None => state.scan(&root),
        };
        state.build(world, &now, &root, target);
    }

    /// Counts a step; `Ok(false)` means that it is not to be done.
    fn step(&self, step: Step) -> io::Result<bool> {
        let mut state = self.0.lock().unwrap();
        state.steps.push(step);
        let count = state.steps.len();
        match state.fault {
            Fault::CutAfter(last) if count > last => {
                if state.at_cut.is_none() {
                    let root = state.root.clone();
                    state.at_cut = Some(state.scan(&root));
                }
                Err(io::Error::from_raw_os_error(EIO))
            }
            Fault::Once(which, error) if count == which => Err(io::Error::from_raw_os_error(error)),
            Fault::Ignored(ignored) => Ok(step != ignored),
            _ => Ok(true),
        }
    }
}

impl State {
    /// The names below a directory. Files may come and go meanwhile.
    fn scan(&mut self, dir: &Path) -> Tree {
        let mut tree = Tree::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(dir) = todo.pop() {
            let entries = self.entries(&dir);
            let dirs = entries.iter().filter(|(_, entry)| **entry == Entry::Dir).map(|(name, _)| dir.join(name));
            todo.extend(dirs);
            tree.insert(dir, entries);
        }
        tree
    }

    fn entries(&mut self, dir: &Path) -> BTreeMap<OsString, Entry> {
        let mut entries = BTreeMap::new();
        for found in fs::read_dir(dir).unwrap() {
            let found = found.unwrap();
            let Ok(file) = File::open(found.path()) else { continue };
            let meta = file.metadata().unwrap();
            if meta.is_dir() {
                entries.insert(found.file_name(), Entry::Dir);
            } else {
                entries.insert(found.file_name(), Entry::File(meta.ino()));
                self.held.entry(meta.ino()).or_insert(file);
            }
        }
        entries
    }

    fn build(&self, world: World, now: &Tree, dir: &Path, target: &Path) {
        fs::create_dir_all(target).unwrap();
        let none = BTreeMap::new();
        let (durable, now_here) = (self.durable.get(dir).unwrap_or(&none), now.get(dir).unwrap_or(&none));
        let entries = if world == World::Written { now_here } else { durable };
        for (name, entry) in entries {
            if world == World::Fewest && !now_here.contains_key(name) {
                continue;
            }
            match entry {
                Entry::Dir => self.build(world, now, &dir.join(name), &target.join(name)),
                Entry::File(inode) => {
                    let content = self.content.get(inode).map_or(&[][..], Vec::as_slice);
                    fs::write(target.join(name), content).unwrap();
                }
            }
        }
    }
}

fn content(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(Step::Create)?;
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn write(&self, file: &mut File, payload: &PutPayload) -> io::Result<()> {
        if let Err(error) = self.step(Step::Write) {
            let bytes: Vec<u8> = payload.iter().flatten().copied().collect();
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        LocalDisk.write(file, payload)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.step(Step::SyncFile)? {
            let (inode, bytes) = (file.metadata()?.ino(), content(file)?);
            let mut state = self.0.lock().unwrap();
            state.held.insert(inode, file.try_clone()?);
            state.content.insert(inode, bytes);
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Link)?;
        LocalDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename)?;
        LocalDisk.rename(from, to)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::CreateDir)?;
        LocalDisk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.step(Step::SyncDir)? {
            let dir = dir.canonicalize()?;
            let mut state = self.0.lock().unwrap();
            if dir.starts_with(&state.root) {
                let entries = state.entries(&dir);
                state.durable.insert(dir, entries);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
