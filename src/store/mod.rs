//! Where data lies: one object store, local or remote, opened from a path or URL. Journal and Delta tables share it.
//!
//! On a local disk every object is written to a temporary file, synced, linked into place and its directory synced
//! ([`durable`], in the steps of [`disk`]), because `object_store` 0.13 never syncs anything. S3 and Blob are durable
//! when a PUT returns.

mod disk;
mod durable;
mod location;
mod lock;
#[cfg(test)]
mod power;

pub use durable::DurableLocal;
pub use location::{Location, StoreError};
pub use lock::FileLock;
#[cfg(test)]
pub(crate) use power::{EIO, Fault, SimDisk, Step, World};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, path::Path};
use url::Url;

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

    /// The location as people write it.
    #[must_use]
    pub fn display(&self) -> String {
        self.local.as_ref().map_or_else(|| self.url.to_string(), |local| local.dir.display().to_string())
    }
}
