//! Upkeep of the archive and the ledger: retention, merged files, checkpoints, removal of what is replaced. It is part of
//! the settle role, so no other commit runs beside it; every step can die anywhere and be repeated.

use std::time::Duration;

use arrow::array::RecordBatch;

use super::archive::{Archive, FLOOR_MARK};
use super::arrange::{Merge, plan_archive, plan_calls};
use super::calls::Calls;
use super::pins::Pins;
use super::tables::{LedgerError, sorted, unique_name};
use crate::delta::{Change, LogUpkeep, Marks, NewFile, Table};
use crate::model::{HOUR_US, Timestamp};
use crate::telemetry::{crash_point, metrics};

const DAY_US: i64 = 24 * HOUR_US;

/// What is kept for how long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Observations; `None` for ever.
    pub archive: Option<Duration>,
    /// Calls; `None` for ever.
    pub ledger: Option<Duration>,
    /// Log entries and replaced files.
    pub log: LogUpkeep,
}

/// What an upkeep did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct UpkeepReport {
    /// Files that were merged.
    pub merged_files: usize,
    /// Files that they were merged into.
    pub into_files: usize,
    /// Files whose rows are older than the retention.
    pub expired_files: usize,
    /// Log entries that were removed.
    pub removed_log_entries: usize,
    /// Replaced files that were removed.
    pub removed_files: usize,
    /// Merges that are still to do.
    pub left: usize,
}

impl UpkeepReport {
    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        self.merged_files += other.merged_files;
        self.into_files += other.into_files;
        self.expired_files += other.expired_files;
        self.removed_log_entries += other.removed_log_entries;
        self.removed_files += other.removed_files;
        self.left = other.left;
    }
}

/// The archive: at most `merges` merges, a checkpoint, and removal of what is old.
///
/// # Errors
/// The store fails; what was done stays done.
pub async fn upkeep_archive(
    archive: &mut Archive,
    retention: &Retention,
    pins: &Pins,
    now: Timestamp,
    merges: usize,
) -> Result<UpkeepReport, LedgerError> {
    let mut report = UpkeepReport::default();
    let table = archive.table_mut();
    if let Some(keep) = retention.archive {
        report.expired_files = expire(table, keep, now).await?;
    }
    let plan = plan_archive(table.files()?, now);
    report.left = plan.len().saturating_sub(merges);
    for merge in plan.into_iter().take(merges) {
        let batch = rows_of(table, &merge, &["ts", "observation_id"]).await?;
        let day = merge.files.first().map(|file| file.day().to_owned()).unwrap_or_default();
        let file = table.write_file(&day, &format!("merged-{}", unique_name()), batch).await?;
        rearrange(table, merge, file, &mut report).await?;
    }
    finish(table, retention, pins, &mut report).await?;
    Ok(report)
}

/// The ledger, likewise.
///
/// # Errors
/// The store fails; what was done stays done.
pub async fn upkeep_calls(
    calls: &mut Calls,
    retention: &Retention,
    pins: &Pins,
    now: Timestamp,
    merges: usize,
) -> Result<UpkeepReport, LedgerError> {
    let mut report = UpkeepReport::default();
    if let Some(keep) = retention.ledger {
        report.expired_files = expire(calls.table_mut(), keep, now).await?;
    }
    let plan = plan_calls(calls.table().files()?, now);
    report.left = plan.len().saturating_sub(merges);
    for merge in plan.into_iter().take(merges) {
        let Some(range) = merge.range else { continue };
        let batch = rows_of(calls.table(), &merge, &Calls::ORDER).await?;
        let file = calls.write_batch(range, batch).await?;
        rearrange(calls.table_mut(), merge, file, &mut report).await?;
    }
    finish(calls.table_mut(), retention, pins, &mut report).await?;
    Ok(report)
}

/// Checkpoint and removal for a table that only grows slowly.
///
/// # Errors
/// The store fails.
pub async fn upkeep_log(table: &mut Table, retention: &Retention, pins: &Pins) -> Result<UpkeepReport, LedgerError> {
    let mut report = UpkeepReport::default();
    finish(table, retention, pins, &mut report).await?;
    Ok(report)
}

/// The rows of the files, sorted.
async fn rows_of(table: &Table, merge: &Merge, order: &[&str]) -> Result<RecordBatch, LedgerError> {
    let paths = merge.files.iter().map(|file| file.path.clone()).collect();
    let batches = table.scan_files(paths, None).await?;
    sorted(table, batches, order)
}

async fn rearrange(
    table: &mut Table,
    merge: Merge,
    file: NewFile,
    report: &mut UpkeepReport,
) -> Result<(), LedgerError> {
    report.merged_files += merge.files.len();
    metrics::merged_files(table.name(), merge.files.len());
    report.into_files += 1;
    let remove = merge.files.into_iter().map(|file| file.path).collect();
    crash_point("upkeep.before_commit");
    table.commit(Change { add: vec![file], remove, rearranges: true }, &Marks::new()).await?;
    crash_point("upkeep.after_commit");
    Ok(())
}

/// Whole days leave together; the floor says from where on the table is complete.
async fn expire(table: &mut Table, keep: Duration, now: Timestamp) -> Result<usize, LedgerError> {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    // A clock that runs ahead must not cost anything: age counts from the day after the newest rows at most.
    let newest = table.files()?.iter().filter_map(|file| Timestamp::parse(&format!("{}T00:00:00Z", file.day()))).max();
    let now = newest.map_or(now, |newest| now.min(newest.plus(2 * DAY_US)));
    let floor = Timestamp(now.0.saturating_sub(keep)).floor(DAY_US);
    let first = floor.day().to_string();
    let remove: Vec<String> =
        table.files()?.into_iter().filter(|file| file.day() < first.as_str()).map(|file| file.path).collect();
    let count = remove.len();
    if count > 0 {
        let marks = Marks::from([(FLOOR_MARK.to_owned(), floor.0)]);
        table.commit(Change { remove, ..Change::default() }, &marks).await?;
    }
    Ok(count)
}

async fn finish(
    table: &mut Table,
    retention: &Retention,
    pins: &Pins,
    report: &mut UpkeepReport,
) -> Result<(), LedgerError> {
    table.checkpoint().await?;
    crash_point("upkeep.after_checkpoint");
    let removed = table.remove_old(retention.log, &pins.of(table.name())).await?;
    report.removed_log_entries += removed.log_entries;
    report.removed_files += removed.files;
    metrics::log_objects(table.name(), table.log_objects().await?);
    Ok(())
}
