//! The log of closes and reopenings: numbered objects, created once.

use crate::finance::period::Entry;
use crate::store::Store;

use super::PeriodError;

const FOLDER: &str = "periods/log";

fn name(number: usize) -> String {
    format!("{FOLDER}/{number:06}.json")
}

/// All entries in their order.
pub(super) async fn read(store: &Store) -> Result<Vec<Entry>, PeriodError> {
    let mut entries = Vec::new();
    // By name and not by listing: entries have no gaps, and most stores have none.
    while let Some(bytes) = store.read(&name(entries.len() + 1)).await? {
        let damaged = |error: serde_json::Error| PeriodError::Damaged {
            object: name(entries.len() + 1),
            detail: error.to_string(),
        };
        entries.push(serde_json::from_slice(&bytes).map_err(damaged)?);
    }
    Ok(entries)
}

/// Adds an entry behind `known` others. If the store leaves open whether it was kept, it is looked at.
pub(super) async fn append(store: &Store, known: usize, entry: &Entry) -> Result<(), PeriodError> {
    let name = name(known + 1);
    let bytes = serde_json::to_vec_pretty(entry).unwrap_or_default();
    let created = store.create(&name, bytes.clone()).await;
    if matches!(created, Ok(true)) {
        return Ok(());
    }
    match store.read(&name).await? {
        Some(found) if found == bytes => Ok(()),
        Some(_) => Err(PeriodError::Overtaken),
        None => Err(created.map_or_else(PeriodError::from, |_| PeriodError::Overtaken)),
    }
}
