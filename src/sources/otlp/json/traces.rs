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

fn span(object: &Object) -> Result<Span, JsonError> {
    Ok(Span {
        trace_id: id(object, ("traceId", "trace_id"), 16)?,
        span_id: id(object, ("spanId", "span_id"), 8)?,
        parent_span_id: id(object, ("parentSpanId", "parent_span_id"), 8)?,
        name: text(object, ("name", "name"))?,
        kind: enumeration(object, ("kind", "kind"), &KINDS)?,
        start_time_unix_nano: unsigned(object, ("startTimeUnixNano", "start_time_unix_nano"))?,
        end_time_unix_nano: unsigned(object, ("endTimeUnixNano", "end_time_unix_nano"))?,
        attributes: attributes(object)?,
        events: list(object, ("events", "events"), |map| {
            Ok(Event {
                time_unix_nano: unsigned(map, ("timeUnixNano", "time_unix_nano"))?,
                name: text(map, ("name", "name"))?,
                attributes: attributes(map)?,
                ..Event::default()
            })
        })?,
        status: message(object, ("status", "status"), |map| {
            Ok(Status {
                message: text(map, ("message", "message"))?,
                code: enumeration(map, ("code", "code"), &CODES)?,
            })
        })?,
        ..Span::default()
    })
}
