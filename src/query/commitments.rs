//! `commitment_costs`: capacity that is paid by the hour, each hour allocated by weighted tokens. A table that is computed
//! when a statement names it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::reports::{Row, hour_use, plain};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::capacity::{HourPart, HourUse, hours};
use crate::model::{HOUR_US, MONEY_PRECISION, MONEY_SCALE, Money, Timestamp};
use crate::pricing::PriceBook;

/// Its name.
pub const TABLE: &str = "commitment_costs";
/// Columns that the hours are allocated by.
const BY: &str = "team,feature,cost_center,environment,service,model";

/// Its columns.
pub fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let money = |name: &str| Field::new(name, DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE), true);
    let mut fields = vec![
        Field::new("hour", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("commitment_id", DataType::Utf8, false),
        text("platform"),
    ];
    fields.extend(BY.split(',').map(text));
    fields.push(Field::new("unused", DataType::Boolean, false));
    fields.extend([money("weighted_tokens"), money("share"), money("cost"), text("currency")]);
    Arc::new(Schema::new(fields))
}

/// Registers the table: with its rows if a statement reads it, else as it looks.
///
/// # Errors
/// The ledger can't be asked, or numbers are beyond exact arithmetic.
pub async fn register(
    context: &SessionContext,
    prices: &PriceBook,
    terms: &Terms,
    read: bool,
) -> Result<(), DataFusionError> {
    let parts = if read && !terms.commitments.is_empty() { computed(context, prices, terms).await? } else { vec![] };
    let table = MemTable::try_new(schema(), vec![vec![encoded(&parts)?]])?;
    context.register_table(TABLE, Arc::new(table))?;
    Ok(())
}

async fn computed(
    context: &SessionContext,
    prices: &PriceBook,
    terms: &Terms,
) -> Result<Vec<HourPart>, DataFusionError> {
    let exact = |error| DataFusionError::External(Box::new(error));
    // The month does not matter: the hours are those of the commitments.
    let ask = Ask::new("2026-01", BY, None, None).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let now = now(context).await?;
    let first = terms.commitments.iter().map(|one| one.valid_from).min().unwrap_or(now).max(Timestamp::EARLIEST);
    let span = (first.floor(HOUR_US), now.plus(HOUR_US - 1).floor(HOUR_US));
    let mut used: Vec<HourUse> = Vec::new();
    for batch in context.sql(&ask.capacity_sql(span)).await?.collect().await? {
        let columns = plain(&batch).map_err(|error| DataFusionError::External(Box::new(error)))?;
        for at in 0..batch.num_rows() {
            used.extend(hour_use(&Row { columns: &columns, at }, ask.by.len()));
        }
    }
    hours(&terms.commitments, prices, &used, &ask.by, span).map_err(exact)
}

/// The instant that `now()` is in this statement.
async fn now(context: &SessionContext) -> Result<Timestamp, DataFusionError> {
    let answer = context.sql("SELECT CAST(now() AS TIMESTAMP) AS now").await?.collect().await?;
    let value = answer.first().and_then(|batch| batch.column(0).as_primitive_opt::<TimestampNanosecondType>());
    Ok(value.filter(|values| !values.is_empty()).map(|values| Timestamp(values.value(0) / 1000)).unwrap_or_default())
}

fn encoded(parts: &[HourPart]) -> Result<RecordBatch, DataFusionError> {
    let money = |amounts: Vec<Option<i128>>| -> Result<ArrayRef, DataFusionError> {
        Ok(Arc::new(Decimal128Array::from(amounts).with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?))
    };
    let hours = TimestampMicrosecondArray::from_iter_values(parts.iter().map(|part| part.hour.0)).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(hours),
        Arc::new(StringArray::from_iter_values(parts.iter().map(|part| &part.commitment_id))),
        Arc::new(StringArray::from_iter_values(parts.iter().map(|part| &part.platform))),
    ];
    for place in 0..BY.split(',').count() {
        let key = |part: &HourPart| part.keys.as_ref().and_then(|keys| keys.get(place).cloned().flatten());
        columns.push(Arc::new(parts.iter().map(key).collect::<StringArray>()));
    }
    columns.push(Arc::new(parts.iter().map(|part| Some(part.keys.is_none())).collect::<BooleanArray>()));
    columns.push(money(parts.iter().map(|part| Money(part.weighted).stored()).collect())?);
    columns.push(money(parts.iter().map(|part| Money(part.share).stored()).collect())?);
    columns.push(money(parts.iter().map(|part| part.cost?.stored()).collect())?);
    columns.push(Arc::new(parts.iter().map(|part| part.currency.as_deref()).collect::<StringArray>()));
    Ok(RecordBatch::try_new(schema(), columns)?)
}
