//! Answers that are too large to hold: rows go out as they come, in constant memory. What is wrong after the first rows ends
//! the transfer before its end, so that nobody takes a part for the whole.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use axum::body::{Body, Bytes};
use futures::stream::try_unfold;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use super::encode::{self, Format};
use super::guest::Tally;
use crate::query::{Answer, QueryError};

/// Rows of a group in a Parquet file: a group is held until it is whole.
const GROUP_ROWS: usize = 65_536;

/// What was written and not yet sent.
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

/// Writes one answer piece by piece.
enum Writer {
    Json { rows: u64 },
    Ndjson,
    Csv { schema: SchemaRef, begun: bool },
    Arrow(Box<arrow::ipc::writer::StreamWriter<Sink>>, Sink),
    Parquet(Box<ArrowWriter<Sink>>, Sink),
}

impl Writer {
    fn new(format: Format, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let sink = Sink::default();
        Ok(match format {
            Format::Json => Self::Json { rows: 0 },
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv { schema: Arc::clone(schema), begun: false },
            Format::Arrow => {
                let writer = arrow::ipc::writer::StreamWriter::try_new(sink.clone(), schema)?;
                Self::Arrow(Box::new(writer), sink)
            }
            Format::Parquet => {
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(GROUP_ROWS)).build();
                let writer = ArrowWriter::try_new(sink.clone(), Arc::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer), sink)
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let batches = std::slice::from_ref(batch);
        match self {
            Self::Json { rows } => {
                let mut text = Vec::new();
                for row in encode::json_rows(batches)? {
                    if *rows > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(row.get().as_bytes());
                    *rows += 1;
                }
                Ok(text)
            }
            Self::Ndjson => encode::ndjson(batches),
            Self::Csv { schema, begun } => encode::csv_part(schema, batches, !std::mem::replace(begun, true)),
            Self::Arrow(writer, sink) => writer.write(batch).map(|()| sink.taken()),
            Self::Parquet(writer, sink) => {
                writer.write(batch)?;
                Ok(sink.taken())
            }
        }
    }

    fn finish(self, meta: &Map<String, Value>) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json { .. } => Ok(format!("],\"meta\":{}}}", json!(meta)).into_bytes()),
            Self::Ndjson => Ok(Vec::new()),
            Self::Csv { schema, begun } => {
                if begun {
                    Ok(Vec::new())
                } else {
                    encode::csv_part(&schema, &[], true)
                }
            }
            Self::Arrow(mut writer, sink) => writer.finish().map(|()| sink.taken()),
            Self::Parquet(writer, sink) => {
                writer.close()?;
                Ok(sink.taken())
            }
        }
    }
}

/// Where an answer is.
struct Rest {
    answer: Answer,
    held: std::vec::IntoIter<RecordBatch>,
    /// Gone once the end was written.
    writer: Option<Writer>,
    /// What stands before the first row.
    head: Vec<u8>,
    meta: Map<String, Value>,
    format: Format,
    tally: Arc<Tally>,
}

/// The answer as a body: the rows that are `held` already, then the others as they come.
///
/// # Errors
/// The columns can't be written in this format.
pub fn body(
    answer: Answer,
    held: Vec<RecordBatch>,
    format: Format,
    meta: Map<String, Value>,
    tally: Arc<Tally>,
) -> Result<Body, ArrowError> {
    let schema = answer.schema();
    let head = match format {
        Format::Json => format!("{{\"columns\":{},\"rows\":[", json!(encode::columns(&schema))).into_bytes(),
        _ => Vec::new(),
    };
    let writer = Some(Writer::new(format, &schema)?);
    let rest = Rest { answer: answer.streamed(), held: held.into_iter(), writer, head, meta, format, tally };
    Ok(Body::from_stream(try_unfold(rest, |rest| async {
        let tally = Arc::clone(&rest.tally);
        let next = piece(rest).await;
        if let Err(failure) = &next {
            tally.ended(failure.code());
        }
        next.map_err(|failure| io::Error::other(failure.to_string()))
    })))
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Form(#[from] ArrowError),
    #[error("there are more rows than an answer may have")]
    TooMany,
}

impl Failure {
    const fn code(&self) -> &'static str {
        match self {
            Self::Query(error) => error.code(),
            Self::Form(_) => "not_encodable",
            Self::TooMany => "too_many_rows",
        }
    }
}

/// The next bytes; none at the end.
async fn piece(mut rest: Rest) -> Result<Option<(Bytes, Rest)>, Failure> {
    if rest.writer.is_none() {
        return Ok(None);
    }
    let mut bytes = std::mem::take(&mut rest.head);
    while bytes.is_empty() {
        let batch = match rest.held.next() {
            Some(batch) => Some(batch),
            None => rest.answer.next().await?,
        };
        match (batch, &mut rest.writer) {
            (Some(batch), Some(writer)) => {
                rest.tally.more(batch.num_rows());
                bytes = writer.write(&batch)?;
            }
            _ => {
                // Only JSON can say at its end that rows are missing.
                if rest.answer.truncated() && rest.format != Format::Json {
                    return Err(Failure::TooMany);
                }
                rest.meta.insert("truncated".to_owned(), json!(rest.answer.truncated()));
                rest.meta.insert("elapsed_ms".to_owned(), json!(rest.answer.elapsed().as_millis()));
                rest.tally.ended("ok");
                let end = rest.writer.take().map(|writer| writer.finish(&rest.meta)).transpose()?.unwrap_or_default();
                return Ok((!end.is_empty()).then(|| (Bytes::from(end), rest)));
            }
        }
    }
    Ok(Some((Bytes::from(bytes), rest)))
}
