//! Tests over fixtures after the documented formats, and over published samples where they are at hand.

use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

use super::*;
use crate::model::{Observation, Outcome, Timestamp, Usage, UsageStatus, Witness, platform};
use crate::sources::LogFormat;

mod samples;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/azure/", $name))
    };
}

/// All fixtures; those with one record per line first.
const LINES: [&str; 6] = [
    fixture!("blob_request_response.jsonl"),
    fixture!("request_with_two_rows_and_usage.jsonl"),
    fixture!("throttled_with_placeholder.jsonl"),
    fixture!("claude_on_foundry.jsonl"),
    fixture!("gateway_logs.jsonl"),
    fixture!("foreign.jsonl"),
];
const WHOLES: [&str; 9] = [
    fixture!("event_hub_envelope.json"),
    fixture!("usage_properties_only.json"),
    fixture!("log_analytics_rows.json"),
    fixture!("gateway_table_row.json"),
    fixture!("llm_logs_event_hub.json"),
    fixture!("llm_log_table_row.json"),
    fixture!("metrics_rest_answer.json"),
    fixture!("metrics_exported.json"),
    fixture!("metrics_of_a_shipper.json"),
];
/// Stands in the fixtures wherever a text, prompt or message stands in real records.
const CANARY: &str = "CANARY-7f3a";

fn at(object: &'static str, position: u64) -> RecordRef<'static> {
    RecordRef {
        source: "azure-test",
        object,
        position,
        object_time: Timestamp::parse("2025-11-04T03:00:00Z").unwrap(),
        observed_at: Timestamp::parse("2030-01-01T00:00:00Z").unwrap(),
    }
}

fn run_with(config: AzureConfig, record: &[u8], position: u64) -> Vec<Normalized> {
    let mut out = Vec::new();
    AzureDiagnostics::new(config).normalize(record, &at("PT1H.json", position), &mut out);
    assert!(!out.is_empty(), "a record vanished");
    out
}

fn run(record: &str) -> Vec<Normalized> {
    run_with(AzureConfig::default(), record.as_bytes(), 0)
}

fn lines(file: &str) -> Vec<Normalized> {
    file.lines()
        .enumerate()
        .flat_map(|(n, line)| run_with(AzureConfig::default(), line.as_bytes(), n.try_into().unwrap()))
        .collect()
}

fn observation(row: &Normalized) -> &Observation {
    match row {
        Normalized::Observation(observation) => observation,
        other => panic!("no observation: {other:?}"),
    }
}

fn records() -> impl Iterator<Item = &'static str> {
    LINES.iter().flat_map(|file| file.lines()).chain(WHOLES)
}

#[test]
fn reads_blob_lines_whose_properties_are_text() {
    let rows = lines(LINES[0]);
    let chat = observation(&rows[0]);
    assert_eq!(chat.ts.to_string(), "2025-11-04T02:03:47.784753Z");
    assert_eq!(chat.witness, Witness::ProviderLog);
    assert_eq!(chat.duration_ms, Some(1000.0));
    assert_eq!(chat.usage_status, UsageStatus::Missing);
    assert_eq!(chat.account.as_deref(), Some("0a0a0a0a-1b1b-2c2c-3d3d-4e4e4e4e4e4e"));
    assert_eq!(chat.tags["azure.account"], "ai-east");
    assert_eq!(chat.operation.as_deref(), Some("chat"));
    assert_eq!(chat.principal, None);
    assert_eq!((chat.http_status, chat.outcome), (Some(200), Some(Outcome::Ok)));
    assert_eq!(observation(&rows[2]).operation.as_deref(), Some("embeddings"));
    assert_eq!(rows[5], Normalized::Skipped("not_a_call"));
}

#[test]
fn a_stream_keeps_its_time_to_response_apart() {
    let rows = lines(LINES[0]);
    let stream = observation(&rows[1]);
    assert_eq!((stream.streaming, stream.duration_ms), (Some(true), None));
    assert_eq!(stream.tags["azure.time_to_response_ms"], "301");
    assert_eq!(stream.principal.as_deref(), Some("8ecdbf91-0000-0000-0000-000000000001"));
    assert_eq!(observation(&rows[3]).outcome, Some(Outcome::ClientError));
}

#[test]
fn ticks_decide_where_the_written_duration_is_negative() {
    assert_eq!(observation(&lines(LINES[0])[4]).duration_ms, Some(900.0));
}

#[test]
fn two_rows_and_a_usage_row_share_their_key_and_only_one_is_a_placeholder() {
    let rows = lines(LINES[1]);
    let rows: Vec<_> = rows.iter().map(observation).collect();
    let witnesses: Vec<_> = rows.iter().map(|row| row.witness).collect();
    assert_eq!(witnesses, [Witness::Placeholder, Witness::ProviderLog, Witness::ProviderUsage]);
    assert!(rows.iter().all(|row| row.provider_request_id == rows[0].provider_request_id));
    assert!(rows.iter().all(|row| row.resource == rows[0].resource && row.account == rows[0].account));
    let mut ids: Vec<_> = rows.iter().map(|row| row.observation_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert!(rows[0].usage.is_empty() && rows[0].outcome.is_none());
    assert_eq!((rows[1].usage.input, rows[1].usage.cache_read, rows[1].usage.output), (Some(1200), None, Some(85)));
    let usage = Usage { input: Some(1200), cache_read: Some(1024), output: Some(85), ..Usage::default() };
    assert_eq!((rows[2].usage, rows[2].usage_status), (usage, UsageStatus::Measured));
    assert_eq!((rows[2].ttft_ms, rows[2].duration_ms), (Some(412.5), Some(2100.25)));
    assert_eq!(rows[2].ts.to_string(), "2025-11-04T02:03:49.899750Z");
    assert_eq!(rows[2].outcome, None);
}

#[test]
fn a_throttled_request_is_not_hidden_by_its_empty_200() {
    let rows = lines(LINES[2]);
    assert_eq!(observation(&rows[0]).witness, Witness::Placeholder);
    let refused = observation(&rows[1]);
    assert_eq!((refused.witness, refused.outcome), (Witness::ProviderLog, Some(Outcome::Throttled)));
    assert_eq!((refused.usage.input, refused.duration_ms), (Some(0), Some(5369.0)));
}

#[test]
fn the_same_row_has_the_same_id_from_every_surface() {
    let blob = lines(LINES[0]);
    let hub = run(WHOLES[0]);
    let table = run(WHOLES[2]);
    let id = observation(&blob[0]).observation_id;
    assert_eq!(observation(&hub[0]).observation_id, id);
    assert_eq!(observation(&table[0]).observation_id, id);
    assert_eq!(observation(&table[0]).usage, observation(&hub[0]).usage);
    assert_eq!(observation(&table[0]).ts, observation(&hub[0]).ts);
}

#[test]
fn an_envelope_gives_one_row_per_record() {
    let rows = run(WHOLES[0]);
    let skipped = |word| Normalized::Skipped(word);
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[1..4], [skipped("not_a_call"), skipped("audit"), skipped("trace")]);
    assert_eq!(observation(&rows[4]).dialect, "azure.request_usage");
}

#[test]
fn bare_usage_properties_are_a_usage_row_without_a_time() {
    let rows = run(WHOLES[1]);
    let usage = observation(&rows[0]);
    assert!(usage.ts_assumed);
    assert_eq!(usage.ts, at("", 0).object_time);
    assert_eq!((usage.usage.input, usage.usage.cache_read), (Some(138_652), Some(134_605)));
    assert_eq!(usage.platform.as_deref(), Some(platform::AZURE_OPENAI));
}

#[test]
fn other_publishers_are_inference_and_unix_ticks_are_read() {
    let rows = lines(LINES[3]);
    let claude = observation(&rows[0]);
    assert_eq!(claude.platform.as_deref(), Some(platform::AZURE_INFERENCE));
    assert_eq!((claude.operation.as_deref(), claude.usage.input), (Some("chat"), Some(26)));
    assert_eq!(claude.tags["azure.input_without_cache"], "true");
    let other = observation(&rows[1]);
    assert_eq!(other.ts.to_string(), "2025-11-04T02:03:47.784753Z");
    assert_eq!(other.duration_ms, Some(700.0));
}

#[test]
fn a_gateway_row_is_read_from_its_body_and_no_further() {
    let rows = lines(LINES[4]);
    let plain = observation(&rows[0]);
    assert_eq!(plain.gateway.as_deref(), Some("apim:gw-east"));
    assert_eq!((plain.witness, plain.provider_request_id.as_ref()), (Witness::Gateway, None));
    assert_eq!(plain.gateway_request_id.as_deref(), Some("bbbbbbbb-0000-4000-8000-000000000001"));
    assert_eq!(plain.response_id.as_deref(), Some("chatcmpl-N1"));
    assert_eq!((plain.usage.input, plain.usage.cache_read, plain.usage.reasoning), (Some(2000), Some(1536), Some(128)));
    assert_eq!((plain.deployment.as_deref(), plain.region.as_deref()), (Some("chat-prod"), Some("eastus")));
    assert_eq!(plain.tier.as_deref(), Some("standard"));
    let stream = observation(&rows[1]);
    assert_eq!((stream.streaming, stream.usage.output), (Some(true), Some(9)));
    let filtered = observation(&rows[2]);
    assert_eq!(filtered.outcome, Some(Outcome::ContentFiltered));
    assert_eq!(filtered.error_code.as_deref(), Some("content_filter"));
    let gone = observation(&rows[6]);
    assert_eq!((gone.http_status, gone.outcome), (None, Some(Outcome::Cancelled)));
    let cut = observation(&rows[8]);
    assert_eq!((cut.request_model.as_deref(), cut.usage_status), (Some("gpt-5"), UsageStatus::Missing));
}

#[test]
fn what_the_gateway_answered_itself_is_no_call() {
    let rows = lines(LINES[4]);
    for row in [&rows[3], &rows[7]] {
        assert_eq!(observation(row).witness, Witness::NotACall);
        assert!(observation(row).usage.is_empty());
    }
    assert_eq!(observation(&rows[3]).outcome, Some(Outcome::Throttled));
    assert_eq!(rows[4], Normalized::Skipped("not_a_call"));
}

#[test]
fn claude_counts_its_cache_beside_the_input() {
    let body = lines(LINES[4]);
    let body = observation(&body[5]);
    assert_eq!((body.usage.input, body.usage.cache_read), (Some(26 + 48_854 + 120), Some(48_854)));
    assert_eq!(body.usage.cache_write_1h, Some(120));
    assert_eq!(body.platform.as_deref(), Some(platform::AZURE_INFERENCE));
    let log = run(WHOLES[4]);
    let log = observation(&log[0]);
    assert_eq!((log.usage.input, log.usage.cache_read), (Some(26 + 48_854), Some(48_854)));
    assert_eq!((log.usage.cache_write, log.response_id.clone()), (None, body.response_id.clone()));
    assert_eq!(log.gateway_request_id, body.gateway_request_id);
}

#[test]
fn the_parts_of_a_message_never_carry_its_tokens_again() {
    let rows = run(WHOLES[4]);
    assert_eq!(observation(&rows[1]).usage.input, Some(2000));
    assert_eq!(rows[2..4], [Normalized::Skipped("message_part"), Normalized::Skipped("message_part")]);
    assert_eq!(rows[4], Normalized::Skipped("probe"));
    // Usage without a deployment is kept: it was charged.
    assert_eq!(observation(&rows[5]).usage.cache_read, Some(4460));
    let table = run(WHOLES[5]);
    let table = observation(&table[0]);
    assert_eq!((table.usage.input, table.usage.cache_read), (Some(2000), None));
    assert_eq!(table.gateway_request_id, observation(&rows[1]).gateway_request_id);
}

#[test]
fn a_logged_backend_header_links_the_gateway_to_the_provider() {
    let rows = run(WHOLES[3]);
    let row = observation(&rows[0]);
    assert_eq!(row.provider_request_id.as_deref(), Some("aaaaaaaa-0000-4000-8000-00000000000a"));
    assert_eq!(row.served_region.as_deref(), Some("eastus2"));
    assert_eq!(row.principal.as_deref(), Some("team-blue"));
    assert_eq!(row.duration_ms, Some(336.0));
}

#[test]
fn metrics_become_control_totals() {
    let metric = |row: &Normalized| match row {
        Normalized::Metric(metric) => (**metric).clone(),
        other => panic!("no metric: {other:?}"),
    };
    let answer = run(WHOLES[6]);
    assert_eq!(answer.len(), 2, "a point without a value is no point");
    let first = metric(&answer[0]);
    assert_eq!((first.total, first.interval_s), (Some(1200.0), Some(60)));
    assert_eq!((first.deployment.as_deref(), first.model.as_deref()), (Some("gpt-4o"), Some("gpt-4o")));
    assert!(first.resource.as_deref().unwrap().ends_with("/accounts/ai-east"));
    assert_eq!(first.dimensions["usagechannel"], "Cloud");
    assert_eq!(metric(&answer[1]).total, Some(0.0));
    let exported = run(WHOLES[7]);
    assert_eq!(metric(&exported[0]).average, Some(400.0));
    assert_eq!(metric(&exported[1]).name, "Total Tokens");
    let shipped = run(WHOLES[8]);
    assert_eq!(metric(&shipped[1]).total, Some(29.0));
    assert_eq!(shipped[2], Normalized::Skipped("other_category"));
}

#[test]
fn foreign_and_impossible_records_say_why() {
    let reason = |row: &Normalized| match row {
        Normalized::Rejected(reject) => reject.reason,
        Normalized::Skipped(word) => word,
        _ => "row",
    };
    let rows = lines(LINES[5]);
    let reasons: Vec<_> = rows.iter().map(reason).collect();
    let expected = [
        "other_category",
        "not_a_log_record",
        "managed_network_event",
        "bad_properties",
        "bad_count",
        "cache_exceeds_input",
    ];
    assert_eq!(reasons, expected);
    for (text, word) in [("", "empty"), ("{\"a\":", "not_json"), ("7", "not_a_record"), ("[]", "empty")] {
        assert_eq!(reason(&run(text)[0]), word, "{text}");
    }
    assert_eq!(reason(&run(r#"{"records":[]}"#)[0]), "empty");
}

#[test]
fn an_operator_says_what_a_deployment_is() {
    let config: AzureConfig = toml::from_str(
        "[deployments.gpt-4o]\nsku = \"ProvisionedManaged\"\n[deployments.\"AI-East/emb\"]\nsku = \"GlobalBatch\"\n",
    )
    .unwrap();
    assert!(toml::from_str::<AzureConfig>("deployment = 1").is_err());
    let mut file = LINES[0].lines();
    let chat = run_with(config.clone(), file.next().unwrap().as_bytes(), 0);
    assert_eq!(observation(&chat[0]).tier.as_deref(), Some("provisioned"));
    assert_eq!(observation(&chat[0]).tags["azure.scope"], "in_region");
    let batch = run_with(config, file.nth(1).unwrap().as_bytes(), 0);
    assert_eq!(observation(&batch[0]).tier.as_deref(), Some("batch"));
    assert_eq!(observation(&batch[0]).tags["azure.scope"], "global");
}

#[test]
fn rows_without_a_request_id_are_told_apart_by_their_place() {
    let mut row: Value = serde_json::from_str(LINES[1].lines().nth(2).unwrap()).unwrap();
    row.as_object_mut().unwrap().remove("correlationId");
    let both = run(&json!([row, row]).to_string());
    assert_ne!(observation(&both[0]).observation_id, observation(&both[1]).observation_id);
    let again = run(&json!([row, row]).to_string());
    assert_eq!(both, again);
}

#[test]
fn no_text_of_a_body_survives() {
    for record in records() {
        let rows = run(record);
        assert!(!format!("{rows:?}").contains(CANARY), "{rows:#?}");
    }
    assert!(records().filter(|record| record.contains(CANARY)).count() > 8);
}

#[test]
fn unknown_fields_change_nothing() {
    for record in records() {
        let mut value: Value = serde_json::from_str(record.trim_start_matches('\u{feff}')).unwrap();
        let plain = run(&value.to_string());
        assert_eq!(run(record), plain, "the order of fields matters");
        if let Some(fields) = value.as_object_mut() {
            fields.insert("aNewField".to_owned(), json!({"deep": [1, "x", null]}));
            if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("anotherNewField".to_owned(), json!([[], {}]));
            }
        }
        assert_eq!(run(&value.to_string()), plain);
    }
}

#[test]
fn truncated_records_are_set_aside() {
    for record in records() {
        let record = record.trim();
        for (end, _) in record.char_indices().step_by(7) {
            let rows = run(record.get(..end).unwrap());
            assert!(matches!(rows[0], Normalized::Rejected(_) | Normalized::Skipped("empty")), "cut at {end}");
        }
    }
}

#[test]
fn no_value_of_any_field_makes_it_panic() {
    let hostile = [
        json!(null),
        json!(""),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(true),
        json!([]),
        json!([[[1]]]),
        json!({}),
        json!("é://\u{0}/deployments/"),
        json!("9e999"),
        json!("{\"a\":{\"b\":[]}}"),
    ];
    for record in records() {
        let value: Value = serde_json::from_str(record.trim_start_matches('\u{feff}')).unwrap();
        for pointer in pointers(&value) {
            for bad in &hostile {
                let mut copy = value.clone();
                *copy.pointer_mut(&pointer).unwrap() = bad.clone();
                run(&copy.to_string());
            }
        }
    }
    run(&"[".repeat(100_000));
    run(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    run_with(AzureConfig::default(), b"\xff\xfe{\"category\":\"\xff\"}", 0);
}

fn pointers(value: &Value) -> Vec<String> {
    let child = |key: String, value: &Value| {
        let mut all: Vec<_> = pointers(value).into_iter().map(|rest| format!("/{key}{rest}")).collect();
        all.push(format!("/{key}"));
        all
    };
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| child(key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(values) => values.iter().enumerate().flat_map(|(n, value)| child(n.to_string(), value)).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_row_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        run_with(AzureConfig::default(), &bytes, 0);
    }

    #[test]
    fn any_text_in_the_fields_that_are_taken_apart_gives_a_row(text in ".{0,60}") {
        for (category, field) in [
            ("GatewayLogs", "backendUrl"),
            ("GatewayLogs", "backendResponseBody"),
            ("GatewayLogs", "operationId"),
            ("RequestResponse", "requestTime"),
            ("AzureOpenAIRequestUsage", "promptTokens"),
            ("GatewayLlmLogs", "requestId"),
        ] {
            run(&json!({"category": category, "properties": {field: text, "modelName": "m"}}).to_string());
            run(&json!({"category": category, "resourceId": text, "time": text, "properties": text}).to_string());
        }
        run(&json!({"metricName": "m", "total": 1, "time": "2025-01-01T00:00:00Z", "timeGrain": text}).to_string());
    }
}

#[test]
fn tells_inference_from_managing_by_the_operation() {
    use naming::Operation;
    for (name, kind) in [
        ("ChatCompletions_Create", "chat"),
        ("create_response", "chat"),
        ("messages", "chat"),
        ("Completions_Create", "text_completion"),
        ("Embeddings_Create", "embeddings"),
        ("ImageGenerations_Create", "image"),
        ("Transcriptions_Create", "transcription"),
        ("AudioSpeech_Create", "speech"),
    ] {
        assert_eq!(Operation::parse(name), Operation::Inference(kind), "{name}");
    }
    for name in ["Models_List", "Files_Upload", "Projects_Wildcard_Get", "get_response", "ListKey"] {
        assert_eq!(Operation::parse(name), Operation::Managing, "{name}");
    }
    for name in ["Create_Thread", "Create_Thread_And_Run", "Create_Message"] {
        assert!(matches!(Operation::parse(name), Operation::Other(_)), "{name}");
    }
}

#[test]
fn reasoning_outside_the_completion_is_added_to_the_output() {
    let body = |total: Value| {
        let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": 40}});
        let body = json!({"id": "x", "model": "grok-4", "usage": usage}).to_string();
        let mut row: Value = serde_json::from_str(LINES[4].lines().next().unwrap()).unwrap();
        row["properties"]["backendResponseBody"] = json!(body);
        let rows = run(&row.to_string());
        observation(&rows[0]).usage.output
    };
    assert_eq!(body(json!(55)), Some(45));
    assert_eq!(body(json!(null)), Some(45));
}

#[test]
fn wants_objects_that_may_hold_records() {
    let format = AzureDiagnostics::default();
    for key in ["a/PT1H.json", "x.JSONL", "x.json.gz", "x.log", "x.txt", "x.ndjson"] {
        assert!(format.wants(key), "{key}");
    }
    assert!(!format.wants("a/b.parquet") && !format.wants("folder/"));
}
