//! What keeps a table quick to open and its folder small: checkpoints, cleanup of the log, removal of replaced files.
//! Versions that somebody pinned stay readable.

use std::time::Duration;

use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::checkpoints::cleanup_expired_logs_for;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use tracing::warn;

use super::error::DeltaError;
use super::table::Table;
use crate::clock::{Clock, SystemClock};
use crate::store::Store;

/// How long what is replaced is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogUpkeep {
    /// Log entries behind a checkpoint: how far back a version can be opened by its number.
    pub keep_log: Duration,
    /// Replaced data files: longer than the longest query.
    pub keep_files: Duration,
}

impl Default for LogUpkeep {
    fn default() -> Self {
        Self { keep_log: Duration::from_secs(6 * 3600), keep_files: Duration::from_secs(24 * 3600) }
    }
}

/// What an upkeep removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removed {
    /// Log entries.
    pub log_entries: usize,
    /// Data files.
    pub files: usize,
}

impl Table {
    /// Writes a checkpoint of the version in hand.
    ///
    /// # Errors
    /// The store fails.
    pub async fn checkpoint(&self) -> Result<(), DeltaError> {
        deltalake::checkpoints::create_checkpoint(&self.inner, None).await.map_err(|source| self.failed(source))
    }

    /// Removes log entries and replaced data files that are old enough and that no version of `pinned` needs. A pinned
    /// version can be opened by its number as long as it is pinned.
    ///
    /// # Errors
    /// The store fails.
    pub async fn remove_old(&mut self, keep: LogUpkeep, pinned: &[u64]) -> Result<Removed, DeltaError> {
        let age = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        // The state in hand may have been read through entries and checkpoints that leave now.
        self.load_anew().await?;
        let cutoff = SystemClock.now().0 / 1000 - age(keep.keep_log);
        let oldest = pinned.iter().copied().min().unwrap_or(u64::MAX).min(self.version());
        let log = self.inner.log_store();
        let log_entries =
            cleanup_expired_logs_for(oldest, log.as_ref(), cutoff, None).await.map_err(|source| self.failed(source))?;
        let retention = chrono::Duration::milliseconds(age(keep.keep_files));
        let mut vacuum =
            self.inner.clone().vacuum().with_retention_period(retention).with_enforce_retention_duration(false);
        // Also what a process that died left behind without committing it.
        vacuum = vacuum.with_mode(VacuumMode::Full);
        if !pinned.is_empty() {
            vacuum = vacuum.with_keep_versions(pinned);
        }
        let (table, vacuumed) = vacuum.await.map_err(|source| self.failed(source))?;
        self.inner = table;
        Ok(Removed { log_entries, files: vacuumed.files_deleted.len() })
    }

    /// Number of objects in the table's log.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn log_objects(&self) -> Result<usize, DeltaError> {
        let log = self.store.path(&format!("{}/_delta_log", self.name()));
        let listed = self.store.objects().list(Some(&log)).try_fold(0, |n, _| async move { Ok(n + 1) }).await;
        listed.map_err(|source| DeltaError::List { path: log.to_string(), source })
    }
}

/// The pointer to the last checkpoint only saves a listing. One that can't be read, or that names what is not there or
/// empty, is moved away; true if it was.
pub(super) async fn set_aside_pointer(store: &Store, table: &str) -> Result<bool, DeltaError> {
    let log = format!("{table}/_delta_log");
    let path = store.path(&format!("{log}/_last_checkpoint"));
    let failed = |source| DeltaError::List { path: path.to_string(), source };
    let bytes = match store.objects().get(&path).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(_) => return Ok(false),
    };
    let pointer = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let version = pointer.and_then(|pointer| pointer.get("version")?.as_u64());
    if let Some(version) = version {
        let checkpoint = store.path(&format!("{log}/{version:020}.checkpoint.parquet"));
        match store.objects().head(&checkpoint).await {
            Ok(found) if found.size > 0 => return Ok(false),
            // A listing of the log would find it without the pointer too.
            Ok(_) => {
                let aside = store.path(&format!("{table}/_damaged_{version:020}.checkpoint.parquet"));
                store.objects().rename(&checkpoint, &aside).await.map_err(failed)?;
            }
            Err(_) => {}
        }
    }
    warn!(table, "the pointer to the last checkpoint is damaged and moved aside, the whole log is read");
    let aside = store.path(&format!("{table}/_damaged_last_checkpoint"));
    store.objects().rename(&path, &aside).await.map_err(failed)?;
    Ok(true)
}
