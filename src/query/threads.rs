//! Threads of their own for queries: what planning or a join takes is not taken from ingest and its answers.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use super::QueryError;

/// Parts of a query that compute at once.
pub const PARTS: u8 = 2;
/// Threads for queries: twice as many as a query has parts, so that one that computes without a pause leaves some to others;
/// the system shares the cores out among them.
const THREADS: u8 = 2 * PARTS;
/// Unoptimised planning recurses deeply.
const STACK_BYTES: usize = 16 << 20;

/// A runtime that only queries use; ends without waiting for them.
#[derive(Clone, Debug)]
pub struct QueryThreads(Arc<Owned>);

#[derive(Debug)]
struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl QueryThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start() -> Result<Self, QueryError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(usize::from(THREADS))
            .thread_stack_size(STACK_BYTES)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|error| QueryError::Internal(Box::new(error)))?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    /// Where to start tasks; `None` while it ends.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.0.0.as_ref().map(Runtime::handle)
    }
}
