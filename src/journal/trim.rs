//! Removing what is settled: only behind durable Delta files, and never the newest object of a writer, which carries
//! the sequence number to continue from, nor objects that hold the positions of its sources.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use super::read::{Found, Listed, find, list};
use super::{FOLDER, JournalError, Tail};
use crate::store::Store;

/// Removes the objects at or below `settled`; returns how many.
///
/// # Errors
/// The store can't be listed or an object can't be deleted.
pub async fn trim(store: &Store, settled: &Tail) -> Result<usize, JournalError> {
    let objects = list(store).await?;
    let mut done = Vec::new();
    for of_writer in objects.chunk_by(|a, b| a.writer == b.writer) {
        done.extend(removable(store, of_writer, settled).await?);
    }
    let count = done.len();
    let deleted = store.objects().delete_stream(stream::iter(done.into_iter().map(Ok)).boxed());
    // An object that is gone already was trimmed by another.
    deleted
        .try_for_each(|_| async { Ok(()) })
        .await
        .or_else(|error| if matches!(error, object_store::Error::NotFound { .. }) { Ok(()) } else { Err(error) })
        .map_err(|source| JournalError::Store { object: FOLDER.to_owned(), source })?;
    Ok(count)
}

/// What of one writer's objects can go.
async fn removable(
    store: &Store,
    objects: &[Listed],
    settled: &Tail,
) -> Result<Vec<object_store::path::Path>, JournalError> {
    let Some((newest, older)) = objects.split_last() else { return Ok(Vec::new()) };
    let mark = settled.get(&newest.writer).copied().unwrap_or(0);
    if older.iter().all(|object| object.sequence > mark) {
        return Ok(Vec::new());
    }
    // Only the newest knows what is still needed; where it can't be read, nothing is removed.
    let Found::Object(newest) = find(store, &newest.writer, newest.sequence).await? else { return Ok(Vec::new()) };
    let needed: BTreeSet<u64> = newest.carried.needs.iter().copied().collect();
    let done = older.iter().filter(|object| object.sequence <= mark && !needed.contains(&object.sequence));
    Ok(done.map(|object| object.path.clone()).collect())
}
