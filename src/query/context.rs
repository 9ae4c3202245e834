//! The session of one statement: what it can see and call, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast;

use super::error::classify;
use super::ids::CompareIdsAsBytes;
use super::postgres::{PgCatalog, PgOidTypePlanner, register_functions};
use super::scope::Scoped;
use super::{Asker, CATALOG, QueryError, SCHEMA, functions, views};
use crate::columns::Row;
use crate::ledger::View;
use crate::model::Call;
use crate::settle::Rules;

/// Functions that make much out of little, outside of the memory that is counted.
const INFLATING: [&str; 10] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "levenshtein",
    // As values they are one list; as tables they come in parts.
    "generate_series",
    "range",
];

/// Makes sessions.
#[derive(Clone, Debug)]
pub struct Contexts {
    runtime: Arc<RuntimeEnv>,
    rules: Arc<Rules>,
    catalog: PgCatalog,
}

impl Contexts {
    /// All of them share a memory, and know names and prices by these rules.
    pub fn new(runtime: Arc<RuntimeEnv>, rules: Arc<Rules>) -> Self {
        Self { runtime, rules, catalog: PgCatalog::default() }
    }

    /// A session without any table.
    pub fn new_for(&self, asker: &Asker) -> SessionContext {
        let mut state = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .with_optimizer_rule(Arc::new(CompareIdsAsBytes));
        if asker.postgres {
            state = state.with_type_planner(Arc::new(PgOidTypePlanner));
        }
        let context = SessionContext::new_with_state(state.build());
        for inflating in INFLATING {
            context.deregister_udf(inflating);
        }
        for function in functions(&self.rules) {
            context.register_udf(function);
        }
        if asker.postgres {
            register_functions(&context, &asker.caller.name);
        }
        context
    }

    /// Registers the tables and views that the statement names; all that the asker may see if it asks what there is.
    pub async fn register(
        &self,
        view: &View,
        context: &SessionContext,
        asker: &Asker,
        statement: &Parsed,
        catalog: bool,
    ) -> Result<(), QueryError> {
        let references = context.state().resolve_table_references(statement).map_err(classify)?;
        let is_query =
            matches!(statement, Parsed::Statement(inner) if matches!(inner.as_ref(), ast::Statement::Query(_)));
        let of_schema = |schema: &str| references.iter().any(|reference| reference.schema() == Some(schema));
        let mut names: BTreeSet<String> = references
            .iter()
            .filter(|reference| reference.schema().is_none_or(|schema| schema == SCHEMA))
            .map(|reference| reference.table().to_owned())
            .collect();
        let known = || views::names().chain(View::TABLES);
        let beside = |name: &&String| *name != Call::TABLE && known().any(|known| known == *name);
        if let Some(scope) = &asker.caller.scope
            && let Some(other) = names.iter().find(beside)
        {
            let why = format!("'{other}' can't be limited to your rows ({scope}), so it is refused");
            return Err(QueryError::OutOfScope(why));
        }
        if !is_query || of_schema("information_schema") {
            match asker.caller.scope {
                Some(_) => names.extend([Call::TABLE.to_owned()]),
                None => names.extend(known().map(str::to_owned)),
            }
        }
        views::with_needed(&mut names);
        for name in View::TABLES.into_iter().filter(|name| names.contains(*name)) {
            let provider = view.provider(name, context).await?;
            if let Some(provider) = provider {
                let provider = match &asker.caller.scope {
                    Some(scope) => Arc::new(Scoped::new(provider, scope)),
                    None => provider,
                };
                context.register_table(name, provider).map_err(classify)?;
            }
        }
        if asker.postgres && catalog {
            let everything = asker.caller.scope.is_none();
            self.catalog.register(context, &self.rules, everything).await.map_err(classify)?;
        }
        views::register(context, &names).await.map_err(classify)
    }
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
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
