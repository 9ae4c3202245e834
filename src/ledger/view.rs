//! One moment of the store: {ledger snapshot, horizon, hot set, archive, tail}. Immutable; the pipeline swaps it whole,
//! so a query never sees a call twice, half merged or missing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::functions::encoding::expr_fn::encode;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, col, lit};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::tables::{LedgerError, SideTable};
use super::{Archive, Bills, Calls};
use crate::columns::Row;
use crate::delta::Table;
use crate::model::{Call, Observation, ProviderMetric, Quarantined, RecordId, Rows, Timestamp};

/// Microseconds in a day.
const DAY_US: i64 = 86_400 * crate::model::SECOND_US;

/// One moment of the store.
#[derive(Clone, Debug)]
pub struct View {
    /// The ledger; answers for calls before the horizon.
    pub calls: Calls,
    /// The instant that divides `calls`; `None` before the first settle (then everything is hot).
    pub horizon: Option<Timestamp>,
    /// The merged calls after the horizon, each batch with the column `day`.
    pub hot: Vec<RecordBatch>,
    /// Calls of the ledger that are not shown, because `hot` shows them with a witness more.
    pub superseded: Vec<RecordId>,
    /// The archive.
    pub archive: Archive,
    /// Records set aside.
    pub quarantine: SideTable<Quarantined>,
    /// Providers' counters.
    pub metrics: SideTable<ProviderMetric>,
    /// What the journal holds beyond the archive.
    pub tail: Vec<Arc<Rows>>,
    /// The providers' bills, as they are when they are asked for.
    pub bills: Bills,
}

/// How rows that are there several times are shown once.
#[derive(Clone, Copy)]
struct Once {
    id: &'static str,
    /// The row with the latest of these is shown.
    latest: Option<&'static str>,
}

impl View {
    /// The names of the tables.
    pub const TABLES: [&'static str; 5] =
        [Call::TABLE, Observation::TABLE, Quarantined::TABLE, ProviderMetric::TABLE, Bills::TABLE];

    /// True where the store holds no observation at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.archive.table().files().is_ok_and(|files| files.is_empty())
    }

    /// The provider of one of [`View::TABLES`]; `None` for another name.
    ///
    /// # Errors
    /// The tables can't be scanned.
    pub async fn provider(
        &self,
        name: &str,
        context: &SessionContext,
    ) -> Result<Option<Arc<dyn TableProvider>>, LedgerError> {
        Ok(Some(match name {
            Call::TABLE => {
                let ledger = self.calls.table().provider(context).await?;
                self.calls_provider(ledger).map_err(|source| scan(Call::TABLE, source))?
            }
            Observation::TABLE => {
                let tail = || self.tail.iter().flat_map(|rows| rows.observations.iter().map(Arc::as_ref));
                self.with_tail(self.archive.table(), context, None, tail().collect()).await?
            }
            Quarantined::TABLE => {
                let tail = || self.tail.iter().flat_map(|rows| &rows.quarantined);
                let once = Once { id: "quarantine_id", latest: Some("resolved_at") };
                self.with_tail(self.quarantine.table(), context, Some(once), tail().collect()).await?
            }
            ProviderMetric::TABLE => {
                let tail = || self.tail.iter().flat_map(|rows| &rows.metrics);
                let once = Once { id: "metric_id", latest: None };
                self.with_tail(self.metrics.table(), context, Some(once), tail().collect()).await?
            }
            Bills::TABLE => {
                let lines = self.bills.lines().await?;
                Arc::new(
                    MemTable::try_new(Bills::schema(), vec![vec![lines]])
                        .map_err(|source| scan(Bills::TABLE, source))?,
                )
            }
            _ => return Ok(None),
        }))
    }

    /// Ledger before the horizon, hot set after it.
    fn calls_provider(&self, ledger: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let before = match self.horizon {
            Some(Timestamp(us)) => {
                let horizon = lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())));
                let mut filter = col("ts").lt(horizon);
                if !self.superseded.is_empty() {
                    // Ids are bytes in the table, or text in an older one.
                    let text =
                        ledger.schema().field_with_name("call_id").is_ok_and(|field| !is_bytes(field.data_type()));
                    let id = if text { col("call_id") } else { encode(col("call_id"), lit("hex")) };
                    let hidden = self.superseded.iter().map(|id| lit(id.to_string())).collect();
                    filter = filter.and(id.in_list(hidden, true));
                }
                select::<Call>(ledger, Some(filter))?
            }
            None => select::<Call>(ledger, Some(lit(false)))?,
        };
        let hot = MemTable::try_new(with_day_schema::<Call>(), vec![self.hot.clone()])?;
        let plan = before.union(select::<Call>(Arc::new(hot), None)?.build()?)?.build()?;
        Ok(Arc::new(datafusion::datasource::ViewTable::new(plan, None)))
    }

    async fn with_tail<R: Row + 'static>(
        &self,
        table: &Table,
        context: &SessionContext,
        once: Option<Once>,
        tail: Vec<&R>,
    ) -> Result<Arc<dyn TableProvider>, LedgerError> {
        let stored = table.provider(context).await?;
        let tail = with_day::<R>(&tail)?;
        let plan = || {
            let tail = MemTable::try_new(with_day_schema::<R>(), vec![vec![tail]])?;
            let both = select::<R>(stored, None)?.union(select::<R>(Arc::new(tail), None)?.build()?)?;
            let Some(Once { id, latest }) = once else { return both.build() };
            // Delivered twice, or in the tail and already in the table: shown once.
            let Some(latest) = latest else { return once_each(both, id) };
            once_with_latest(&both, id, latest)
        };
        let plan = plan().map_err(|source| scan(R::TABLE, source))?;
        Ok(Arc::new(datafusion::datasource::ViewTable::new(plan, None)))
    }
}

/// Each row once, as it was seen last: a provider may correct its counters. Numbered and not grouped: a group would hold, for each map among its columns, the
/// whole batch that it came in. The same row has the same time, which as a key lets a range of time be read alone.
fn once_each(rows: LogicalPlanBuilder, id: &'static str) -> Result<LogicalPlan, DataFusionError> {
    const COPY: &str = "copy";
    let columns: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    let copy =
        row_number().partition_by(vec![col(id), col("ts")]).order_by(vec![col(SEEN).sort(false, true)]).build()?;
    rows.window(vec![copy.alias(COPY)])?.filter(col(COPY).eq(lit(1_u64)))?.project(columns)?.build()
}

/// When a row was read first.
const SEEN: &str = "observed_at";

/// Each row once, as it was first seen; the column `latest` comes from rows that say nothing else, the greatest if there
/// are several.
fn once_with_latest(
    rows: &LogicalPlanBuilder,
    id: &'static str,
    latest: &'static str,
) -> Result<LogicalPlan, DataFusionError> {
    const SAID: &str = "said";
    const FIRST: &str = "first_seen";
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let one = rows.clone().filter(col(latest).is_null())?;
    let columns: Vec<Expr> = names.iter().map(col).collect();
    let one = one.distinct_on(vec![col(id)], columns, None)?.alias("one")?;
    let all = vec![max(col(latest)).alias(SAID), min(col(SEEN)).alias(FIRST)];
    let all = rows.clone().aggregate(vec![col(id)], all)?.alias("all_of_it")?.build()?;
    let by_id = (vec![Column::new(Some("one"), id)], vec![Column::new(Some("all_of_it"), id)]);
    let shown = names.iter().map(|name| match name.as_str() {
        name if name == latest => Expr::Column(Column::new(Some("all_of_it"), SAID)).alias(latest),
        SEEN => Expr::Column(Column::new(Some("all_of_it"), FIRST)).alias(SEEN),
        name => Expr::Column(Column::new(Some("one"), name)).alias(name),
    });
    one.join(all, JoinType::Inner, by_id, None)?.project(shown)?.build()
}

fn scan(table: &'static str, source: DataFusionError) -> LedgerError {
    LedgerError::Delta(crate::delta::DeltaError::Scan { table, source: Box::new(source) })
}

/// The public columns of `R` from a provider, in their order, as their types.
fn select<R: Row>(
    provider: Arc<dyn TableProvider>,
    filter: Option<Expr>,
) -> Result<LogicalPlanBuilder, DataFusionError> {
    use datafusion::logical_expr::cast;
    let found = provider.schema();
    let source = datafusion::datasource::provider_as_source(provider);
    let mut plan = LogicalPlanBuilder::scan(R::TABLE, source, None)?;
    if let Some(filter) = filter {
        plan = plan.filter(filter)?;
    }
    let columns = with_day_schema::<R>();
    let expressions = columns.fields().iter().map(|field| {
        let name = field.name();
        match found.field_with_name(name) {
            // Nested types differ in field names only; a cast would not make them more equal.
            Ok(stored) if stored.data_type() == field.data_type() || field.data_type().is_nested() => {
                col(name.as_str())
            }
            // Ids are stored as bytes and shown as text.
            Ok(stored) if is_bytes(stored.data_type()) => encode(col(name.as_str()), lit("hex")).alias(name.as_str()),
            Ok(_) => cast(col(name.as_str()), field.data_type().clone()).alias(name.as_str()),
            // A column younger than the table.
            Err(_) => cast(lit(ScalarValue::Null), field.data_type().clone()).alias(name.as_str()),
        }
    });
    plan.project(expressions)
}

const fn is_bytes(stored: &DataType) -> bool {
    matches!(stored, DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
}

/// The stored columns of `R` and the partition column.
#[must_use]
pub fn with_day_schema<R: Row>() -> SchemaRef {
    let schema = R::schema();
    let day = Arc::new(Field::new("day", DataType::Date32, true));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([day]).collect::<Vec<_>>()))
}

/// Rows as one batch with the partition column.
///
/// # Errors
/// Arrow refuses.
pub fn with_day<R: Row>(rows: &[&R]) -> Result<RecordBatch, LedgerError> {
    let columns_error = |source| LedgerError::Columns { table: R::TABLE, source };
    let batch = R::encode(rows.iter().copied()).map_err(columns_error)?;
    let days = rows.iter().map(|row| i32::try_from(row.instant().0.div_euclid(DAY_US)).unwrap_or_default());
    let day: ArrayRef = Arc::new(Date32Array::from_iter_values(days));
    let columns = batch.columns().iter().cloned().chain([day]).collect();
    RecordBatch::try_new(with_day_schema::<R>(), columns).map_err(|error| columns_error(error.into()))
}
