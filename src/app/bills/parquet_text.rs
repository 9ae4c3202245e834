//! A Parquet export as the lines of CSV that it stands for, so that it is read and checked like one. A row's line is its
//! number plus one, as if the names of the columns stood in line 1.

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use csv::WriterBuilder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use crate::model::Timestamp;

/// The first bytes of such a file.
pub const MAGIC: &[u8] = b"PAR1";

/// The rows as CSV.
pub fn as_csv(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).context("this is no Parquet file")?;
    let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(&names)?;
    for batch in reader.build().context("the Parquet file can't be read")? {
        let batch = batch.context("the Parquet file is damaged")?;
        let columns: Vec<Vec<String>> = batch.columns().iter().map(texts).collect::<anyhow::Result<_>>()?;
        for row in 0..batch.num_rows() {
            writer.write_record(columns.iter().map(|column| column.get(row).map_or("", String::as_str)))?;
        }
    }
    writer.into_inner().context("the rows can't be read")
}

/// Cells as text; nothing for NULL. Line breaks would move the lines behind.
fn texts(column: &ArrayRef) -> anyhow::Result<Vec<String>> {
    let rows = 0..column.len();
    Ok(match column.data_type() {
        // The shortest digits that are this number, never an exponent.
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            rows.map(|row| if values.is_null(row) { String::new() } else { values.value(row).to_string() }).collect()
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            rows.map(|row| if values.is_null(row) { String::new() } else { values.value(row).to_string() }).collect()
        }
        DataType::Timestamp(..) => {
            let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            let plain = cast(column, &micros)?;
            let values = plain.as_primitive::<TimestampMicrosecondType>();
            rows.map(|row| if values.is_null(row) { String::new() } else { Timestamp(values.value(row)).to_string() })
                .collect()
        }
        DataType::Map(..) => {
            let maps = column.as_map();
            rows.map(|row| if maps.is_null(row) { Ok(String::new()) } else { object(&maps.value(row)) })
                .collect::<anyhow::Result<_>>()?
        }
        _ => {
            let shown = ArrayFormatter::try_new(column, &FormatOptions::default().with_null(""))?;
            rows.map(|row| shown.value(row).to_string().replace(['\n', '\r'], " ")).collect()
        }
    })
}

/// A map as a JSON object.
fn object(entries: &arrow::array::StructArray) -> anyhow::Result<String> {
    let text = |at: usize| cast(entries.column(at), &DataType::Utf8);
    let (keys, values) = (text(0)?, text(1)?);
    let pairs = keys.as_string::<i32>().iter().zip(values.as_string::<i32>());
    let map: Map<String, Value> =
        pairs.filter_map(|(key, value)| Some((key?.to_owned(), value.map_or(Value::Null, Value::from)))).collect();
    Ok(Value::Object(map).to_string())
}
