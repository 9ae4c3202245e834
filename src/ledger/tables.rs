//! What the tables have in common: rows appended day by day with the journal's watermarks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, concat, concat_batches, interleave, lexsort_to_indices};
use arrow::datatypes::SchemaRef;

use crate::columns::{ColumnError, Row, stored, stored_schema};
use crate::delta::{Change, DeltaError, Marks, NewFile, Table};
use crate::model::fingerprint;
use crate::store::{Store, StoreError};

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
    /// The store was made by a newer program.
    #[error(
        "the store was written by polymeter {written_by} (store format {found}); this one reads up to format {known}: use that version or a newer one"
    )]
    Newer {
        /// Version that wrote it.
        written_by: String,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// A small object beside the tables.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A small object beside the tables holds what can't be understood.
    #[error("{object} is damaged: {detail}")]
    Damaged {
        /// Which.
        object: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl LedgerError {
    /// Whether the store was made by a newer program, so that trying again is no use.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Delta(DeltaError::Newer { .. }))
    }
}

/// A table that only grows: rows are appended with the journal sequence they came from.
#[derive(Clone, Debug)]
pub struct SideTable<R> {
    table: Table,
    _rows: std::marker::PhantomData<fn() -> R>,
}

/// Rows that are read column by column at once: they are wide, and more of them don't stay in the processor's cache.
const ENCODED_AT_ONCE: usize = 1024;
/// Prefix of the marks that hold a writer's journal sequence.
pub(super) const JOURNAL_MARK: &str = "journal/";

/// Opens the table of `R` or creates it with ids stored as bytes.
pub(super) async fn open_or_create<R: Row>(store: &Store) -> Result<Table, LedgerError> {
    Ok(Table::open_or_create(store, R::TABLE, &stored_schema(&R::schema())).await?)
}

impl<R: Row + Send + 'static> SideTable<R> {
    /// Opens or creates the table.
    ///
    /// # Errors
    /// The store fails, or the table is newer than this program.
    pub async fn open_or_create(store: &Store) -> Result<Self, LedgerError> {
        Ok(Self { table: open_or_create::<R>(store).await?, _rows: std::marker::PhantomData })
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
    pub async fn append(&mut self, rows: &[&R], writers: &BTreeMap<String, u64>) -> Result<u64, LedgerError> {
        let add = write_by_day(&self.table, rows).await?;
        let marks: Marks = writers
            .iter()
            .filter_map(|(writer, sequence)| Some((format!("{JOURNAL_MARK}{writer}"), i64::try_from(*sequence).ok()?)))
            .collect();
        Ok(self.table.commit(Change { add, ..Change::default() }, &marks).await?)
    }
}

/// Stores rows sorted by time, one file for each day.
async fn write_by_day<R: Row>(table: &Table, rows: &[&R]) -> Result<Vec<NewFile>, LedgerError> {
    let schema = table.schema()?;
    let mut days: BTreeMap<String, Vec<&R>> = BTreeMap::new();
    for row in rows {
        days.entry(row.instant().day().to_string()).or_default().push(row);
    }
    let mut files = Vec::with_capacity(days.len());
    for (day, mut rows) in days {
        rows.sort_by_key(|row| row.instant());
        let batch = encoded(&rows, &schema)?;
        files.push(table.write_file(&day, &format!("part-{}", unique_name()), batch).await?);
    }
    Ok(files)
}

/// Rows as the table stores them.
pub(super) fn encoded<R: Row>(rows: &[&R], table: &SchemaRef) -> Result<RecordBatch, LedgerError> {
    let encode = |rows: &[&R]| R::encode(rows.iter().copied()).and_then(|batch| stored(&batch, table));
    let batches = || -> Result<RecordBatch, ColumnError> {
        let batches = rows.chunks(ENCODED_AT_ONCE).map(encode).collect::<Result<Vec<_>, _>>()?;
        let columns = match batches.first() {
            Some(batch) => batch.schema(),
            None => return encode(&[]),
        };
        Ok(concat_batches(&columns, &batches)?)
    };
    batches().map_err(|source| LedgerError::Columns { table: R::TABLE, source })
}

/// The rows of all batches; columns that were not read keep their defaults.
pub(super) fn decoded<R: Row>(batches: Vec<RecordBatch>) -> Result<Vec<R>, LedgerError> {
    decoded_as(batches, |row| row)
}

/// What `part` takes of each row: rows are wide, and of one batch only they are held.
pub(super) fn decoded_as<R: Row, T>(batches: Vec<RecordBatch>, part: impl Fn(R) -> T) -> Result<Vec<T>, LedgerError> {
    let mut parts = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        parts.extend(rows(&batch)?.into_iter().map(&part));
    }
    Ok(parts)
}

/// The rows of a batch.
pub(super) fn rows<R: Row>(batch: &RecordBatch) -> Result<Vec<R>, LedgerError> {
    R::decode(batch).map_err(|source| LedgerError::Columns { table: R::TABLE, source })
}

/// The rows of all batches sorted by these columns, with exactly the columns and types that the table stores. Each column
/// is let go once it is copied: rows are many here.
pub(super) fn sorted(table: &Table, batches: Vec<RecordBatch>, order: &[&str]) -> Result<RecordBatch, LedgerError> {
    let schema = table.schema()?;
    if batches.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let sort = || -> Result<RecordBatch, ColumnError> {
        let typed = batches.iter().map(|batch| typed(batch, &schema)).collect::<Result<Vec<_>, _>>()?;
        drop(batches);
        let keys = order.iter().map(|name| {
            let parts: Vec<_> =
                typed.iter().filter_map(|batch| batch.column_by_name(name)).map(AsRef::as_ref).collect();
            Ok(SortColumn { values: concat(&parts)?, options: None })
        });
        let places = lexsort_to_indices(&keys.collect::<Result<Vec<_>, ColumnError>>()?, None)?;
        let rows: Vec<(usize, usize)> =
            typed.iter().enumerate().flat_map(|(at, batch)| (0..batch.num_rows()).map(move |row| (at, row))).collect();
        let rows: Vec<_> =
            places.values().iter().filter_map(|place| rows.get(usize::try_from(*place).ok()?)).copied().collect();
        let mut left: Vec<_> = typed.into_iter().map(|batch| batch.into_parts().1.into_iter()).collect();
        let columns = schema.fields().iter().map(|_| {
            let parts = left.iter_mut().map(|columns| columns.next().ok_or(ColumnError::Missing));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            Ok(interleave(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &rows)?)
        });
        let columns = columns.collect::<Result<Vec<_>, ColumnError>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    };
    sort().map_err(|source| LedgerError::Columns { table: table.name(), source })
}

/// All batches as one, with exactly the columns and types that the table stores.
pub(super) fn one_batch(batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch, LedgerError> {
    let joined = || -> Result<RecordBatch, ColumnError> {
        let typed = batches.iter().map(|batch| typed(batch, schema)).collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(schema, &typed)?)
    };
    joined().map_err(|source| LedgerError::Columns { table: "rearranged", source })
}

fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ColumnError> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or(ColumnError::Missing)?;
        // Readers may hand out views; nested types differ in field names only, which a cast can't change.
        let same = column.data_type() == field.data_type();
        Ok(if same { column.clone() } else { arrow::compute::cast(column, field.data_type())? })
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, ColumnError>>()?)?)
}

/// File names must never repeat, not even after a crash between file and commit.
pub(super) fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    let process = std::process::id().to_le_bytes();
    let nanos = std::time::UNIX_EPOCH.elapsed().map(|age| age.as_nanos()).unwrap_or_default().to_le_bytes();
    let random = {
        use std::hash::BuildHasher;
        std::hash::RandomState::new().hash_one(counter).to_le_bytes()
    };
    fingerprint([counter.as_slice(), &process, &nanos, &random]).to_string()
}
