//! Objects of files, folders and buckets: list, and read as a stream.

use std::io::{self, Read};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::ranges::{RANGE_BYTES, Rest, range};
use crate::model::Timestamp;
use crate::store::{Access, Location, StoreError};

/// Why objects can't be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The location is unusable.
    #[error(transparent)]
    Location(#[from] StoreError),
    /// There is nothing at the location.
    #[error("there is no file, folder or object at '{0}'")]
    NotFound(String),
    /// The store refused or did not answer.
    #[error("can't read {object}")]
    Store {
        /// Which object or prefix.
        object: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

impl ObjectsError {
    /// True where the object is not there any more.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Store { source: object_store::Error::NotFound { .. }, .. })
    }

    /// True where the object is another than the one that was listed.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        matches!(self, Self::Store { source: object_store::Error::Precondition { .. }, .. })
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Path in its store.
    pub path: Path,
    /// Size in bytes, as stored.
    pub size: u64,
    /// Last change.
    pub modified: Timestamp,
    /// Version of the content.
    pub etag: Option<String>,
}

impl From<ObjectMeta> for ObjectEntry {
    fn from(meta: ObjectMeta) -> Self {
        let modified = Timestamp(meta.last_modified.timestamp_micros());
        Self { path: meta.location, size: meta.size, modified, etag: meta.e_tag }
    }
}

/// Whether two texts are the same ETag: listings of some stores leave out the quotes.
#[must_use]
pub fn same_etag(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(|tag| tag.trim_matches('"')) == other.map(|tag| tag.trim_matches('"'))
}

/// The objects at a location: a file, a folder, or everything below a prefix.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    text: String,
    /// The store can list from a key on.
    from_key: bool,
    /// Objects there grow in place.
    appends: bool,
}

impl Objects {
    /// Connects to the location that `text` names.
    ///
    /// # Errors
    /// The location is malformed or its client can't be built.
    pub async fn open(text: &str) -> Result<Self, ObjectsError> {
        let location = Self::locate(text)?;
        let (store, prefix) = location.connect().await?;
        Ok(Self::at(&location, store, prefix, text))
    }

    /// Connects to a source that is followed, the way `access` says.
    ///
    /// # Errors
    /// The location is malformed or its client can't be built.
    pub async fn open_as(text: &str, access: &Access) -> Result<Self, ObjectsError> {
        let location = Self::locate(text)?;
        let (store, prefix) = location.connect_as(access).await?;
        Ok(Self::at(&location, store, prefix, text))
    }

    fn at(location: &Location, store: Arc<dyn ObjectStore>, prefix: Path, text: &str) -> Self {
        let (from_key, appends) = (location.is_s3(), location.is_azure());
        Self { store, prefix, text: text.to_owned(), from_key, appends }
    }

    fn locate(text: &str) -> Result<Location, ObjectsError> {
        let location = Location::parse(text)?;
        let Location::Local(path) = &location else { return Ok(location) };
        let found = path.canonicalize().map_err(|_| ObjectsError::NotFound(text.to_owned()))?;
        Ok(Location::Local(found))
    }

    /// The bucket, where it is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        self.text.split_once("://").and_then(|(_, rest)| rest.split('/').next())
    }

    /// The path of a key as its store has it; `None` where it lies elsewhere or can't be a path.
    #[must_use]
    pub fn path_of(&self, key: &str) -> Option<Path> {
        Path::parse(key).ok().filter(|path| path.prefix_matches(&self.prefix))
    }

    /// The location itself.
    #[must_use]
    pub const fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Whether [`Objects::after`] reads only what lies behind the key.
    #[must_use]
    pub const fn lists_from_key(&self) -> bool {
        self.from_key
    }

    /// One object as it is now; `None` where there is none.
    ///
    /// # Errors
    /// The store refused or did not answer.
    pub async fn look_at(&self, path: &Path) -> Result<Option<ObjectEntry>, ObjectsError> {
        match self.store.head(path).await {
            Ok(meta) => Ok(Some(meta.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(ObjectsError::Store { object: path.to_string(), source }),
        }
    }

    /// What lies directly in a folder: its objects, and the folders in it.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn folder(&self, path: &Path) -> Result<(Vec<ObjectEntry>, Vec<Path>), ObjectsError> {
        let failed = |source| ObjectsError::Store { object: path.to_string(), source };
        let listed = self.store.list_with_delimiter(Some(path)).await.map_err(failed)?;
        Ok((listed.objects.into_iter().map(ObjectEntry::from).collect(), listed.common_prefixes))
    }

    /// Everything below a folder; with `from` only what comes behind that key.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn after(&self, folder: &Path, from: Option<&Path>) -> Result<Vec<ObjectEntry>, ObjectsError> {
        let failed = |source| ObjectsError::Store { object: folder.to_string(), source };
        let listed = match from {
            Some(from) => self.store.list_with_offset(Some(folder), from),
            None => self.store.list(Some(folder)),
        };
        listed.map_ok(ObjectEntry::from).try_collect().await.map_err(failed)
    }

    /// Some object at the location; `None` where there is none.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn any(&self) -> Result<Option<ObjectEntry>, ObjectsError> {
        let failed = |source| ObjectsError::Store { object: self.text.clone(), source };
        let first = self.store.list(Some(&self.prefix)).try_next().await.map_err(failed)?;
        Ok(first.map(ObjectEntry::from))
    }

    /// The location as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All objects, in the order of their paths. The second value is true if the location is one object by itself.
    ///
    /// # Errors
    /// The store can't be listed, or there is nothing.
    pub async fn list(&self) -> Result<(Vec<ObjectEntry>, bool), ObjectsError> {
        let failed = |source| ObjectsError::Store { object: self.text.clone(), source };
        // The root of a bucket is no object, although S3 answers HEAD for the bucket itself. An error is a directory on
        // disk, or a store that refuses HEAD on a prefix: the listing tells.
        if !self.prefix.as_ref().is_empty()
            && let Ok(meta) = self.store.head(&self.prefix).await
        {
            return Ok((vec![meta.into()], true));
        }
        let listed: Vec<_> =
            self.store.list(Some(&self.prefix)).map_ok(ObjectEntry::from).try_collect().await.map_err(failed)?;
        let mut entries = listed;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((entries, false))
    }

    /// A blocking reader over the stored bytes from `from` on; use it off the runtime. It may be read as slowly as one
    /// likes.
    ///
    /// # Errors
    /// The object can't be opened.
    pub async fn reader(&self, entry: &ObjectEntry, from: u64) -> Result<Box<dyn Read + Send>, ObjectsError> {
        let failed = |source| ObjectsError::Store { object: entry.path.to_string(), source };
        let whole = from == 0 && entry.size <= RANGE_BYTES;
        let options = GetOptions {
            range: (!whole).then(|| range(from, entry.size)),
            if_match: entry.etag.clone().filter(|_| from > 0),
            ..GetOptions::default()
        };
        let result = self.store.get_opts(&entry.path, options).await.map_err(failed)?;
        let (meta, next) = (result.meta.clone(), result.range.end);
        let end = if from > 0 { entry.size } else { meta.size };
        match result.payload {
            GetResultPayload::File(mut file, _) => {
                io::Seek::seek(&mut file, io::SeekFrom::Start(from)).map_err(|source| {
                    failed(object_store::Error::Generic { store: "file", source: Box::new(source) })
                })?;
                Ok(Box::new(file.take(end.saturating_sub(from))))
            }
            GetResultPayload::Stream(_) => {
                let first = result.bytes().await.map_err(failed)?;
                let version = meta.e_tag.filter(|_| !self.appends);
                let rest = Rest { store: Arc::clone(&self.store), path: entry.path.clone(), version, next, end };
                let all = stream::once(future::ok(first)).chain(rest.ranges());
                Ok(Box::new(SyncIoBridge::new(StreamReader::new(all.boxed()))))
            }
        }
    }
}
