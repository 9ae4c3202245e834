//! OTLP/JSON into the same request types that protobuf gives: `lowerCamelCase` or `snake_case` keys, ids as hex of any
//! case or as base64, enums as numbers or names, 64-bit integers as text or numbers, unknown fields ignored. See
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! Bodies and attributes of log records, exemplars and buckets are content or ballast and are not decoded.

mod logs;
mod metrics;
mod traces;
mod value;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Map, Value};

use crate::model::{Normalized, RecordRef, Reject};

use super::OtlpSpans;

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

/// Decodes an `ExportTraceServiceRequest`.
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_traces(body: &[u8]) -> Result<ExportTraceServiceRequest, JsonError> {
    traces::request(&object(body)?)
}

/// Decodes an `ExportMetricsServiceRequest`.
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_metrics(body: &[u8]) -> Result<ExportMetricsServiceRequest, JsonError> {
    metrics::request(&object(body)?)
}

/// Decodes an `ExportLogsServiceRequest` as far as records are counted.
///
/// # Errors
/// [`JsonError`]; the same bytes fail again, so the sender must not retry.
pub fn decode_logs(body: &[u8]) -> Result<ExportLogsServiceRequest, JsonError> {
    logs::request(&object(body)?)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body).map_err(|_| JsonError::NotJson)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::WrongType { field: "request", expected: "an object" }),
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
        out.push(Normalized::Rejected(Reject { reason: error.code(), detail: error.to_string() }));
    } else if out.len() == first {
        out.push(Normalized::Skipped("empty_request"));
    }
}

fn dispatch(spans: &OtlpSpans, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) -> Result<(), JsonError> {
    let map = object(record)?;
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
        spans.traces(&traces::request(&map)?, at, out);
    }
    if metrics {
        spans.metrics(&metrics::request(&map)?, at, out);
    }
    if logs {
        spans.logs(&logs::request(&map)?, at, out);
    }
    Ok(())
}
