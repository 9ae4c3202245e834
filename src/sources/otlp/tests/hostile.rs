//! Damaged and hostile requests: nothing panics, nothing good is lost beside something bad.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::prelude::*;
use prost::Message;

use super::build::{array, at, child, double, int, one, request, rows, span, text, truth};
use crate::model::{Normalized, RecordRef};
use crate::sources::LogFormat;
use crate::sources::otlp::{JsonError, OtlpConfig, OtlpSpans, decode_traces};

fn read(record: &str) -> Vec<Normalized> {
    let mut out = Vec::new();
    OtlpSpans::new(OtlpConfig::default()).normalize(record.as_bytes(), &at(), &mut out);
    out
}

#[test]
fn wrong_types_of_counts_are_absent_and_never_zero() {
    let o = one(
        "x",
        span(
            2,
            "chat",
            vec![
                ("gen_ai.operation.name", text("chat")),
                ("gen_ai.usage.input_tokens", int(-5)),
                ("gen_ai.usage.output_tokens", double(1.5)),
                ("gen_ai.usage.cache_read.input_tokens", truth(true)),
                ("gen_ai.usage.reasoning_tokens", array(&["1"])),
                ("gen_ai.usage.cache_creation.input_tokens", double(f64::NAN)),
            ],
        ),
    );
    assert!(o.usage.is_empty());
}

#[test]
fn an_impossible_span_is_rejected_alone() {
    let chat = |id, extra: Vec<(&'static str, AnyValue)>| {
        let mut attributes = vec![("gen_ai.operation.name", text("chat"))];
        attributes.extend(extra);
        span(id, "chat", attributes)
    };
    let absurd = chat(2, vec![("gen_ai.usage.input_tokens", int(i64::MAX))]);
    let mut timeless = chat(3, vec![]);
    timeless.start_time_unix_nano = 0;
    let mut backwards = chat(4, vec![]);
    backwards.end_time_unix_nano = 1;
    let mut nameless = chat(5, vec![]);
    nameless.trace_id = vec![0; 16];
    nameless.span_id.clear();
    let hour = chat(
        6,
        vec![
            ("gen_ai.usage.input_tokens", int(10)),
            ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens", int(4)),
        ],
    );
    let rows = rows(&request("x", vec![absurd, timeless, backwards, nameless, hour]));
    let reason = |row: &Normalized| match row {
        Normalized::Rejected(reject) => reject.reason,
        Normalized::Observation(o) if o.trace_id.is_none() => "no_trace",
        Normalized::Observation(o) if o.duration_ms.is_none() => "no_duration",
        _ => "other",
    };
    let reasons: Vec<_> = rows.iter().map(reason).collect();
    assert_eq!(reasons, ["absurd_tokens", "bad_time", "no_duration", "no_trace", "hour_exceeds_write"]);
}

#[test]
fn ids_are_stable_and_differ() {
    let make = |id| span(id, "chat", vec![("gen_ai.operation.name", text("chat"))]);
    let (a, again, b) = (one("x", make(2)), one("x", make(2)), one("x", make(3)));
    assert_eq!(a.observation_id, again.observation_id);
    assert_ne!(a.observation_id, b.observation_id);
    let mut lost = make(2);
    lost.trace_id.clear();
    let mut later = lost.clone();
    later.start_time_unix_nano += 1;
    assert_ne!(one("x", lost.clone()).observation_id, one("x", later).observation_id);
    assert_eq!(one("x", lost.clone()).observation_id, one("x", lost).observation_id);
}

#[test]
fn many_attributes_cycles_and_own_parents_cost_little() {
    let keys: Vec<String> = (0..10_000).map(|n| format!("traceloop.association.properties.k{n}")).collect();
    let mut big = span(2, "chat", vec![("gen_ai.operation.name", text("chat"))]);
    big.attributes.extend(keys.iter().map(|key| KeyValue {
        key: key.clone(),
        value: Some(text("v")),
        ..KeyValue::default()
    }));
    assert!(one("opentelemetry.instrumentation.openai.v1", big).tags.len() <= 40);
    let selfish = child(span(2, "chat", vec![("gen_ai.operation.name", text("chat"))]), 2);
    assert_eq!(one("x", selfish).parent_span_id, None);
    let ring = (0..200_u8).map(|n| child(span(n.max(1), "plain", vec![]), (n + 1) % 200)).collect::<Vec<_>>();
    let mut spans = vec![span(250, "chat", vec![("gen_ai.operation.name", text("chat"))])];
    spans.extend(ring);
    assert_eq!(rows(&request("x", spans)).len(), 201);
}

#[test]
fn files_of_requests_are_told_from_anything_else() {
    let spans = OtlpSpans::default();
    for key in ["otel.json", "a/b/traces.jsonl.gz", "x.ndjson", "out/traces"] {
        assert!(spans.wants(key), "{key}");
    }
    for key in ["a.traces.1.bin", "_SUCCESS", ".hidden.json", "README.md", ""] {
        assert!(!spans.wants(key), "{key}");
    }
    assert_eq!(read("{}"), vec![Normalized::Skipped("empty_request")]);
    assert_eq!(read(r#"{"resourceSpans": []}"#), vec![Normalized::Skipped("empty_request")]);
    assert_eq!(
        read(r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}"#),
        vec![Normalized::Skipped("log_record")]
    );
    for (record, reason) in [
        ("", "not_json"),
        ("{", "not_json"),
        ("[]", "bad_otlp_json"),
        ("{\"a\": 1}", "bad_otlp_json"),
        (r#"{"resourceSpans": 1}"#, "bad_otlp_json"),
        (r#"{"resourceSpans": [{"scopeSpans": [{"spans": [1]}]}]}"#, "bad_otlp_json"),
        (r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "CANARY"}]}]}]}"#, "bad_otlp_json"),
    ] {
        let rows = read(record);
        assert!(
            matches!(&rows[..], [Normalized::Rejected(r)] if r.reason == reason && !r.detail.contains("CANARY")),
            "{record}"
        );
    }
    assert_eq!(decode_traces(&[b'['; 100_000]), Err(JsonError::NotJson));
}

#[test]
fn both_spellings_of_json_give_the_same_row() {
    let camel = r#"{"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]},
        "scopeSpans": [{"scope": {"name": "x"}, "spans": [{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "name": "chat", "kind": 3, "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": 1700000000100000000,
        "status": {"code": 2}, "unknown": {"a": [1]},
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, {"key": "n", "value": null},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}}, {"key": "odd", "value": {"intValue": {}}}]}]}]}]}"#;
    let snake = r#"{"resource_spans": [{"resource": {"attributes": [{"key": "service.name", "value": {"string_value": "s"}}]},
        "scope_spans": [{"scope": {"name": "x"}, "spans": [{"trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": "7uGbfsPBsXQ=",
        "name": "chat", "kind": "SPAN_KIND_CLIENT", "start_time_unix_nano": 1700000000000000000, "end_time_unix_nano": "1700000000100000000",
        "status": {"code": "STATUS_CODE_ERROR"},
        "attributes": [{"key": "gen_ai.operation.name", "value": {"string_value": "chat"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"int_value": 12}}]}]}]}]}"#;
    let rows = read(camel);
    assert_eq!(rows, read(snake));
    assert!(matches!(&rows[..], [Normalized::Observation(o)] if o.usage.input == Some(12)));
}

#[test]
fn metrics_become_control_totals_without_personal_dimensions() {
    let body = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "gen_ai.client.token.usage", "unit": "{token}", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"startTimeUnixNano": "1700000000000000000", "timeUnixNano": "1700000060000000000", "count": "2", "sum": 30, "min": 10, "max": 20,
             "attributes": [{"key": "gen_ai.token.type", "value": {"stringValue": "input"}}, {"key": "gen_ai.system", "value": {"stringValue": "AWS"}},
                {"key": "metadata.user_api_key_user_email", "value": {"stringValue": "CANARY@example.com"}}]},
            {"count": "1"}]}},
        {"name": "http.client.duration", "sum": {"dataPoints": [{"asInt": "1"}]}}]}]}]}"#;
    let rows = read(body);
    let [Normalized::Metric(metric), Normalized::Rejected(_), Normalized::Skipped("other_metric")] = &rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((metric.count, metric.total, metric.average), (Some(2.0), Some(30.0), Some(15.0)));
    assert_eq!((metric.interval_s, metric.platform.as_deref()), (Some(60), Some("aws.bedrock")));
    assert!(!format!("{rows:?}").contains("CANARY"));
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        ".{0,40}".prop_map(Value::StringValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
        "[\\[{('\\\"a-z:, 0-9\\\\]{0,30}".prop_map(Value::StringValue),
    ];
    leaf.prop_map(|value| AnyValue { value: Some(value) })
}

const KEYS: [&str; 30] = [
    "gen_ai.operation.name",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "hidden_params",
    "metadata.usage_object",
    "metadata.requester_metadata",
    "llm.openai.usage",
    "llm.invocation_parameters",
    "openinference.span.kind",
    "ai.operationId",
    "langfuse.observation.usage_details",
    "error.type",
    "error.code",
    "gen_ai.response.finish_reasons",
    "server.address",
    "gen_ai.openai.api_base",
    "litellm.provider.model",
    "gen_ai.response.id",
    "litellm.call_id",
    "gen_ai.usage.raw",
    "logfire.span_type",
    "tag.tags",
    "metadata",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.provider.name",
    "cloud.region",
    "rpc.method",
    "traceloop.span.kind",
    "langfuse.observation.completion_start_time",
    "gen_ai.usage.cache_read.input_tokens",
];

proptest! {
    #[test]
    fn any_attributes_give_one_row(
        list in prop::collection::vec((0..KEYS.len(), any_value()), 0..20),
        scope in prop::sample::select(vec!["litellm", "ai", "gen_ai", "logfire.openai", "openlit.instrumentation.x", "openinference.x", "langfuse-sdk", "kong", ""]),
        name in prop::sample::select(vec!["raw_gen_ai_request", "litellm_request", "x", "model_provider_inference"]),
        start in any::<u64>(), end in any::<u64>(), kind in any::<i32>(), message in ".{0,60}",
    ) {
        let mut span = span(2, name, list.into_iter().map(|(at, value)| (KEYS[at], value)).collect());
        span.start_time_unix_nano = start;
        span.end_time_unix_nano = end;
        span.kind = kind;
        let span = super::build::failed(span, &message);
        prop_assert_eq!(rows(&request(scope, vec![span])).len(), 1);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,200}") {
        let spans = OtlpSpans::default();
        let at: RecordRef<'static> = at();
        let mut out = Vec::new();
        spans.normalize(&bytes, &at, &mut out);
        spans.normalize(text.as_bytes(), &at, &mut out);
        prop_assert!(out.len() >= 2);
        if let Ok(request) = ExportTraceServiceRequest::decode(bytes.as_slice()) {
            spans.traces(&request, &at, &mut out);
        }
        if let Ok(request) = ExportMetricsServiceRequest::decode(bytes.as_slice()) {
            spans.metrics(&request, &at, &mut out);
        }
    }
}
