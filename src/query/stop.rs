//! The end of a question's time, where nothing else looks at it. Joins make rows for hours out of few that they read: what
//! is above them yields on the way, and their conditions stop once the time is over or whoever asked has gone, so that the
//! threads are never lost to everyone else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use tokio::task::AbortHandle;

/// Until when a question may run.
#[derive(Debug)]
pub struct Stop {
    at: Instant,
    gone: AtomicBool,
}

impl Stop {
    /// Runs until `at`, or until whoever asked has gone.
    pub fn at(at: Instant) -> Arc<Self> {
        Arc::new(Self { at, gone: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || Instant::now() >= self.at
    }
}

/// A task that ends when nobody holds this any more.
#[derive(Debug)]
pub struct Running {
    task: AbortHandle,
    stop: Arc<Stop>,
}

impl Running {
    /// Of a task that looks at `stop` where it can't be aborted.
    pub const fn new(task: AbortHandle, stop: Arc<Stop>) -> Self {
        Self { task, stop }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.gone.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// The plan with joins that end with `stop`.
///
/// # Errors
/// A join can't be made again.
pub fn stopping(plan: Arc<dyn ExecutionPlan>, stop: &Arc<Stop>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let wrapped = plan.transform_up(|node| {
        if node.children().len() < 2 {
            return Ok(Transformed::no(node));
        }
        let looking = |filter: &JoinFilter| {
            let inner = Arc::clone(filter.expression());
            let expression = Arc::new(Looking { inner, stop: Arc::clone(stop) });
            JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
        };
        let node: Arc<dyn ExecutionPlan> = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(Some(looking(filter))).build()?)
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            join.builder().with_filter(Some(looking(filter))).build_exec()?
        } else {
            node
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _))
    });
    Ok(wrapped?.data)
}

/// A condition that is asked for every few thousand pairs, and fails when the time is over.
#[derive(Debug)]
struct Looking {
    inner: Arc<dyn PhysicalExpr>,
    stop: Arc<Stop>,
}

impl fmt::Display for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Looking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Looking {}

impl Hash for Looking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Looking {
    fn data_type(&self, schema: &Schema) -> Result<DataType, DataFusionError> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool, DataFusionError> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue, DataFusionError> {
        if self.stop.is_over() {
            return Err(DataFusionError::Execution("the time of the question is over".to_owned()));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, stop: Arc::clone(&self.stop) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    const FEW: &str = "SELECT count(*) FROM range(300) a(x) JOIN range(300) b(y) ON a.x + b.y < 0";

    async fn run(sql: &str, stop: &Arc<Stop>) -> Result<usize, DataFusionError> {
        let context = SessionContext::new();
        let frame = context.sql(sql).await?;
        let task = Arc::new(frame.task_ctx());
        let plan = stopping(frame.create_physical_plan().await?, stop)?;
        Ok(collect(plan, task).await?.len())
    }

    #[tokio::test]
    async fn a_join_without_equality_ends_with_its_time() {
        let plenty = Stop::at(Instant::now() + Duration::from_secs(600));
        assert_eq!(run(FEW, &plenty).await.unwrap(), 1);
        let over = Stop::at(Instant::now());
        assert!(run(FEW, &over).await.unwrap_err().to_string().contains("time of the question"));
        let hashed = "SELECT count(*) FROM range(300) a(x) JOIN range(300) b(y) ON a.x % 3 = b.y % 3 AND a.x + b.y < 0";
        assert!(run(hashed, &over).await.is_err());
    }

    #[tokio::test]
    async fn a_join_ends_when_whoever_asked_has_gone() {
        let stop = Stop::at(Instant::now() + Duration::from_secs(600));
        let mut tasks = tokio::task::JoinSet::new();
        drop(Running::new(tasks.spawn(std::future::pending::<()>()), Arc::clone(&stop)));
        assert!(run(FEW, &stop).await.is_err());
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    }
}
