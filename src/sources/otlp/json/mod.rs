//! OTLP/JSON into the same request types that protobuf gives: `lowerCamelCase` or `snake_case` keys, ids as hex of any
//! case or as base64, enums as numbers or names, 64-bit integers as text or numbers, unknown fields ignored. See
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! Only what is no JSON, no object, or holds no list where all its content should be, is refused. Any other damage costs
//! the element that has it (see [`Flaws`]), or is mended (`mend`).
//!
//! Bodies and attributes of log records, exemplars and buckets are content or ballast and are not decoded.

mod logs;
mod mend;
mod metrics;
mod traces;
mod value;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Map, Value};

use crate::model::{Flaws, Normalized, RecordRef};

use super::OtlpSpans;

/// What holds everything of a request.
const LISTS: [&str; 6] =
    ["resourceSpans", "resource_spans", "resourceMetrics", "resource_metrics", "resourceLogs", "resource_logs"];

/// Why a body is no OTLP/JSON request. The text names fields and expected types, never content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not one JSON value.
    #[error("not JSON, or nested too deeply")]
    NotJson,
    /// A field has another type than the protocol says.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An id is neither hex nor base64.
    #[error("`{0}` is neither hex nor base64")]
    BadId(&'static str),
}

impl JsonError {
    /// The stable word for counters and the quarantine.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::WrongType { .. } | Self::BadId(_) => "bad_otlp_json",
        }
    }
}

/// Decodes an `ExportTraceServiceRequest`. What can't be read of it is left out or mended, and counted in `flaws`.
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_traces(body: &[u8], flaws: &mut Flaws) -> Result<ExportTraceServiceRequest, JsonError> {
    Ok(traces::request(&object(body, &["resourceSpans", "resource_spans"], flaws)?, flaws))
}

/// Decodes an `ExportMetricsServiceRequest`, as tolerant as [`decode_traces`].
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_metrics(body: &[u8], flaws: &mut Flaws) -> Result<ExportMetricsServiceRequest, JsonError> {
    Ok(metrics::request(&object(body, &["resourceMetrics", "resource_metrics"], flaws)?, flaws))
}

/// Decodes an `ExportLogsServiceRequest` as far as records are counted, as tolerant as [`decode_traces`].
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_logs(body: &[u8], flaws: &mut Flaws) -> Result<ExportLogsServiceRequest, JsonError> {
    Ok(logs::request(&object(body, &["resourceLogs", "resource_logs"], flaws)?, flaws))
}

/// The request's object; `lists` are what it is read for, and must be lists where they are there.
fn object(body: &[u8], lists: &[&'static str], flaws: &mut Flaws) -> Result<Map<String, Value>, JsonError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let value = match serde_json::from_slice(body) {
        Ok(value) => value,
        // What ends early has no good end.
        Err(error) if error.is_eof() => return Err(JsonError::NotJson),
        Err(_) => serde_json::from_slice(&mend::mended(body, flaws)).map_err(|_| JsonError::NotJson)?,
    };
    let Value::Object(map) = value else {
        return Err(JsonError::WrongType { field: "request", expected: "an object" });
    };
    let is_wrong = |field: &&&'static str| map.get(**field).is_some_and(|list| !list.is_array() && !list.is_null());
    match lists.iter().find(is_wrong) {
        Some(field) => Err(JsonError::WrongType { field, expected: "a list" }),
        None => Ok(map),
    }
}

/// True for files that may hold requests as JSON.
pub(super) fn wants(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let known = [".json", ".jsonl", ".ndjson", ".log"].iter().any(|end| name.ends_with(end));
    !name.starts_with(['.', '_']) && (known || !name.contains('.')) && !name.is_empty()
}

/// Normalizes one JSON value of a file: a request of any signal.
pub(super) fn normalize(spans: &OtlpSpans, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
    let first = out.len();
    if let Err(error) = dispatch(spans, record, at, out) {
        out.push(Normalized::rejected(error.code(), error.to_string()));
    } else if out.len() == first {
        out.push(Normalized::Skipped("empty_request"));
    }
}

fn dispatch(spans: &OtlpSpans, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) -> Result<(), JsonError> {
    let mut flaws = Flaws::default();
    let map = object(record, &LISTS, &mut flaws)?;
    let has = |camel: &str, snake: &str| map.contains_key(camel) || map.contains_key(snake);
    let (traces, metrics, logs) = (
        has("resourceSpans", "resource_spans"),
        has("resourceMetrics", "resource_metrics"),
        has("resourceLogs", "resource_logs"),
    );
    if !(traces || metrics || logs || map.is_empty()) {
        return Err(JsonError::WrongType { field: "request", expected: "an object with resourceSpans" });
    }
    if traces {
        spans.traces(&traces::request(&map, &mut flaws), at, out);
    }
    if metrics {
        spans.metrics(&metrics::request(&map, &mut flaws), at, out);
    }
    if logs {
        spans.logs(&logs::request(&map, &mut flaws), at, out);
    }
    out.extend(flaws.left_out().map(|(reject, _)| Normalized::Rejected(reject)));
    Ok(())
}
