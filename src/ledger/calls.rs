//! The ledger: the table `calls`, always clean. It is written in slices of event time; a slice is replaced whole.

use std::collections::BTreeMap;

use super::tables::{LedgerError, write_by_day};
use crate::columns::Row;
use crate::delta::{Change, Marks, Table};
use crate::model::{Call, HOUR_US, Timestamp};
use crate::store::Store;

/// Length of a slice, microseconds of event time.
pub const SLICE_US: i64 = HOUR_US;
/// Mark: version of the archive that the ledger was computed from.
const ARCHIVE_MARK: &str = "archive";
/// Mark: the horizon, microseconds since the epoch.
const HORIZON_MARK: &str = "horizon";

/// The calls of slices, by the start of the slice; an empty list empties its slice.
pub type SliceRows = BTreeMap<Timestamp, Vec<Call>>;

/// The table `calls`.
#[derive(Clone, Debug)]
pub struct Calls {
    table: Table,
}

impl Calls {
    /// Opens or creates the table.
    ///
    /// # Errors
    /// The store fails.
    pub async fn open_or_create(store: &Store) -> Result<Self, LedgerError> {
        Ok(Self { table: Table::open_or_create(store, Call::TABLE, &Call::schema()).await? })
    }

    /// The Delta table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The Delta table, to move between versions.
    pub const fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Archive version and horizon that this version of the ledger stands for; `None` before the first settle.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn basis(&self) -> Result<Option<(u64, Timestamp)>, LedgerError> {
        let archive = self.table.mark(ARCHIVE_MARK).await?.and_then(|version| u64::try_from(version).ok());
        let horizon = self.table.mark(HORIZON_MARK).await?.map(Timestamp);
        Ok(archive.zip(horizon))
    }

    /// Replaces slices and moves the horizon, in one commit.
    ///
    /// # Errors
    /// Nothing was replaced.
    pub async fn replace(&mut self, slices: SliceRows, archive: u64, horizon: Timestamp) -> Result<u64, LedgerError> {
        let remove = self
            .table
            .files()?
            .into_iter()
            .filter(|path| slice_of(path).is_some_and(|start| slices.contains_key(&start)))
            .collect();
        let mut add = Vec::new();
        for (start, rows) in slices {
            add.append(&mut write_by_day(&self.table, rows, &slice_label(start)).await?);
        }
        let marks = Marks::from([
            (ARCHIVE_MARK.to_owned(), i64::try_from(archive).unwrap_or(i64::MAX)),
            (HORIZON_MARK.to_owned(), horizon.0),
        ]);
        Ok(self.table.commit(Change { add, remove }, &marks).await?)
    }
}

/// A slice lies inside one day, so its files are known by their names: `day=…/slice-<start in µs>-<unique>.parquet`.
fn slice_label(start: Timestamp) -> String {
    format!("slice-{}", start.0)
}

fn slice_of(path: &str) -> Option<Timestamp> {
    let name = path.rsplit('/').next()?.strip_prefix("slice-")?;
    name.split('-').next()?.parse().ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_tells_its_slice() {
        let start = Timestamp(1_763_690_400_000_000);
        let path = format!("day=2025-11-21/{}-0a1b.parquet", slice_label(start));
        assert_eq!(slice_of(&path), Some(start));
        assert_eq!(slice_of("day=2025-11-21/part-1.parquet"), None);
    }
}
