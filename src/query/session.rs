//! One statement: check, plan, run as a stream.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::commitments;
use super::functions::functions;
use super::guard;
use super::ids::CompareIdsAsBytes;
use super::prices;
use super::registry::EmptyRegistry;
use super::threads::QueryThreads;
use super::views;
use super::what_if;
use crate::columns::Row;
use crate::finance::Terms;
use crate::ledger::{LedgerError, View};
use crate::model::Call;
use crate::pricing::PriceBook;
use crate::settle::Rules;
use crate::telemetry::metrics;

/// Bounds of one query.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of an answer; more are cut and the answer says so.
    pub rows: usize,
    /// Time from arrival to the last row.
    pub time: Duration,
    /// Bytes of SQL text.
    pub text_bytes: usize,
    /// Bytes of an answer in memory.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 100_000, time: Duration::from_secs(30), text_bytes: 64 << 10, answer_bytes: 256 << 20 }
    }
}

/// Memory that all queries share.
const MEMORY_BYTES: usize = 512 << 20;
/// Queries that run at once; more wait.
const CONCURRENT: usize = 8;

/// Functions that make much out of little, outside of the memory that is counted.
const INFLATING: [&str; 8] =
    ["repeat", "lpad", "rpad", "array_repeat", "list_repeat", "array_resize", "list_resize", "levenshtein"];

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement can't be read, or names what is not there.
    #[error("{0}")]
    Invalid(String),
    /// The statement would do more than read.
    #[error("only SELECT is allowed here: {0}")]
    Forbidden(String),
    /// The query took too long.
    #[error("the query took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// The query needs more memory than there is.
    #[error("the query needs more memory than it may use")]
    TooLarge,
    /// Our fault.
    #[error("the query failed inside")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Parameters of a statement.
#[derive(Clone, Debug, Default)]
pub enum Params {
    /// None.
    #[default]
    None,
    /// `$1`, `$2`, …
    Positional(Vec<ScalarValue>),
    /// `$name`
    Named(HashMap<String, ScalarValue>),
}

/// What a query's task sends.
enum Part {
    Rows(RecordBatch),
    Failed(QueryError),
    End,
}

/// A running answer. Dropping it cancels the query.
pub struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Part>,
    query: AbortHandle,
    deadline: Instant,
    limits: Limits,
    left: usize,
    left_bytes: usize,
    truncated: bool,
    started: Instant,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.query.abort();
    }
}

impl Answer {
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

    /// Time since the query arrived.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
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
            Ok(Some(Part::Failed(error))) => self.failed(error),
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

/// Answers statements over views, within limits that all of them share.
#[derive(Clone)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    threads: QueryThreads,
    slots: Arc<Semaphore>,
    limits: Limits,
    rules: Arc<Rules>,
    terms: Arc<Terms>,
}

impl Engine {
    /// An engine with these limits for each query; functions know names and prices by these rules.
    ///
    /// # Errors
    /// The runtime can't be set up.
    pub fn new(limits: Limits, rules: Arc<Rules>) -> Result<Self, QueryError> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(MEMORY_BYTES), std::num::NonZeroUsize::MIN);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            // Nothing but what a view registers can be read: no file, no URL.
            .with_object_store_registry(Arc::new(EmptyRegistry::default()))
            .with_metadata_cache_limit(128 << 20)
            .build_arc()
            .map_err(|error| QueryError::Internal(Box::new(error)))?;
        Ok(Self {
            runtime,
            threads: QueryThreads::start()?,
            slots: Arc::new(Semaphore::new(CONCURRENT)),
            limits,
            rules,
            terms: Arc::default(),
        })
    }

    /// What functions know names and prices by.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The same engine, its memory and its threads, with other bounds of one query: for reports that keep sums only.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// The same engine with other names and prices: those that a closed month was closed with.
    #[must_use]
    pub fn with_rules(&self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self.clone() }
    }

    /// The same engine, which knows what is paid by the hour.
    #[must_use]
    pub fn with_terms(self, terms: Arc<Terms>) -> Self {
        Self { terms, ..self }
    }

    /// The price book that functions and reports know.
    pub(super) fn prices(&self) -> &PriceBook {
        &self.rules.prices
    }

    /// Starts a statement over `view`.
    ///
    /// # Errors
    /// The statement is invalid, forbidden, or fails at once.
    pub async fn run(&self, view: &View, sql: &str, params: Params) -> Result<Answer, QueryError> {
        let started = Instant::now();
        let deadline = started + self.limits.time;
        guard::check_text(sql, self.limits.text_bytes)?;
        let (engine, view, sql) = (self.clone(), view.clone(), sql.to_owned());
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(2);
        let work = async move {
            // The slot is held to the end, also of a plan that nobody waits for any more.
            let (mut stream, _slot) = match engine.start(&view, &sql, params).await {
                Ok(started) => started,
                Err(error) => {
                    // Who asked may have gone.
                    let _ = planned.send(Err(error));
                    return;
                }
            };
            if planned.send(Ok(stream.schema())).is_err() {
                return;
            }
            while let Some(batch) = stream.next().await {
                let part = batch.map_or_else(|error| Part::Failed(classify(error)), Part::Rows);
                if sender.send(part).await.is_err() {
                    return;
                }
            }
            // Who asked may have gone.
            let _ = sender.send(Part::End).await;
        };
        let ending = || QueryError::Internal("the engine is ending".into());
        let query = self.threads.handle().ok_or_else(ending)?.spawn(work).abort_handle();
        let schema = match tokio::time::timeout_at(deadline, schema).await {
            Ok(Ok(Ok(schema))) => schema,
            Ok(Ok(Err(error))) => {
                metrics::query(started.elapsed(), "refused");
                return Err(error);
            }
            Ok(Err(_)) => return Err(QueryError::Internal("the query's task died".into())),
            Err(_) => {
                query.abort();
                metrics::query(started.elapsed(), "timeout");
                return Err(QueryError::Timeout(self.limits.time));
            }
        };
        let (limits, left, left_bytes) = (self.limits, self.limits.rows, self.limits.answer_bytes);
        Ok(Answer { schema, batches, query, deadline, limits, left, left_bytes, truncated: false, started })
    }

    async fn start(
        &self,
        view: &View,
        sql: &str,
        params: Params,
    ) -> Result<(SendableRecordBatchStream, OwnedSemaphorePermit), QueryError> {
        let slot =
            Arc::clone(&self.slots).acquire_owned().await.map_err(|error| QueryError::Internal(Box::new(error)))?;
        let state = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .with_optimizer_rule(Arc::new(CompareIdsAsBytes))
            .build();
        let context = SessionContext::new_with_state(state);
        for inflating in INFLATING {
            context.deregister_udf(inflating);
        }
        for function in functions(&self.rules) {
            context.register_udf(function);
        }
        let text = what_if::quoted(sql);
        let mut statement =
            context.state().sql_to_statement(&text, &datafusion::config::Dialect::PostgreSQL).map_err(classify)?;
        guard::check(&statement)?;
        let asks_elsewhere = what_if::place_arguments(&mut statement).map_err(classify)?;
        self.register(view, &context, &statement).await?;
        if asks_elsewhere && let Some(calls) = view.provider(Call::TABLE, &context).await.map_err(internal)? {
            let function = what_if::WhatIfFunction { calls, rules: Arc::clone(&self.rules) };
            context.register_udtf(what_if::NAME, Arc::new(function));
        }
        let plan = context.state().statement_to_plan(statement).await.map_err(classify)?;
        let only_read = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_read.verify_plan(&plan).map_err(|error| QueryError::Forbidden(first_line(&error.to_string())))?;
        few_tables(&plan)?;
        let plan = match params {
            Params::None => plan,
            Params::Positional(values) => plan.with_param_values(ParamValues::from(values)).map_err(classify)?,
            Params::Named(values) => plan.with_param_values(ParamValues::from(values)).map_err(classify)?,
        };
        let frame = context.execute_logical_plan(plan).await.map_err(classify)?;
        let explains = matches!(frame.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let most = Some(self.limits.rows.saturating_add(1));
        let frame = if explains { frame } else { frame.limit(0, most).map_err(classify)? };
        let task = Arc::new(frame.task_ctx());
        let plan = yielding_joins(frame.create_physical_plan().await.map_err(classify)?)?;
        Ok((execute_stream(plan, task).map_err(classify)?, slot))
    }

    /// Registers the tables and views that the statement names; all of them if it asks the information schema.
    async fn register(&self, view: &View, context: &SessionContext, statement: &Statement) -> Result<(), QueryError> {
        let references = context.state().resolve_table_references(statement).map_err(classify)?;
        let everything = !matches!(statement, Statement::Statement(inner) if matches!(inner.as_ref(), ast::Statement::Query(_)))
            || references
                .iter()
                .any(|reference| reference.schema().is_some_and(|schema| schema == "information_schema"));
        let mut names: BTreeSet<String> = references.iter().map(|reference| reference.table().to_owned()).collect();
        if everything {
            names.extend(views::names().chain(View::TABLES).map(str::to_owned));
        }
        let hourly = names.contains(commitments::TABLE);
        if hourly {
            names.insert(Call::TABLE.to_owned());
        }
        views::with_needed(&mut names);
        for name in View::TABLES.into_iter().filter(|name| names.contains(*name)) {
            let provider = view.provider(name, context).await.map_err(internal)?;
            if let Some(provider) = provider {
                context.register_table(name, provider).map_err(classify)?;
            }
        }
        if hourly || everything {
            commitments::register(context, &self.rules.prices, &self.terms, hourly).await.map_err(classify)?;
        }
        let priced = names.contains(prices::TABLE);
        if priced || everything {
            prices::register(context, &self.rules.prices, priced).map_err(classify)?;
        }
        views::register(context, &names).await.map_err(classify)
    }
}

/// A join makes rows for hours out of few that it read; what is above it must yield on the way, or no timeout is ever
/// looked at and the threads are lost to everyone else.
fn yielding_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let wrapped = plan.transform_up(|node| {
        let joins = node.children().len() > 1;
        Ok(if joins { Transformed::yes(Arc::new(CooperativeExec::new(node)) as _) } else { Transformed::no(node) })
    });
    Ok(wrapped.map_err(classify)?.data)
}

/// WITH inside of subqueries is seen only in the plan.
fn few_tables(plan: &LogicalPlan) -> Result<(), QueryError> {
    let mut tables = 0;
    plan.apply(|node| {
        tables += u64::from(node.inputs().is_empty());
        Ok(if tables > guard::MAX_TABLES { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(classify)?;
    if tables > guard::MAX_TABLES { Err(guard::too_many_tables()) } else { Ok(()) }
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema("polymeter", "public")
        .with_target_partitions(2)
        .with_batch_size(4096)
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        .set_bool("datafusion.execution.parquet.reorder_filters", true)
        // Dictionary keys and IN-list pushdown of hash joins don't go together yet.
        .set_usize("datafusion.optimizer.hash_join_inlist_pushdown_max_size", 0)
        .set_usize("datafusion.optimizer.hash_join_inlist_pushdown_max_distinct_values", 0)
        .set_str("datafusion.sql_parser.dialect", "postgresql")
        .set_usize("datafusion.sql_parser.recursion_limit", 50)
        .set_str("datafusion.execution.time_zone", "UTC")
}

fn internal(error: LedgerError) -> QueryError {
    QueryError::Internal(Box::new(error))
}

/// What of an engine's error is the user's to see.
fn classify(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge,
        DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ParquetError(_)
        | DataFusionError::Internal(_) => QueryError::Internal(Box::new(error)),
        root => QueryError::Invalid(first_line(&root.message())),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
