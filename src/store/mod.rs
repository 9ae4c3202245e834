//! Where data lies: one object store, local or remote, opened from a path or URL. Journal and Delta tables share it.
//!
//! On a local disk every object is written to a temporary file, synced, linked into place and its directory synced
//! ([`durable`], in the steps of [`disk`]), because `object_store` 0.13 never syncs anything. S3 and Blob are durable
//! when a PUT returns.

mod access;
mod aws;
mod azure;
mod disk;
mod durable;
mod gcs;
mod location;
mod lock;
#[cfg(test)]
mod power;

pub use access::{Access, AwsAccess, AzureAccess, AzureAuth, AzureCloud, KafkaAuth, KafkaTopic, Secret};
pub use aws::sdk_config;
pub use durable::DurableLocal;
pub use location::{Location, StoreError};
pub use lock::FileLock;
#[cfg(test)]
pub(crate) use power::{EIO, Fault, SimDisk, Step, World};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use url::Url;

/// This many rows are worth a request of their own wherever that goes, and wait for no others.
pub const FULL_ROWS: usize = 5_000;

/// An opened data location.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    url: Url,
    local: Option<Local>,
}

/// A directory of the local disk.
#[derive(Clone, Debug)]
struct Local {
    dir: PathBuf,
    objects: Arc<DurableLocal>,
}

impl Store {
    /// Opens (and on a local disk creates) the location that `text` names: a path, `s3://bucket/prefix` or
    /// `az://container/prefix`.
    ///
    /// # Errors
    /// The location is malformed, or a local directory can't be made or written.
    pub async fn open(text: &str) -> Result<Self, StoreError> {
        let location = Location::parse(text)?;
        if !location.holds_tables() {
            return Err(StoreError::SourcesOnly { text: text.to_owned() });
        }
        let mut url = match &location {
            Location::Local(dir) => return Self::open_local(text, dir, DurableLocal::new()),
            Location::Remote(url) => url.clone(),
        };
        let (objects, root) = location.connect().await?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { objects, root, url, local: None })
    }

    /// Opens a directory on a disk that is not what it seems.
    #[cfg(test)]
    pub(crate) fn open_on(dir: &std::path::Path, disk: Box<dyn disk::Disk>) -> Result<Self, StoreError> {
        Self::open_local(&dir.display().to_string(), dir, DurableLocal::on(disk))
    }

    fn open_local(text: &str, dir: &std::path::Path, objects: DurableLocal) -> Result<Self, StoreError> {
        let unwritable = |source| StoreError::Unwritable { path: dir.to_owned(), source };
        let malformed = || StoreError::Malformed { text: text.to_owned() };
        objects.make_dir(dir).map_err(unwritable)?;
        let dir = dir.canonicalize().map_err(unwritable)?;
        location::probe_writable(&dir)?;
        let url = Url::from_directory_path(&dir).map_err(|()| malformed())?;
        let root = Path::from_filesystem_path(&dir).map_err(|_| malformed())?;
        let objects = Arc::new(objects);
        Ok(Self { objects: Arc::clone(&objects) as _, root, url, local: Some(Local { dir, objects }) })
    }

    /// The same location behind another object store, for example one that fails on purpose.
    #[must_use]
    pub fn wrapped(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { objects: wrap(self.objects), ..self }
    }

    /// The object store; its root is the file system or the bucket, see [`Store::path`].
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The object at `relative` below the location.
    #[must_use]
    pub fn path(&self, relative: &str) -> Path {
        relative.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), |path, part| path.join(part))
    }

    /// URL of the folder `name` below the location; on a local disk the folder is made.
    ///
    /// # Errors
    /// The name can't be part of a URL, or the folder can't be made.
    pub fn make_folder(&self, name: &str) -> Result<Url, StoreError> {
        if let Some(local) = &self.local {
            let path = local.dir.join(name);
            local.objects.make_dir(&path).map_err(|source| StoreError::Unwritable { path, source })?;
        }
        self.url.join(&format!("{name}/")).map_err(|_| StoreError::Malformed { text: name.to_owned() })
    }

    /// A folder of the location as a location of its own.
    ///
    /// # Errors
    /// The name can't be part of a URL, or the folder can't be made.
    pub fn within(&self, folder: &str) -> Result<Self, StoreError> {
        let url = self.make_folder(folder)?;
        let local = self.local.as_ref();
        let local = local.map(|local| Local { dir: local.dir.join(folder), objects: Arc::clone(&local.objects) });
        Ok(Self { objects: Arc::clone(&self.objects), root: self.path(folder), url, local })
    }

    /// The bytes of a small object, if it is there.
    ///
    /// # Errors
    /// The store fails.
    pub async fn read(&self, name: &str) -> Result<Option<bytes::Bytes>, StoreError> {
        let failed = |source| StoreError::Object { object: name.to_owned(), source };
        match self.objects.get(&self.path(name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Keeps a small object; one that is there already stays, unless it may be replaced.
    ///
    /// # Errors
    /// The store fails.
    pub async fn keep(&self, name: &str, bytes: Vec<u8>, replace: bool) -> Result<(), StoreError> {
        let mode = if replace { PutMode::Overwrite } else { PutMode::Create };
        self.put(name, bytes, mode).await.map(|_| ())
    }

    /// Creates a small object; false if one is there already, which stays.
    ///
    /// # Errors
    /// The store fails; the object may be there nevertheless.
    pub async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.put(name, bytes, PutMode::Create).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool, StoreError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.objects.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(StoreError::Object { object: name.to_owned(), source }),
        }
    }

    /// Every object below a folder, by its path there, with its length; in the order of the paths.
    ///
    /// # Errors
    /// The store fails.
    pub async fn below(&self, folder: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let failed = |source| StoreError::Object { object: folder.to_owned(), source };
        let root = self.path(folder);
        let metas: Vec<_> = self.objects.list(Some(&root)).try_collect().await.map_err(failed)?;
        let relative = |meta: &object_store::ObjectMeta| {
            let parts = meta.location.prefix_match(&root)?;
            Some((parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"), meta.size))
        };
        let mut all: Vec<(String, u64)> = metas.iter().filter_map(relative).collect();
        all.sort();
        Ok(all)
    }

    /// The names of the objects in a folder, relative to the location.
    ///
    /// # Errors
    /// The store fails.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let failed = |source| StoreError::Object { object: folder.to_owned(), source };
        let metas: Vec<_> = self.objects.list(Some(&self.path(folder))).try_collect().await.map_err(failed)?;
        Ok(metas.iter().filter_map(|meta| Some(format!("{folder}/{}", meta.location.filename()?))).collect())
    }

    /// Makes what lies beside an object, and the object, outlast a power cut, whoever put it there. On an object store
    /// what can be read does.
    ///
    /// # Errors
    /// The local disk fails.
    pub async fn make_durable(&self, name: &str) -> Result<(), StoreError> {
        let failed = |source| StoreError::Object { object: name.to_owned(), source };
        match &self.local {
            Some(local) => local.objects.make_durable(&self.path(name)).await.map_err(failed),
            None => Ok(()),
        }
    }

    /// The directory on the local disk, if it is one.
    #[must_use]
    pub fn local(&self) -> Option<&std::path::Path> {
        self.local.as_ref().map(|local| local.dir.as_path())
    }

    /// How long to wait at least between two commits: a disk takes many small ones, an object store bills each.
    #[must_use]
    pub const fn commit_interval(&self) -> Duration {
        if self.local.is_some() { Duration::from_millis(5) } else { Duration::from_secs(1) }
    }

    /// Rows to make durable at a time where more are at hand: few keep the memory small.
    #[must_use]
    pub const fn commit_rows(&self) -> usize {
        if self.local.is_some() { 500 } else { FULL_ROWS }
    }

    /// The location as people write it.
    #[must_use]
    pub fn display(&self) -> String {
        self.local.as_ref().map_or_else(|| self.url.to_string(), |local| local.dir.display().to_string())
    }
}
