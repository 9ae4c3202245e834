//! Answers in the formats that clients ask for.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Format of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object with columns, rows and meta.
    #[default]
    Json,
    /// One JSON object a row.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// One Parquet file.
    Parquet,
}

impl Format {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Json, "json", "application/json"),
        (Self::Ndjson, "ndjson", "application/x-ndjson"),
        (Self::Csv, "csv", "text/csv"),
        (Self::Arrow, "arrow", "application/vnd.apache.arrow.stream"),
        (Self::Parquet, "parquet", "application/vnd.apache.parquet"),
    ];

    /// Reads a `format` value.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name)).map(|(format, ..)| *format)
    }

    /// Reads an `Accept` header: the first type it names that we have.
    #[must_use]
    pub fn from_accept(accept: &str) -> Option<Self> {
        accept.split(',').find_map(|part| {
            let media = part.split(';').next().unwrap_or_default().trim();
            Self::ALL.iter().find(|(.., known)| *known == media).map(|(format, ..)| *format)
        })
    }

    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        Self::ALL.iter().find(|(format, ..)| *format == self).map_or("application/json", |(.., media)| media)
    }
}

/// Names and types of the columns.
#[must_use]
pub fn columns(schema: &SchemaRef) -> Vec<Value> {
    let columns = schema.fields().iter();
    columns.map(|field| json!({"name": field.name(), "type": field.data_type().to_string()})).collect()
}

/// One JSON object a row and line; NULL is written out.
///
/// # Errors
/// A column can't be written as JSON.
pub fn ndjson(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// The rows as raw JSON objects.
///
/// # Errors
/// A column can't be written as JSON.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<Box<RawValue>>, ArrowError> {
    let lines = ndjson(batch)?;
    lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| ArrowError::JsonError(error.to_string())))
        .collect()
}

/// Lines of a CSV, under a header line if it is the first part. Lists and maps are written as JSON text.
///
/// # Errors
/// A column can't be written as CSV.
pub fn csv_part(batch: &RecordBatch, first: bool) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(first).build(Vec::new());
    writer.write(&flatten(batch)?)?;
    Ok(writer.into_inner())
}

/// A column as JSON text; NULL stays NULL.
///
/// # Errors
/// It can't be written as JSON.
pub fn json_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let single = RecordBatch::try_from_iter([("v", column.clone())])?;
    let rows = json_rows(&single)?;
    let text = rows.iter().map(|row| {
        let inner = row.get().strip_prefix("{\"v\":").and_then(|text| text.strip_suffix('}'));
        inner.filter(|text| *text != "null").map(str::to_owned)
    });
    Ok(std::sync::Arc::new(text.collect::<StringArray>()))
}

/// Nested columns as JSON text.
fn flatten(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    use arrow::datatypes::{Field, Schema};
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
            continue;
        }
        columns.push(json_column(column)?);
        fields.push(Field::new(field.name(), DataType::Utf8, true));
    }
    RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns)
}
