//! The mark of a store: `store.json` says by which format it is written. A column more is no new format, and older
//! formats are read; a newer one is refused, because this program would drop what it does not know.

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::store::Store;

/// The format that this program writes. 1 had no mark: ids as text, an hour in a slice, the archive's version in the
/// ledger.
pub const FORMAT: u32 = 2;

const OBJECT: &str = "store.json";

#[derive(Serialize, Deserialize)]
struct Mark {
    format: u32,
    written_by: String,
}

/// Refuses a store that is newer than this program.
///
/// # Errors
/// It is, or the mark can't be read.
pub async fn check_format(store: &Store) -> Result<Option<u32>, LedgerError> {
    let Some(bytes) = store.read(OBJECT).await? else { return Ok(None) };
    let mark: Mark = serde_json::from_slice(&bytes)
        .map_err(|error| LedgerError::Damaged { object: OBJECT.to_owned(), detail: error.to_string() })?;
    if mark.format > FORMAT {
        return Err(LedgerError::Newer { written_by: mark.written_by, found: mark.format, known: FORMAT });
    }
    Ok(Some(mark.format))
}

/// Marks a store that this program writes.
///
/// # Errors
/// The store fails.
pub async fn mark_format(store: &Store) -> Result<(), LedgerError> {
    let older = check_format(store).await?.is_some_and(|format| format < FORMAT);
    let mark = Mark { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").to_owned() };
    Ok(store.keep(OBJECT, serde_json::to_vec(&mark).unwrap_or_default(), older).await?)
}
