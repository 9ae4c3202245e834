//! Pinned versions: `pins/<name>.json` says which version of which table must stay readable, for example
//! `{"tables": {"calls": 4711, "observations": 815}, "reason": "closed month 2026-10"}`. No upkeep removes what a pinned
//! version needs.

use std::collections::BTreeMap;

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
        let mut pins = Vec::new();
        for object in store.names(FOLDER).await? {
            let Some(bytes) = store.read(&object).await? else { continue };
            let pin = serde_json::from_slice(&bytes);
            pins.push(pin.map_err(|error| LedgerError::Damaged { object, detail: error.to_string() })?);
        }
        Ok(Self(pins))
    }

    /// Keeps a pin until it is removed.
    ///
    /// # Errors
    /// The store fails.
    pub async fn set(store: &Store, name: &str, pin: &Pin) -> Result<(), LedgerError> {
        let bytes = serde_json::to_vec_pretty(pin).unwrap_or_default();
        Ok(store.keep(&format!("{FOLDER}/{name}.json"), bytes, true).await?)
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
