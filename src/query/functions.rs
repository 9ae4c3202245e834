//! SQL functions over the catalogue and the list prices: what a model is called, and what tokens would have cost.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::catalog::ModelQuery;
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Timestamp, Usage, UsageStatus};
use crate::pricing::PriceQuery;
use crate::settle::Rules;

/// All functions, by these rules.
pub fn functions(rules: &Arc<Rules>) -> [ScalarUDF; 2] {
    [model_name(Arc::clone(rules)), list_cost(Arc::clone(rules))]
}

/// `model_name(platform, request_model, response_model, deployment)`: the canonical model, NULL if it is not known.
fn model_name(rules: Arc<Rules>) -> ScalarUDF {
    let of = move |columns: &Columns<'_>, row: usize| rules.catalog.resolve(&query(columns, row)).model;
    let text = DataType::Utf8;
    let evaluate = move |arguments: &[ColumnarValue]| -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let columns = Columns(&arrays);
        let names: StringArray = (0..columns.rows()).map(|row| of(&columns, row)).collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    };
    create_udf("model_name", vec![text.clone(); 4], text, Volatility::Stable, Arc::new(evaluate))
}

/// `list_cost(platform, request_model, response_model, deployment, region, tier, operation, ts, input_tokens,
/// cache_read_tokens, cache_write_tokens, output_tokens)`: USD at list price, NULL unless all of it has a price.
fn list_cost(rules: Arc<Rules>) -> ScalarUDF {
    let of = move |columns: &Columns<'_>, row: usize| {
        let identity = rules.catalog.resolve(&query(columns, row));
        let usage = Usage {
            input: columns.count(8, row),
            cache_read: columns.count(9, row),
            cache_write: columns.count(10, row),
            output: columns.count(11, row),
            ..Usage::default()
        };
        let priced = rules.prices.price(&PriceQuery {
            platform: columns.text(0, row),
            model: identity.model.as_deref(),
            scope: identity.scope,
            snapshot: identity.snapshot.as_deref(),
            geo: identity.geo.as_deref(),
            region: columns.text(4, row),
            tier: identity.tier.or_else(|| columns.text(5, row)),
            operation: columns.text(6, row),
            usage_status: if usage.is_empty() { UsageStatus::Missing } else { UsageStatus::Measured },
            ..PriceQuery::new(columns.instant(7, row)?, &usage)
        });
        let whole = priced.status == crate::model::CostStatus::Priced && priced.currency.as_deref() == Some("USD");
        priced.list_cost.filter(|_| whole)?.stored()
    };
    let text = DataType::Utf8;
    let mut arguments = vec![text; 7];
    arguments.push(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    arguments.extend(std::iter::repeat_n(DataType::Int64, 4));
    let money = DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE);
    let evaluate = move |arguments: &[ColumnarValue]| -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let columns = Columns(&arrays);
        let costs: Decimal128Array = (0..columns.rows()).map(|row| of(&columns, row)).collect();
        Ok(ColumnarValue::Array(Arc::new(costs.with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?)))
    };
    create_udf("list_cost", arguments, money, Volatility::Stable, Arc::new(evaluate))
}

/// The first four arguments of both.
fn query<'a>(columns: &Columns<'a>, row: usize) -> ModelQuery<'a> {
    ModelQuery {
        platform: columns.text(0, row),
        request_model: columns.text(1, row),
        response_model: columns.text(2, row),
        deployment: columns.text(3, row),
        model_version: None,
    }
}

/// Arguments as columns of the same length.
struct Columns<'a>(&'a [ArrayRef]);

impl<'a> Columns<'a> {
    fn rows(&self) -> usize {
        self.0.first().map_or(0, |column| column.len())
    }

    fn text(&self, at: usize, row: usize) -> Option<&'a str> {
        let column = self.0.get(at)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn count(&self, at: usize, row: usize) -> Option<u64> {
        let column: &Int64Array = self.0.get(at)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row)).and_then(|count| u64::try_from(count).ok())
    }

    fn instant(&self, at: usize, row: usize) -> Option<Timestamp> {
        let column: &TimestampMicrosecondArray = self.0.get(at)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        column.is_valid(row).then(|| Timestamp(column.value(row)))
    }
}
