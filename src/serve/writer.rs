//! An answer in the format that was asked for, written piece by piece.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use super::encode::{self, Format};

/// Rows of a group in a Parquet file: a group is held until it is whole.
const GROUP_ROWS: usize = 65_536;

/// What was written and not yet taken.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one answer.
pub struct Writer {
    schema: SchemaRef,
    rows: u64,
    form: Form,
}

enum Form {
    Json,
    Ndjson,
    Csv,
    Arrow(Box<StreamWriter<Sink>>, Sink),
    Parquet(Box<ArrowWriter<Sink>>, Sink),
}

impl Writer {
    /// Writes rows of these columns.
    ///
    /// # Errors
    /// A column has no form in this format.
    pub fn new(format: Format, schema: SchemaRef) -> Result<Self, ArrowError> {
        let sink = Sink::default();
        let form = match format {
            Format::Json => Form::Json,
            Format::Ndjson => Form::Ndjson,
            Format::Csv => Form::Csv,
            Format::Arrow => Form::Arrow(Box::new(StreamWriter::try_new(sink.clone(), &schema)?), sink),
            Format::Parquet => {
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(GROUP_ROWS)).build();
                let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(&schema), Some(properties))?;
                Form::Parquet(Box::new(writer), sink)
            }
        };
        Ok(Self { schema, rows: 0, form })
    }

    /// What stands before the first row.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        match &self.form {
            Form::Json => format!("{{\"columns\":{},\"rows\":[", json!(encode::columns(&self.schema))).into_bytes(),
            _ => Vec::new(),
        }
    }

    /// The next rows; nothing where they wait for others of their group.
    ///
    /// # Errors
    /// A value has no form in this format.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let first = self.rows == 0;
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        match &mut self.form {
            Form::Json => {
                let mut text = Vec::new();
                for row in encode::json_rows(batch)? {
                    if !first || !text.is_empty() {
                        text.push(b',');
                    }
                    text.extend_from_slice(row.get().as_bytes());
                }
                Ok(text)
            }
            Form::Ndjson => encode::ndjson(batch),
            Form::Csv if batch.num_rows() == 0 => Ok(Vec::new()),
            Form::Csv => encode::csv_part(batch, first),
            Form::Arrow(writer, sink) => writer.write(batch).map(|()| sink.taken()),
            Form::Parquet(writer, sink) => writer.write(batch).map(|()| sink.taken()).map_err(ArrowError::from),
        }
    }

    /// What stands behind the last row. Only JSON has a place for `meta`.
    ///
    /// # Errors
    /// Rows that waited have no form in this format.
    pub fn finish(self, meta: &Map<String, Value>) -> Result<Vec<u8>, ArrowError> {
        match self.form {
            Form::Json => Ok(format!("],\"meta\":{}}}", json!(meta)).into_bytes()),
            Form::Csv if self.rows == 0 => encode::csv_part(&RecordBatch::new_empty(self.schema), true),
            Form::Ndjson | Form::Csv => Ok(Vec::new()),
            Form::Arrow(mut writer, sink) => writer.finish().map(|()| sink.taken()),
            Form::Parquet(writer, sink) => {
                writer.close()?;
                Ok(sink.taken())
            }
        }
    }
}
