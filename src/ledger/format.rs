//! The mark of a store: `store.json` says by which format it is written. A column more is no new format, and older
//! formats are read; a newer one is refused, because this program would drop what it does not know.

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
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
    let failed = |source| LedgerError::Object { object: OBJECT.to_owned(), source };
    let bytes = match store.objects().get(&store.path(OBJECT)).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mark: Mark = serde_json::from_slice(&bytes)
        .map_err(|error| failed(object_store::Error::Generic { store: OBJECT, source: Box::new(error) }))?;
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
    let mark = Mark { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").to_owned() };
    let bytes = PutPayload::from(serde_json::to_vec(&mark).unwrap_or_default());
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.objects().put_opts(&store.path(OBJECT), bytes, options).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(source) => Err(LedgerError::Object { object: OBJECT.to_owned(), source }),
    }
}
