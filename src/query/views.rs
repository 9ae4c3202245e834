//! The views of `queries/views/*.sql`: what can be told from the tables by one statement.

use std::collections::BTreeSet;

use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

use crate::columns::Row;
use crate::model::{Call, Observation, ProviderMetric};

/// A view: its name, its statement, and what it reads.
struct Definition {
    name: &'static str,
    sql: &'static str,
    reads: &'static [&'static str],
}

macro_rules! view {
    ($name:literal reads $($table:expr),+) => {
        Definition {
            name: $name,
            sql: include_str!(concat!("../../queries/views/", $name, ".sql")),
            reads: &[$($table),+],
        }
    };
}

/// Each reads tables and views before it.
static VIEWS: [Definition; 4] = [
    view!("gateway_events" reads Observation::TABLE),
    view!("metric_usage" reads ProviderMetric::TABLE),
    view!("coverage" reads ProviderMetric::TABLE, Call::TABLE),
    view!("metered_by_metrics_only" reads "metric_usage", Call::TABLE),
];

/// Adds to the names of tables and views what the views among them read.
pub fn with_needed(names: &mut BTreeSet<String>) {
    for view in VIEWS.iter().rev() {
        if names.contains(view.name) {
            names.extend(view.reads.iter().map(|table| (*table).to_owned()));
        }
    }
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    VIEWS.iter().map(|view| view.name)
}

/// All names and statements, each after what it reads.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    VIEWS.iter().map(|view| (view.name, view.sql))
}

/// Registers the views among `names`; what they read is there already.
///
/// # Errors
/// A definition does not fit the tables.
pub async fn register(context: &SessionContext, names: &BTreeSet<String>) -> Result<(), DataFusionError> {
    for view in VIEWS.iter().filter(|view| names.contains(view.name)) {
        let plan = context.state().create_logical_plan(view.sql).await?;
        context.register_table(view.name, Arc::new(ViewTable::new(plan, Some(view.sql.to_owned()))))?;
    }
    Ok(())
}
