//! The archive: every observation, kept for a retention period.

use std::pin::pin;

use datafusion::logical_expr::{Expr, col, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::tables::{LedgerError, SideTable, decoded, decoded_as, rows};
use crate::model::{Interval, Observation, RecordId, Timestamp};

/// The table `observations`.
pub type Archive = SideTable<Observation>;

/// Mark: everything before this instant may have been removed, microseconds since the epoch.
pub(super) const FLOOR_MARK: &str = "floor";

/// `from <= ts < to`.
pub(super) fn between(within: Interval) -> Expr {
    let instant = |at: Timestamp| lit(ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into())));
    col("ts").gt_eq(instant(within.from)).and(col("ts").lt(instant(within.to)))
}

impl Archive {
    /// The observations that start in `within`.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn read(&self, within: Interval) -> Result<Vec<Observation>, LedgerError> {
        decoded(self.table().scan(between(within), &[]).await?)
    }

    /// Shows those that start in `within` to `each`, in no order, with these columns only.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn visit(
        &self,
        within: Interval,
        columns: &[&str],
        mut each: impl FnMut(&Observation) + Send,
    ) -> Result<(), LedgerError> {
        let mut batches = pin!(self.table().stream(between(within), columns).await?);
        while let Some(batch) = batches.try_next().await? {
            rows(&batch)?.iter().for_each(&mut each);
        }
        Ok(())
    }

    /// The ids of the observations that start in `within`.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn ids(&self, within: Interval) -> Result<Vec<RecordId>, LedgerError> {
        let batches = self.table().scan(between(within), &["observation_id"]).await?;
        decoded_as(batches, |row: Observation| row.observation_id)
    }

    /// When the observations start, all of them.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn starts(&self) -> Result<Vec<Timestamp>, LedgerError> {
        decoded_as(self.table().scan(between(Interval::ALL), &["ts"]).await?, |row: Observation| row.ts)
    }

    /// Before this instant observations may have been removed, so slices can't be computed from them any more.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn floor(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.table().mark(FLOOR_MARK).await?.map_or(Timestamp(i64::MIN), Timestamp))
    }

    /// About how many observations a day holds at most.
    ///
    /// # Errors
    /// The table is not loaded.
    pub fn busiest_day_rows(&self) -> Result<usize, LedgerError> {
        let mut days: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        for file in self.table().files()? {
            *days.entry(file.day().to_owned()).or_default() += file.rows;
        }
        Ok(days.into_values().max().unwrap_or(0))
    }
}
