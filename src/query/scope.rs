//! Row scopes: `calls` as somebody sees it who may see a part of it. The filter is part of the table, below everything
//! that a statement can say, and nothing of the statement is worked out for rows that it hides: an error or a division by
//! zero would tell of them.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown, col, lit,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;

use crate::access::Scope;

/// A table of which only the rows of a scope are there.
#[derive(Debug)]
pub struct Scoped {
    whole: Arc<dyn TableProvider>,
    filter: Expr,
}

impl Scoped {
    /// The rows of `scope` of a table.
    pub fn new(whole: Arc<dyn TableProvider>, scope: &Scope) -> Self {
        let one = |(column, values): (&str, &[String])| {
            col(format!("\"{column}\"")).in_list(values.iter().map(|value| lit(value.clone())).collect(), false)
        };
        // A scope names at least one column.
        let filter = scope.columns().map(one).reduce(Expr::and).unwrap_or_else(|| lit(false));
        Self { whole, filter }
    }
}

#[async_trait]
impl TableProvider for Scoped {
    fn schema(&self) -> SchemaRef {
        self.whole.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let pushed = |filter: &&Expr| match is_harmless(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        const TABLE: &str = "calls";
        let mut plan = LogicalPlanBuilder::scan(TABLE, provider_as_source(Arc::clone(&self.whole)), None)?;
        plan = plan.filter(self.filter.clone())?;
        for filter in filters.iter().filter(|filter| is_harmless(filter)) {
            plan = plan.filter(filter.clone())?;
        }
        let schema = match projection {
            Some(columns) => {
                plan =
                    plan.project(columns.iter().map(|index| Expr::Column(plan_column(&self.whole.schema(), *index))))?;
                Arc::new(self.whole.schema().project(columns)?)
            }
            None => self.whole.schema(),
        };
        let inner = state.create_physical_plan(&plan.build()?).await?;
        let partitions = (0..inner.output_partitioning().partition_count()).map(|partition| {
            Arc::new(Hidden { schema: Arc::clone(&schema), plan: Arc::clone(&inner), partition }) as _
        });
        let leaf =
            StreamingTableExec::try_new(Arc::clone(&schema), partitions.collect(), None, Vec::new(), false, None)?;
        Ok(Arc::new(leaf))
    }
}

fn plan_column(schema: &SchemaRef, index: usize) -> datafusion::common::Column {
    let name = schema.fields().get(index).map_or_else(String::new, |field| field.name().clone());
    datafusion::common::Column::new_unqualified(name)
}

/// A partition of a plan that optimizers don't look into: no filter gets below the scope's.
#[derive(Debug)]
struct Hidden {
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
}

impl PartitionStream for Hidden {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stream: Result<_, DataFusionError> = self.plan.execute(self.partition, context);
        let rows = futures::stream::once(async { stream }).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// Comparisons of columns with constants: they can't fail, so they may be worked out beside the scope's own, which lets
/// files be left out by time.
fn is_harmless(filter: &Expr) -> bool {
    let constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    let column = |expr: &Expr| matches!(expr, Expr::Column(_));
    match filter {
        Expr::Column(_) => true,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_harmless(left) && is_harmless(right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let compares = matches!(
                op,
                Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
            );
            compares && (column(left) && constant(right) || constant(left) && column(right))
        }
        Expr::InList(list) => column(&list.expr) && list.list.iter().all(constant),
        Expr::Between(Between { expr, low, high, .. }) => column(expr) && constant(low) && constant(high),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => column(inner),
        Expr::Not(inner) => is_harmless(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::{Array, Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn calls() -> SessionContext {
        let fields = ["team", "secret"].map(|name| Field::new(name, DataType::Utf8, true));
        let schema = Arc::new(Schema::new([fields.to_vec(), vec![Field::new("n", DataType::Int64, true)]].concat()));
        let teams = StringArray::from(vec![Some("a"), Some("b"), None, Some("a")]);
        let secrets = StringArray::from(vec!["1", "hidden", "hidden", "2"]);
        let numbers = Int64Array::from(vec![1, 0, 0, 2]);
        let columns: Vec<Arc<dyn Array>> = vec![Arc::new(teams), Arc::new(secrets), Arc::new(numbers)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let whole = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
        let scope = Scope::new(BTreeMap::from([("team".to_owned(), vec!["a".to_owned()])])).unwrap();
        let context = SessionContext::new();
        context.register_table("calls", Arc::new(Scoped::new(whole, &scope))).unwrap();
        context
    }

    async fn ask(sql: &str) -> Result<String, DataFusionError> {
        let batches = calls().sql(sql).await?.collect().await?;
        Ok(pretty_format_batches(&batches)?.to_string())
    }

    #[tokio::test]
    async fn only_the_rows_of_the_scope_are_there() {
        for (sql, expected) in [
            ("SELECT count(*) AS x FROM calls", "| 2 |"),
            ("SELECT count(*) AS x FROM calls WHERE team = 'b' OR team IS NULL OR true", "| 2 |"),
            ("SELECT count(*) AS x FROM calls WHERE team = 'b'", "| 0 |"),
            ("SELECT sum(n) AS x FROM calls a WHERE n > 0", "| 3 |"),
            ("SELECT max(secret) AS x FROM calls WHERE secret LIKE 'h%' OR n >= 2", "| 2 |"),
            ("SELECT count(*) AS x FROM calls a JOIN calls b ON a.secret = b.secret OR a.team <> b.team", "| 2 |"),
            ("SELECT count(*) AS x FROM (SELECT * FROM calls LIMIT 3)", "| 2 |"),
            ("WITH c AS (SELECT * FROM calls) SELECT count(*) AS x FROM c", "| 2 |"),
            ("SELECT (SELECT count(*) FROM calls) AS x", "| 2 |"),
        ] {
            let shown = ask(sql).await.unwrap();
            assert!(shown.contains(expected), "{sql}: {shown}");
        }
    }

    #[tokio::test]
    async fn hidden_rows_raise_no_error_that_tells_of_them() {
        for sql in [
            "SELECT sum(CAST(secret AS INT)) AS x FROM calls",
            "SELECT count(*) AS x FROM calls WHERE CAST(secret AS INT) >= 0",
            "SELECT count(*) AS x FROM calls WHERE 1 / n >= 0",
            "SELECT count(*) AS x FROM calls WHERE n >= 0 AND 1 / n >= 0 AND CAST(secret AS INT) > 0",
            "SELECT count(*) AS x FROM calls GROUP BY CAST(secret AS INT)",
        ] {
            let shown = ask(sql).await;
            assert!(shown.is_ok(), "{sql}: {shown:?}");
        }
    }
}
