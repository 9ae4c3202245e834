//! Hostile requests made up from the vocabulary of all conventions, as messages, as JSON and damaged; and the reader of
//! dictionaries in text. The time of each target is set by `POLYMETER_FUZZ_SECONDS`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use serde_json::json;

use super::vocabulary::{CONTENT, DICTIONARIES, Kind, NAMES, SCOPES, VOCABULARY};
use crate::model::Normalized;
use crate::sources::LogFormat;
use crate::sources::fuzz::{CANARY, at, check, damaged, damages, run};
use crate::sources::otlp::OtlpSpans;
use crate::sources::otlp::pyrepr::Tree;

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// Values of every type, those at the limits most of all.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        select(vec![
            "", "None", "null", "12", "12.0", "-1", "1e9", "True", "0", "[\"a\"]", "(1,", "{'a': 1}", "\u{e9}"
        ])
        .prop_map(text),
        ".{0,20}".prop_map(Value::StringValue),
        "[\\[{('\"a-z:, 0-9\\\\]{0,30}".prop_map(Value::StringValue),
        select(vec![0, 1, -1, i64::MIN, i64::MAX, 1_000_000_001]).prop_map(Value::IntValue),
        select(vec![0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, 1e300, -3.0, 4096.0]).prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::BytesValue),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let some = inner.prop_map(|value| AnyValue { value: Some(value) });
        prop_oneof![
            prop::collection::vec(some.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            prop::collection::vec(("[a-z_]{1,8}", some), 0..4).prop_map(|pairs| {
                let pair = |(key, value)| KeyValue { key, value: Some(value), ..KeyValue::default() };
                Value::KvlistValue(KeyValueList { values: pairs.into_iter().map(pair).collect() })
            }),
        ]
    })
}

fn fitting(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Words(words) => select(words.to_vec()).prop_map(text).boxed(),
        Kind::Count => prop_oneof![
            (0_i64..4000).prop_map(Value::IntValue),
            (0_u16..4000).prop_map(|n| Value::DoubleValue(f64::from(n))),
            (0_u16..4000).prop_map(|n| Value::StringValue(n.to_string())),
        ]
        .boxed(),
        Kind::Seconds => (0.0_f64..10.0).prop_map(Value::DoubleValue).boxed(),
        Kind::Truth => {
            prop_oneof![any::<bool>().prop_map(Value::BoolValue), select(vec!["True", "false"]).prop_map(text)].boxed()
        }
        Kind::Dictionary => {
            select(DICTIONARIES.to_vec()).prop_map(|dictionary| text(&dictionary.replace("CANARY", CANARY))).boxed()
        }
    }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let any = any_value().boxed();
    let pair = |(key, kind): (&'static str, Kind)| {
        prop_oneof![4 => fitting(kind), 1 => any.clone()].prop_map(move |value| (key, value)).boxed()
    };
    let known = VOCABULARY.map(pair);
    let known = (0..known.len()).prop_flat_map(move |at| known[at].clone());
    let content = select(CONTENT.to_vec()).prop_map(|key| (key, text(CANARY)));
    let pairs = (prop::collection::vec(known, 0..18), prop::collection::vec(content, 0..4));
    pairs.prop_map(|(known, content)| {
        // Keys of one list are unique by the protocol.
        let unique: BTreeMap<&str, Value> = known.into_iter().chain(content).collect();
        let pair = |(key, value): (&str, Value)| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        unique.into_iter().map(pair).collect()
    })
}

fn event() -> impl Strategy<Value = Event> {
    let names = vec![
        "exception",
        "gen_ai.content.completion.chunk",
        "First Token Stream Event",
        "ai.stream.firstChunk",
        "litellm.request.deployment_selected",
        "litellm.request.body_received",
        "gen_ai.user.message",
    ];
    (select(names), any::<u32>()).prop_map(|(name, after)| {
        let pair = |key: &str, value: &str| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(text(value)) }),
            ..KeyValue::default()
        };
        Event {
            name: name.to_owned(),
            time_unix_nano: 1_790_000_000_000_000_000 + u64::from(after),
            attributes: vec![
                pair("content", CANARY),
                pair("exception.message", CANARY),
                pair("exception.type", "a.Error"),
            ],
            ..Event::default()
        }
    })
}

fn span() -> impl Strategy<Value = Span> {
    let now = 1_790_000_000_000_000_000_u64;
    let time = prop_oneof![8 => (0_u64..1_000_000_000).prop_map(move |n| now + n), 1 => any::<u64>(), 1 => Just(0)];
    let id = |bytes: usize| prop_oneof![6 => prop::collection::vec(0_u8..4, bytes), 1 => prop::collection::vec(any::<u8>(), 0..40)];
    let messages = [
        "",
        "Error code: 429 - {'error': 'CANARY'}",
        "CANARY",
        "500 Internal CANARY",
        "'request_id': 'req_abcdefgh' CANARY",
    ];
    let ids = (Just(vec![1; 16]), id(8));
    let times = (time.clone(), time);
    let status = (0_i32..4, select(messages.to_vec()));
    let shape = (select(NAMES.to_vec()), 0_i32..6);
    (ids, times, status, shape, attributes(), prop::collection::vec(event(), 0..3)).prop_map(
        |((trace_id, parent_span_id), (start, end), (code, message), (name, kind), attributes, events)| Span {
            trace_id,
            parent_span_id,
            name: name.to_owned(),
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            events,
            status: Some(Status { message: message.replace("CANARY", CANARY), code }),
            ..Span::default()
        },
    )
}

/// Spans with an id each, from a scope.
fn spans() -> impl Strategy<Value = (&'static str, Vec<Span>)> {
    (select(SCOPES.to_vec()), prop::collection::vec(span(), 1..5)).prop_map(|(scope, mut spans)| {
        for (n, span) in (1_u8..).zip(&mut spans) {
            span.span_id = vec![n % 4, 0, 0, 0, 0, 0, 0, n];
        }
        (scope, spans)
    })
}

fn request(scope: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

fn rows(request: &ExportTraceServiceRequest) -> Vec<Normalized> {
    let mut out = Vec::new();
    OtlpSpans::default().traces(request, &at(), &mut out);
    out
}

#[test]
fn requests_of_made_up_spans() {
    run("otlp spans", &(spans(), any::<prop::sample::Index>()), |((scope, mut spans), turn)| {
        let plain = rows(&request(scope, spans.clone()));
        prop_assert_eq!(plain.len(), spans.len());
        check(&plain)?;
        // The order of spans and of their attributes means nothing.
        let turn = turn.index(spans.len());
        spans.rotate_left(turn);
        spans.iter_mut().for_each(|span| span.attributes.reverse());
        let mut turned = rows(&request(scope, spans));
        turned.rotate_right(turn);
        prop_assert_eq!(plain, turned);
        Ok(())
    });
}

#[test]
fn damaged_messages() {
    let cases = (spans(), damages(), prop::collection::vec(any::<u8>(), 0..200));
    run("otlp protobuf", &cases, |((scope, spans), damages, noise)| {
        let whole = request(scope, spans).encode_to_vec();
        for bytes in [damaged(whole, &damages), noise] {
            if let Ok(request) = ExportTraceServiceRequest::decode(bytes.as_slice()) {
                let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                let count: usize = spans.map(|scope| scope.spans.len()).sum();
                prop_assert_eq!(rows(&request).len(), count);
            }
            if let Ok(request) = ExportMetricsServiceRequest::decode(bytes.as_slice()) {
                OtlpSpans::default().metrics(&request, &at(), &mut Vec::new());
            }
        }
        Ok(())
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1)).collect();
    bits.chunks(6)
        .map(|six| (0..6).fold(0_u8, |n, at| (n << 1) | six.get(at).copied().unwrap_or(0)))
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}

fn json_value(value: &AnyValue) -> serde_json::Value {
    match value.value.as_ref() {
        None => json!({}),
        Some(Value::StringValue(text)) => json!({ "stringValue": text }),
        Some(Value::BoolValue(truth)) => json!({ "boolValue": truth }),
        Some(Value::IntValue(n)) => json!({ "intValue": n.to_string() }),
        Some(Value::DoubleValue(n)) if n.is_finite() => json!({ "doubleValue": n }),
        Some(Value::DoubleValue(n)) => json!({ "doubleValue": n.to_string() }),
        Some(Value::BytesValue(bytes)) => json!({ "bytesValue": base64(bytes) }),
        Some(Value::ArrayValue(array)) => {
            json!({ "arrayValue": { "values": array.values.iter().map(json_value).collect::<Vec<_>>() } })
        }
        Some(Value::KvlistValue(list)) => json!({ "kvlistValue": { "values": json_list(&list.values) } }),
        Some(_) => json!({}),
    }
}

fn json_list(list: &[KeyValue]) -> Vec<serde_json::Value> {
    let value = |entry: &KeyValue| entry.value.as_ref().map(json_value);
    list.iter().map(|entry| json!({ "key": entry.key, "value": value(entry) })).collect()
}

fn json_span(span: &Span) -> serde_json::Value {
    let event = |event: &Event| json!({ "name": event.name, "timeUnixNano": event.time_unix_nano, "attributes": json_list(&event.attributes) });
    let status = span.status.as_ref().map(|status| json!({ "message": status.message, "code": status.code }));
    json!({
        "traceId": hex(&span.trace_id), "spanId": hex(&span.span_id), "parentSpanId": hex(&span.parent_span_id),
        "name": span.name, "kind": span.kind, "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano, "attributes": json_list(&span.attributes),
        "events": span.events.iter().map(event).collect::<Vec<_>>(), "status": status,
    })
}

#[test]
fn json_requests() {
    let cases = (spans(), damages(), prop::collection::vec(any::<u8>(), 0..200));
    run("otlp json", &cases, |((scope, mut spans), damages, noise)| {
        // Longer ids than the protocol's are no hex of any id.
        spans.iter_mut().for_each(|span| span.parent_span_id.truncate(8));
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "scope": { "name": scope }, "spans": spans.iter().map(json_span).collect::<Vec<_>>() }] }] });
        let bytes = serde_json::to_vec(&body).unwrap();
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            OtlpSpans::default().normalize(bytes, &at(), &mut out);
            out
        };
        let found = read(&bytes);
        check(&found)?;
        prop_assert_eq!(&found, &rows(&request(scope, spans)));
        prop_assert!(!read(&damaged(bytes, &damages)).is_empty());
        prop_assert!(!read(&noise).is_empty());
        Ok(())
    });
}

fn tree() -> impl Strategy<Value = Tree<'static>> {
    let text = prop_oneof!["[a-z_]{1,12}", ".{0,12}", "['\"\\\\{}\\[\\]:,\n\t]{0,8}"];
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(|n| Tree::Number(Cow::Owned(n.to_string()))),
        text.clone().prop_map(|text| Tree::Text(Cow::Owned(text))),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let key = text.clone().prop_map(Cow::Owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::List),
            prop::collection::vec((key, inner), 0..5).prop_map(Tree::Map),
        ]
    })
}

/// The tree as Python or as JSON prints it.
fn print(tree: &Tree<'_>, python: bool, out: &mut String) {
    let quoted = |text: &str, out: &mut String| {
        if !python {
            return out.push_str(&serde_json::to_string(text).unwrap());
        }
        // Python takes the quote that needs no escape.
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        out.push(quote);
        for c in text.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if c == quote => out.extend(['\\', c]),
                c if u32::from(c) < 0x20 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        out.push(quote);
    };
    let words = if python { ["None", "True", "False"] } else { ["null", "true", "false"] };
    match tree {
        Tree::Null => out.push_str(words[0]),
        Tree::Bool(truth) => out.push_str(words[if *truth { 1 } else { 2 }]),
        Tree::Number(n) => out.push_str(n),
        Tree::Text(text) => quoted(text, out),
        Tree::List(items) => {
            out.push('[');
            items.iter().enumerate().for_each(|(at, item)| {
                out.push_str(if at == 0 { "" } else { ", " });
                print(item, python, out);
            });
            out.push(']');
        }
        Tree::Map(entries) => {
            out.push('{');
            entries.iter().enumerate().for_each(|(at, (key, value))| {
                out.push_str(if at == 0 { "" } else { ", " });
                quoted(key, out);
                out.push_str(": ");
                print(value, python, out);
            });
            out.push('}');
        }
    }
}

#[test]
fn dictionaries_in_text() {
    run("dictionaries", &(tree(), any::<bool>(), damages(), ".{0,60}"), |(tree, python, damages, noise)| {
        let mut text = String::new();
        print(&tree, python, &mut text);
        prop_assert_eq!(Tree::parse(&text), Some(tree), "{}", text);
        let broken = damaged(text.into_bytes(), &damages);
        for text in [String::from_utf8_lossy(&broken).into_owned(), noise] {
            if let Some(tree) = Tree::parse(&text) {
                crate::sources::otlp::usage_object::read(&tree);
            }
        }
        Ok(())
    });
}
