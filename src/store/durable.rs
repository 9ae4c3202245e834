//! A local file system whose writes survive a power cut: temporary file, sync, link or rename, sync of the directory.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::TryFutureExt;
use futures::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::disk::{Disk, Durably, LocalDisk};

/// [`LocalFileSystem`] with durable writes; reads and listings are passed on. A write that reports success is durable,
/// and so is everything that an earlier write of this store left in doubt.
#[derive(Debug)]
pub struct DurableLocal {
    inner: LocalFileSystem,
    staged: AtomicU64,
    durably: Arc<Durably>,
}

impl DurableLocal {
    /// A store over the whole file system.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Box::new(LocalDisk))
    }

    pub(super) fn on(disk: Box<dyn Disk>) -> Self {
        Self { inner: LocalFileSystem::new(), staged: AtomicU64::new(0), durably: Arc::new(Durably::on(disk)) }
    }

    /// Creates a directory with its parents.
    pub(super) fn make_dir(&self, dir: &FsPath) -> io::Result<()> {
        self.durably.make_dir(dir)
    }

    /// Syncs an object that somebody else put there, and its directory.
    pub(super) async fn make_durable(&self, location: &Path) -> Result<()> {
        let target = self.inner.path_to_filesystem(location)?;
        let parent = target.parent().map(FsPath::to_owned);
        let synced = off_runtime(&self.durably, move |durably| {
            parent.map_or(Ok(()), |parent| durably.make_dir(&parent))?;
            durably.sync(&target)
        });
        synced.await?.map_err(generic)
    }

    /// `name#<n>`: listings of [`LocalFileSystem`] leave such names out.
    fn staging_path(&self, target: &FsPath) -> PathBuf {
        let n = self.staged.fetch_add(1, Ordering::Relaxed);
        let mut name = target.as_os_str().to_owned();
        // Process ids repeat (in containers always), so the name has a random part.
        name.push(format!("#{}{n:06}", RandomState::new().hash_one(n) % 1_000_000_000));
        PathBuf::from(name)
    }

    /// Makes the directory of an object, which the inner store would make without a sync.
    async fn make_parent(&self, target: &FsPath) -> Result<()> {
        let Some(parent) = target.parent().map(FsPath::to_owned) else { return Ok(()) };
        off_runtime(&self.durably, move |durably| durably.make_dir(&parent)).await?.map_err(generic)
    }
}

impl Default for DurableLocal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal")
    }
}

async fn off_runtime(
    durably: &Arc<Durably>,
    work: impl FnOnce(&Durably) -> io::Result<()> + Send + 'static,
) -> Result<io::Result<()>> {
    let durably = Arc::clone(durably);
    tokio::task::spawn_blocking(move || work(&durably)).await.map_err(generic)
}

async fn sync_off_runtime(durably: &Arc<Durably>, target: PathBuf) -> Result<()> {
    off_runtime(durably, move |durably| durably.sync(&target)).await?.map_err(generic)
}

fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "DurableLocal", source: Box::new(source) }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let target = self.inner.path_to_filesystem(location)?;
        let (staging, place) = (self.staging_path(&target), target.clone());
        let written =
            off_runtime(&self.durably, move |durably| durably.write(&staging, &place, &payload, create)).await?;
        match written {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Whoever finds its own bytes there will call them durable: make sure that they are.
                sync_off_runtime(&self.durably, target).await?;
                Err(Error::AlreadyExists { path: location.to_string(), source: Box::new(error) })
            }
            Err(error) => Err(generic(error)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let staging = self.staging_path(&target);
        Ok(Box::new(Upload { parts: Vec::new(), staging, target, durably: Arc::clone(&self.durably) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // What is deleted may be deleted because of something that was put.
        let durably = Arc::clone(&self.durably);
        let deleted = self.inner.delete_stream(locations);
        let settled = async move {
            off_runtime(&durably, Durably::settle_debts).await?.map_err(generic)?;
            Ok(deleted)
        };
        settled.try_flatten_stream().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let target = self.inner.path_to_filesystem(to)?;
        self.make_parent(&target).await?;
        self.inner.copy_opts(from, to, options).await?;
        sync_off_runtime(&self.durably, target).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let target = self.inner.path_to_filesystem(to)?;
        let source = self.inner.path_to_filesystem(from)?;
        self.make_parent(&target).await?;
        self.inner.rename_opts(from, to, options).await?;
        let synced = off_runtime(&self.durably, move |durably| {
            durably.sync(&target)?;
            source.parent().map_or(Ok(()), |parent| durably.sync_dir(parent))
        });
        synced.await?.map_err(generic)
    }
}

/// A multipart upload, which is one write when it completes. The inner store would give the file its name before it is
/// synced, and a power cut between the two an empty object. Only Delta's checkpoints beyond
/// 10 MiB come this way.
#[derive(Debug)]
struct Upload {
    parts: Vec<PutPayload>,
    staging: PathBuf,
    target: PathBuf,
    durably: Arc<Durably>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = self.parts.iter().flatten().cloned().collect();
        let (staging, target) = (self.staging.clone(), self.target.clone());
        let written = off_runtime(&self.durably, move |durably| durably.write(&staging, &target, &payload, false));
        written.await?.map_err(generic)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn creates_only_once_and_leaves_no_staging_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::new();
        let path = Path::from_filesystem_path(dir.path()).unwrap().join("a").join("b");
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let second = store.put_opts(&path, "two".into(), create()).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })));
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"three");
        let root = Path::from_filesystem_path(dir.path()).unwrap();
        let listed: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }
}
