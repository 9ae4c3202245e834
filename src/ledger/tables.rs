//! What the tables have in common: rows appended day by day with the journal's watermarks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::columns::{ColumnError, Row};
use crate::delta::{Change, DeltaError, Marks, NewFile, Table};
use crate::model::{Timestamp, fingerprint};
use crate::store::Store;

/// Why a settled table can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The table.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The rows.
    #[error("rows of table {table}")]
    Columns {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: ColumnError,
    },
}

/// A table that only grows: rows are appended with the journal sequence they came from.
#[derive(Clone, Debug)]
pub struct SideTable<R> {
    table: Table,
    _rows: std::marker::PhantomData<fn() -> R>,
}

/// Prefix of the marks that hold a writer's journal sequence.
const JOURNAL_MARK: &str = "journal/";

impl<R: Row + Send + 'static> SideTable<R> {
    /// Opens or creates the table.
    ///
    /// # Errors
    /// The store fails.
    pub async fn open_or_create(store: &Store) -> Result<Self, LedgerError> {
        let table = Table::open_or_create(store, R::TABLE, &R::schema()).await?;
        Ok(Self { table, _rows: std::marker::PhantomData })
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

    /// Highest journal sequence of `writer` that is in the table.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn watermark(&self, writer: &str) -> Result<u64, LedgerError> {
        let mark = self.table.mark(&format!("{JOURNAL_MARK}{writer}")).await?;
        Ok(mark.and_then(|sequence| u64::try_from(sequence).ok()).unwrap_or(0))
    }

    /// Appends rows and moves the watermarks of `writers`, in one commit.
    ///
    /// # Errors
    /// Nothing was appended.
    pub async fn append(&mut self, rows: Vec<R>, writers: &BTreeMap<String, u64>) -> Result<u64, LedgerError> {
        let add = write_by_day(&self.table, rows, "part").await?;
        let marks: Marks = writers
            .iter()
            .filter_map(|(writer, sequence)| Some((format!("{JOURNAL_MARK}{writer}"), i64::try_from(*sequence).ok()?)))
            .collect();
        Ok(self.table.commit(Change { add, remove: Vec::new() }, &marks).await?)
    }
}

/// Stores rows sorted by time, one file for each day. `label` starts the file names.
pub async fn write_by_day<R: Row>(table: &Table, rows: Vec<R>, label: &str) -> Result<Vec<NewFile>, LedgerError> {
    let mut days: BTreeMap<String, Vec<R>> = BTreeMap::new();
    for row in rows {
        days.entry(row.instant().day().to_string()).or_default().push(row);
    }
    let mut files = Vec::with_capacity(days.len());
    for (day, mut rows) in days {
        rows.sort_by_key(Row::instant);
        let batch = R::encode(rows.iter()).map_err(|source| LedgerError::Columns { table: R::TABLE, source })?;
        let first = rows.first().map_or(Timestamp(0), Row::instant);
        let name = format!("{label}-{}", unique_name(&day, first));
        files.push(table.write_file(&day, &name, batch).await?);
    }
    Ok(files)
}

/// File names must never repeat, not even after a crash between file and commit.
fn unique_name(day: &str, first: Timestamp) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    let process = std::process::id().to_le_bytes();
    let nanos = std::time::UNIX_EPOCH.elapsed().map(|age| age.as_nanos()).unwrap_or_default().to_le_bytes();
    fingerprint([day.as_bytes(), &first.0.to_le_bytes(), &counter, &process, &nanos]).to_string()
}
