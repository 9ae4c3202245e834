//! The providers' bills: `bills/<number>.parquet`, one object for each import, created once and never changed. An import
//! covers accounts and months of a format; of several that cover the same, the one with the greatest number holds, and
//! the table `bill_lines` shows its lines only. The objects are read when they are asked for, so that every process on
//! the store sees an import at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use object_store::{ObjectStore, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::model::{MONEY_PRECISION, MONEY_SCALE};
use crate::store::{Store, StoreError};

const FOLDER: &str = "bills";
/// Under this name an object says what it is.
const ABOUT: &str = "polymeter.bill";
/// Imports that may come between two looks.
const ATTEMPTS: usize = 20;
/// Fraction digits of a price of one: a price for a thousand or million divided by that.
pub const PRICE_SCALE: i8 = 18;

/// What an import covers: a month of an account, in the bills of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Covered {
    /// Kind of bill.
    pub format: String,
    /// Account; empty where the bill names none.
    pub account: String,
    /// `2026-10`, in UTC.
    pub month: String,
}

/// What an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillAbout {
    /// A hash of its lines, wherever they lay: the same bill has the same.
    pub bill_id: String,
    /// When it was taken in, UTC.
    pub imported_at: String,
    /// Files it was read from.
    pub files: Vec<String>,
    /// What it covers.
    pub covers: BTreeSet<Covered>,
    /// Lines.
    pub lines: u64,
}

/// An import.
#[derive(Clone, Debug)]
pub struct BillImport {
    /// Its number: a greater one is newer.
    pub number: u64,
    /// What it is.
    pub about: BillAbout,
    /// Its lines, in the columns of [`Bills::schema`].
    pub lines: RecordBatch,
}

/// The bills of a store.
#[derive(Clone, Debug)]
pub struct Bills {
    store: Store,
    /// Objects never change, so what was read once is kept.
    read: Arc<Mutex<BTreeMap<u64, Arc<BillImport>>>>,
}

impl Bills {
    /// Name of the table.
    pub const TABLE: &'static str = "bill_lines";

    /// The bills of this store; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), read: Arc::default() }
    }

    /// The columns of `bill_lines`.
    #[must_use]
    pub fn schema() -> SchemaRef {
        let text = |name: &str, null: bool| Field::new(name, DataType::Utf8, null);
        let instant =
            |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
        let decimal =
            |name: &str, scale: i8, null: bool| Field::new(name, DataType::Decimal128(MONEY_PRECISION, scale), null);
        Arc::new(Schema::new(vec![
            text("bill_id", false),
            instant("imported_at"),
            text("format", false),
            text("file", false),
            Field::new("line", DataType::Int64, false),
            text("platform", false),
            text("account", true),
            text("region", true),
            text("model", true),
            text("bucket", true),
            text("scope", true),
            text("tier", true),
            Field::new("context_over", DataType::Int64, true),
            text("usage_type", false),
            text("unit", false),
            text("month", false),
            Field::new("day", DataType::Date32, false),
            instant("period_start"),
            instant("period_end"),
            decimal("quantity", MONEY_SCALE, true),
            decimal("unit_price", PRICE_SCALE, true),
            decimal("cost", MONEY_SCALE, false),
            text("currency", false),
            text("category", false),
            text("sku", true),
        ]))
    }

    /// All imports, the oldest first, also those that newer ones took the place of.
    ///
    /// # Errors
    /// The store fails, or an object can't be read.
    pub async fn imports(&self) -> Result<Vec<Arc<BillImport>>, LedgerError> {
        let mut all = Vec::new();
        for name in self.store.names(FOLDER).await? {
            let Some(number) = number(&name) else { continue };
            let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
            let import = match known {
                Some(import) => import,
                None => {
                    let Some(bytes) = self.store.read(&name).await? else { continue };
                    let import = Arc::new(decode(number, &name, bytes)?);
                    self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&import));
                    import
                }
            };
            all.push(import);
        }
        all.sort_by_key(|import| import.number);
        Ok(all)
    }

    /// The lines that hold.
    ///
    /// # Errors
    /// The store fails, or an object can't be read.
    pub async fn lines(&self) -> Result<RecordBatch, LedgerError> {
        let imports = self.imports().await?;
        let newest = newest(&imports);
        let mut batches = Vec::new();
        for import in &imports {
            let account = import.lines.column_by_name("account").and_then(|column| column.as_string_opt::<i32>());
            let month = import.lines.column_by_name("month").and_then(|column| column.as_string_opt::<i32>());
            let format = import.lines.column_by_name("format").and_then(|column| column.as_string_opt::<i32>());
            let (Some(account), Some(month), Some(format)) = (account, month, format) else {
                return Err(damaged(&name(import.number), "a column is missing"));
            };
            let holding = |own: &&Covered| newest.get(*own) == Some(&import.number);
            let stands = |account: &str| {
                let mut own = import.about.covers.iter().filter(|own| own.account == account).peekable();
                if own.peek().is_some() {
                    own.any(|own| holding(&own))
                } else {
                    import.about.covers.iter().any(|own| holding(&own))
                }
            };
            let holds = |row: usize| {
                let covered = Covered {
                    format: format.value(row).to_owned(),
                    account: if account.is_valid(row) { account.value(row).to_owned() } else { String::new() },
                    month: month.value(row).to_owned(),
                };
                // What a bill says of a month that is not its own holds as long as the bill does.
                let own = import.about.covers.contains(&covered);
                if own { holding(&&covered) } else { stands(&covered.account) }
            };
            let mask: BooleanArray = (0..import.lines.num_rows()).map(|row| Some(holds(row))).collect();
            batches.push(filter_record_batch(&import.lines, &mask).map_err(arrow)?);
        }
        concat_batches(&Self::schema(), &batches).map_err(arrow)
    }

    /// Keeps an import as the newest. `decide` sees the imports that are there, and says whether to go on; it is asked again
    /// if another process was faster.
    ///
    /// # Errors
    /// What `decide` says, or the store fails.
    pub async fn add<E: From<LedgerError>>(
        &self,
        about: &BillAbout,
        lines: &RecordBatch,
        mut decide: impl FnMut(&[Arc<BillImport>]) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let bytes = encode(about, lines)?;
        for _ in 0..ATTEMPTS {
            let imports = self.imports().await?;
            if !decide(&imports)? {
                return Ok(false);
            }
            let name = name(imports.last().map_or(1, |last| last.number + 1));
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.objects().put_opts(&self.store.path(&name), bytes.clone().into(), options).await {
                Ok(_) => return Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(source) => return Err(LedgerError::Store(StoreError::Object { object: name, source }).into()),
            }
        }
        Err(damaged(FOLDER, "other imports are always faster").into())
    }
}

/// The number of the newest import that covers each.
#[must_use]
pub fn newest(imports: &[Arc<BillImport>]) -> BTreeMap<Covered, u64> {
    let mut newest = BTreeMap::new();
    for import in imports {
        for covered in &import.about.covers {
            let number = newest.entry(covered.clone()).or_insert(import.number);
            *number = import.number.max(*number);
        }
    }
    newest
}

fn name(number: u64) -> String {
    format!("{FOLDER}/{number:08}.parquet")
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".parquet")?.parse().ok()
}

fn damaged(object: &str, detail: &str) -> LedgerError {
    LedgerError::Damaged { object: object.to_owned(), detail: detail.to_owned() }
}

fn arrow(source: arrow::error::ArrowError) -> LedgerError {
    LedgerError::Columns { table: Bills::TABLE, source: source.into() }
}

fn encode(about: &BillAbout, lines: &RecordBatch) -> Result<Vec<u8>, LedgerError> {
    let failed = |error: parquet::errors::ParquetError| damaged(FOLDER, &error.to_string());
    let text = serde_json::to_string(about).map_err(|error| damaged(FOLDER, &error.to_string()))?;
    let schema = Bills::schema().as_ref().clone().with_metadata([(ABOUT.to_owned(), text)].into());
    let lines = lines.clone().with_schema(Arc::new(schema)).map_err(arrow)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), lines.schema(), None).map_err(failed)?;
    writer.write(&lines).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn decode(number: u64, name: &str, bytes: Bytes) -> Result<BillImport, LedgerError> {
    let failed = |error: parquet::errors::ParquetError| damaged(name, &error.to_string());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(failed)?;
    let about = reader.schema().metadata().get(ABOUT).ok_or_else(|| damaged(name, "it does not say what it is"))?;
    let about: BillAbout = serde_json::from_str(about).map_err(|error| damaged(name, &error.to_string()))?;
    let mut batches = Vec::new();
    for batch in reader.build().map_err(failed)? {
        // The schema of the file carries what it is; rows do not.
        batches.push(batch.and_then(|batch| batch.with_schema(Bills::schema())).map_err(arrow)?);
    }
    let lines = concat_batches(&Bills::schema(), &batches).map_err(arrow)?;
    Ok(BillImport { number, about, lines })
}
