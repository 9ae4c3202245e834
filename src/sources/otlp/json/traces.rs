//! `ExportTraceServiceRequest` of OTLP/JSON.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::JsonError;
use super::value::{Object, attributes, enumeration, id, list, message, resource, scope, text, unsigned};

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Reads a request; links are ballast and not decoded.
pub(super) fn request(object: &Object) -> Result<ExportTraceServiceRequest, JsonError> {
    let resource_spans = list(object, ("resourceSpans", "resource_spans"), |map| {
        Ok(ResourceSpans {
            resource: resource(map)?,
            scope_spans: list(map, ("scopeSpans", "scope_spans"), |map| {
                Ok(ScopeSpans {
                    scope: scope(map)?,
                    spans: list(map, ("spans", "spans"), span)?,
                    ..ScopeSpans::default()
                })
            })?,
            ..ResourceSpans::default()
        })
    })?;
    Ok(ExportTraceServiceRequest { resource_spans })
}

/// A span. Tolerant: a field that can't be read is absent, because one damaged span must not cost the others of its
/// request; a span without a readable time is rejected later, alone.
fn span(object: &Object) -> Result<Span, JsonError> {
    Ok(Span {
        trace_id: id(object, ("traceId", "trace_id"), 16).unwrap_or_default(),
        span_id: id(object, ("spanId", "span_id"), 8).unwrap_or_default(),
        parent_span_id: id(object, ("parentSpanId", "parent_span_id"), 8).unwrap_or_default(),
        trace_state: text(object, ("traceState", "trace_state")).unwrap_or_default(),
        name: text(object, ("name", "name")).unwrap_or_default(),
        kind: enumeration(object, ("kind", "kind"), &KINDS).unwrap_or_default(),
        start_time_unix_nano: unsigned(object, ("startTimeUnixNano", "start_time_unix_nano")).unwrap_or_default(),
        end_time_unix_nano: unsigned(object, ("endTimeUnixNano", "end_time_unix_nano")).unwrap_or_default(),
        attributes: attributes(object),
        events: list(object, ("events", "events"), |map| Ok(event(map))).unwrap_or_default(),
        status: message(object, ("status", "status"), |map| {
            Ok(Status {
                message: text(map, ("message", "message")).unwrap_or_default(),
                code: enumeration(map, ("code", "code"), &CODES).unwrap_or_default(),
            })
        })
        .unwrap_or_default(),
        ..Span::default()
    })
}

fn event(object: &Object) -> Event {
    Event {
        time_unix_nano: unsigned(object, ("timeUnixNano", "time_unix_nano")).unwrap_or_default(),
        name: text(object, ("name", "name")).unwrap_or_default(),
        attributes: attributes(object),
        ..Event::default()
    }
}
