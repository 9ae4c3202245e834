//! OTLP building blocks: attributes, spans, and export requests with one resource each, as exporters send them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::text::nanos;
use crate::model::Timestamp;

/// Spans in one export request; the default of OpenTelemetry's batch processor.
const EXPORT_SPANS: usize = 512;

/// Who emits a span: process, environment and instrumentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Emitter {
    pub(super) service: &'static str,
    pub(super) environment: &'static str,
    pub(super) scope: &'static str,
    pub(super) scope_version: &'static str,
    pub(super) schema_url: &'static str,
}

impl Emitter {
    /// LiteLLM writes its environment under the older name, and no scope version.
    pub(super) const GATEWAY_SERVICE: &'static str = "litellm";

    fn resource(&self) -> Resource {
        let mut attributes = vec![
            text("telemetry.sdk.language", "python"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", if self.service == Self::GATEWAY_SERVICE { "1.33.1" } else { "1.45.2" }),
            text("service.name", self.service),
        ];
        if self.service == Self::GATEWAY_SERVICE {
            attributes.push(text("deployment.environment", self.environment));
            attributes.push(text("model_id", self.service));
        } else {
            attributes.push(text("deployment.environment.name", self.environment));
        }
        Resource { attributes, ..Resource::default() }
    }
}

/// Spans by who emits them.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<Emitter, Vec<Span>>);

impl Spans {
    /// Adds one span.
    pub(super) fn push(&mut self, emitter: Emitter, span: Span) {
        self.0.entry(emitter).or_default().push(span);
    }

    /// The export requests that carry all of them.
    pub(super) fn into_requests(self) -> Vec<ExportTraceServiceRequest> {
        let mut requests = Vec::new();
        for (emitter, mut spans) in self.0 {
            while !spans.is_empty() {
                let rest = spans.split_off(spans.len().min(EXPORT_SPANS));
                let scope = InstrumentationScope {
                    name: emitter.scope.to_owned(),
                    version: emitter.scope_version.to_owned(),
                    ..InstrumentationScope::default()
                };
                let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: emitter.schema_url.to_owned() };
                let resource_spans = ResourceSpans {
                    resource: Some(emitter.resource()),
                    scope_spans: vec![scope_spans],
                    ..ResourceSpans::default()
                };
                requests.push(ExportTraceServiceRequest { resource_spans: vec![resource_spans] });
                spans = rest;
            }
        }
        requests
    }
}

/// Place of a span in its trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
}

/// A span without attributes; `error` is the status message of a failed one, `ok` sets the status of a good one.
pub(super) fn span(
    name: &str,
    kind: SpanKind,
    at: Position,
    (start, end): (Timestamp, Timestamp),
    status: Option<Result<(), String>>,
) -> Span {
    let status = match status {
        None => Status::default(),
        Some(Ok(())) => Status { code: i32::from(StatusCode::Ok), message: String::new() },
        Some(Err(message)) => Status { code: i32::from(StatusCode::Error), message },
    };
    Span {
        trace_id: at.trace.to_vec(),
        span_id: at.span.to_vec(),
        parent_span_id: at.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: 256,
        name: name.to_owned(),
        kind: i32::from(kind),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        status: Some(status),
        ..Span::default()
    }
}

/// A string attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// An integer attribute.
pub(super) fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// A floating point attribute.
pub(super) fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

/// A boolean attribute.
pub(super) fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// An attribute that is a list of one string.
pub(super) fn list(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    attribute(key, Value::ArrayValue(ArrayValue { values: vec![value] }))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
