//! The end of a question's time, where nothing else looks at it. Joins make rows for hours out of few that they read: what
//! is above them yields on the way, and their conditions stop once the time is over or whoever asked has gone, and rest
//! while others ask, so that the threads are never lost to everyone else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::session::CONCURRENT;
use super::threads::PARTS;

/// What takes no longer never rests.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Shorter ones are put off.
const SHORTEST_REST: Duration = Duration::from_millis(5);
/// After longer ones the end of the time would be missed.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Until when a question may run.
#[derive(Debug)]
pub struct Stop {
    at: Instant,
    gone: AtomicBool,
    /// Places among the questions that run.
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// How long conditions were computed, and not rested for.
#[derive(Debug)]
struct Pace {
    begun: Instant,
    looked: Instant,
    owed: Duration,
}

impl Stop {
    /// Runs until `at`, or until whoever asked has gone, beside those who have the other places.
    pub fn at(at: Instant, places: Arc<Semaphore>) -> Arc<Self> {
        let now = Instant::now();
        let pace = Mutex::new(Pace { begun: now, looked: now, owed: Duration::ZERO });
        Arc::new(Self { at, gone: AtomicBool::new(false), places, pace })
    }

    /// It computes from now on: before it waited for its place, and was planned.
    pub fn begin(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        (pace.begun, pace.looked) = (Instant::now(), Instant::now());
    }

    /// A question that takes long gives those beside it as much time as it takes.
    fn rest(&self) {
        let others = CONCURRENT.saturating_sub(self.places.available_permits() + 1);
        let now = Instant::now();
        let Some(rest) = self.owes(u32::try_from(others).unwrap_or(0), now) else { return };
        let rest = rest.min(self.at.saturating_duration_since(now));
        // The thread's other tasks go on with another one.
        tokio::task::block_in_place(|| std::thread::sleep(rest));
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).looked = Instant::now();
    }

    /// The rest that is due.
    fn owes(&self, others: u32, now: Instant) -> Option<Duration> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // Both parts of a plan compute at once and look here in turns.
        let computed = now.saturating_duration_since(std::mem::replace(&mut pace.looked, now)).min(LONGEST_REST);
        if now.saturating_duration_since(pace.begun) < AT_ONCE {
            return None;
        }
        pace.owed += computed * others * u32::from(PARTS);
        (pace.owed >= SHORTEST_REST).then(|| std::mem::take(&mut pace.owed).min(LONGEST_REST))
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
        self.stop.rest();
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
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    const FEW: &str = "SELECT count(*) FROM range(300) a(x) JOIN range(300) b(y) ON a.x + b.y < 0";

    fn stop(seconds: u64) -> Arc<Stop> {
        Stop::at(Instant::now() + Duration::from_secs(seconds), Arc::new(Semaphore::new(CONCURRENT)))
    }

    async fn run(sql: &str, stop: &Arc<Stop>) -> Result<usize, DataFusionError> {
        let context = SessionContext::new();
        let frame = context.sql(sql).await?;
        let task = Arc::new(frame.task_ctx());
        let plan = stopping(frame.create_physical_plan().await?, stop)?;
        Ok(collect(plan, task).await?.len())
    }

    #[tokio::test]
    async fn a_join_without_equality_ends_with_its_time() {
        let plenty = stop(600);
        assert_eq!(run(FEW, &plenty).await.unwrap(), 1);
        let over = stop(0);
        assert!(run(FEW, &over).await.unwrap_err().to_string().contains("time of the question"));
        let hashed = "SELECT count(*) FROM range(300) a(x) JOIN range(300) b(y) ON a.x % 3 = b.y % 3 AND a.x + b.y < 0";
        assert!(run(hashed, &over).await.is_err());
    }

    #[tokio::test]
    async fn a_join_ends_when_whoever_asked_has_gone() {
        let stop = stop(600);
        let mut tasks = tokio::task::JoinSet::new();
        drop(Running::new(tasks.spawn(std::future::pending::<()>()), Arc::clone(&stop)));
        assert!(run(FEW, &stop).await.is_err());
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    }

    #[test]
    fn it_rests_for_as_long_as_the_others_together_may_compute() {
        let stop = stop(600);
        let now = Instant::now();
        let owes = |computed_us, others| {
            let mut pace = stop.pace.lock().unwrap();
            (pace.begun, pace.looked) = (now, now + 2 * AT_ONCE - Duration::from_micros(computed_us));
            drop(pace);
            stop.owes(others, now + 2 * AT_ONCE)
        };
        assert_eq!(owes(20_000, 0), None, "nobody else asks");
        assert_eq!(owes(1000, 1), None, "put off");
        assert_eq!(owes(4000, 1), Some(Duration::from_millis(10)));
        assert_eq!(owes(60_000, 7), Some(LONGEST_REST));
        stop.begin();
        assert_eq!(stop.owes(7, Instant::now() + AT_ONCE / 2), None, "short ones never rest");
    }
}
