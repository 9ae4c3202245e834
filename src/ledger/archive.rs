//! The archive: every observation, kept for a retention period.

use arrow::array::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::scalar::ScalarValue;

use super::tables::{LedgerError, SideTable};
use crate::columns::Row;
use crate::model::{Observation, RecordId, Timestamp};

/// The table `observations`.
pub type Archive = SideTable<Observation>;

/// `from <= ts < to`.
fn between(from: Timestamp, to: Timestamp) -> Expr {
    let instant = |at: Timestamp| lit(ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into())));
    col("ts").gt_eq(instant(from)).and(col("ts").lt(instant(to)))
}

impl Archive {
    /// The observations that start in `[from, to)`.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn read(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Observation>, LedgerError> {
        decoded(&self.table().scan(between(from, to), &[]).await?)
    }

    /// The ids of the observations that start in `[from, to)`.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn ids(&self, from: Timestamp, to: Timestamp) -> Result<Vec<RecordId>, LedgerError> {
        let rows = decoded(&self.table().scan(between(from, to), &["observation_id"]).await?)?;
        Ok(rows.iter().map(|row| row.observation_id).collect())
    }

    /// When the observations in these files start.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn starts_in(&self, files: Vec<String>) -> Result<Vec<Timestamp>, LedgerError> {
        let rows = decoded(&self.table().scan_files(files, &["ts"]).await?)?;
        Ok(rows.iter().map(|row| row.ts).collect())
    }
}

/// The rows of all batches; columns that were not read keep their defaults.
fn decoded(batches: &[RecordBatch]) -> Result<Vec<Observation>, LedgerError> {
    let mut rows = Vec::new();
    for batch in batches {
        let decoded = Observation::decode(batch);
        rows.append(&mut decoded.map_err(|source| LedgerError::Columns { table: Observation::TABLE, source })?);
    }
    Ok(rows)
}
