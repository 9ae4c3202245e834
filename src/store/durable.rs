//! A local file system whose writes survive a power cut: temporary file, sync, link or rename, sync of the directory.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// [`LocalFileSystem`] with durable writes; reads and listings are passed on.
#[derive(Debug)]
pub struct DurableLocal {
    inner: LocalFileSystem,
    staged: AtomicU64,
}

impl DurableLocal {
    /// A store over the whole file system.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: LocalFileSystem::new(), staged: AtomicU64::new(0) }
    }

    /// `name#<n>`: listings of [`LocalFileSystem`] leave such names out.
    fn staging_path(&self, target: &FsPath) -> PathBuf {
        let n = self.staged.fetch_add(1, Ordering::Relaxed);
        let mut name = target.as_os_str().to_owned();
        // Process ids repeat (in containers always), so the name has a random part.
        name.push(format!("#{}{n:06}", RandomState::new().hash_one(n) % 1_000_000_000));
        PathBuf::from(name)
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

/// Creates a directory with its parents and syncs every parent that got a new entry.
pub(super) fn create_dir_synced(dir: &FsPath) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or_else(|| FsPath::new("."));
    create_dir_synced(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent)
}

fn sync_dir(dir: &FsPath) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { FsPath::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn sync_file_and_dir(path: &FsPath) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    path.parent().map_or(Ok(()), sync_dir)
}

async fn sync_off_runtime(path: PathBuf) -> Result<()> {
    tokio::task::spawn_blocking(move || sync_file_and_dir(&path)).await.map_err(generic)?.map_err(generic)
}

fn write_synced(staging: &FsPath, target: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
    let parent = target.parent().unwrap_or_else(|| FsPath::new("/"));
    create_dir_synced(parent)?;
    let write = || {
        // A leftover of the same name is not the object: it must not read as "already there".
        let opened = OpenOptions::new().write(true).create_new(true).open(staging);
        let mut file = opened.map_err(|error| io::Error::other(format!("staging file: {error}")))?;
        payload.iter().try_for_each(|chunk| file.write_all(chunk))?;
        file.sync_all()
    };
    let placed =
        write().and_then(|()| if create { fs::hard_link(staging, target) } else { fs::rename(staging, target) });
    if create || placed.is_err() {
        // A leftover would only take space: listings skip it. The error that matters is the one above.
        let _ = fs::remove_file(staging);
    }
    placed?;
    sync_dir(parent)
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
        let staging = self.staging_path(&target);
        let written = tokio::task::spawn_blocking(move || write_synced(&staging, &target, &payload, create));
        match written.await.map_err(generic)? {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Whoever finds its own bytes there will call them durable: make sure that they are.
                let target = self.inner.path_to_filesystem(location)?;
                sync_off_runtime(target).await?;
                Err(Error::AlreadyExists { path: location.to_string(), source: Box::new(error) })
            }
            Err(error) => Err(generic(error)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SyncedUpload { inner, target }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        sync_file_and_dir(&self.inner.path_to_filesystem(to)?).map_err(generic)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        sync_file_and_dir(&self.inner.path_to_filesystem(to)?).map_err(generic)
    }
}

/// A multipart upload whose file and directory are synced when it completes.
#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    target: PathBuf,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        sync_off_runtime(self.target.clone()).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
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
