//! Lines of bills as Arrow columns, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use rust_decimal::{Decimal, RoundingStrategy};

use super::QueryError;
use super::priced::month_of;
use crate::finance::bill::{BillLine, Category};
use crate::ledger::{Bills, PRICE_SCALE};
use crate::model::{HOUR_US, Interval, MONEY_PRECISION, MONEY_SCALE, Money, Timestamp};
use crate::sheet::Place;

/// The UTC month that a line is billed in.
#[must_use]
pub fn bill_month(line: &BillLine) -> String {
    month_of(line.period.from)
}

/// Lines as rows of `bill_lines`. Each comes with the word for its kind of bill.
///
/// # Errors
/// A number has too many digits, or Arrow refuses.
pub fn bill_batch(
    bill_id: &str,
    imported_at: Timestamp,
    lines: &[(&str, BillLine)],
) -> Result<RecordBatch, QueryError> {
    let text = |get: fn(&BillLine) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, line)| get(line))))
    };
    let maybe = |get: fn(&BillLine) -> Option<&str>| -> ArrayRef {
        Arc::new(lines.iter().map(|(_, line)| get(line)).collect::<StringArray>())
    };
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(lines.iter().map(|_| value))) };
    let instant = |get: &dyn Fn(&BillLine) -> Timestamp| -> ArrayRef {
        let instants = lines.iter().map(|(_, line)| get(line).0);
        Arc::new(TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC"))
    };
    let months: Vec<String> = lines.iter().map(|(_, line)| bill_month(line)).collect();
    let days =
        lines.iter().map(|(_, line)| i32::try_from(line.period.from.0.div_euclid(24 * HOUR_US)).unwrap_or_default());
    let numbers = lines.iter().map(|(_, line)| i64::try_from(line.place.line).unwrap_or(i64::MAX));
    let over = lines.iter().map(|(_, line)| line.context_over.and_then(|over| i64::try_from(over).ok()));
    let columns: Vec<ArrayRef> = vec![
        same(bill_id),
        instant(&|_| imported_at),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(format, _)| *format))),
        text(|line| &line.place.file),
        Arc::new(Int64Array::from_iter_values(numbers)),
        text(|line| &line.platform),
        maybe(|line| line.account.as_deref()),
        maybe(|line| line.region.as_deref()),
        maybe(|line| line.model.as_deref()),
        maybe(|line| line.bucket.map(crate::pricing::Bucket::as_str)),
        maybe(|line| line.scope.as_deref()),
        maybe(|line| line.tier.as_deref()),
        Arc::new(over.collect::<Int64Array>()),
        text(|line| &line.usage_type),
        text(|line| &line.unit),
        Arc::new(StringArray::from_iter_values(&months)),
        Arc::new(Date32Array::from_iter_values(days)),
        instant(&|line| line.period.from),
        instant(&|line| line.period.to),
        decimals(lines.iter().map(|(_, line)| line.quantity), MONEY_SCALE)?,
        decimals(lines.iter().map(|(_, line)| line.unit_price), PRICE_SCALE)?,
        decimals(lines.iter().map(|(_, line)| Some(line.cost)), MONEY_SCALE)?,
        text(|line| &line.currency),
        text(|line| line.category.as_str()),
        maybe(|line| line.sku.as_deref()),
    ];
    RecordBatch::try_new(Bills::schema(), columns).map_err(|error| QueryError::Internal(Box::new(error)))
}

fn decimals(numbers: impl Iterator<Item = Option<Decimal>>, scale: i8) -> Result<ArrayRef, QueryError> {
    let places = u32::from(scale.unsigned_abs());
    let mut stored = Vec::new();
    for number in numbers {
        let Some(number) = number else {
            stored.push(None);
            continue;
        };
        let rounded = number.round_dp_with_strategy(places, RoundingStrategy::MidpointNearestEven).normalize();
        let shift = 10_i128.checked_pow(places.saturating_sub(rounded.scale()));
        let units = shift.and_then(|shift| rounded.mantissa().checked_mul(shift));
        stored.push(Some(units.ok_or_else(|| QueryError::Invalid(format!("{number} has too many digits")))?));
    }
    let array = Decimal128Array::from_iter(stored).with_precision_and_scale(MONEY_PRECISION, scale);
    Ok(Arc::new(array.map_err(|error| QueryError::Internal(Box::new(error)))?))
}

/// Rows of `bill_lines` as lines again.
///
/// # Errors
/// A column is not what it should be.
pub fn bill_lines(batch: &RecordBatch) -> Result<Vec<BillLine>, QueryError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows())
        .map(|row| columns.line(row).ok_or_else(|| QueryError::Internal("a row of bill_lines can't be read".into())))
        .collect()
}

/// The columns by name, in the types that are read here.
struct Columns(Vec<(String, ArrayRef)>);

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, QueryError> {
        let mut columns = Vec::new();
        for field in Bills::schema().fields() {
            let missing = || QueryError::Internal("a column of bill_lines is missing".into());
            let column = batch.column_by_name(field.name()).ok_or_else(missing)?;
            let wanted = match field.data_type() {
                DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                other => other.clone(),
            };
            let column = cast(column, &wanted).map_err(|error| QueryError::Internal(Box::new(error)))?;
            columns.push((field.name().clone(), column));
        }
        Ok(Self(columns))
    }

    fn column(&self, name: &str, row: usize) -> Option<&ArrayRef> {
        let (_, column) = self.0.iter().find(|(known, _)| known == name)?;
        column.is_valid(row).then_some(column)
    }

    fn text(&self, name: &str, row: usize) -> Option<String> {
        Some(self.column(name, row)?.as_string_opt::<i32>()?.value(row).to_owned())
    }

    fn count(&self, name: &str, row: usize) -> Option<i64> {
        Some(self.column(name, row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    fn instant(&self, name: &str, row: usize) -> Option<Timestamp> {
        Some(Timestamp(self.column(name, row)?.as_primitive_opt::<TimestampMicrosecondType>()?.value(row)))
    }

    fn decimal(&self, name: &str, row: usize, scale: i8) -> Option<Decimal> {
        let units = self.column(name, row)?.as_primitive_opt::<Decimal128Type>()?.value(row);
        if scale == MONEY_SCALE {
            return Some(Money::from_stored(units)?.0.normalize());
        }
        Some(Decimal::try_from_i128_with_scale(units, u32::from(scale.unsigned_abs())).ok()?.normalize())
    }

    fn line(&self, row: usize) -> Option<BillLine> {
        let file = self.text("file", row)?;
        Some(BillLine {
            place: Place { file, line: usize::try_from(self.count("line", row)?).ok()? },
            platform: self.text("platform", row)?,
            account: self.text("account", row),
            region: self.text("region", row),
            model: self.text("model", row),
            bucket: self.text("bucket", row).and_then(|bucket| bucket.parse().ok()),
            scope: self.text("scope", row),
            tier: self.text("tier", row),
            context_over: self.count("context_over", row).and_then(|over| u64::try_from(over).ok()),
            usage_type: self.text("usage_type", row)?,
            unit: self.text("unit", row)?,
            period: Interval { from: self.instant("period_start", row)?, to: self.instant("period_end", row)? },
            quantity: self.decimal("quantity", row, MONEY_SCALE),
            unit_price: self.decimal("unit_price", row, PRICE_SCALE),
            cost: self.decimal("cost", row, MONEY_SCALE)?,
            currency: self.text("currency", row)?,
            category: self.text("category", row)?.parse::<Category>().ok()?,
            sku: self.text("sku", row),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::Bucket;

    #[test]
    fn a_line_survives_a_round_trip() {
        let from = Timestamp::parse("2026-10-02T00:00:00Z").unwrap();
        let full = BillLine {
            place: Place { file: "a.csv".into(), line: 7 },
            platform: "aws.bedrock".into(),
            account: Some("111122223333".into()),
            bucket: Some(Bucket::CacheRead),
            context_over: Some(200_000),
            period: Interval { from, to: from.plus(HOUR_US) },
            quantity: Some("1234567890.000000000001".parse().unwrap()),
            unit_price: Some("0.000000000000000003".parse().unwrap()),
            cost: "-0.000000000001".parse().unwrap(),
            currency: "USD".into(),
            category: Category::Credit,
            ..BillLine::default()
        };
        let least = BillLine { period: full.period, ..BillLine::default() };
        let lines = [("aws-cur2", full.clone()), ("azure-cost", least.clone())];
        let batch = bill_batch("b1", from, &lines).unwrap();
        assert_eq!(bill_lines(&batch).unwrap(), [full, least]);
    }
}
