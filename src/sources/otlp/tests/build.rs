//! Requests in few words.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::model::{Normalized, Observation, RecordRef, Timestamp};
use crate::sources::otlp::{OtlpConfig, OtlpSpans};

pub(super) const START: u64 = 1_700_000_000_000_000_000;

pub(super) fn at() -> RecordRef<'static> {
    let now = Timestamp::parse("2027-01-01T00:00:00Z").unwrap();
    RecordRef { source: "test", object: "peer", position: 0, object_time: now, observed_at: now }
}

pub(super) fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

pub(super) fn int(n: i64) -> AnyValue {
    AnyValue { value: Some(Value::IntValue(n)) }
}

pub(super) fn double(n: f64) -> AnyValue {
    AnyValue { value: Some(Value::DoubleValue(n)) }
}

pub(super) fn truth(b: bool) -> AnyValue {
    AnyValue { value: Some(Value::BoolValue(b)) }
}

pub(super) fn array(items: &[&str]) -> AnyValue {
    AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: items.iter().map(|i| text(i)).collect() })) }
}

pub(super) fn pairs(list: Vec<(&str, AnyValue)>) -> Vec<KeyValue> {
    list.into_iter()
        .map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() })
        .collect()
}

/// A client span of 100 ms with ids 1 and `id`.
pub(super) fn span(id: u8, name: &str, attributes: Vec<(&str, AnyValue)>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        name: name.to_owned(),
        kind: 3,
        start_time_unix_nano: START,
        end_time_unix_nano: START + 100_000_000,
        attributes: pairs(attributes),
        ..Span::default()
    }
}

pub(super) fn child(mut span: Span, parent: u8) -> Span {
    span.parent_span_id = vec![parent; 8];
    span
}

pub(super) fn failed(mut span: Span, message: &str) -> Span {
    span.status = Some(Status { message: message.to_owned(), code: 2 });
    span
}

pub(super) fn event(name: &str, after_ms: u64, attributes: Vec<(&str, AnyValue)>) -> Event {
    Event {
        name: name.to_owned(),
        time_unix_nano: START + after_ms * 1_000_000,
        attributes: pairs(attributes),
        ..Event::default()
    }
}

pub(super) fn request(scope: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = vec![("service.name", text("shop")), ("deployment.environment.name", text("prod"))];
    let scope = InstrumentationScope { name: scope.to_owned(), version: "1.2".to_owned(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: pairs(resource), ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

pub(super) fn rows(request: &ExportTraceServiceRequest) -> Vec<Normalized> {
    let mut out = Vec::new();
    OtlpSpans::new(OtlpConfig::default()).traces(request, &at(), &mut out);
    out
}

/// The observation of the only span.
pub(super) fn one(scope: &str, span: Span) -> Observation {
    let mut rows = rows(&request(scope, vec![span]));
    assert_eq!(rows.len(), 1);
    match rows.remove(0) {
        Normalized::Observation(observation) => *observation,
        other => panic!("{other:?}"),
    }
}

/// Input, cache read, cache write, output, reasoning.
pub(super) type Tokens = (Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>);
pub(super) type Pairs = Vec<(&'static str, AnyValue)>;

/// The reading of a span that must be a call.
pub(super) fn call(scope: &str, attributes: Pairs) -> Observation {
    let o = one(scope, span(2, "x", attributes));
    assert!(o.is_call(), "{scope}: {o:#?}");
    o
}

pub(super) fn tokens(o: &Observation) -> Tokens {
    let u = o.usage;
    (u.input, u.cache_read, u.cache_write, u.output, u.reasoning)
}

pub(super) fn tag<'o>(o: &'o Observation, key: &str) -> Option<&'o str> {
    o.tags.get(key).map(String::as_str)
}
