//! `pg_catalog`: which tables, columns and types there are.

use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, SchemaProvider};
use datafusion::datasource::ViewTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables};
use tokio::sync::OnceCell;

use crate::columns::Row;
use crate::ledger::{Bills, with_day_schema};
use crate::model::{Call, Observation, ProviderMetric, Quarantined};
use crate::query::{CATALOG, SCHEMA, commitments, functions, prices, views};
use crate::settle::Rules;

/// Name of its schema.
pub const PG_CATALOG: &str = "pg_catalog";

/// The catalogue, made when it is asked for first.
#[derive(Clone, Debug, Default)]
pub struct PgCatalog(Arc<OnceCell<Made>>);

#[derive(Debug)]
struct Made {
    whole: Arc<dyn SchemaProvider>,
    /// For who sees `calls` only.
    calls: Arc<dyn SchemaProvider>,
    fixed: Arc<PgCatalogStaticTables>,
}

impl PgCatalog {
    /// Makes it part of a session; `everything` tells whether other tables than `calls` are shown.
    ///
    /// # Errors
    /// The views don't fit the tables.
    pub async fn register(
        &self,
        context: &SessionContext,
        rules: &Arc<Rules>,
        everything: bool,
    ) -> Result<(), DataFusionError> {
        let made = self.0.get_or_try_init(|| make(rules)).await?;
        let schema = if everything { &made.whole } else { &made.calls };
        if let Some(catalog) = context.catalog(CATALOG) {
            catalog.register_schema(PG_CATALOG, Arc::clone(schema))?;
        }
        context.register_udtf("pg_get_keywords", made.fixed.pg_get_keywords.clone());
        Ok(())
    }
}

async fn make(rules: &Arc<Rules>) -> Result<Made, DataFusionError> {
    let fixed = Arc::new(PgCatalogStaticTables::try_new()?);
    let whole = of(&shapes(rules, true).await?, &fixed)?;
    let calls = of(&shapes(rules, false).await?, &fixed)?;
    Ok(Made { whole, calls, fixed })
}

fn of(shapes: &SessionContext, fixed: &Arc<PgCatalogStaticTables>) -> Result<Arc<dyn SchemaProvider>, DataFusionError> {
    let list: Arc<dyn CatalogProviderList> = shapes.state().catalog_list().clone();
    Ok(Arc::new(PgCatalogSchemaProvider::try_new(list, Arc::clone(fixed), EmptyContextProvider)?))
}

/// A session with tables of the right columns and no rows.
async fn shapes(rules: &Arc<Rules>, everything: bool) -> Result<SessionContext, DataFusionError> {
    let config = SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA);
    let context = SessionContext::new_with_config(config);
    functions(rules).into_iter().for_each(|function| context.register_udf(function));
    context.register_table(Call::TABLE, Arc::new(EmptyTable::new(with_day_schema::<Call>())))?;
    if everything {
        let observations = EmptyTable::new(with_day_schema::<Observation>());
        context.register_table(Observation::TABLE, Arc::new(observations))?;
        context.register_table(Quarantined::TABLE, Arc::new(EmptyTable::new(with_day_schema::<Quarantined>())))?;
        let metrics = EmptyTable::new(with_day_schema::<ProviderMetric>());
        context.register_table(ProviderMetric::TABLE, Arc::new(metrics))?;
        context.register_table(Bills::TABLE, Arc::new(EmptyTable::new(Bills::schema())))?;
        context.register_table(commitments::TABLE, Arc::new(EmptyTable::new(commitments::schema())))?;
        context.register_table(prices::TABLE, Arc::new(EmptyTable::new(prices::schema())))?;
        for (name, sql) in views::all() {
            let plan = context.state().create_logical_plan(sql).await?;
            context.register_table(name, Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))?;
        }
    }
    Ok(context)
}
