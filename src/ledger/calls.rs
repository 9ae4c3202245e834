//! The ledger: the table `calls`, always clean. It is written in slices of event time; a slice is replaced whole, or
//! calls are added to it. Each file holds calls of a run of slices, said by its name, and no others.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::archive::{FLOOR_MARK, between};
use super::tables::{JOURNAL_MARK, LedgerError, encoded, one_batch, sorted, unique_name};
use crate::columns::Row;
use crate::delta::{Change, DataFile, Marks, NewFile, Table};
use crate::model::{Call, HOUR_US, Interval, Timestamp};
use crate::store::Store;

/// Mark: the horizon, microseconds since the epoch.
const HORIZON_MARK: &str = "horizon";
/// Mark: the form of the marks. Before there was one, the version of the archive told what the ledger covers.
const FORMAT_MARK: &str = "format";
const FORMAT: i64 = 2;
const ARCHIVE_MARK_1: &str = "archive";

/// What a version of the ledger stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Calls before it are in the ledger.
    pub horizon: Timestamp,
    /// Set in a ledger of the first format: the version of the archive that it was computed from.
    pub archive_1: Option<u64>,
}

/// The table `calls`.
#[derive(Clone, Debug)]
pub struct Calls {
    table: Table,
}

impl Calls {
    /// What the rows of a file are sorted by.
    pub(super) const ORDER: [&str; 2] = ["ts", "call_id"];

    /// Opens or creates the table.
    ///
    /// # Errors
    /// The store fails, or the table is newer than this program.
    pub async fn open_or_create(store: &Store) -> Result<Self, LedgerError> {
        Ok(Self { table: super::tables::open_or_create::<Call>(store).await? })
    }

    /// Opens the table if it exists.
    ///
    /// # Errors
    /// The store fails, or the table is newer than this program.
    pub async fn open(store: &Store) -> Result<Option<Self>, LedgerError> {
        Ok(Table::open(store, Call::TABLE).await?.map(|table| Self { table }))
    }

    /// The Delta table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The Delta table, to move between versions and to rearrange files.
    pub const fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// What this version of the ledger stands for; `None` before the first settle.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn basis(&self) -> Result<Option<Basis>, LedgerError> {
        let Some(horizon) = self.table.mark(HORIZON_MARK).await?.map(Timestamp) else { return Ok(None) };
        let archive_1 = match self.table.mark(FORMAT_MARK).await? {
            Some(_) => None,
            None => self.table.mark(ARCHIVE_MARK_1).await?.and_then(|version| u64::try_from(version).ok()),
        };
        Ok(Some(Basis { horizon, archive_1 }))
    }

    /// Highest journal sequence of `writer` that this version of the ledger covers.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn watermark(&self, writer: &str) -> Result<u64, LedgerError> {
        let mark = self.table.mark(&format!("{JOURNAL_MARK}{writer}")).await?;
        Ok(mark.and_then(|sequence| u64::try_from(sequence).ok()).unwrap_or(0))
    }

    /// Before this instant calls have left because they are not to be kept longer.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn floor(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.table.mark(FLOOR_MARK).await?.map_or(Timestamp(i64::MIN), Timestamp))
    }

    /// Stores the calls of a run of slices, sorted by start, as a file that is not yet part of the ledger.
    ///
    /// # Errors
    /// The store fails.
    pub async fn write(&self, run: Interval, calls: &[&Call]) -> Result<NewFile, LedgerError> {
        self.write_batch(run, Self::encode(&self.table.schema()?, calls)?).await
    }

    /// Calls as the table stores them; `columns` are those of the table.
    ///
    /// # Errors
    /// They can't be encoded.
    pub fn encode(columns: &SchemaRef, calls: &[&Call]) -> Result<RecordBatch, LedgerError> {
        encoded(calls, columns)
    }

    /// Stores encoded calls of a run of slices, in whatever order, as a file that is not yet part of the ledger.
    ///
    /// # Errors
    /// The store fails.
    pub async fn write_encoded(&self, run: Interval, batches: Vec<RecordBatch>) -> Result<NewFile, LedgerError> {
        self.write_batch(run, sorted(&self.table, batches, &Self::ORDER)?).await
    }

    /// Stores rows, with columns as the table stores them, as the file of a run.
    pub(super) async fn write_batch(&self, run: Interval, batch: RecordBatch) -> Result<NewFile, LedgerError> {
        let day = run.from.day().to_string();
        Ok(self.table.write_file(&day, &file_name(run), batch).await?)
    }

    /// The calls that the ledger holds in `within`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn read(&self, within: Interval) -> Result<Vec<Call>, LedgerError> {
        super::tables::decoded(self.table.scan(between(within), &[]).await?)
    }

    /// Replaces `slices` by `files`, which may also add calls to other slices, and says what the ledger covers now, in one
    /// commit. Files that hold other slices too are split.
    ///
    /// # Errors
    /// Nothing was replaced.
    pub async fn replace(
        &mut self,
        slices: &BTreeSet<Timestamp>,
        files: Vec<NewFile>,
        horizon: Timestamp,
        covered: &BTreeMap<String, u64>,
    ) -> Result<u64, LedgerError> {
        let mut change = Change { add: files, ..Change::default() };
        for file in self.table.files()? {
            let Some(range) = range_of(&file) else { continue };
            let left = range.without(slices);
            if left == [range] || !range.slices().any(|start| slices.contains(&start)) {
                continue;
            }
            for part in left {
                let rows = self.table.scan_files(vec![file.path.clone()], Some(between(part))).await?;
                let batch = one_batch(&rows, &self.table.schema()?)?;
                if batch.num_rows() > 0 {
                    change.add.push(self.write_batch(part, batch).await?);
                }
            }
            change.remove.push(file.path);
        }
        let mut marks = Marks::from([(HORIZON_MARK.to_owned(), horizon.0), (FORMAT_MARK.to_owned(), FORMAT)]);
        for (writer, sequence) in covered {
            marks.insert(format!("{JOURNAL_MARK}{writer}"), i64::try_from(*sequence).unwrap_or(i64::MAX));
        }
        Ok(self.table.commit(change, &marks).await?)
    }
}

/// `run-<first instant>-<first instant behind>-<unique>`, in microseconds.
fn file_name(run: Interval) -> String {
    format!("run-{}-{}-{}", run.from.0, run.to.0, unique_name())
}

/// The slices that a file holds, by its name. Files of the first format (`slice-<start>-<unique>`) hold an hour.
pub(super) fn range_of(file: &DataFile) -> Option<Interval> {
    let instant = |text: &str| text.parse().ok().map(Timestamp);
    let mut parts = file.name().split('-');
    match parts.next()? {
        "run" => Some(Interval { from: instant(parts.next()?)?, to: instant(parts.next()?)? }),
        "slice" => instant(parts.next()?).map(|from| Interval { from, to: from.plus(HOUR_US) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_tells_its_slices() {
        let run = Interval { from: Timestamp(1_763_690_400_000_000), to: Timestamp(1_763_691_000_000_000) };
        let file = |name: &str| DataFile { path: format!("day=2025-11-21/{name}.parquet"), bytes: 1, rows: 1 };
        assert_eq!(range_of(&file(&file_name(run))), Some(run));
        let hour = Interval { from: run.from, to: run.from.plus(HOUR_US) };
        assert_eq!(range_of(&file("slice-1763690400000000-23cdf04b00d8295b2d6ae23c69700462")), Some(hour));
        assert_eq!(range_of(&file("part-1")), None);
    }
}
