//! SQL functions of our own: what a model is called, what tokens would have cost, and what dashboards need of time.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::catalog::ModelQuery;
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Timestamp, Usage, UsageStatus};
use crate::pricing::PriceQuery;
use crate::settle::Rules;

/// All functions, by these rules.
pub fn functions(rules: &Arc<Rules>) -> [ScalarUDF; 4] {
    [model_name(Arc::clone(rules)), list_cost(Arc::clone(rules)), rate(), time_bucket()]
}

/// `time_bucket(interval, ts)`: `date_bin` under the name that dashboards know from TimescaleDB.
fn time_bucket() -> ScalarUDF {
    datafusion::functions::datetime::date_bin().as_ref().clone().with_aliases(["time_bucket"])
}

/// `rate(amount, interval)`: so much a second, when it came within the interval.
fn rate() -> ScalarUDF {
    let evaluate = |arguments: &[ColumnarValue]| -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [amounts, intervals] = arrays.as_slice() else {
            return Err(DataFusionError::Execution("rate takes an amount and an interval".to_owned()));
        };
        let amounts = amounts.as_primitive::<Float64Type>();
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let rates: Result<Float64Array, DataFusionError> = amounts
            .iter()
            .zip(intervals.iter())
            .map(|(amount, interval)| {
                let (Some(amount), Some(interval)) = (amount, interval) else { return Ok(None) };
                Ok(Some(amount / seconds(interval)?))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(rates?)))
    };
    let arguments = vec![DataType::Float64, DataType::Interval(IntervalUnit::MonthDayNano)];
    create_udf("rate", arguments, DataType::Float64, Volatility::Immutable, Arc::new(evaluate))
}

fn seconds(interval: IntervalMonthDayNano) -> Result<f64, DataFusionError> {
    if interval.months != 0 {
        return Err(DataFusionError::Execution("rate: a month has no fixed number of seconds; give days".to_owned()));
    }
    let span = i128::from(interval.days) * 86_400_000_000_000 + i128::from(interval.nanoseconds);
    match u64::try_from(span) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(std::time::Duration::from_nanos(nanoseconds).as_secs_f64()),
        _ => Err(DataFusionError::Execution("rate: the interval must be longer than nothing".to_owned())),
    }
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
