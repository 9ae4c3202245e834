//! The session of one statement: what it can see and call, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast;

use super::error::classify;
use super::growth;
use super::ids::CompareIdsAsBytes;
use super::memory::{OfQuestion, Shared};
use super::postgres::{PgCatalog, PgOidTypePlanner, register_functions};
use super::scope::Scoped;
use super::threads::PARTS;
use super::{Asker, CATALOG, QueryError, SCHEMA, commitments, functions, prices, views, what_if};
use crate::columns::Row;
use crate::finance::Terms;
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
    memory: Arc<Shared>,
    /// Functions that may not grow without end, in the place of the engine's.
    bounded: Arc<[ScalarUDF]>,
    /// What functions know names and prices by.
    pub rules: Arc<Rules>,
    terms: Arc<Terms>,
    catalog: PgCatalog,
}

/// What a statement needs beside tables and views.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// PostgreSQL's catalogue.
    pub catalog: bool,
    /// The function that prices calls elsewhere.
    pub elsewhere: bool,
}

impl Contexts {
    /// All of them share a memory, and know names and prices by these rules.
    pub fn new(runtime: Arc<RuntimeEnv>, rules: Arc<Rules>) -> Self {
        Self {
            runtime,
            memory: Arc::default(),
            bounded: growth::bounded_functions(),
            rules,
            terms: Arc::default(),
            catalog: PgCatalog::default(),
        }
    }

    /// The same with other names and prices.
    pub fn with_rules(&self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self.clone() }
    }

    /// The same with what is paid by the hour.
    pub fn with_terms(self, terms: Arc<Terms>) -> Self {
        Self { terms, ..self }
    }

    /// A session without any table.
    pub fn new_for(&self, asker: &Asker) -> SessionContext {
        let memory_pool = Arc::new(OfQuestion::new(&self.memory));
        let runtime = RuntimeEnv { memory_pool, ..RuntimeEnv::clone(&self.runtime) };
        let mut state = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(Arc::new(runtime))
            .with_default_features()
            .with_optimizer_rule(Arc::new(CompareIdsAsBytes));
        if asker.postgres {
            state = state.with_type_planner(Arc::new(PgOidTypePlanner));
        }
        // Before those of the engine: the first that plans an operator wins.
        state.expr_planners().get_or_insert_default().insert(0, Arc::new(growth::Operators));
        let context = SessionContext::new_with_state(state.build());
        for function in &*self.bounded {
            context.register_udf(function.clone());
        }
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
        needs: Needs,
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
        let known = || views::names().chain(View::TABLES).chain([commitments::TABLE, prices::TABLE]);
        let beside = |name: &&String| *name != Call::TABLE && known().any(|known| known == *name);
        if let Some(scope) = &asker.caller.scope
            && let Some(other) = names.iter().find(beside)
        {
            let why = format!("'{other}' can't be limited to your rows ({scope}), so it is refused");
            return Err(QueryError::OutOfScope(why));
        }
        let hourly = names.contains(commitments::TABLE);
        if needs.elsewhere || hourly {
            names.insert(Call::TABLE.to_owned());
        }
        let everything = !is_query || of_schema("information_schema");
        if everything {
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
                if needs.elsewhere && name == Call::TABLE {
                    let function = what_if::WhatIfFunction {
                        calls: Arc::clone(&provider),
                        rules: Arc::clone(&self.rules),
                        scoped: asker.caller.scope.is_some(),
                    };
                    context.register_udtf(what_if::NAME, Arc::new(function));
                }
                context.register_table(name, provider).map_err(classify)?;
            }
        }
        let sees_all = asker.caller.scope.is_none();
        if hourly || everything && sees_all {
            let (prices, terms) = (&self.rules.prices, &self.terms);
            commitments::register(context, prices, terms, hourly).await.map_err(classify)?;
        }
        let priced = names.contains(prices::TABLE);
        if priced || everything && sees_all {
            prices::register(context, &self.rules.prices, priced).map_err(classify)?;
        }
        if asker.postgres && needs.catalog {
            self.catalog.register(context, &self.rules, sees_all).await.map_err(classify)?;
        }
        views::register(context, &names).await.map_err(classify)
    }
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(usize::from(PARTS))
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
