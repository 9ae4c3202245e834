//! A running answer: rows as they come, within the limits of who asked.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stop::Running;
use super::{Limits, QueryError};
use crate::telemetry::metrics;

/// What a query's task sends.
pub(super) enum Part {
    Rows(RecordBatch),
    Failed(QueryError),
    End,
}

/// A running answer. Dropping it cancels the query.
pub struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Part>,
    _query: Running,
    deadline: Instant,
    limits: Limits,
    left: usize,
    left_bytes: usize,
    truncated: bool,
    started: Instant,
}

impl Answer {
    pub(super) fn new(
        schema: SchemaRef,
        batches: mpsc::Receiver<Part>,
        query: Running,
        limits: Limits,
        started: Instant,
    ) -> Self {
        Self {
            schema,
            batches,
            _query: query,
            deadline: started + limits.time,
            limits,
            left: limits.rows,
            left_bytes: limits.answer_bytes,
            truncated: false,
            started,
        }
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// True once rows were cut at the limit.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// Rows of an answer at most.
    #[must_use]
    pub const fn most_rows(&self) -> usize {
        self.limits.rows
    }

    /// Time since the query arrived.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Lets rows go out as they come: what was handed on is no longer held here, so it does not count.
    #[must_use]
    pub const fn streamed(mut self) -> Self {
        self.left_bytes = usize::MAX;
        self
    }

    /// The next rows; `None` at the end or at the row limit.
    ///
    /// # Errors
    /// The query fails or its time is over.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(batch) = self.receive().await? else {
            metrics::query(self.elapsed(), "ok");
            return Ok(None);
        };
        self.left_bytes = match self.left_bytes.checked_sub(batch.get_array_memory_size()) {
            Some(left) => left,
            None => return self.failed(QueryError::TooLarge),
        };
        // One row more than the limit was asked for: that there is one tells that rows are missing.
        let rows = batch.num_rows().min(self.left);
        self.truncated = rows < batch.num_rows();
        self.left -= rows;
        while self.left == 0 && !self.truncated {
            let Some(more) = self.receive().await? else { break };
            self.truncated = more.num_rows() > 0;
        }
        Ok(Some(batch.slice(0, rows)))
    }

    async fn receive(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        match tokio::time::timeout_at(self.deadline, self.batches.recv()).await {
            Err(_) => self.failed(QueryError::Timeout(self.limits.time)),
            Ok(Some(Part::Rows(batch))) => Ok(Some(batch)),
            Ok(Some(Part::End)) => Ok(None),
            // Joins say it in their own way.
            Ok(Some(Part::Failed(_))) if Instant::now() >= self.deadline => {
                self.failed(QueryError::Timeout(self.limits.time))
            }
            Ok(Some(Part::Failed(error))) => self.failed(error),
            // Its task ends by itself when its time is over, so that who does not read holds nothing.
            Ok(None) if Instant::now() >= self.deadline => self.failed(QueryError::Timeout(self.limits.time)),
            Ok(None) => self.failed(QueryError::Internal("the query's task died".into())),
        }
    }

    /// All rows.
    ///
    /// # Errors
    /// The query fails or its time is over.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    fn failed<T>(&self, error: QueryError) -> Result<T, QueryError> {
        metrics::query(self.elapsed(), "error");
        Err(error)
    }
}
