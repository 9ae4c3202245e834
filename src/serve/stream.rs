//! Answers that are too large to hold: rows go out as they come, in constant memory. What is wrong after the first rows ends
//! the transfer before its end, so that nobody takes a part for the whole.

use std::io;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use axum::body::{Body, Bytes};
use futures::stream::try_unfold;
use serde_json::{Map, Value, json};

use super::encode::Format;
use super::writer::Writer;
use crate::access::Line;
use crate::query::{Answer, QueryError};

/// Code of a value that a format has no form for.
pub const NOT_ENCODABLE: &str = "not_encodable";

/// Where an answer is.
struct Rest {
    answer: Answer,
    held: std::vec::IntoIter<RecordBatch>,
    /// Gone once the end was written.
    writer: Option<Writer>,
    /// What stands before the first row, until it is sent.
    head: Vec<u8>,
    meta: Map<String, Value>,
    format: Format,
    /// Of the audit log: written when the answer has ended.
    line: Option<Line>,
}

impl Rest {
    fn ended(&mut self, code: &str) {
        if let Some(line) = &mut self.line {
            line.ended(code);
        }
    }
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
    mut line: Option<Line>,
) -> Result<Body, ArrowError> {
    let writer = Writer::new(format, answer.schema());
    if let (Err(_), Some(line)) = (&writer, &mut line) {
        line.ended(NOT_ENCODABLE);
    }
    let writer = writer?;
    let head = writer.head();
    let rest =
        Rest { answer: answer.streamed(), held: held.into_iter(), writer: Some(writer), head, meta, format, line };
    Ok(Body::from_stream(try_unfold(rest, |mut rest| async {
        let next = piece(&mut rest).await.inspect_err(|failure| rest.ended(failure.code()));
        next.map(|bytes| bytes.map(|bytes| (bytes, rest))).map_err(|failure| io::Error::other(failure.to_string()))
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
            Self::Form(_) => NOT_ENCODABLE,
            Self::TooMany => "too_many_rows",
        }
    }
}

/// The next bytes; none at the end.
async fn piece(rest: &mut Rest) -> Result<Option<Bytes>, Failure> {
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
                rest.line.iter_mut().for_each(|line| line.more(batch.num_rows()));
                bytes = writer.write(&batch)?;
            }
            _ => {
                // Only JSON can say at its end that rows are missing.
                if rest.answer.truncated() && rest.format != Format::Json {
                    return Err(Failure::TooMany);
                }
                rest.meta.insert("truncated".to_owned(), json!(rest.answer.truncated()));
                rest.meta.insert("elapsed_ms".to_owned(), json!(rest.answer.elapsed().as_millis()));
                rest.ended("ok");
                let end = rest.writer.take().map(|writer| writer.finish(&rest.meta)).transpose()?.unwrap_or_default();
                return Ok((!end.is_empty()).then(|| Bytes::from(end)));
            }
        }
    }
    Ok(Some(Bytes::from(bytes)))
}
