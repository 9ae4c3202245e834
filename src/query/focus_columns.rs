//! The rows of a FOCUS export as Arrow columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};

use crate::finance::focus::{Cell, FocusExport, FocusRefusal, Kind, columns};
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Money};

/// One column for each of the version, all of them nullable.
pub fn batch(export: &FocusExport) -> Result<RecordBatch, FocusRefusal> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    let failed = |error: arrow::error::ArrowError| FocusRefusal::File(error.to_string());
    for column in columns(export.ask.version) {
        let cells = export.rows.iter().map(|row| (column.get)(row));
        let array: ArrayRef = match column.kind {
            Kind::Text | Kind::Json => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            }))),
            Kind::Instant => {
                let instants = cells.map(|cell| match cell {
                    Cell::Instant(at) => Some(at.0),
                    _ => None,
                });
                Arc::new(TimestampMicrosecondArray::from_iter(instants).with_timezone("UTC"))
            }
            Kind::Decimal => {
                let mut amounts = Vec::with_capacity(export.rows.len());
                for cell in cells {
                    let Cell::Decimal(number) = cell else {
                        amounts.push(None);
                        continue;
                    };
                    let stored =
                        Money(number).stored().filter(|stored| Money::from_stored(*stored) == Some(Money(number)));
                    let exact = stored.ok_or_else(|| FocusRefusal::Digits(format!("{} {number}", column.name)))?;
                    amounts.push(Some(exact));
                }
                let amounts = Decimal128Array::from_iter(amounts);
                Arc::new(amounts.with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE).map_err(failed)?)
            }
        };
        fields.push(Field::new(column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)
}
