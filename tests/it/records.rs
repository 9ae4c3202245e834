//! Records to feed: spans, Bedrock log lines, Azure rows.

use flate2::Compression;
use flate2::write::GzEncoder;
use polymeter::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use std::io::Write;

/// Microseconds since 1970, now.
pub fn now_us() -> i64 {
    SystemClock.now().0
}

/// One finished model call as a span; `n` tells it from others of the same `run`.
pub fn span(run: u32, n: u64, start_us: i64) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let count = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    json!({
        "traceId": trace_id(run, n),
        "spanId": format!("{:016x}", (u64::from(run) << 32) + n + 1),
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": (start_us * 1000).to_string(),
        "endTimeUnixNano": ((start_us + 250_000) * 1000).to_string(),
        "attributes": [
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "gpt-4o"),
            text("gen_ai.response.model", "gpt-4o-2024-08-06"),
            count("gen_ai.usage.input_tokens", 100 + n % 7),
            count("gen_ai.usage.output_tokens", 10 + n % 5),
        ],
        "status": {},
    })
}

/// The trace of a [`span`].
pub fn trace_id(run: u32, n: u64) -> String {
    format!("{:032x}", (u128::from(run) << 64) + u128::from(n) + 1)
}

/// An export request of spans.
pub fn spans(spans: Vec<Value>) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": "app"}, "spans": spans}],
    }]})
}

/// A Bedrock invocation record.
pub fn bedrock(run: u32, n: u64) -> Value {
    json!({
        "timestamp": format!("2026-03-02T{:02}:{:02}:{:02}Z", n / 3600 % 24, n / 60 % 60, n % 60),
        "accountId": "111122223333",
        "region": "eu-central-1",
        "requestId": format!("{run:08x}-0000-4000-8000-{n:012x}"),
        "operation": "Converse",
        "modelId": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "identity": {"arn": "arn:aws:sts::111122223333:assumed-role/checkout-api/i-0a1b2c"},
        "input": {"inputContentType": "application/json", "inputTokenCount": 100 + n % 11},
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": {"stopReason": "end_turn", "metrics": {"latencyMs": 900 + n % 100}},
            "outputTokenCount": 20 + n % 3,
        },
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
    })
}

/// A Bedrock invocation record of a call at that time.
pub fn bedrock_at(run: u32, n: u64, at_us: i64) -> Value {
    let mut record = bedrock(run, n);
    let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap();
    record["timestamp"] = json!(at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    record
}

/// The usage row of a call of Azure at that time.
pub fn azure_usage(run: u32, n: u64, at_us: i64) -> Value {
    let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap();
    let properties = json!({"streamType": "Non-Streaming", "modelDeploymentName": "gpt-4o", "modelName": "gpt-4o",
        "modelVersion": "2024-11-20", "promptTokens": [100 + n % 11], "cachedTokens": [0], "generatedTokens": [20 + n % 3]});
    json!({
        "time": at.format("%Y-%m-%dT%H:%M:%S.0000000Z").to_string(),
        "category": "AzureOpenAIRequestUsage",
        "event": "ShoeboxAzureOpenAIRequestUsage",
        "resourceId": "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A",
        "location": "eastus",
        "correlationId": format!("{run:08x}-0000-4000-8000-{n:012x}"),
        "operationName": "ChatCompletions_Create",
        "properties": properties.to_string(),
    })
}

/// Lines of JSON.
pub fn lines(records: impl IntoIterator<Item = Value>) -> Vec<u8> {
    records.into_iter().flat_map(|record| format!("{record}\n").into_bytes()).collect()
}

/// Compressed as AWS writes its logs.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A log of `n` Bedrock records at the place where AWS writes such logs.
pub fn bedrock_key(file: &str) -> String {
    format!("AWSLogs/111122223333/BedrockModelInvocationLogs/eu-central-1/2026/03/02/09/{file}.json.gz")
}
