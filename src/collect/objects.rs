//! Objects of files, folders and buckets: list, and read as a stream.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::model::Timestamp;
use crate::store::{Location, StoreError};

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

/// The objects at a location: a file, a folder, or everything below a prefix.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    text: String,
}

impl Objects {
    /// Connects to the location that `text` names.
    ///
    /// # Errors
    /// The location is malformed or its client can't be built.
    pub async fn open(text: &str) -> Result<Self, ObjectsError> {
        let mut location = Location::parse(text)?;
        if let Location::Local(path) = &location {
            let found = path.canonicalize().map_err(|_| ObjectsError::NotFound(text.to_owned()))?;
            location = Location::Local(found);
        }
        let (store, prefix) = location.connect().await?;
        Ok(Self { store, prefix, text: text.to_owned() })
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

    /// A blocking reader over the stored bytes from `from` on; use it off the runtime.
    ///
    /// # Errors
    /// The object can't be opened.
    pub async fn reader(&self, entry: &ObjectEntry, from: u64) -> Result<Box<dyn Read + Send>, ObjectsError> {
        let failed = |source| ObjectsError::Store { object: entry.path.to_string(), source };
        let range: Range<u64> = from..entry.size;
        let options = GetOptions {
            range: (from > 0).then_some(GetRange::Bounded(range)),
            if_match: entry.etag.clone().filter(|_| from > 0),
            ..GetOptions::default()
        };
        let result = self.store.get_opts(&entry.path, options).await.map_err(failed)?;
        let range = result.range.clone();
        match result.payload {
            GetResultPayload::File(mut file, _) => {
                io::Seek::seek(&mut file, io::SeekFrom::Start(range.start)).map_err(|source| {
                    failed(object_store::Error::Generic { store: "file", source: Box::new(source) })
                })?;
                Ok(Box::new(file.take(range.end - range.start)))
            }
            GetResultPayload::Stream(stream) => {
                let reader = StreamReader::new(stream.map_err(io::Error::other));
                Ok(Box::new(SyncIoBridge::new(reader)))
            }
        }
    }
}
