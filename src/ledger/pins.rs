//! Pinned versions: `pins/<name>.json` says which version of which table must stay readable, for example
//! `{"tables": {"calls": 4711, "observations": 815}, "reason": "closed month 2026-10"}`. No upkeep removes what a pinned
//! version needs.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::store::Store;

const FOLDER: &str = "pins";

/// One pin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Version by table.
    pub tables: BTreeMap<String, u64>,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// All pins of a store.
#[derive(Clone, Debug, Default)]
pub struct Pins(Vec<Pin>);

impl Pins {
    /// Reads them. One that can't be read stops the upkeep rather than being ignored.
    ///
    /// # Errors
    /// The store fails, or a pin is damaged.
    pub async fn read(store: &Store) -> Result<Self, LedgerError> {
        let folder = store.path(FOLDER);
        let failed = |source| LedgerError::Object { object: FOLDER.to_owned(), source };
        let metas: Vec<_> = store.objects().list(Some(&folder)).try_collect().await.map_err(failed)?;
        let mut pins = Vec::new();
        for meta in metas {
            let bytes = store.objects().get(&meta.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
            pins.push(serde_json::from_slice(&bytes).map_err(|error| LedgerError::Object {
                object: meta.location.to_string(),
                source: object_store::Error::Generic { store: "pins", source: Box::new(error) },
            })?);
        }
        Ok(Self(pins))
    }

    /// Keeps a pin until it is removed.
    ///
    /// # Errors
    /// The store fails.
    pub async fn set(store: &Store, name: &str, pin: &Pin) -> Result<(), LedgerError> {
        let object = format!("{FOLDER}/{name}.json");
        let bytes = serde_json::to_vec_pretty(pin).unwrap_or_default();
        let put = store.objects().put(&store.path(&object), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|source| LedgerError::Object { object, source })
    }

    /// The pinned versions of a table.
    #[must_use]
    pub fn of(&self, table: &str) -> Vec<u64> {
        let mut versions: Vec<u64> = self.0.iter().filter_map(|pin| pin.tables.get(table).copied()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }
}
