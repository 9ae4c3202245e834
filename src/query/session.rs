//! One statement: check, plan, run as a stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as Parsed;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Part};
use super::context::{Contexts, Needs};
use super::error::{classify, first_line};
use super::postgres::{self, Statement};
use super::registry::EmptyRegistry;
use super::stop::{Running, Stop, stopping};
use super::threads::QueryThreads;
use super::what_if;
use super::{Limits, QueryError, RoleLimit, RoleLimits, guard};
use crate::access::{Caller, Role};
use crate::finance::Terms;
use crate::ledger::View;
use crate::pricing::PriceBook;
use crate::settle::Rules;
use crate::telemetry::metrics;

/// Queries that run at once; more wait.
pub(super) const CONCURRENT: usize = 8;

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

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who it is.
    pub caller: Caller,
    /// Whether PostgreSQL's catalogue and functions are there.
    pub postgres: bool,
    /// Time that they give it, where that is less than they may have.
    pub patience: Option<Duration>,
    /// Whether rows go out as they come, so that there may be many.
    pub exports: bool,
    /// The part of the answer that they want.
    pub page: Page,
}

/// A part of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows before it.
    pub skip: usize,
    /// Its rows at most.
    pub most: Option<usize>,
}

impl Asker {
    /// Somebody who asks in plain SQL.
    #[must_use]
    pub const fn plain(caller: Caller) -> Self {
        Self { caller, postgres: false, patience: None, exports: false, page: Page { skip: 0, most: None } }
    }
}

/// What a statement would answer.
#[derive(Clone, Debug)]
pub struct Described {
    /// The columns.
    pub schema: SchemaRef,
    /// Types of `$1`, `$2`, … as far as they can be told.
    pub params: Vec<Option<DataType>>,
}

/// Answers statements over views, within limits that all of them share.
#[derive(Clone)]
pub struct Engine {
    contexts: Contexts,
    threads: QueryThreads,
    slots: Arc<Semaphore>,
    roles: Arc<HashMap<Role, Arc<Semaphore>>>,
    limits: Limits,
    role_limits: Option<RoleLimits>,
    /// Whose rows are asked.
    caller: Caller,
}

/// A place among the queries that run; held to the end, also of a plan that nobody waits for any more.
type Slot = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// What is to be done, on a thread of the queries.
enum Task {
    Text(String),
    Statement(Box<Parsed>, bool),
}

impl Engine {
    /// An engine with these limits for each query; functions know names and prices by these rules.
    ///
    /// # Errors
    /// The runtime can't be set up.
    pub fn new(limits: Limits, rules: Arc<Rules>) -> Result<Self, QueryError> {
        Ok(Self {
            contexts: Contexts::new(runtime()?, rules),
            threads: QueryThreads::start()?,
            slots: Arc::new(Semaphore::new(CONCURRENT)),
            roles: Arc::default(),
            limits,
            role_limits: None,
            caller: Caller::anyone(),
        })
    }

    /// Gives each role limits of its own.
    #[must_use]
    pub fn with_roles(self, limits: RoleLimits) -> Self {
        let slots = |role: Role| (role, Arc::new(Semaphore::new(limits.of(role).concurrent)));
        Self { roles: Arc::new(Role::ALL.into_iter().map(slots).collect()), role_limits: Some(limits), ..self }
    }

    /// What functions know names and prices by.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.contexts.rules
    }

    /// The same engine, its memory and its threads, with other bounds of one query: for reports that keep sums only.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, role_limits: None, ..self.clone() }
    }

    /// The same engine with other names and prices: those that a closed month was closed with.
    #[must_use]
    pub fn with_rules(&self, rules: Arc<Rules>) -> Self {
        Self { contexts: self.contexts.with_rules(rules), ..self.clone() }
    }

    /// The same engine, which knows what is paid by the hour.
    #[must_use]
    pub fn with_terms(self, terms: Arc<Terms>) -> Self {
        Self { contexts: self.contexts.with_terms(terms), ..self }
    }

    /// The same engine for somebody: what it is asked by itself, it answers from the rows that they see.
    #[must_use]
    pub fn asked_by(&self, caller: Caller) -> Self {
        Self { caller, ..self.clone() }
    }

    /// Whose rows it answers from.
    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The price book that functions and reports know.
    pub(super) fn prices(&self) -> &PriceBook {
        &self.rules().prices
    }

    /// Starts a statement over `view`, for whom the engine answers.
    ///
    /// # Errors
    /// The statement is invalid, forbidden, or fails at once.
    pub async fn run(&self, view: &View, sql: &str, params: Params) -> Result<Answer, QueryError> {
        self.run_as(view, &Asker::plain(self.caller.clone()), sql, params).await
    }

    /// Starts a statement over `view`.
    ///
    /// # Errors
    /// The statement is invalid, forbidden, or fails at once.
    pub async fn run_as(&self, view: &View, asker: &Asker, sql: &str, params: Params) -> Result<Answer, QueryError> {
        guard::check_text(sql, self.limits.text_bytes)?;
        self.start(view, asker, Task::Text(sql.to_owned()), params).await
    }

    /// Starts one of [`Engine::statements`] over `view`.
    ///
    /// # Errors
    /// The statement asks for nothing, is invalid, forbidden, or fails at once.
    pub async fn run_statement(
        &self,
        view: &View,
        asker: &Asker,
        statement: &Statement,
        params: Params,
    ) -> Result<Answer, QueryError> {
        self.start(view, asker, task(statement)?, params).await
    }

    /// Reads a text of statements as PostgreSQL's clients send them.
    ///
    /// # Errors
    /// One of them can't be read, or is forbidden.
    pub async fn statements(&self, sql: &str) -> Result<Vec<Statement>, QueryError> {
        let (most, sql) = (self.limits.text_bytes, sql.to_owned());
        // On a thread with a deep stack: a long chain of operators is a deep tree.
        self.elsewhere(Instant::now() + self.limits.time, async move { postgres::statements(&sql, most) }).await
    }

    /// What one of [`Engine::statements`] would answer, without running it.
    ///
    /// # Errors
    /// The statement asks for nothing, is invalid or forbidden.
    pub async fn describe(&self, view: &View, asker: &Asker, statement: &Statement) -> Result<Described, QueryError> {
        let limits = self.limits_of(asker);
        let (engine, view, asker, task) = (self.clone(), view.clone(), asker.clone(), task(statement)?);
        self.elsewhere(Instant::now() + limits.time, async move {
            let _slot = engine.slot(&asker).await?;
            let (_, plan) = engine.plan(&view, &asker, task).await?;
            let types = parameter_types(&plan)?;
            let count = types.keys().filter_map(|name| name.trim_start_matches('$').parse::<usize>().ok()).max();
            let params = (1..=count.unwrap_or(0)).map(|n| types.get(&format!("${n}")).cloned().flatten()).collect();
            Ok(Described { schema: Arc::clone(plan.schema().inner()), params })
        })
        .await
    }

    /// Bounds of what somebody asks.
    #[must_use]
    pub fn limits_of(&self, asker: &Asker) -> Limits {
        let own = self.role_limits.as_ref().map(|limits| limits.of(asker.caller.role));
        let rows_of = |own: RoleLimit| if asker.exports { own.export_rows } else { own.rows };
        let (rows, time) = own.map_or((self.limits.rows, self.limits.time), |own| (rows_of(own), own.time));
        let rows = asker.page.most.map_or(rows, |most| most.min(rows));
        Limits { rows, time: asker.patience.map_or(time, |patience| patience.min(time)), ..self.limits }
    }

    async fn elsewhere<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let handle = self.threads.handle().ok_or_else(ending)?;
        let mut running = handle.spawn(work);
        match timeout_at(deadline, &mut running).await {
            Ok(done) => done.map_err(|error| QueryError::Internal(Box::new(error)))?,
            Err(_) => {
                running.abort();
                Err(QueryError::Timeout(self.limits.time))
            }
        }
    }

    async fn start(&self, view: &View, asker: &Asker, task: Task, params: Params) -> Result<Answer, QueryError> {
        let started = Instant::now();
        let limits = self.limits_of(asker);
        let deadline = started + limits.time;
        let stop = Stop::at(deadline.into_std(), Arc::clone(&self.slots));
        let (engine, view, asker, end) = (self.clone(), view.clone(), asker.clone(), Arc::clone(&stop));
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(2);
        let work = async move {
            let (mut stream, _slot) = match engine.begin(&view, &asker, task, params, (limits.rows, &end)).await {
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
        // Who asked and does not read its rows must not hold a slot for longer than its time.
        let query = self.threads.handle().ok_or_else(ending)?.spawn(timeout_at(deadline, work)).abort_handle();
        // Who asked may go while it is planned: then nobody waits for it either.
        let query = Running::new(query, stop);
        let schema = match timeout_at(deadline, schema).await {
            Ok(Ok(Ok(schema))) => schema,
            Ok(Ok(Err(error))) => {
                metrics::query(started.elapsed(), "refused");
                return Err(error);
            }
            Ok(Err(_)) if Instant::now() < deadline => {
                return Err(QueryError::Internal("the query's task died".into()));
            }
            Ok(Err(_)) | Err(_) => {
                metrics::query(started.elapsed(), "timeout");
                return Err(QueryError::Timeout(limits.time));
            }
        };
        Ok(Answer::new(schema, batches, query, limits, started))
    }

    async fn slot(&self, asker: &Asker) -> Result<Slot, QueryError> {
        let internal = |error| QueryError::Internal(Box::new(error));
        // First the role's: who waits for that takes nothing from the others.
        let of_role = match self.roles.get(&asker.caller.role) {
            Some(slots) => Some(Arc::clone(slots).acquire_owned().await.map_err(internal)?),
            None => None,
        };
        Ok((Arc::clone(&self.slots).acquire_owned().await.map_err(internal)?, of_role))
    }

    async fn begin(
        &self,
        view: &View,
        asker: &Asker,
        task: Task,
        params: Params,
        (rows, stop): (usize, &Arc<Stop>),
    ) -> Result<(SendableRecordBatchStream, Slot), QueryError> {
        let (slot, skip) = (self.slot(asker).await?, asker.page.skip);
        let (context, plan) = self.plan(view, asker, task).await?;
        let plan = match params {
            Params::None => plan,
            Params::Positional(values) => {
                let values = fitting(&plan, values)?;
                plan.with_param_values(ParamValues::from(values)).map_err(classify)?
            }
            Params::Named(values) => plan.with_param_values(ParamValues::from(values)).map_err(classify)?,
        };
        let frame = context.execute_logical_plan(plan).await.map_err(classify)?;
        let explains = matches!(frame.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let most = Some(rows.saturating_add(1));
        let frame = if explains { frame } else { frame.limit(skip, most).map_err(classify)? };
        let (mut state, plan) = frame.into_parts();
        let planned = match state.create_physical_plan(&plan).await {
            // Sorted by a column that a filter holds at one value, the engine's plan does not pass its own check where it
            // sorts parts and merges them. Sorted as one there is nothing to merge.
            Err(error) if error.to_string().contains("order requirements") => {
                state.config_mut().options_mut().optimizer.repartition_sorts = false;
                state.create_physical_plan(&plan).await
            }
            planned => planned,
        };
        let plan = stopping(planned.map_err(classify)?, stop).map_err(classify)?;
        stop.begin();
        Ok((execute_stream(plan, state.task_ctx()).map_err(classify)?, slot))
    }

    /// Checks and plans; what of a plan can do more than read is refused.
    async fn plan(&self, view: &View, asker: &Asker, task: Task) -> Result<(SessionContext, LogicalPlan), QueryError> {
        let context = self.contexts.new_for(asker);
        let (mut statement, catalog) = match task {
            Task::Text(sql) => {
                let dialect = datafusion::config::Dialect::PostgreSQL;
                (context.state().sql_to_statement(&what_if::quoted(&sql), &dialect).map_err(classify)?, false)
            }
            Task::Statement(statement, catalog) => (*statement, catalog),
        };
        guard::check(&statement)?;
        if let (Some(scope), Parsed::Explain(_)) = (&asker.caller.scope, &statement) {
            return Err(QueryError::OutOfScope(format!("a plan tells of all rows; you see those with {scope}")));
        }
        guard::name_subqueries(&mut statement);
        let elsewhere = what_if::place_arguments(&mut statement).map_err(classify)?;
        self.contexts.register(view, &context, asker, &statement, Needs { catalog, elsewhere }).await?;
        let plan = context.state().statement_to_plan(statement).await.map_err(classify)?;
        let only_read = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_read.verify_plan(&plan).map_err(|error| QueryError::Forbidden(first_line(&error.to_string())))?;
        few_tables(&plan)?;
        Ok((context, plan))
    }
}

fn ending() -> QueryError {
    QueryError::Internal("the engine is ending".into())
}

fn task(statement: &Statement) -> Result<Task, QueryError> {
    let nothing = || QueryError::Invalid("the statement asks for nothing".to_owned());
    statement.parsed.clone().map(|parsed| Task::Statement(parsed, statement.catalog)).ok_or_else(nothing)
}

/// What each parameter is compared with, or cast to.
fn parameter_types(plan: &LogicalPlan) -> Result<HashMap<String, Option<DataType>>, QueryError> {
    let mut types = plan.get_parameter_types().map_err(classify)?;
    let collected = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(parameter) = &**count {
                    types.entry(parameter.id.clone()).or_default().get_or_insert(DataType::Int64);
                }
            }
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Cast(cast) = part
                    && let Expr::Placeholder(parameter) = &*cast.expr
                {
                    let known = types.entry(parameter.id.clone()).or_default();
                    *known = known.take().or_else(|| Some(cast.field.data_type().clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    collected.map_err(classify)?;
    Ok(types)
}

/// Values as the types that the statement has for them.
fn fitting(plan: &LogicalPlan, values: Vec<ScalarValue>) -> Result<Vec<ScalarValue>, QueryError> {
    let types = parameter_types(plan)?;
    let fitted = values.into_iter().enumerate().map(|(index, value)| {
        let wanted = types.get(&format!("${}", index + 1)).and_then(Option::as_ref);
        match wanted.filter(|wanted| **wanted != value.data_type()) {
            Some(wanted) => value.cast_to(wanted).map_err(classify),
            None => Ok(value),
        }
    });
    fitted.collect()
}

/// What all sessions share; memory is counted for each.
fn runtime() -> Result<Arc<RuntimeEnv>, QueryError> {
    RuntimeEnvBuilder::new()
        // Nothing but what a view registers can be read: no file, no URL.
        .with_object_store_registry(Arc::new(EmptyRegistry::default()))
        .with_metadata_cache_limit(128 << 20)
        .build_arc()
        .map_err(|error| QueryError::Internal(Box::new(error)))
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
