//! Reading what is there: listing, single objects, the whole tail, a writer's newest object. A damaged object is set
//! aside, so that it stops nothing and is kept for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use futures::stream::FuturesOrdered;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tracing::error;

use super::positions::State;
use super::{Commit, FOLDER, JournalError, JournalObject, Tail, object_name};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;

/// Folder for objects that could not be read.
const DAMAGED: &str = "journal-damaged";
/// Longest wait for one object: who follows a journal has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Objects that are read at once over a network, and from a disk, which keeps nobody waiting: each thread that made rows
/// keeps memory for more.
const AT_ONCE: usize = 16;
const LOCAL_AT_ONCE: usize = 2;
/// Bytes of objects that are read ahead: rows take several times as much.
const AHEAD_BYTES: u64 = 8 << 20;

/// An object as a listing shows it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Who wrote it.
    pub writer: String,
    /// Its number.
    pub sequence: u64,
    /// Where it lies.
    pub path: Path,
    /// Bytes.
    pub size: u64,
}

/// All journal objects, by writer and sequence.
pub(super) async fn list(store: &Store) -> Result<Vec<Listed>, JournalError> {
    listed(store, FOLDER).await
}

/// The objects of one writer, by sequence.
pub(super) async fn list_of(store: &Store, writer: &str) -> Result<Vec<Listed>, JournalError> {
    listed(store, &format!("{FOLDER}/{writer}")).await
}

/// The objects that were set aside.
pub(super) async fn list_damaged(store: &Store) -> Result<Vec<Listed>, JournalError> {
    listed(store, DAMAGED).await
}

async fn listed(store: &Store, folder: &str) -> Result<Vec<Listed>, JournalError> {
    let failed = |source| JournalError::Store { object: folder.to_owned(), source };
    let metas: Vec<_> = store.objects().list(Some(&store.path(folder))).try_collect().await.map_err(failed)?;
    let mut objects: Vec<_> = metas
        .into_iter()
        .filter_map(|meta| {
            let mut parts = meta.location.parts().collect::<Vec<_>>().into_iter().rev();
            let sequence = parts.next()?.as_ref().strip_suffix(".pmj")?.parse().ok()?;
            let writer = parts.next()?.as_ref().to_owned();
            Some(Listed { writer, sequence, path: meta.location, size: meta.size })
        })
        .collect();
    objects.sort_by(|a, b| (&a.writer, a.sequence).cmp(&(&b.writer, b.sequence)));
    Ok(objects)
}

/// What became of an attempt to read an object.
pub(super) enum Found {
    /// It is there.
    Object(JournalObject),
    /// It was damaged and is set aside.
    SetAside,
    /// It is not there.
    Nothing,
}

/// Reads an object; sets it aside if it is damaged.
pub(super) async fn find(store: &Store, writer: &str, sequence: u64) -> Result<Found, JournalError> {
    let name = object_name(writer, sequence);
    let path = store.path(&name);
    let failed = |source| JournalError::Store { object: name.clone(), source };
    let read = async { store.objects().get(&path).await?.bytes().await };
    let bytes = match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(object_store::Error::NotFound { .. })) => return Ok(Found::Nothing),
        Ok(Err(source)) => return Err(failed(source)),
        Err(late) => return Err(failed(object_store::Error::Generic { store: "journal", source: Box::new(late) })),
    };
    if JournalObject::is_newer(&bytes) {
        return Err(JournalError::Newer { object: name });
    }
    let decoded = tokio::task::spawn_blocking(move || JournalObject::decode(&bytes)).await;
    match decoded.map_err(|_| JournalError::Stopped)? {
        Ok(object) => Ok(Found::Object(object)),
        Err(detail) => {
            set_aside(store, writer, sequence, &detail).await;
            Ok(Found::SetAside)
        }
    }
}

fn damaged_name(writer: &str, sequence: u64) -> String {
    format!("{DAMAGED}/{writer}/{sequence:020}.pmj")
}

/// Moves a damaged object out of the journal.
async fn set_aside(store: &Store, writer: &str, sequence: u64, detail: &str) {
    let name = object_name(writer, sequence);
    error!(journal.object = %name, %detail, "journal object is damaged and set aside, its rows can't be read");
    metrics::journal_damaged();
    let target = store.path(&damaged_name(writer, sequence));
    if let Err(error) = store.objects().rename(&store.path(&name), &target).await {
        error!(journal.object = %name, error = %error, "damaged journal object can't be set aside");
    }
}

pub(super) async fn is_set_aside(store: &Store, writer: &str, sequence: u64) -> Result<bool, JournalError> {
    let name = damaged_name(writer, sequence);
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
    let listed = store.objects().list_with_delimiter(Some(&store.path(FOLDER))).await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(BTreeSet::new()),
        Err(source) => return Err(JournalError::Store { object: FOLDER.to_owned(), source }),
    };
    Ok(listed.common_prefixes.iter().filter_map(|prefix| Some(prefix.filename()?.to_owned())).collect())
}

/// The highest number of each writer in the journal.
///
/// # Errors
/// The store can't be listed.
pub async fn heads(store: &Store) -> Result<Tail, JournalError> {
    // Listed in order, so that the last of a writer stays.
    Ok(list(store).await?.into_iter().map(|object| (object.writer, object.sequence)).collect())
}

/// What to do about objects that are neither in the journal nor covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Tell: another process may have settled and trimmed them since `settled` was read.
    Refuse,
    /// Go on without them: somebody removed them. It is logged and counted.
    Skip,
}

/// Everything behind `settled`, in order per writer, and how far that is. At most about `max_rows` rows: what is left
/// out comes with the next call.
///
/// # Errors
/// The store can't be listed or read, or ([`JournalError::Gap`]) objects are missing.
pub async fn read_tail(
    store: &Store,
    settled: &Tail,
    max_rows: usize,
    missing: Missing,
) -> Result<(Vec<Commit>, Tail), JournalError> {
    let mut seen = settled.clone();
    let mut wanted = Vec::new();
    let mut by_writer: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    for object in list(store).await? {
        if object.sequence > settled.get(&object.writer).copied().unwrap_or(0) {
            by_writer.entry(object.writer).or_default().insert(object.sequence, object.size);
        }
    }
    for (writer, there) in by_writer {
        let mut expected = settled.get(&writer).map_or(1, |seen| seen + 1);
        let last = there.last_key_value().map_or(0, |(last, _)| *last);
        while expected <= last {
            // A listing may show an object and not yet the one before it; asking for it by name tells.
            let size = there.get(&expected).copied();
            if size.is_some() || !is_set_aside(store, &writer, expected).await? {
                wanted.push((writer.clone(), expected, size.unwrap_or(0)));
            }
            expected += 1;
        }
    }
    let (mut wanted, mut reading, mut ahead) = (wanted.into_iter().peekable(), FuturesOrdered::new(), 0);
    let (mut commits, mut rows) = (Vec::new(), 0);
    let at_once = if store.local().is_some() { LOCAL_AT_ONCE } else { AT_ONCE };
    loop {
        while let Some((writer, sequence, size)) = wanted
            .next_if(|(_, _, size)| reading.is_empty() || (reading.len() < at_once && ahead + size <= AHEAD_BYTES))
        {
            ahead += size;
            reading.push_back(find_sized(store, writer, sequence, size));
        }
        let Some((found, writer, sequence, size)) = reading.try_next().await? else { break };
        ahead -= size;
        match found {
            Found::Object(object) => {
                rows += object.rows.len();
                commits.push(Commit { writer: writer.as_str().into(), sequence, rows: Arc::new(object.rows) });
            }
            Found::SetAside => {}
            Found::Nothing if missing == Missing::Refuse => return Err(JournalError::Gap { writer, sequence }),
            Found::Nothing => {
                error!(journal.writer = %writer, sequence, "a journal object is missing that was never settled");
                metrics::journal_damaged();
            }
        }
        seen.insert(writer, sequence);
        if rows >= max_rows {
            break;
        }
    }
    Ok((commits, seen))
}

async fn find_sized(
    store: &Store,
    writer: String,
    sequence: u64,
    size: u64,
) -> Result<(Found, String, u64, u64), JournalError> {
    Ok((find(store, &writer, sequence).await?, writer, sequence, size))
}

/// Makes the objects up to these numbers outlast a power cut. Whoever wrote them may have died, or not be done, before
/// they did; what is settled must, or its number is given to other rows afterwards.
///
/// # Errors
/// The local disk fails.
pub async fn make_durable(store: &Store, up_to: &Tail) -> Result<(), StoreError> {
    for (writer, sequence) in up_to {
        store.make_durable(&object_name(writer, *sequence)).await?;
    }
    Ok(())
}

/// The highest number of a writer (numbers are never used twice) and where its sources stand.
pub(super) async fn newest_of(store: &Store, writer: &str) -> Result<(u64, State), JournalError> {
    let objects = list_of(store, writer).await?;
    // The newest may have been set aside by an earlier start; the tables may cover its number.
    let set_aside = listed(store, &format!("{DAMAGED}/{writer}")).await?;
    let highest =
        [objects.last(), set_aside.last()].into_iter().flatten().map(|object| object.sequence).max().unwrap_or(0);
    for object in objects.iter().rev() {
        let Found::Object(newest) = find(store, writer, object.sequence).await? else { continue };
        let mut state = State::default();
        for carrier in &newest.carried.needs {
            match find(store, writer, *carrier).await? {
                Found::Object(carrier_object) => state.take(*carrier, &carrier_object.carried),
                // What is not known to be read is read again, which counts nothing twice.
                Found::SetAside | Found::Nothing => {
                    error!(journal.writer = writer, sequence = carrier, "positions are lost, objects are read again");
                }
            }
        }
        state.take(newest.sequence, &newest.carried);
        return Ok((highest, state));
    }
    Ok((highest, State::default()))
}
