//! What the journal holds, for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read::{Found, find, list, list_damaged, newest_of};
use super::{JournalError, JournalObject, Tail};
use crate::store::Store;

/// One writer's journal.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WriterSummary {
    /// Its id.
    pub writer: String,
    /// Number of objects.
    pub objects: usize,
    /// Bytes of the objects.
    pub bytes: u64,
    /// Lowest number that is there.
    pub first: u64,
    /// Highest number ever used.
    pub last: u64,
    /// Highest number that the ledger covers.
    pub settled: u64,
    /// Objects that the ledger does not cover yet.
    pub unsettled: usize,
    /// Numbers that are missing between first and last although the ledger does not cover them.
    pub missing: Vec<u64>,
    /// Numbers of objects that were set aside because they could not be read.
    pub damaged: Vec<u64>,
    /// Entries of the position of each source.
    pub positions: BTreeMap<String, usize>,
}

/// One object.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectSummary {
    /// Who wrote it.
    pub writer: String,
    /// Its number.
    pub sequence: u64,
    /// Rows of each kind.
    pub observations: usize,
    /// Rows of each kind.
    pub metrics: usize,
    /// Rows of each kind.
    pub quarantined: usize,
    /// Earliest and latest start of a call.
    pub range: Option<(String, String)>,
    /// Whether its positions are all there are, or changes.
    pub complete: bool,
    /// Entries of the position of each source in it.
    pub positions: BTreeMap<String, usize>,
    /// Older objects that are needed to know all positions.
    pub needs: Vec<u64>,
}

/// Every writer's journal; `settled` is what the ledger covers.
///
/// # Errors
/// The store can't be listed or read.
pub async fn inspect(store: &Store, settled: &Tail) -> Result<Vec<WriterSummary>, JournalError> {
    let mut writers: BTreeMap<String, WriterSummary> = BTreeMap::new();
    for object in list(store).await? {
        let mark = settled.get(&object.writer).copied().unwrap_or(0);
        let summary = writers.entry(object.writer.clone()).or_insert_with(|| WriterSummary {
            writer: object.writer.clone(),
            first: object.sequence,
            settled: mark,
            last: object.sequence.max(mark + 1) - 1,
            ..WriterSummary::default()
        });
        summary.missing.extend((summary.last.max(mark) + 1)..object.sequence);
        summary.last = object.sequence;
        summary.objects += 1;
        summary.bytes += object.size;
        summary.unsettled += usize::from(object.sequence > mark);
    }
    for object in list_damaged(store).await? {
        let summary = writers.entry(object.writer.clone()).or_default();
        summary.writer = object.writer;
        summary.missing.retain(|missing| *missing != object.sequence);
        summary.damaged.push(object.sequence);
    }
    for summary in writers.values_mut() {
        let (_, state) = newest_of(store, &summary.writer).await?;
        summary.positions = state.positions.counts().map(|(source, n)| (source.to_owned(), n)).collect();
    }
    Ok(writers.into_values().collect())
}

/// One object; `None` if it is not there or can't be read.
///
/// # Errors
/// The store can't be read.
pub async fn inspect_object(store: &Store, writer: &str, sequence: u64) -> Result<Option<ObjectSummary>, JournalError> {
    let Found::Object(object) = find(store, writer, sequence).await? else { return Ok(None) };
    Ok(Some(summary(&object)))
}

fn summary(object: &JournalObject) -> ObjectSummary {
    let starts = || object.rows.observations.iter().map(|observation| observation.ts);
    ObjectSummary {
        writer: object.writer.clone(),
        sequence: object.sequence,
        observations: object.rows.observations.len(),
        metrics: object.rows.metrics.len(),
        quarantined: object.rows.quarantined.len(),
        range: starts().min().zip(starts().max()).map(|(first, last)| (first.to_string(), last.to_string())),
        complete: object.carried.complete,
        positions: object.carried.positions.counts().map(|(source, n)| (source.to_owned(), n)).collect(),
        needs: object.carried.needs.clone(),
    }
}
