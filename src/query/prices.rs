//! `prices`: the price book in force as a table. Made when a statement names it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use rust_decimal::Decimal;

use crate::model::{MONEY_PRECISION, MONEY_SCALE, Money, Timestamp};
use crate::pricing::{Bucket, Contract, PriceBook, Rate, Terms};

/// Its name.
pub const TABLE: &str = "prices";

/// A row, of a list or of a contract.
struct Line {
    text: [Option<String>; TEXT.len()],
    money: [Option<Decimal>; MONEY.len()],
    instants: [Option<Timestamp>; INSTANTS.len()],
}

const TEXT: [&str; 9] = ["platform", "model", "layer", "bucket", "scope", "tier", "mode", "currency", "rate_id"];
const MONEY: [&str; 3] = ["amount", "per", "factor"];
const INSTANTS: [&str; 3] = ["valid_from", "valid_to", "recorded_at"];

/// Its columns.
pub fn schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let money = DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE);
    let mut fields: Vec<Field> = TEXT.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    fields.extend(MONEY.iter().map(|name| Field::new(*name, money.clone(), true)));
    fields.extend(INSTANTS.iter().map(|name| Field::new(*name, instant.clone(), true)));
    Arc::new(Schema::new(fields))
}

/// Registers the table: with its rows if a statement reads it, else as it looks.
///
/// # Errors
/// Arrow refuses.
pub fn register(context: &SessionContext, prices: &PriceBook, read: bool) -> Result<(), DataFusionError> {
    let lines = if read { lines(prices) } else { Vec::new() };
    let table = MemTable::try_new(schema(), vec![vec![encoded(&lines)?]])?;
    context.register_table(TABLE, Arc::new(table))?;
    Ok(())
}

fn lines(prices: &PriceBook) -> Vec<Line> {
    prices.rates().map(of_rate).chain(prices.contracts().map(of_contract)).collect()
}

fn of_rate(rate: &Rate) -> Line {
    Line {
        text: [
            Some(rate.platform.clone()),
            Some(rate.model.clone()),
            Some(rate.layer.to_string()),
            Some(rate.bucket.to_string()),
            Some(rate.scope.to_string()),
            Some(rate.tier.clone()),
            Some(rate.mode.to_string()),
            Some(rate.currency.clone()),
            Some(rate.row_id.clone()),
        ],
        money: [Some(rate.amount), Some(rate.per), None],
        instants: [rate.valid_from, rate.valid_to, Some(rate.recorded_at)],
    }
}

fn of_contract(contract: &Contract) -> Line {
    let (money, currency) = match &contract.terms {
        Terms::Multiplier(factor) => ([None, None, Some(*factor)], None),
        Terms::Rate { amount, per, currency, .. } => ([Some(*amount), Some(*per), None], Some(currency.clone())),
    };
    Line {
        text: [
            Some(contract.platform.clone()),
            contract.model.as_ref().map(ToString::to_string),
            Some(contract.layer().to_string()),
            contract.bucket().map(Bucket::as_str).map(str::to_owned),
            Some(contract.scope.to_string()),
            contract.tier.clone(),
            contract.mode.map(|mode| mode.to_string()),
            currency,
            Some(contract.row_id.clone()),
        ],
        money,
        instants: [contract.valid_from, contract.valid_to, Some(contract.recorded_at)],
    }
}

fn encoded(lines: &[Line]) -> Result<RecordBatch, DataFusionError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for at in 0..TEXT.len() {
        let text = |line: &Line| line.text.get(at).cloned().flatten();
        columns.push(Arc::new(lines.iter().map(text).collect::<StringArray>()));
    }
    for at in 0..MONEY.len() {
        let money = |line: &Line| line.money.get(at).copied().flatten().and_then(|amount| Money(amount).stored());
        let array = lines.iter().map(money).collect::<Decimal128Array>();
        columns.push(Arc::new(array.with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?));
    }
    for at in 0..INSTANTS.len() {
        let instant = |line: &Line| line.instants.get(at).copied().flatten().map(|instant| instant.0);
        let array = lines.iter().map(instant).collect::<TimestampMicrosecondArray>();
        columns.push(Arc::new(array.with_timezone("UTC")));
    }
    Ok(RecordBatch::try_new(schema(), columns)?)
}
