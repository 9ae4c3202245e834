//! Hostile input made up from the real vocabulary: the driver, what must hold for every row, and the targets that read
//! JSON records. Those of OTLP lie with its tests.
//!
//! `POLYMETER_FUZZ_SECONDS` sets the time of each target (default 5); a failure prints the smallest input that fails.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::LogFormat;
use super::azure::AzureDiagnostics;
use super::bedrock::BedrockLog;
use super::vertex::VertexLog;
use crate::model::{Normalized, RecordRef, Timestamp, UsageStatus, Witness};

/// Stands wherever a prompt, an answer, a header or an error's prose stands in real records.
pub(super) const CANARY: &str = "CANARY what the user said";

/// Runs a property on new random cases until the target's time is over; at least once.
#[expect(clippy::print_stderr, reason = "a test that reports how far it went")]
pub(super) fn run<S>(target: &str, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S: Strategy,
    S::Value: Debug,
{
    let seconds = std::env::var("POLYMETER_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let (start, budget) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut cases = 0_u64;
    while cases == 0 || start.elapsed() < budget {
        let config = Config { cases: 64, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
        if let Err(error) = TestRunner::new(config).run(strategy, &property) {
            panic!("{target} after {cases} cases: {error}");
        }
        cases += 64;
    }
    eprintln!("{target}: {cases} cases in {:.0} s", start.elapsed().as_secs_f64());
}

/// What must hold for rows of any input.
pub(super) fn check(rows: &[Normalized]) -> Result<(), TestCaseError> {
    prop_assert!(!format!("{rows:?}").contains("CANARY"), "content in {rows:#?}");
    for row in rows {
        let o = match row {
            Normalized::Observation(observation) => observation,
            Normalized::Rejected(reject) => {
                prop_assert!(!reject.reason.is_empty() && reject.detail.len() < 2000);
                continue;
            }
            Normalized::Metric(_) | Normalized::Skipped(_) => continue,
        };
        prop_assert!(o.usage.check().is_ok(), "{o:#?}");
        let cached = o.usage.cache_read.unwrap_or(0) + o.usage.cache_write.unwrap_or(0);
        prop_assert!(cached == 0 || cached <= o.usage.input.unwrap_or(0));
        prop_assert!(o.usage.reasoning.unwrap_or(0) <= o.usage.output.unwrap_or(u64::MAX));
        prop_assert_eq!(o.usage.is_empty(), o.usage_status == UsageStatus::Missing);
        let durations = [o.duration_ms, o.ttft_ms];
        prop_assert!(durations.iter().flatten().all(|ms| ms.is_finite() && *ms >= 0.0), "{durations:?}");
        prop_assert!(o.ts >= Timestamp::EARLIEST);
        prop_assert!(o.tags.len() <= 64 && o.tags.iter().all(|(key, value)| key.len() + value.len() <= 4096));
        let silent = o.witness == Witness::Context && !o.tags.contains_key("raw");
        let lends = o.tags.contains_key("usage_for_parent") || o.tags.contains_key("gateway_event");
        prop_assert!(!silent || lends || o.usage.is_empty(), "{o:#?}");
    }
    Ok(())
}

/// One thing done to a text or message.
#[derive(Clone, Debug)]
pub(super) enum Damage {
    Truncate(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Splice(Index, Index, Index),
}

/// Some damage.
pub(super) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let insert = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        select(vec!["{", "}", "[", "null", "-1", "1e400", "\"", "\\u", "\\ud800", "\0", ",", "''", "\u{feff}"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let damage = prop_oneof![
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), insert).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(from, to, at)| Damage::Splice(from, to, at)),
    ];
    prop::collection::vec(damage, 1..5)
}

/// The damaged bytes.
pub(super) fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match damage {
            Damage::Truncate(index) => bytes.truncate(at(index, &bytes)),
            Damage::Flip(index, bit) => {
                let place = at(index, &bytes);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Damage::Insert(index, new) => {
                let place = at(index, &bytes);
                bytes.splice(place..place, new.iter().copied());
            }
            Damage::Splice(from, to, index) => {
                let (a, b) = (at(from, &bytes), at(to, &bytes));
                let copy = bytes[a.min(b)..a.max(b)].to_vec();
                let place = at(index, &bytes);
                bytes.splice(place..place, copy);
            }
        }
    }
    bytes
}

/// Where a made-up record was read.
pub(super) fn at() -> RecordRef<'static> {
    let time = |text| Timestamp::parse(text).unwrap();
    let (object_time, observed_at) = (time("2026-11-01T00:00:00Z"), time("2026-11-02T00:00:00Z"));
    RecordRef { source: "fuzz", object: "object", position: 0, object_time, observed_at }
}

/// Fields of one JSON object: name and JSON text of the value.
type Fields = Vec<(&'static str, String)>;

fn print(fields: &Fields) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// JSON texts of any type, those of numbers at their limits most of all.
fn any_json() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "0",
        "1",
        "12",
        "2000",
        "-1",
        "1.5",
        "1e3",
        "1e400",
        "9007199254740993",
        "18446744073709551616",
        "\"\"",
        "\"12\"",
        "\"x\"",
        "\"\\ud800\"",
        "\"2026-03-02T09:15:07Z\"",
        "\"2026-03-02T09:15:07.123+02:00\"",
        "[]",
        "{}",
        "[1, 2]",
        "{\"a\": {\"b\": []}}",
        "\"yesterday\"",
    ];
    prop_oneof![4 => select(fixed.to_vec()).prop_map(str::to_owned), 1 => any::<i64>().prop_map(|n| n.to_string())]
}

/// An object of some of the fields, each with a value that fits or one that need not.
fn object(names: &'static [(&'static str, &'static [&'static str])]) -> impl Strategy<Value = Fields> {
    let field = move |at: usize| {
        let (name, fitting) = names[at];
        let value = if fitting.is_empty() {
            any_json().boxed()
        } else {
            let fitting: Vec<String> = fitting.iter().map(|text| text.replace("CANARY", CANARY)).collect();
            // What holds content is never swapped for something else: the canary must be where content is.
            if fitting.iter().any(|text| text.contains(CANARY)) {
                select(fitting).boxed()
            } else {
                prop_oneof![4 => select(fitting), 1 => any_json()].boxed()
            }
        };
        value.prop_map(move |value| (name, value))
    };
    prop::sample::subsequence((0..names.len()).collect::<Vec<_>>(), 0..=names.len())
        .prop_flat_map(move |chosen| chosen.into_iter().map(field).collect::<Vec<_>>())
}

fn rows_of(format: &dyn LogFormat, record: &[u8]) -> Vec<Normalized> {
    let mut out = Vec::new();
    format.normalize(record, &at(), &mut out);
    out
}

/// Without what names a place in the text.
fn placeless(rows: &[Normalized]) -> Vec<Normalized> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        if let Normalized::Rejected(reject) = row {
            reject.detail.clear();
        }
    }
    rows
}

/// The properties of a reader of JSON records.
fn record_target(name: &str, format: &dyn LogFormat, records: impl Strategy<Value = Fields>) {
    let cases = (records, damages(), prop::collection::vec(any::<u8>(), 0..200));
    run(name, &cases, |(mut record, damages, noise)| {
        let text = print(&record);
        let rows = rows_of(format, text.as_bytes());
        prop_assert!(!rows.is_empty());
        check(&rows)?;
        record.reverse();
        let turned = rows_of(format, print(&record).as_bytes());
        prop_assert_eq!(placeless(&rows), placeless(&turned), "order of fields matters");
        prop_assert!(!rows_of(format, &damaged(text.into_bytes(), &damages)).is_empty());
        prop_assert!(!rows_of(format, &noise).is_empty());
        Ok(())
    });
}

const CONVERSE: &str = r#"{"inputContentType": "application/json", "inputBodyJson": {"messages": [{"role": "user", "content": [{"text": "CANARY"}]}], "system": [{"text": "CANARY"}], "inferenceConfig": {"maxTokens": 7}}, "inputTokenCount": 300, "cacheReadInputTokenCount": 2000, "cacheWriteInputTokenCount": 700}"#;
const ANSWER: &str = r#"{"outputContentType": "application/json", "outputBodyJson": {"output": {"message": {"content": [{"text": "CANARY"}]}}, "stopReason": "end_turn", "usage": {"inputTokens": 300, "outputTokens": 44, "totalTokens": 344}, "metrics": {"latencyMs": 900}}, "outputTokenCount": 44}"#;
const EVENTS: &str = r#"{"outputBodyJson": [{"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}}, {"type": "content_block_delta", "delta": {"text": "CANARY"}}, {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "invocationLatency": 700, "firstByteLatency": 300}}], "outputTokenCount": 9}"#;

const BEDROCK: [(&str, &[&str]); 14] = [
    ("schemaType", &["\"ModelInvocationLog\""]),
    ("schemaVersion", &["\"1.0\""]),
    ("timestamp", &["\"2026-03-02T09:15:07Z\"", "1772442907000"]),
    ("accountId", &["\"111122223333\""]),
    ("region", &["\"us-east-1\""]),
    ("requestId", &["\"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\""]),
    ("operation", &["\"Converse\"", "\"InvokeModelWithResponseStream\"", "\"Later\""]),
    ("modelId", &["\"us.anthropic.claude-sonnet-4-20250514-v1:0\"", "\"arn:aws:bedrock:us-east-1:1:x/y\""]),
    ("identity", &["{\"arn\": \"arn:aws:sts::111122223333:assumed-role/a/b\"}"]),
    ("requestMetadata", &["{\"team\": \"search\", \"n\": 1}"]),
    ("errorCode", &["\"ThrottlingException\"", "null"]),
    (
        "input",
        &[CONVERSE, "{\"inputTokenCount\": -1, \"inputBodyJson\": \"CANARY\"}", "{\"inputBodyS3Path\": \"s3://x\"}"],
    ),
    ("output", &[ANSWER, EVENTS, "{\"outputTokenCount\": \"7\", \"outputBodyJson\": [[[\"CANARY\"]]]}"]),
    ("inferenceRegion", &["\"us-west-2\""]),
];

#[test]
fn bedrock_survives_made_up_records() {
    record_target("bedrock records", &BedrockLog::default(), object(&BEDROCK));
}

const REQUEST: &str = r#"{"apiName": "Azure OpenAI API version 2024-02-01", "requestTime": 638978330277847530, "responseTime": 638978330287847530, "streamType": "Non-Streaming", "modelDeploymentName": "my-gpt", "modelName": "gpt-4o", "modelVersion": "2024-08-06", "promptTokens": 12, "completionTokens": 5, "objectId": "8ecdbf91"}"#;
const GATEWAY: &str = r#"{"method": "POST", "url": "https://g/openai/deployments/my-gpt/chat/completions", "backendResponseCode": 200, "responseCode": 429, "backendResponseBody": "{\"id\": \"chatcmpl-1\", \"choices\": [{\"message\": {\"content\": \"CANARY\"}}], \"usage\": {\"prompt_tokens\": 12, \"completion_tokens\": 5}}", "requestBody": "CANARY", "lastError": {"message": "CANARY", "reason": "TokenLimitExceeded"}}"#;
const LLM: &str = r#"{"requestMessages": "CANARY", "responseMessages": "CANARY", "promptTokens": 12, "completionTokens": 5, "totalTokens": 17, "isStreamCompletion": true, "sequenceNumber": 0, "correlationId": "c"}"#;

const AZURE: [(&str, &[&str]); 14] = [
    ("time", &["\"2025-11-04T02:03:47.7847530Z\"", "\"11/04/2025 02:03:47\""]),
    (
        "category",
        &[
            "\"RequestResponse\"",
            "\"AzureOpenAIRequestUsage\"",
            "\"GatewayLogs\"",
            "\"GatewayLlmLogs\"",
            "\"Audit\"",
            "\"AllMetrics\"",
        ],
    ),
    (
        "operationName",
        &["\"ChatCompletions_Create\"", "\"Embeddings_Create\"", "\"Microsoft.ApiManagement/GatewayLogs\""],
    ),
    ("resourceId", &["\"/SUBSCRIPTIONS/0A/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AI-EAST\""]),
    ("correlationId", &["\"5f0e9d8c-1111-2222-3333-444455556666\""]),
    ("callerIPAddress", &["\"10.0.0.***\""]),
    ("resultSignature", &["\"200\"", "\"429\"", "200"]),
    ("durationMs", &["1000", "-5"]),
    ("location", &["\"eastus\""]),
    ("tenant", &["\"eastus\""]),
    (
        "properties",
        &[REQUEST, GATEWAY, LLM, "\"{\\\"modelName\\\": \\\"gpt-4o\\\", \\\"promptTokens\\\": -2}\"", "\"CANARY\""],
    ),
    ("metricName", &["\"ProcessedPromptTokens\""]),
    ("total", &["12", "1e300"]),
    ("count", &["1"]),
];

#[test]
fn azure_survives_made_up_records() {
    record_target("azure records", &AzureDiagnostics::default(), object(&AZURE));
}

const GEMINI: &str = r#"{"candidates": [{"content": {"parts": [{"text": "CANARY"}]}, "finishReason": "STOP"}], "modelVersion": "gemini-2.5-flash", "responseId": "r1", "usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 4, "thoughtsTokenCount": 9, "cachedContentTokenCount": 20, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 12}], "trafficType": "ON_DEMAND"}}"#;
const REFUSED: &str = r#"{"error": {"code": 429, "message": "CANARY", "status": "RESOURCE_EXHAUSTED"}}"#;
const CLAUDE: &str = r#"["{\"id\": \"msg_1\", \"content\": [{\"text\": \"CANARY\"}], \"usage\": {\"input_tokens\": 3, \"cache_read_input_tokens\": 8, \"output_tokens\": 2}}"]"#;
const STREAM: &str = r#"["event: message_delta\ndata: {\"delta\": {\"text\": \"CANARY\"}, \"usage\": {\"output_tokens\": 2}}\n", "CANARY"]"#;

const VERTEX: [(&str, &[&str]); 14] = [
    ("logging_time", &["\"2026-10-21 10:00:02.25 UTC\"", "\"2026-10-21T10:00:02Z\""]),
    ("request_id", &["\"7361\"", "7361"]),
    (
        "model",
        &["\"publishers/google/models/gemini-2.5-flash\"", "\"projects/p/locations/l/publishers/anthropic/models/c\""],
    ),
    ("model_version", &["\"default\""]),
    ("api_method", &["\"generateContent\"", "\"streamRawPredict\""]),
    ("endpoint", &["\"\"", "\"projects/1/locations/l/endpoints/2\""]),
    ("full_request", &["{\"contents\": \"CANARY\", \"labels\": {\"team\": \"search\"}}", "\"CANARY\""]),
    ("full_response", &[GEMINI, REFUSED, "[[\"CANARY\"]]", "\"CANARY\""]),
    ("request_payload", &["[\"CANARY\"]"]),
    ("response_payload", &[CLAUDE, STREAM, "\"CANARY\""]),
    ("metadata", &["{\"request_latency\": 1250.5}", "\"{\\\"request_latency\\\": \\\"9\\\"}\""]),
    ("timestamp", &["\"2026-10-21T10:00:02Z\""]),
    ("logName", &["\"projects/p/logs/x\""]),
    (
        "jsonPayload",
        &["{\"model\": \"m\", \"request_id\": 1, \"full_response\": \"CANARY\"}", "{\"message\": \"CANARY\"}"],
    ),
];

#[test]
fn vertex_survives_made_up_records() {
    record_target("vertex records", &VertexLog::default(), object(&VERTEX));
}
