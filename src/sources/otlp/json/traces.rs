//! `ExportTraceServiceRequest` of OTLP/JSON.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::Value;

use super::value::{
    Object, attributes, enumeration, field, id, list, message, or_absent, resource, scope, text, unsigned,
};
use crate::model::Flaws;

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
pub(super) fn request(object: &Object, flaws: &mut Flaws) -> ExportTraceServiceRequest {
    let resource_spans = list(object, ("resourceSpans", "resource_spans"), flaws, |map, flaws| {
        Ok(ResourceSpans {
            resource: resource(map, flaws),
            scope_spans: list(map, ("scopeSpans", "scope_spans"), flaws, |map, flaws| {
                Ok(ScopeSpans {
                    scope: scope(map, flaws),
                    spans: list(map, ("spans", "spans"), flaws, |map, flaws| Ok(span(map, flaws))),
                    ..ScopeSpans::default()
                })
            }),
            ..ResourceSpans::default()
        })
    });
    ExportTraceServiceRequest { resource_spans }
}

/// A span. Tolerant: a field that can't be read is absent, because one damaged span must not cost the others of its
/// request; a span without a readable time is rejected later, alone. So is not one with a malformed id: as in protobuf
/// it counts as a span without one.
fn span(object: &Object, flaws: &mut Flaws) -> Span {
    Span {
        trace_id: or_absent(id(object, ("traceId", "trace_id"), 16), flaws),
        span_id: or_absent(id(object, ("spanId", "span_id"), 8), flaws),
        parent_span_id: or_absent(id(object, ("parentSpanId", "parent_span_id"), 8), flaws),
        trace_state: or_absent(text(object, ("traceState", "trace_state")), flaws),
        name: or_absent(text(object, ("name", "name")), flaws),
        kind: or_absent(enumeration(object, ("kind", "kind"), &KINDS), flaws),
        start_time_unix_nano: or_absent(unsigned(object, ("startTimeUnixNano", "start_time_unix_nano")), flaws),
        end_time_unix_nano: or_absent(unsigned(object, ("endTimeUnixNano", "end_time_unix_nano")), flaws),
        attributes: attributes(object, flaws),
        events: events(object, flaws),
        status: status(object, flaws),
        ..Span::default()
    }
}

/// Those that are objects; of a span that is kept, the others are no loss to tell of one by one.
fn events(object: &Object, flaws: &mut Flaws) -> Vec<Event> {
    match field(object, ("events", "events")) {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            if !items.iter().all(Value::is_object) {
                flaws.mend("wrong_type");
            }
            items.iter().filter_map(Value::as_object).map(|map| event(map, flaws)).collect()
        }
        Some(_) => {
            flaws.mend("wrong_type");
            Vec::new()
        }
    }
}

fn event(object: &Object, flaws: &mut Flaws) -> Event {
    Event {
        time_unix_nano: or_absent(unsigned(object, ("timeUnixNano", "time_unix_nano")), flaws),
        name: or_absent(text(object, ("name", "name")), flaws),
        attributes: attributes(object, flaws),
        ..Event::default()
    }
}

fn status(object: &Object, flaws: &mut Flaws) -> Option<Status> {
    let read = |map: &Object| {
        Ok(Status {
            message: or_absent(text(map, ("message", "message")), flaws),
            code: or_absent(enumeration(map, ("code", "code"), &CODES), flaws),
        })
    };
    let status = message(object, ("status", "status"), read);
    or_absent(status, flaws)
}
