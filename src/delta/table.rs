//! One Delta table: open or create, read, write files, commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::TableProviderBuilder;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, StructType, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tracing::{info, warn};

use super::error::DeltaError;
use super::file::{DataFile, NewFile};
use super::parquet_file;
use super::upkeep::set_aside_pointer;
use crate::clock::{Clock, SystemClock};
use crate::cores::heavy;
use crate::store::Store;
use crate::telemetry::metrics;

/// Name of the partition column.
pub(super) const DAY: &str = "day";
/// Mark that every commit sets to a number of its own: it tells whether a commit landed, and since two commits that set
/// one mark conflict, two processes can't commit on top of the same version.
const COMMIT_MARK: &str = "commit";
/// Days that the library keeps of log and replaced files, if another program does the upkeep. Ours is in `upkeep`.
const CONFIGURATION: [(&str, Option<&str>); 3] = [
    ("delta.dataSkippingStatsColumns", Some("ts")),
    ("delta.logRetentionDuration", Some("interval 2 days")),
    ("delta.deletedFileRetentionDuration", Some("interval 1 days")),
];

/// Transaction marks: application id to version. They land atomically with the files of their commit.
pub type Marks = BTreeMap<String, i64>;

/// What one commit does.
#[derive(Debug, Default)]
pub struct Change {
    /// Files to add.
    pub add: Vec<NewFile>,
    /// Paths of files to remove.
    pub remove: Vec<String>,
    /// The rows stay the same, they only lie in other files.
    pub rearranges: bool,
}

/// A Delta table partitioned by `day`, at one version.
#[derive(Clone, Debug)]
pub struct Table {
    name: &'static str,
    pub(super) inner: DeltaTable,
    pub(super) store: Store,
    /// The version that is known to outlast a power cut.
    durable: Option<u64>,
}

impl Table {
    /// Opens the table, or creates it with these columns plus the partition column. A table of an older version may lack
    /// some of them: they read as NULL, and [`Table::add_columns`] adds them.
    ///
    /// # Errors
    /// The store fails, the log is damaged, or the table is newer than this program.
    pub async fn open_or_create(store: &Store, name: &'static str, columns: &SchemaRef) -> Result<Self, DeltaError> {
        if let Some(table) = Self::open(store, name).await? {
            table.known_only(columns)?;
            return Ok(table);
        }
        let failed = |source| DeltaError::Delta { table: name, source: Box::new(source) };
        let mut fields: Vec<_> = columns.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new(DAY, DataType::Date32, true));
        let schema: StructType = (&Schema::new(fields))
            .try_into_kernel()
            .map_err(|error| failed(DeltaTableError::Arrow { source: error }))?;
        let created = handle(store, name)?
            .create()
            .with_columns(schema.fields().cloned())
            .with_partition_columns([DAY])
            .with_configuration(CONFIGURATION)
            .with_save_mode(SaveMode::ErrorIfExists)
            .await;
        match created {
            Ok(inner) => Ok(Self { name, inner, store: store.clone(), durable: None }),
            // Another process was faster.
            Err(error) => Self::open(store, name).await?.ok_or_else(|| failed(error)),
        }
    }

    /// Opens the table if it exists.
    ///
    /// # Errors
    /// The store fails or the log is damaged.
    pub async fn open(store: &Store, name: &'static str) -> Result<Option<Self>, DeltaError> {
        if !exists(store, name).await? {
            return Ok(None);
        }
        let mut inner = handle(store, name)?;
        if let Err(error) = inner.load().await {
            // A damaged pointer to the last checkpoint must not keep anyone from a log that is whole.
            if !set_aside_pointer(store, name).await? {
                return Err(DeltaError::Delta { table: name, source: Box::new(error) });
            }
            inner = handle(store, name)?;
            let loaded = inner.load().await;
            loaded.map_err(|source| DeltaError::Delta { table: name, source: Box::new(source) })?;
        }
        Ok(Some(Self { name, inner, store: store.clone(), durable: None }))
    }

    fn known_only(&self, columns: &SchemaRef) -> Result<(), DeltaError> {
        let known = |name: &str| name == DAY || columns.field_with_name(name).is_ok();
        match self.schema()?.fields().iter().find(|field| !known(field.name())) {
            Some(field) => Err(DeltaError::Newer { table: self.name, column: field.name().clone() }),
            None => Ok(()),
        }
    }

    /// The columns of the table, without the partition column.
    ///
    /// # Errors
    /// The table is not loaded.
    pub fn schema(&self) -> Result<SchemaRef, DeltaError> {
        let state = self.inner.snapshot().map_err(|source| self.failed(source))?;
        let schema = state.snapshot().arrow_schema();
        let fields = schema.fields().iter().filter(|field| field.name() != DAY).cloned();
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// Adds the columns that an older table lacks; its files are not touched and read as NULL there.
    ///
    /// # Errors
    /// The store fails.
    pub async fn add_columns(&mut self, columns: &SchemaRef) -> Result<(), DeltaError> {
        let present = self.schema()?;
        let lacking = columns.fields().iter().filter(|field| present.field_with_name(field.name()).is_err());
        let lacking: Vec<_> = lacking.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let fields: StructType = (&Schema::new(lacking))
            .try_into_kernel()
            .map_err(|error| self.failed(DeltaTableError::Arrow { source: error }))?;
        let added = self.inner.clone().add_columns().with_fields(fields.fields().cloned().collect::<Vec<_>>()).await;
        match added {
            Ok(inner) => self.inner = inner,
            // Another process may have been faster.
            Err(_) => self.refresh().await?,
        }
        info!(table = self.name, "columns of this version were added");
        Ok(())
    }

    /// Moves to the newest version.
    ///
    /// # Errors
    /// The store fails or the log is damaged.
    pub async fn refresh(&mut self) -> Result<(), DeltaError> {
        let Err(error) = self.inner.update_state().await else { return Ok(()) };
        warn!(table = self.name, error = %error, "the log can't be followed and is read anew");
        self.load_anew().await
    }

    /// Reads the newest version without what was read before: entries that it was read through may be gone, and a damaged
    /// pointer to the last checkpoint must not make a restart necessary.
    pub(super) async fn load_anew(&mut self) -> Result<(), DeltaError> {
        let missing = || DeltaError::Delta {
            table: self.name,
            source: Box::new(DeltaTableError::Generic("the table is gone".to_owned())),
        };
        self.inner = Self::open(&self.store, self.name).await?.ok_or_else(missing)?.inner;
        Ok(())
    }

    /// Moves to an older version.
    ///
    /// # Errors
    /// The version is gone or the store fails.
    pub async fn load_version(&mut self, version: u64) -> Result<(), DeltaError> {
        self.inner.load_version(version).await.map_err(|source| self.failed(source))
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The version in hand.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner.version().unwrap_or_default()
    }

    /// The version of a transaction mark.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn mark(&self, app: &str) -> Result<Option<i64>, DeltaError> {
        let failed = |source| self.failed(source);
        let state = self.inner.snapshot().map_err(failed)?;
        state.transaction_version(self.inner.log_store().as_ref(), app).await.map_err(failed)
    }

    /// The active files.
    ///
    /// # Errors
    /// The table is not loaded.
    pub fn files(&self) -> Result<Vec<DataFile>, DeltaError> {
        let state = self.inner.snapshot().map_err(|source| self.failed(source))?;
        let files = state.log_data();
        Ok(files
            .iter()
            .map(|file| DataFile {
                path: file.path().into_owned(),
                bytes: u64::try_from(file.size()).unwrap_or(0),
                rows: file.num_records().unwrap_or(0),
            })
            .collect())
    }

    /// Whether a newer version than the one in hand exists.
    ///
    /// # Errors
    /// The store fails.
    pub async fn is_behind(&self) -> Result<bool, DeltaError> {
        let next = self.store.path(&format!("{}/_delta_log/{:020}.json", self.name, self.version() + 1));
        match self.store.objects().head(&next).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(DeltaError::List { path: next.to_string(), source }),
        }
    }

    /// Stores rows (columns without `day`) as the file `day=<day>/<name>.parquet`.
    ///
    /// # Errors
    /// The rows can't be encoded or the store fails.
    pub async fn write_file(&self, day: &str, name: &str, batch: RecordBatch) -> Result<NewFile, DeltaError> {
        let table = self.name;
        let (rows, stats) = (batch.num_rows(), parquet_file::statistics(&batch));
        let bytes = heavy(move || parquet_file::encode(&batch))
            .await
            .map_err(|_| DeltaError::Interrupted)?
            .map_err(|source| DeltaError::File { table, source })?;
        let path = format!("{DAY}={day}/{name}.parquet");
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let target = self.store.path(&format!("{table}/{path}"));
        let put = self.store.objects().put(&target, PutPayload::from(bytes)).await;
        put.map_err(|source| DeltaError::Put { path: target.to_string(), source })?;
        metrics::rows_written(table, rows);
        let add = Add {
            path,
            partition_values: HashMap::from([(DAY.to_owned(), Some(day.to_owned()))]),
            size,
            modification_time: SystemClock.now().0 / 1000,
            data_change: true,
            stats: Some(stats),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        };
        Ok(NewFile { add, rows })
    }

    /// Commits a change together with its marks, on top of the version in hand. After an error the table is read again
    /// and asked whether the commit stands in it: then this is `Ok`, whatever the library said.
    ///
    /// # Errors
    /// The change did not land; the table in hand is the newest version.
    pub async fn commit(&mut self, change: Change, marks: &Marks) -> Result<u64, DeltaError> {
        let number = unique_number();
        let started = std::time::Instant::now();
        let before = self.version();
        let outcome = match self.try_commit(change, marks, number).await {
            Ok(()) => Ok(self.version()),
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.refresh().await?;
                if self.mark(COMMIT_MARK).await? == Some(number) {
                    warn!(table = self.name, error = %error, "commit reported an error but landed");
                    Ok(self.version())
                } else if self.version() > before {
                    Err(DeltaError::Overtaken { table: self.name })
                } else {
                    Err(error)
                }
            }
        };
        metrics::table_commit(self.name, started.elapsed(), outcome.is_ok());
        outcome
    }

    async fn try_commit(&mut self, change: Change, marks: &Marks, number: i64) -> Result<(), DeltaError> {
        let name = self.name;
        let failed = |source| DeltaError::Delta { table: name, source: Box::new(source) };
        let Change { add, remove, rearranges } = change;
        let mut actions: Vec<Action> = Vec::with_capacity(add.len() + remove.len());
        for NewFile { mut add, .. } in add {
            add.data_change = !rearranges;
            actions.push(Action::Add(add));
        }
        let finalized = {
            let state = self.inner.snapshot().map_err(failed)?;
            if !remove.is_empty() {
                let gone: std::collections::HashSet<_> = remove.iter().map(String::as_str).collect();
                let views = state.log_data();
                let removes = views.iter().filter(|file| gone.contains(file.path().as_ref()));
                actions.extend(removes.map(|file| Action::Remove(file.remove_action(!rearranges))));
            }
            let own = [Transaction::new(COMMIT_MARK, number)];
            let transactions = marks.iter().map(|(app, version)| Transaction::new(app, *version)).chain(own).collect();
            let properties = CommitProperties::default()
                .with_application_transactions(transactions)
                // On top of this version or not at all: what was computed may not hold for another.
                .with_max_retries(0)
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false));
            let operation = if rearranges {
                DeltaOperation::Optimize { predicate: None, target_size: 0 }
            } else {
                let mode = if remove.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
                DeltaOperation::Write { mode, partition_by: Some(vec![DAY.to_owned()]), predicate: None }
            };
            CommitBuilder::from(properties)
                .with_actions(actions)
                .build(Some(state), self.inner.log_store(), operation)
                .await
                .map_err(failed)?
        };
        self.inner.state = Some(finalized.snapshot);
        self.durable = Some(self.version());
        Ok(())
    }

    /// Makes the version in hand outlast a power cut: a process may have died after it put an entry into the log and
    /// before it synced the folder, and nothing may be built on such an entry.
    ///
    /// # Errors
    /// The store fails.
    pub async fn make_durable(&mut self) -> Result<(), DeltaError> {
        let version = self.version();
        if self.durable != Some(version) {
            self.store.make_durable(&format!("{}/_delta_log/{version:020}.json", self.name)).await?;
            self.durable = Some(version);
        }
        Ok(())
    }

    /// A provider of this version for queries; `context` gets the table's object store registered.
    ///
    /// # Errors
    /// The snapshot can't be scanned.
    pub async fn provider(&self, context: &SessionContext) -> Result<Arc<dyn TableProvider>, DeltaError> {
        let builder = self.builder(context)?;
        builder.await.map_err(|source| DeltaError::Scan { table: self.name, source: Box::new(source) })
    }

    fn builder(&self, context: &SessionContext) -> Result<TableProviderBuilder, DeltaError> {
        let session = context.state();
        self.inner.update_datafusion_session(&session).map_err(|source| self.failed(source))?;
        Ok(self.inner.table_provider().with_session(Arc::new(session)))
    }

    /// The rows that satisfy `filter`, `columns` only (all if empty).
    ///
    /// # Errors
    /// The scan fails.
    pub async fn scan(&self, filter: Expr, columns: &[&str]) -> Result<Vec<RecordBatch>, DeltaError> {
        self.stream(filter, columns).await?.try_collect().await
    }

    /// The same batch by batch, in no order.
    ///
    /// # Errors
    /// The scan fails, now or later.
    pub async fn stream(
        &self,
        filter: Expr,
        columns: &[&str],
    ) -> Result<impl Stream<Item = Result<RecordBatch, DeltaError>> + Send + use<>, DeltaError> {
        let table = self.name;
        let failed = move |source| DeltaError::Scan { table, source: Box::new(source) };
        let context = SessionContext::new();
        let provider = self.provider(&context).await?;
        let rows = async {
            let mut frame = context.read_table(provider)?.filter(filter)?;
            if !columns.is_empty() {
                frame = frame.select_columns(columns)?;
            }
            frame.execute_stream().await
        };
        Ok(rows.await.map_err(failed)?.map_err(failed))
    }

    /// The rows of these active files that satisfy `filter`, with the columns as they are stored.
    ///
    /// # Errors
    /// The scan fails.
    pub async fn scan_files(&self, files: Vec<String>, filter: Option<Expr>) -> Result<Vec<RecordBatch>, DeltaError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let context = SessionContext::new();
        let builder = self.builder(&context)?.with_file_paths(files);
        let schema = self.schema()?;
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = async {
            let provider: Arc<dyn TableProvider> = builder.await?;
            let mut frame = context.read_table(provider)?;
            if let Some(filter) = filter {
                frame = frame.filter(filter)?;
            }
            frame.select_columns(&columns)?.collect().await
        };
        rows.await.map_err(|source| DeltaError::Scan { table: self.name, source: Box::new(source) })
    }

    pub(super) fn failed(&self, source: DeltaTableError) -> DeltaError {
        DeltaError::Delta { table: self.name, source: Box::new(source) }
    }
}

fn handle(store: &Store, name: &'static str) -> Result<DeltaTable, DeltaError> {
    let failed = |source| DeltaError::Delta { table: name, source: Box::new(source) };
    let url = store.make_folder(name)?;
    DeltaTableBuilder::from_url(url.clone())
        .map_err(failed)?
        .with_storage_backend(Arc::clone(store.objects()), url)
        .build()
        .map_err(failed)
}

/// A table exists as soon as its log has an entry.
async fn exists(store: &Store, name: &'static str) -> Result<bool, DeltaError> {
    let log = store.path(&format!("{name}/_delta_log"));
    let first = store.objects().list(Some(&log)).next().await;
    let first = first.transpose().map_err(|source| DeltaError::List { path: log.to_string(), source })?;
    Ok(first.is_some())
}

/// A number above 0 that no other commit or process has.
#[must_use]
pub fn unique_number() -> i64 {
    use std::hash::BuildHasher;
    let random = std::hash::RandomState::new().hash_one(SystemClock.now());
    i64::try_from(random >> 1).unwrap_or_default().max(1)
}
