//! One Delta table: open or create, read, write files, commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::TableProviderBuilder;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, StructType, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tracing::warn;

use super::parquet_file::{self, FileError};
use crate::clock::{Clock, SystemClock};
use crate::store::{Store, StoreError};

/// Name of the partition column.
const DAY: &str = "day";
/// Commits between two checkpoints.
pub(super) const CHECKPOINT_EVERY: u64 = 50;

/// Transaction marks: application id to version. They land atomically with the files of their commit.
pub type Marks = BTreeMap<String, i64>;

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The Delta library refused; the table is unchanged.
    #[error("table {table}")]
    Delta {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A scan failed.
    #[error("table {table} can't be read")]
    Scan {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A data file can't be encoded.
    #[error("table {table}")]
    File {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A data file can't be stored.
    #[error("data file {path}")]
    Put {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The location is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A background task died.
    #[error("interrupted")]
    Interrupted,
}

/// A data file that is stored but not yet part of the table.
#[derive(Clone, Debug)]
pub struct NewFile(Add);

/// What one commit does.
#[derive(Debug, Default)]
pub struct Change {
    /// Files to add.
    pub add: Vec<NewFile>,
    /// Paths of files to remove.
    pub remove: Vec<String>,
}

/// A Delta table partitioned by `day`, at one version.
#[derive(Clone, Debug)]
pub struct Table {
    name: &'static str,
    inner: DeltaTable,
    store: Store,
}

impl Table {
    /// Opens the table, or creates it with these columns plus the partition column.
    ///
    /// # Errors
    /// The store fails or the log is damaged.
    pub async fn open_or_create(store: &Store, name: &'static str, columns: &SchemaRef) -> Result<Self, DeltaError> {
        if let Some(table) = Self::open(store, name).await? {
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
            .with_configuration([
                ("delta.dataSkippingStatsColumns", Some("ts")),
                ("delta.logRetentionDuration", Some("interval 2 days")),
                ("delta.deletedFileRetentionDuration", Some("interval 1 days")),
            ])
            .with_save_mode(SaveMode::ErrorIfExists)
            .await;
        match created {
            Ok(inner) => Ok(Self { name, inner, store: store.clone() }),
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
        let loaded = inner.load().await;
        loaded.map_err(|source| DeltaError::Delta { table: name, source: Box::new(source) })?;
        Ok(Some(Self { name, inner, store: store.clone() }))
    }

    /// Moves to the newest version.
    ///
    /// # Errors
    /// The store fails or the log is damaged.
    pub async fn refresh(&mut self) -> Result<(), DeltaError> {
        self.inner.update_state().await.map_err(|source| self.failed(source))
    }

    /// Moves to an older version.
    ///
    /// # Errors
    /// The version is gone or the store fails.
    pub async fn load_version(&mut self, version: u64) -> Result<(), DeltaError> {
        self.inner.load_version(version).await.map_err(|source| self.failed(source))
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

    /// Paths of the active files.
    ///
    /// # Errors
    /// The table is not loaded.
    pub fn files(&self) -> Result<Vec<String>, DeltaError> {
        let state = self.inner.snapshot().map_err(|source| self.failed(source))?;
        Ok(state.log_data().iter().map(|file| file.path().into_owned()).collect())
    }

    /// Stores rows (columns without `day`) as the file `day=<day>/<name>.parquet`.
    ///
    /// # Errors
    /// The rows can't be encoded or the store fails.
    pub async fn write_file(&self, day: &str, name: &str, batch: RecordBatch) -> Result<NewFile, DeltaError> {
        let table = self.name;
        let stats = parquet_file::statistics(&batch);
        let bytes = tokio::task::spawn_blocking(move || parquet_file::encode(&batch))
            .await
            .map_err(|_| DeltaError::Interrupted)?
            .map_err(|source| DeltaError::File { table, source })?;
        let path = format!("{DAY}={day}/{name}.parquet");
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let target = self.store.path(&format!("{table}/{path}"));
        let put = self.store.objects().put(&target, PutPayload::from(bytes)).await;
        put.map_err(|source| DeltaError::Put { path: target.to_string(), source })?;
        Ok(NewFile(Add {
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
        }))
    }

    /// Commits a change together with its marks. Marks are compared after an error: if they stand in the table, the
    /// commit landed and this is `Ok`.
    ///
    /// # Errors
    /// The change did not land; the table in hand is the newest version.
    pub async fn commit(&mut self, change: Change, marks: &Marks) -> Result<u64, DeltaError> {
        match self.try_commit(change, marks).await {
            Ok(()) => {}
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.refresh().await?;
                if marks.is_empty() || !self.has(marks).await? {
                    return Err(error);
                }
                warn!(table = self.name, error = %error, "commit reported an error but landed");
            }
        }
        if self.version().is_multiple_of(CHECKPOINT_EVERY) {
            self.upkeep().await;
        }
        Ok(self.version())
    }

    async fn has(&self, marks: &Marks) -> Result<bool, DeltaError> {
        for (app, version) in marks {
            if self.mark(app).await? != Some(*version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn try_commit(&mut self, change: Change, marks: &Marks) -> Result<(), DeltaError> {
        let name = self.name;
        let failed = |source| DeltaError::Delta { table: name, source: Box::new(source) };
        let replaces = !change.remove.is_empty();
        let mut actions: Vec<Action> = change.add.into_iter().map(|file| Action::Add(file.0)).collect();
        let finalized = {
            let state = self.inner.snapshot().map_err(failed)?;
            if replaces {
                let gone: std::collections::HashSet<_> = change.remove.iter().map(String::as_str).collect();
                let views = state.log_data();
                let removes = views.iter().filter(|file| gone.contains(file.path().as_ref()));
                actions.extend(removes.map(|file| Action::Remove(file.remove_action(true))));
            }
            let transactions = marks.iter().map(|(app, version)| Transaction::new(app, *version)).collect();
            let properties = CommitProperties::default()
                .with_application_transactions(transactions)
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false));
            let mode = if replaces { SaveMode::Overwrite } else { SaveMode::Append };
            let operation = DeltaOperation::Write { mode, partition_by: Some(vec![DAY.to_owned()]), predicate: None };
            CommitBuilder::from(properties)
                .with_actions(actions)
                .build(Some(state), self.inner.log_store(), operation)
                .await
                .map_err(failed)?
        };
        self.inner.state = Some(finalized.snapshot);
        Ok(())
    }

    /// Checkpoint, cleanup of the log, removal of files that no version of the last day needs. What fails here only
    /// makes the next opening slower or the folder larger.
    async fn upkeep(&self) {
        if let Err(error) = deltalake::checkpoints::create_checkpoint(&self.inner, None).await {
            warn!(table = self.name, error = %error, "checkpoint failed");
            return;
        }
        if let Err(error) = deltalake::checkpoints::cleanup_metadata(&self.inner, None).await {
            warn!(table = self.name, error = %error, "cleanup of the log failed");
        }
        if let Err(error) = self.inner.clone().vacuum().await {
            warn!(table = self.name, error = %error, "removal of replaced files failed");
        }
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
        let context = SessionContext::new();
        let provider = self.provider(&context).await?;
        let rows = async {
            let mut frame = context.read_table(provider)?.filter(filter)?;
            if !columns.is_empty() {
                frame = frame.select_columns(columns)?;
            }
            frame.collect().await
        };
        rows.await.map_err(|source| DeltaError::Scan { table: self.name, source: Box::new(source) })
    }

    /// The rows of these active files, `columns` only.
    ///
    /// # Errors
    /// The scan fails.
    pub async fn scan_files(&self, files: Vec<String>, columns: &[&str]) -> Result<Vec<RecordBatch>, DeltaError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let context = SessionContext::new();
        let builder = self.builder(&context)?.with_file_paths(files);
        let rows = async {
            let provider: Arc<dyn TableProvider> = builder.await?;
            context.read_table(provider)?.select_columns(columns)?.collect().await
        };
        rows.await.map_err(|source| DeltaError::Scan { table: self.name, source: Box::new(source) })
    }

    fn failed(&self, source: DeltaTableError) -> DeltaError {
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
    let first = first.transpose().map_err(|source| DeltaError::Put { path: log.to_string(), source })?;
    Ok(first.is_some())
}
