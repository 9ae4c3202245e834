//! Rows made up after the documented formats.

use serde_json::{Value, json};

use super::{VertexConfig, VertexLog};
use crate::model::{Normalized, Observation, Outcome, RecordRef, Timestamp};
use crate::sources::LogFormat;

fn read(record: &Value) -> Vec<Normalized> {
    let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
    let at = RecordRef { source: "v", object: "o", position: 0, object_time: now, observed_at: now };
    let mut out = Vec::new();
    let config = VertexConfig { account: Some("acme-ai".to_owned()), region: None };
    VertexLog::new(config).normalize(record.to_string().as_bytes(), &at, &mut out);
    out
}

fn one(record: &Value) -> Observation {
    let out = read(record);
    let [Normalized::Observation(one)] = out.as_slice() else { panic!("{out:?}") };
    one.as_ref().clone()
}

fn gemini() -> Value {
    json!({
        "endpoint": "", "deployed_model_id": "", "logging_time": "2026-11-21 10:00:02.250000 UTC", "request_id": "7361",
        "model": "publishers/google/models/gemini-2.5-flash", "model_version": "default",
        "api_method": "streamGenerateContent",
        "full_request": {"contents": [{"parts": [{"text": "CANARY"}]}], "labels": {"team": "search", "vertex.x": "y"}},
        "full_response": {
            "candidates": [{"content": {"parts": [{"text": "CANARY"}]}, "finishReason": "STOP"}],
            "modelVersion": "gemini-2.5-flash", "responseId": "abc-1",
            "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 50, "thoughtsTokenCount": 200,
                "cachedContentTokenCount": 400, "toolUsePromptTokenCount": 30, "totalTokenCount": 1280,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}, {"modality": "AUDIO", "tokenCount": 100}],
                "trafficType": "ON_DEMAND"}},
        "metadata": {"request_latency": 1250.0}})
}

fn claude(payload: Value) -> Value {
    json!({"logging_time": "2026-11-21T10:00:02Z", "request_id": 99, "api_method": "rawPredict", "response_payload": payload,
        "model": "projects/p-1/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4-5@20250929",
        "request_payload": ["{\"messages\": \"CANARY\"}"], "metadata": "{\"request_latency\": \"800\"}"})
}

#[test]
fn gemini_counts_thoughts_beside_candidates_and_cache_within_the_prompt() {
    let call = one(&gemini());
    let usage = call.usage;
    assert_eq!((usage.input, usage.cache_read, usage.audio_input), (Some(1030), Some(400), Some(100)));
    assert_eq!((usage.output, usage.reasoning), (Some(250), Some(200)));
    assert_eq!(call.ts, Timestamp::parse("2026-11-21T10:00:01Z").unwrap(), "it began a latency before it was logged");
    assert_eq!((call.duration_ms, call.streaming), (Some(1250.0), Some(true)));
    assert_eq!(call.request_model.as_deref(), Some("gemini-2.5-flash"));
    assert_eq!((call.account.as_deref(), call.tier.as_deref()), (Some("acme-ai"), Some("standard")));
    assert_eq!((call.response_id.as_deref(), call.model_version), (Some("abc-1"), None));
    let tags: Vec<_> = call.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("labels.vertex.x", "y"), ("team", "search")]);
    assert!(!format!("{:?}", read(&gemini())).contains("CANARY"));
}

#[test]
fn columns_that_were_exported_as_text_are_the_same_row() {
    let mut text = gemini();
    for column in ["full_request", "full_response", "metadata"] {
        text[column] = json!(text[column].to_string());
    }
    text["logging_time"] = json!("2026-11-21T10:00:02.25Z");
    assert_eq!(one(&text), one(&gemini()));
}

#[test]
fn a_stream_that_was_logged_in_chunks_counts_with_its_last() {
    let mut chunks = gemini();
    let last = chunks["full_response"].clone();
    let first = json!({"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 3}});
    chunks["full_response"] = json!([first, last]);
    assert_eq!(one(&chunks).usage, one(&gemini()).usage);
}

#[test]
fn claude_counts_cached_input_apart() {
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 40,
        "cache_creation": {"ephemeral_1h_input_tokens": 15}, "output_tokens": 7});
    let message = json!({"id": "msg_vrtx_1", "model": "claude-sonnet-4-5-20250929", "content": [{"text": "CANARY"}],
        "stop_reason": "end_turn", "usage": usage});
    let call = one(&claude(json!([message.to_string()])));
    assert_eq!((call.usage.input, call.usage.cache_read, call.usage.cache_write), (Some(350), Some(300), Some(40)));
    assert_eq!((call.usage.cache_write_1h, call.usage.output), (Some(15), Some(7)));
    assert_eq!((call.account.as_deref(), call.region.as_deref()), (Some("p-1"), Some("europe-west1")));
    assert_eq!((call.duration_ms, call.finish_reason.as_deref()), (Some(800.0), Some("end_turn")));
    let events = format!(
        "event: message_start\ndata: {}\n\nevent: content_block_delta\ndata: {}\n\nevent: message_delta\ndata: {}\n",
        json!({"type": "message_start", "message": {"id": "msg_vrtx_1", "model": "claude-sonnet-4-5-20250929",
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 40,
                "cache_creation": {"ephemeral_1h_input_tokens": 15}, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "CANARY"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
    );
    assert_eq!(one(&claude(json!([events]))), call);
}

#[test]
fn failures_are_calls_and_filters_are_told() {
    let mut failed = gemini();
    failed["full_response"] = json!({"error": {"code": 429, "message": "CANARY", "status": "RESOURCE_EXHAUSTED"}});
    let call = one(&failed);
    assert_eq!((call.outcome, call.http_status), (Some(Outcome::Throttled), Some(429)));
    assert_eq!(call.error_code.as_deref(), Some("RESOURCE_EXHAUSTED"));
    assert!(call.usage.is_empty());
    let mut blocked = gemini();
    blocked["full_response"] =
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}});
    assert_eq!(one(&blocked).outcome, Some(Outcome::ContentFiltered));
}

#[test]
fn an_entry_of_cloud_logging_lends_its_time_place_and_trace() {
    let mut row = gemini();
    row.as_object_mut().unwrap().remove("logging_time");
    let entry = |payload: Value| {
        json!({"insertId": "i1", "logName": "projects/p-2/logs/vertex", "timestamp": "2026-11-21T10:00:02.25Z",
            "trace": "projects/p-2/traces/0af7651916cd43dd8448eb211c80319c", "spanId": "B7AD6B7169203331",
            "resource": {"type": "x", "labels": {"project_id": "p-2", "location": "us-central1"}}, "jsonPayload": payload})
    };
    let call = one(&entry(row));
    assert_eq!(call.ts, Timestamp::parse("2026-11-21T10:00:01Z").unwrap());
    assert_eq!((call.account.as_deref(), call.region.as_deref()), (Some("p-2"), Some("us-central1")));
    assert_eq!(call.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(call.span_id.as_deref(), Some("b7ad6b7169203331"));
    assert!(matches!(read(&entry(json!({"text": "x"}))).as_slice(), [Normalized::Skipped("other_entry")]));
    let audit = json!({"logName": "projects/p/logs/cloudaudit", "protoPayload": {"methodName": "GenerateContent"}});
    assert!(matches!(read(&audit).as_slice(), [Normalized::Skipped("audit")]));
}

#[test]
fn what_can_not_be_read_is_set_aside() {
    let mut count = gemini();
    count["full_response"]["usageMetadata"]["promptTokenCount"] = json!(-1);
    let mut time = gemini();
    time["logging_time"] = json!("yesterday");
    let mut more = gemini();
    more["full_response"]["usageMetadata"]["cachedContentTokenCount"] = json!(9999);
    for (record, reason) in [
        (count, "bad_count"),
        (time, "bad_time"),
        (more, "cache_exceeds_input"),
        (json!({"a": 1}), "not_a_record"),
        (json!("x"), "not_json"),
    ] {
        let out = read(&record);
        let found = matches!(out.as_slice(), [Normalized::Rejected(reject)] if reject.reason == reason);
        assert!(found, "{reason}: {out:?}");
    }
    assert!(matches!(read(&json!([])).as_slice(), [Normalized::Skipped("empty")]));
}

#[test]
fn wants_exports_and_nothing_else() {
    let wants = |key: &str| VertexLog::default().wants(key);
    assert!(wants("export/rows-000000000000.json.gz") && wants("logs/2026/11/21/10:00:00_10:59:59_S0.json"));
    assert!(wants("export/000000000000") && !wants("export/rows.parquet") && !wants("a.csv"));
}
