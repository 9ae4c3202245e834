//! Removing what is settled: only behind durable Delta files, and never the newest object of a writer, which carries
//! the positions of its sources and the sequence number to continue from.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use super::follow::{Tail, list};
use super::{FOLDER, JournalError};
use crate::store::Store;

/// Removes the objects at or below `settled`; returns how many.
///
/// # Errors
/// The store can't be listed or an object can't be deleted.
pub async fn trim(store: &Store, settled: &Tail) -> Result<usize, JournalError> {
    let objects = list(store).await?;
    let newest: Tail = objects.iter().map(|(writer, sequence, _)| (writer.clone(), *sequence)).collect();
    let done: Vec<_> = objects
        .into_iter()
        .filter(|(writer, sequence, _)| {
            settled.get(writer).is_some_and(|mark| sequence <= mark) && newest.get(writer) != Some(sequence)
        })
        .map(|(.., path)| Ok(path))
        .collect();
    let count = done.len();
    let deleted = store.objects().delete_stream(stream::iter(done).boxed());
    deleted
        .try_for_each(|_| async { Ok(()) })
        .await
        .map_err(|source| JournalError::Store { object: FOLDER.to_owned(), source })?;
    Ok(count)
}
