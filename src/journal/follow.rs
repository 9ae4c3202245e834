//! Reading the journal: the newest object of a writer, the whole tail, and what other writers add.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tracing::error;

use super::{Commit, FOLDER, JournalError, JournalObject};
use crate::store::Store;
use crate::telemetry::metrics;

/// Folder for objects that could not be read.
const DAMAGED: &str = "journal-damaged";

/// Highest sequence number seen of each writer.
pub type Tail = BTreeMap<String, u64>;

/// Follows the objects of all writers but one.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    seen: Tail,
    except: Option<Arc<str>>,
}

impl Follower {
    /// Follows from behind `seen` (what is settled of each writer), leaving out the writer `except` (whose commits come
    /// directly).
    #[must_use]
    pub const fn new(store: Store, seen: Tail, except: Option<Arc<str>>) -> Self {
        Self { store, seen, except }
    }

    /// Highest sequence number handed out of each writer.
    #[must_use]
    pub const fn seen(&self) -> &Tail {
        &self.seen
    }

    /// The objects that were added since the last call, in order and without gaps per writer. A listing may show an
    /// object and not yet the one before it: then what lies behind the gap waits for the next call. A damaged object is
    /// set aside, logged and counted, and what lies behind it is still read. On an error nothing counts as seen.
    ///
    /// # Errors
    /// The store can't be listed or read.
    pub async fn poll(&mut self) -> Result<Vec<Commit>, JournalError> {
        let mut commits = Vec::new();
        let mut seen = self.seen.clone();
        for (writer, sequence, path) in list(&self.store).await? {
            if self.except.as_deref() == Some(writer.as_str()) {
                continue;
            }
            // Numbers start at 1, and only what is settled (and so in `seen`) is ever trimmed.
            let mut expected = seen.get(&writer).map_or(1, |seen| seen + 1);
            while expected < sequence && is_set_aside(&self.store, &writer, expected).await? {
                expected += 1;
            }
            if sequence != expected {
                continue;
            }
            match read(&self.store, &path).await {
                Ok(object) => {
                    commits.push(Commit { writer: writer.as_str().into(), sequence, rows: Arc::new(object.rows) });
                }
                Err(JournalError::Damaged { object, detail }) => set_aside(&self.store, &path, &object, &detail).await,
                // Trimmed between the listing and now: settled by somebody else.
                Err(JournalError::Store { source: object_store::Error::NotFound { .. }, .. }) => {}
                Err(error) => return Err(error),
            }
            seen.insert(writer, sequence);
        }
        self.seen = seen;
        Ok(commits)
    }
}

/// Moves a damaged object out of the journal, so that it stops nothing and is kept for people.
async fn set_aside(store: &Store, path: &Path, object: &str, detail: &str) {
    error!(journal.object = %object, %detail, "journal object is damaged and set aside, its rows can't be read");
    metrics::journal_damaged();
    let mut parts = path.parts().map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().into_iter().rev();
    let (file, writer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let target = store.path(&format!("{DAMAGED}/{writer}/{file}"));
    if let Err(error) = store.objects().rename(path, &target).await {
        error!(journal.object = %object, error = %error, "damaged journal object can't be set aside");
    }
}

/// All journal objects, by writer and sequence.
pub(super) async fn list(store: &Store) -> Result<Vec<(String, u64, Path)>, JournalError> {
    let folder = store.path(FOLDER);
    let listed: Vec<_> = store
        .objects()
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|source| JournalError::Store { object: FOLDER.to_owned(), source })?;
    let mut objects: Vec<_> = listed
        .into_iter()
        .filter_map(|meta| {
            let mut parts = meta.location.parts().collect::<Vec<_>>().into_iter().rev();
            let sequence = parts.next()?.as_ref().strip_suffix(".pmj")?.parse().ok()?;
            let writer = parts.next()?.as_ref().to_owned();
            Some((writer, sequence, meta.location))
        })
        .collect();
    objects.sort();
    Ok(objects)
}

async fn read(store: &Store, path: &Path) -> Result<JournalObject, JournalError> {
    let failed = |source| JournalError::Store { object: path.to_string(), source };
    let bytes = store.objects().get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
    let decoded = tokio::task::spawn_blocking(move || JournalObject::decode(&bytes)).await;
    decoded
        .map_err(|_| JournalError::Stopped)?
        .map_err(|detail| JournalError::Damaged { object: path.to_string(), detail })
}

async fn is_set_aside(store: &Store, writer: &str, sequence: u64) -> Result<bool, JournalError> {
    let name = format!("{DAMAGED}/{writer}/{sequence:020}.pmj");
    match store.objects().head(&store.path(&name)).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(source) => Err(JournalError::Store { object: name, source }),
    }
}

/// The names of all writers.
///
/// # Errors
/// The store can't be listed.
pub async fn writers(store: &Store) -> Result<BTreeSet<String>, JournalError> {
    Ok(list(store).await?.into_iter().map(|(writer, ..)| writer).collect())
}

/// The newest readable object of a writer, under the number of the newest there is: numbers are never used twice.
pub(super) async fn newest_of(store: &Store, writer: &str) -> Result<Option<JournalObject>, JournalError> {
    let mut newest = None;
    for (_, sequence, path) in list(store).await?.into_iter().filter(|(of, ..)| of == writer).rev() {
        let newest = *newest.get_or_insert(sequence);
        match read(store, &path).await {
            Ok(object) => return Ok(Some(JournalObject { sequence: newest, ..object })),
            Err(JournalError::Damaged { object, detail }) => set_aside(store, &path, &object, &detail).await,
            Err(error) => return Err(error),
        }
    }
    Ok(newest.map(|sequence| JournalObject { writer: writer.to_owned(), sequence, ..JournalObject::default() }))
}
