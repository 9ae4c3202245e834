//! What writes of the durable store leave when a step fails or the power goes.
#![expect(clippy::print_stdout, reason = "a test says how much it looked at")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path as FsPath, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tempfile::TempDir;

use super::{EIO, ENOSPC, Fault, SimDisk, Step, World};
use crate::store::DurableLocal;

const NEW: &[u8] = b"the new content of the object";
const OLD: &[u8] = b"old";

/// The ways to put an object at `a/b/object`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Create,
    Overwrite,
    Multipart,
    Copy,
    Rename,
}

impl Way {
    const ALL: [Self; 5] = [Self::Create, Self::Overwrite, Self::Multipart, Self::Copy, Self::Rename];
}

/// A directory with a disk over it.
struct Bench {
    dir: TempDir,
    disk: SimDisk,
    store: DurableLocal,
}

impl Bench {
    /// What is to be copied or overwritten is there already.
    fn new(way: Way, fault: Fault) -> Self {
        let dir = tempfile::tempdir().unwrap();
        match way {
            Way::Overwrite => {
                fs::create_dir_all(dir.path().join("a/b")).unwrap();
                fs::write(dir.path().join("a/b/object"), OLD).unwrap();
            }
            Way::Copy | Way::Rename => fs::write(dir.path().join("source"), NEW).unwrap(),
            Way::Create | Way::Multipart => {}
        }
        let disk = SimDisk::new(dir.path(), fault);
        let store = DurableLocal::on(Box::new(disk.clone()));
        Self { dir, disk, store }
    }

    fn path(&self, relative: &str) -> Path {
        let root = Path::from_filesystem_path(self.dir.path()).unwrap();
        relative.split('/').fold(root, |path, part| path.join(part))
    }

    async fn put(&self, way: Way) -> Result<(), Error> {
        let target = self.path("a/b/object");
        match way {
            Way::Create => self.create("a/b/object").await,
            Way::Overwrite => self.store.put(&target, NEW.into()).await.map(drop),
            Way::Multipart => {
                let mut upload = self.store.put_multipart_opts(&target, PutMultipartOptions::default()).await?;
                let (first, second) = NEW.split_at(7);
                upload.put_part(PutPayload::from(first)).await?;
                upload.put_part(PutPayload::from(second)).await?;
                upload.complete().await.map(drop)
            }
            Way::Copy => self.store.copy(&self.path("source"), &target).await,
            Way::Rename => self.store.rename(&self.path("source"), &target).await,
        }
    }

    async fn create(&self, relative: &str) -> Result<(), Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&self.path(relative), NEW.into(), options).await.map(drop)
    }

    async fn delete(&self, relative: &str) -> Result<(), Error> {
        self.store
            .delete_stream(stream::iter([Ok(self.path(relative))]).boxed())
            .try_collect::<Vec<_>>()
            .await
            .map(drop)
    }

    /// All files as they are now, by their path.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(self.dir.path())
    }

    /// All files after a power cut.
    fn after(&self, world: World) -> BTreeMap<PathBuf, Vec<u8>> {
        let target = tempfile::tempdir().unwrap();
        self.disk.after(world, target.path());
        files(target.path())
    }

    fn object_after(&self, world: World) -> Option<Vec<u8>> {
        self.after(world).remove(FsPath::new("a/b/object"))
    }
}

fn files(root: &FsPath) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_cut_after_any_step_leaves_all_or_nothing_and_never_less_than_was_acknowledged() {
    let mut cuts = 0;
    for way in Way::ALL {
        for last in 0.. {
            let bench = Bench::new(way, Fault::CutAfter(last));
            let acknowledged = bench.put(way).await.is_ok();
            for world in World::ALL {
                let found = bench.object_after(world);
                let context = || format!("{way:?} cut after {last} steps {:?}, {world:?}", bench.disk.steps());
                match found.as_deref() {
                    Some(NEW) => {}
                    Some(OLD) => assert!(!acknowledged && way == Way::Overwrite, "{}", context()),
                    None => assert!(!acknowledged && way != Way::Overwrite, "{}", context()),
                    Some(other) => panic!("{}: {other:?}", context()),
                }
                cuts += 1;
            }
            if !bench.disk.is_off() {
                assert!(acknowledged);
                break;
            }
        }
    }
    println!("object writes: {cuts} cuts, {} ways", Way::ALL.len());
}

#[tokio::test]
async fn a_step_that_fails_is_told_and_leaves_nothing_that_a_second_try_trips_over() {
    for way in Way::ALL {
        for error in [EIO, ENOSPC] {
            for step in 1.. {
                let bench = Bench::new(way, Fault::Once(step, error));
                let first = bench.put(way).await;
                let steps = bench.disk.steps();
                let context = || format!("{way:?}, step {step} of {steps:?}, error {error}");
                let Err(told) = first else {
                    assert!(steps.len() < step, "{}: went unnoticed", context());
                    break;
                };
                assert!(!matches!(told, Error::AlreadyExists { .. }), "{}: {told}", context());
                assert!(told.to_string().contains(&format!("os error {error}")), "{}: {told}", context());
                let left = bench.files();
                assert!(left.keys().all(|path| !path.to_string_lossy().contains('#')), "{}: {left:?}", context());
                let object = left.get(FsPath::new("a/b/object"));
                if matches!(way, Way::Create | Way::Overwrite) {
                    // Only when nothing but the last sync is missing the new object may be seen.
                    let placed =
                        step == steps.len() && steps.last() == Some(&Step::SyncDir) && steps.contains(&Step::Write);
                    let before = (way == Way::Overwrite).then(|| OLD.to_vec());
                    let expected = if placed { Some(NEW.to_vec()) } else { before };
                    assert_eq!(object, expected.as_ref(), "{}", context());
                    let again = bench.put(way).await;
                    if placed && way == Way::Create {
                        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{}: {again:?}", context());
                    } else {
                        again.unwrap();
                    }
                } else if way == Way::Rename && object.is_some() {
                    // Nothing to do again; whoever finds it there and creates it gets the answer that it is there.
                    assert!(matches!(bench.create("a/b/object").await, Err(Error::AlreadyExists { .. })));
                } else {
                    bench.put(way).await.unwrap();
                }
                for world in World::ALL {
                    let found = bench.object_after(world);
                    assert_eq!(found.as_deref(), Some(NEW), "{} and once more, {world:?}", context());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_process_that_died_did_not_sync_the_next_one_does() {
    for last in 0.. {
        let bench = Bench::new(Way::Create, Fault::CutAfter(last));
        // This time only the process ends; what it made can be seen.
        let ended = bench.put(Way::Create).await.is_err();
        bench.disk.set(Fault::Nothing);
        let next = Bench { store: DurableLocal::on(Box::new(bench.disk.clone())), ..bench };
        match next.put(Way::Create).await {
            Ok(()) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => panic!("after {last} steps: {error}"),
        }
        for world in World::ALL {
            assert_eq!(next.object_after(world).as_deref(), Some(NEW), "after {last} steps, {world:?}");
        }
        if !ended {
            return;
        }
    }
}

#[tokio::test]
async fn nothing_succeeds_before_what_is_in_doubt_is_durable() {
    // A create whose last sync fails: others may see the object, and build on it.
    let place_only = || async {
        let bench = Bench::new(Way::Create, Fault::Nothing);
        bench.create("a/b/first").await.unwrap();
        bench.create("other/first").await.unwrap();
        bench.disk.set(Fault::Once(5, EIO));
        assert!(bench.create("a/b/object").await.is_err());
        assert_eq!(bench.disk.steps().last(), Some(&Step::SyncDir));
        assert!(bench.files().contains_key(FsPath::new("a/b/object")));
        assert_eq!(bench.object_after(World::Synced), None);
        bench
    };
    let bench = place_only().await;
    bench.create("other/second").await.unwrap();
    assert_eq!(bench.object_after(World::Synced).as_deref(), Some(NEW));

    let bench = place_only().await;
    bench.delete("other/first").await.unwrap();
    assert_eq!(bench.object_after(World::Fewest).as_deref(), Some(NEW));

    // While it can't be synced nothing is deleted.
    let bench = place_only().await;
    bench.disk.set(Fault::CutAfter(0));
    assert!(bench.delete("other/first").await.is_err());
    assert!(bench.files().contains_key(FsPath::new("other/first")));
}

#[tokio::test]
async fn a_disk_that_does_not_sync_is_found_out() {
    let bench = Bench::new(Way::Create, Fault::Ignored(Step::SyncFile));
    bench.create("a/b/object").await.unwrap();
    assert_eq!(bench.object_after(World::Synced).as_deref(), Some(&[][..]));
    let bench = Bench::new(Way::Create, Fault::Ignored(Step::SyncDir));
    bench.create("a/b/object").await.unwrap();
    assert_eq!(bench.object_after(World::Synced), None);
    assert_eq!(bench.object_after(World::Written).as_deref(), Some(NEW));
    // Deleted and not synced: back, unless the deletion reached the disk.
    let bench = Bench::new(Way::Create, Fault::Nothing);
    bench.create("a/b/object").await.unwrap();
    bench.delete("a/b/object").await.unwrap();
    assert_eq!(bench.object_after(World::Synced).as_deref(), Some(NEW));
    assert_eq!(bench.object_after(World::Fewest), None);
    // The inode of a deleted file must not lend its content to the next one.
    bench.create("a/b/another").await.unwrap();
    assert_eq!(bench.object_after(World::Fewest), None);
    assert_eq!(bench.after(World::Synced).get(FsPath::new("a/b/another")).map(Vec::as_slice), Some(NEW));
}
