//! Ids in the settled tables. Random ids are most of a call's bytes: as bytes they take half of what their hex text
//! takes, so tables keep bytes and every surface shows text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::ColumnError;

/// Columns of hex text that are stored as bytes.
pub const ID_COLUMNS: [&str; 7] =
    ["call_id", "observation_id", "quarantine_id", "metric_id", "trace_id", "span_id", "parent_span_id"];

/// The schema of a table with these columns.
#[must_use]
pub fn stored_schema(columns: &SchemaRef) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| {
        if ID_COLUMNS.contains(&field.name().as_str()) {
            Arc::new(Field::new(field.name(), DataType::Binary, field.is_nullable()))
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batch as a table with the columns `table` stores it: ids as bytes where the table has bytes (older tables have
/// text), nested columns as they are.
///
/// # Errors
/// Arrow refuses.
pub fn stored(batch: &RecordBatch, table: &Schema) -> Result<RecordBatch, ColumnError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let wanted = table.field_with_name(field.name()).map_or(field.data_type(), |found| found.data_type());
        if *wanted == DataType::Binary && *column.data_type() == DataType::Utf8 {
            columns.push(to_bytes(column)?);
            fields.push(Arc::new(Field::new(field.name(), DataType::Binary, field.is_nullable())));
        } else {
            columns.push(Arc::clone(column));
            fields.push(Arc::clone(field));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn to_bytes(column: &ArrayRef) -> Result<ArrayRef, ColumnError> {
    let texts = cast(column, &DataType::Utf8)?;
    let mut bytes = BinaryBuilder::with_capacity(texts.len(), texts.len() * 16);
    let mut buffer = Vec::new();
    for text in texts.as_string::<i32>() {
        buffer.resize(text.map_or(0, |text| text.len() / 2), 0);
        match text {
            Some(text) if hex::decode_to_slice(text, &mut buffer).is_ok() => bytes.append_value(&buffer),
            // What is no hex text can't be an id of this kind; its own bytes still tell it from others.
            Some(text) => bytes.append_value(text),
            None => bytes.append_null(),
        }
    }
    Ok(Arc::new(bytes.finish()))
}

/// Bytes as lower-case hex text.
pub(super) fn to_text(column: &ArrayRef) -> Option<ArrayRef> {
    let bytes = cast(column, &DataType::Binary).ok()?;
    let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.len() * 32);
    let mut buffer = Vec::new();
    for bytes in bytes.as_binary_opt::<i32>()? {
        let Some(bytes) = bytes else {
            texts.append_null();
            continue;
        };
        buffer.resize(2 * bytes.len(), 0);
        hex::encode_to_slice(bytes, &mut buffer).ok()?;
        texts.append_value(std::str::from_utf8(&buffer).ok()?);
    }
    Some(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Row;
    use crate::model::{Observation, RecordId};

    #[test]
    fn ids_survive_as_bytes_and_half_as_long() {
        let rows = [
            Observation {
                observation_id: RecordId([0xab; 16]),
                trace_id: Some("0".repeat(32)),
                ..Observation::default()
            },
            Observation::default(),
        ];
        let batch = Observation::encode(rows.iter()).unwrap();
        let kept = stored(&batch, &stored_schema(&Observation::schema())).unwrap();
        assert_eq!(kept.column_by_name("observation_id").unwrap().as_binary::<i32>().value(0), [0xab; 16]);
        assert_eq!(Observation::decode(&kept).unwrap(), rows);
        // A table of the first format keeps text.
        assert_eq!(stored(&batch, &batch.schema()).unwrap(), batch);
    }
}
