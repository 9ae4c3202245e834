//! Records after the documented format, damaged ones, and published samples where they are at hand.

mod samples;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BedrockConfig, BedrockLog};
use crate::model::{Normalized, Observation, Outcome, RecordRef, Timestamp};
use crate::sources::LogFormat;

const OBJECT: &str = "AWSLogs/111122223333/BedrockModelInvocationLogs/us-east-1/2026/03/02/09/x.json.gz";

fn at(source: &str, position: u64) -> RecordRef<'_> {
    let time = |text| Timestamp::parse(text).unwrap();
    RecordRef {
        source,
        object: OBJECT,
        position,
        object_time: time("2026-11-01T00:00:00Z"),
        observed_at: time("2026-11-02T00:00:00Z"),
    }
}

fn rows(record: &[u8]) -> Vec<Normalized> {
    let mut out = Vec::new();
    BedrockLog::default().normalize(record, &at("test", 0), &mut out);
    out
}

fn only(record: &[u8]) -> Observation {
    let mut rows = rows(record);
    assert_eq!(rows.len(), 1, "{rows:?}");
    match rows.remove(0) {
        Normalized::Observation(observation) => *observation,
        other => panic!("{other:?}"),
    }
}

fn reason(record: &[u8]) -> String {
    match rows(record).as_slice() {
        [Normalized::Rejected(reject)] => reject.reason.to_owned(),
        [Normalized::Skipped(word)] => format!("skipped {word}"),
        other => panic!("{other:?}"),
    }
}

/// Everything that the record decides, without what is absent.
fn describe(row: &Normalized) -> Value {
    let o = match row {
        Normalized::Observation(observation) => observation,
        Normalized::Skipped(word) => return json!({ "skipped": word }),
        Normalized::Rejected(reject) => return json!({ "rejected": reject.reason }),
        Normalized::Metric(_) => return json!("metric"),
    };
    assert_eq!((o.dialect.as_str(), o.platform.as_deref()), ("bedrock.invocation_log", Some("aws.bedrock")));
    let all = json!({
        "ts": o.ts.to_string(), "ts_assumed": o.ts_assumed.then_some(true),
        "provider_request_id": o.provider_request_id, "response_id": o.response_id, "trace_id": o.trace_id,
        "request_model": o.request_model, "region": o.region, "served_region": o.served_region, "account": o.account,
        "operation": o.operation, "streaming": o.streaming, "tier": o.tier, "outcome": o.outcome.unwrap().as_str(),
        "error_code": o.error_code, "finish_reason": o.finish_reason, "input": o.usage.input,
        "cache_read": o.usage.cache_read, "cache_write": o.usage.cache_write,
        "cache_write_1h": o.usage.cache_write_1h, "output": o.usage.output, "reasoning": o.usage.reasoning,
        "images": o.usage.images, "usage_status": o.usage_status.as_str(), "duration_ms": o.duration_ms,
        "ttft_ms": o.ttft_ms, "principal": o.principal, "tags": o.tags,
    });
    let Value::Object(all) = all else { unreachable!() };
    let said = |value: &Value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty());
    Value::Object(all.into_iter().filter(|(_, value)| said(value)).collect())
}

fn fixtures() -> Vec<(PathBuf, Vec<Vec<u8>>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bedrock");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.to_string_lossy().ends_with(".expected.json"));
    files.sort();
    let lines = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    files.into_iter().map(|path| (path.clone(), lines(&path))).collect()
}

#[test]
fn every_fixture_gives_its_expected_rows() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 8);
    for (path, records) in fixtures {
        let found: Vec<Value> = records.iter().flat_map(|record| rows(record)).map(|row| describe(&row)).collect();
        let expected = path.with_extension("expected.json");
        let expected: Value = std::fs::read(&expected).map_or(Value::Null, |b| serde_json::from_slice(&b).unwrap());
        let shown = serde_json::to_string_pretty(&found).unwrap();
        assert_eq!(json!(found), expected, "{}: found\n{shown}", path.display());
    }
}

#[test]
fn no_text_of_a_body_leaves_the_normalizer() {
    for (path, records) in fixtures() {
        for row in records.iter().flat_map(|record| rows(record)) {
            assert!(!format!("{row:?}").contains("CANARY"), "{}: {row:?}", path.display());
        }
    }
}

#[test]
fn both_deliveries_of_a_record_are_one_observation() {
    let (_, records) = fixtures().remove(0);
    let record = String::from_utf8(records[0].clone()).unwrap();
    let wrapped = [
        json!({ "@message": record, "@timestamp": "2026-03-02 09:15:07.000", "@ptr": "x" }),
        json!({ "@message": serde_json::from_str::<Value>(&record).unwrap() }),
        json!({ "eventId": "1", "timestamp": 1_772_442_907_000_i64, "message": record, "logStreamName": "x" }),
        json!({ "messageType": "DATA_MESSAGE", "logEvents": [{ "id": "1", "message": record }] }),
        json!({ "events": [{ "eventId": "1", "message": record }], "nextToken": "x" }),
        json!([{ "@message": record }]),
        json!(format!("2026-03-02T09:15:07.000Z {record}")),
        json!(record),
    ];
    let bare = only(record.as_bytes());
    for wrapped in wrapped {
        let mut out = Vec::new();
        BedrockLog::default().normalize(wrapped.to_string().as_bytes(), &at("other", 77), &mut out);
        let [Normalized::Observation(copy)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!(Observation { source: bare.source.clone(), ..(**copy).clone() }, bare);
    }
    let pretty = serde_json::to_vec_pretty(&serde_json::from_str::<Value>(&record).unwrap()).unwrap();
    assert_eq!(only(&[b"\xEF\xBB\xBF  ".as_slice(), &pretty, b"\r\n"].concat()), bare);
}

#[test]
fn records_without_request_id_are_told_apart_by_their_place() {
    let record = br#"{"timestamp":"2026-03-02T09:00:00Z","operation":"Converse","modelId":"m"}"#;
    let id = |position| {
        let mut out = Vec::new();
        let both = [b"[".as_slice(), record, b",", record, b"]"].concat();
        BedrockLog::default().normalize(&both, &at("a", position), &mut out);
        out.iter()
            .map(|row| if let Normalized::Observation(o) = row { o.observation_id } else { panic!("{row:?}") })
            .collect::<Vec<_>>()
    };
    let mut ids = [id(0), id(900)].concat();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!(id(0), id(0));
}

#[test]
fn attempts_with_their_own_request_id_are_their_own_observations() {
    let id = |request: &str, tokens: u64| {
        let record = json!({ "timestamp": "2026-03-02T09:00:00Z", "requestId": request, "operation": "Converse",
            "input": { "inputTokenCount": tokens } });
        only(record.to_string().as_bytes()).observation_id
    };
    assert_eq!(id("a", 1), id("a", 1));
    assert_ne!(id("a", 1), id("b", 1));
    assert_ne!(id("a", 1), id("a", 2));
}

#[test]
fn sets_known_non_records_aside() {
    for (text, expected) in [
        ("Permissions are correctly set for Amazon Bedrock logs.", "skipped permission_check"),
        ("\"Permissions are correctly set for Amazon Bedrock logs.\"", "skipped permission_check"),
        ("{\"@message\":\"Permissions are correctly set for Amazon Bedrock logs.\"}", "skipped permission_check"),
        ("2026-03-02T09:15:07.000Z Permissions are correctly set for Amazon Bedrock logs.", "skipped permission_check"),
        (
            "{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[{\"message\":\"CWL CONTROL MESSAGE\"}]}",
            "skipped control_message",
        ),
        ("{\"Service\":\"Amazon S3\",\"Event\":\"s3:TestEvent\",\"Bucket\":\"b\"}", "skipped notification"),
        ("", "skipped empty"),
        ("[]", "skipped empty"),
        ("{}", "not_a_record"),
        ("{\"message\":{}}", "not_a_record"),
        ("{\"message\":\"{\\\"a\\\":1}\"}", "not_a_record"),
        ("{\"a\":1,}", "not_json"),
    ] {
        assert_eq!(reason(text.as_bytes()), expected, "{text}");
    }
    let mut wrapped = json!({ "timestamp": "2026-03-02T09:00:00Z", "requestId": "r", "operation": "Converse" });
    for _ in 0..9 {
        wrapped = json!({ "@message": wrapped });
    }
    assert_eq!(reason(wrapped.to_string().as_bytes()), "not_a_record");
}

#[test]
fn keeps_records_whose_text_is_damaged() {
    let record = [
        br#"{"timestamp":"2026-03-02T09:00:00Z","requestId":"r","operation":"InvokeModel","modelId":"m","#.as_slice(),
        b"\"input\":{\"inputBodyJson\":{\"prompt\":\"\xff\xfe\",\"\xff\":1},\"inputTokenCount\":5},",
        b"\"output\":{\"outputBodyJson\":\"\xff\",\"outputTokenCount\":6},\"identity\":{\"arn\":\"a\xff\"}}",
    ]
    .concat();
    let found = only(&record);
    assert_eq!((found.usage.input, found.usage.output), (Some(5), Some(6)));
    assert_eq!(found.operation.as_deref(), Some("text_completion"));

    let deep = format!(
        r#"{{"requestId":"r","operation":"Converse","input":{{"inputBodyJson":{}1{},"inputTokenCount":5}}}}"#,
        r#"{"messages":["#.repeat(2000),
        "]}".repeat(2000)
    );
    assert_eq!(only(deep.as_bytes()).usage.input, Some(5));
    let deltas = format!(
        r#"{{"requestId":"r","operation":"Converse","output":{{"outputBodyJson":{}1{},"outputTokenCount":5}}}}"#,
        r#"{"delta":"#.repeat(2000),
        "}".repeat(2000)
    );
    assert_eq!(only(deltas.as_bytes()).usage.output, Some(5));
}

#[test]
fn an_unreadable_time_is_taken_from_the_object() {
    for time in ["\"xxxxxxxxxxxx\"", "null", "{}", "\"<time>\""] {
        let record = format!(r#"{{"timestamp":{time},"requestId":"r","operation":"Converse"}}"#);
        let found = only(record.as_bytes());
        assert_eq!((found.ts, found.ts_assumed), (at("", 0).object_time, true), "{time}");
    }
}

#[test]
fn unknown_fields_and_any_order_change_nothing() {
    let (_, records) = fixtures().remove(1);
    let Value::Object(record) = serde_json::from_slice(&records[0]).unwrap() else { unreachable!() };
    let expected = only(&records[0]);
    // As text, because a map of serde_json has an order of its own.
    let mut fields: Vec<String> = record.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    fields.reverse();
    fields.insert(0, r#""later":{"a":[1,{"inputTokenCount":9}],"b":null}"#.to_owned());
    fields.push(r#""performanceConfig":null,"status":200,"sch\u00e9ma":1e999"#.to_owned());
    assert_eq!(only(format!("{{{}}}", fields.join(",")).as_bytes()), expected);
}

#[test]
fn a_record_cut_anywhere_is_rejected_once() {
    for (_, records) in fixtures() {
        for record in records.iter().filter(|record| serde_json::from_slice::<Value>(record).is_ok()) {
            for end in 1..record.len() {
                if record[0] == b'{' {
                    assert_eq!(reason(&record[..end]), "not_json");
                }
            }
        }
    }
}

#[test]
fn a_content_filter_of_the_model_is_an_outcome_of_its_own() {
    for (reason, outcome) in [
        ("content_filtered", Outcome::ContentFiltered),
        ("CONTENT_FILTERED", Outcome::ContentFiltered),
        ("content_filter", Outcome::ContentFiltered),
        ("end_turn", Outcome::Ok),
    ] {
        let body = json!({ "stopReason": reason });
        let record = json!({ "requestId": "r", "operation": "Converse", "output": { "outputBodyJson": body } });
        let found = only(record.to_string().as_bytes());
        assert_eq!((found.outcome, found.finish_reason.as_deref()), (Some(outcome), Some(reason)));
        assert!(found.tags.is_empty());
    }
}

#[test]
fn errors_have_the_outcome_of_their_class() {
    for (code, outcome) in [
        ("ThrottlingException", Outcome::Throttled),
        ("ServiceQuotaExceededException", Outcome::Throttled),
        ("ModelNotReadyException", Outcome::Throttled),
        ("AccessDeniedException", Outcome::ClientError),
        ("ValidationException", Outcome::ClientError),
        ("ResourceNotFoundException", Outcome::ClientError),
        ("UnrecognizedClientException", Outcome::ClientError),
        ("ModelTimeoutException", Outcome::Timeout),
        ("ModelErrorException", Outcome::ServerError),
        ("ModelStreamErrorException", Outcome::ServerError),
        ("InternalServerException", Outcome::ServerError),
        ("ServiceUnavailableException", Outcome::ServerError),
        ("503", Outcome::ServerError),
        ("SomethingNew", Outcome::Unknown),
    ] {
        let record = json!({ "requestId": "r", "operation": "Converse", "errorCode": code });
        let found = only(record.to_string().as_bytes());
        assert_eq!((found.outcome, found.error_code.as_deref()), (Some(outcome), Some(code)));
        assert_eq!((found.http_status, found.usage.input), (None, None));
    }
}

#[test]
fn a_trace_id_in_the_metadata_is_taken_if_it_is_one() {
    let hex = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (key, value, expected) in [
        ("trace_id", hex.to_uppercase(), Some(hex)),
        ("traceId", hex.to_owned(), Some(hex)),
        ("traceparent", format!("00-{hex}-00f067aa0ba902b7-01"), Some(hex)),
        ("traceId", "1-4bf92f35-77b34da6a3ce929d0e0e4736".to_owned(), Some(hex)),
        ("trace_id", "0".repeat(32), None),
        ("trace_id", "checkout".to_owned(), None),
        ("team", hex.to_owned(), None),
    ] {
        let record = json!({ "requestId": "r", "operation": "Converse", "requestMetadata": { key: value } });
        let found = only(record.to_string().as_bytes());
        assert_eq!(found.trace_id.as_deref(), expected, "{key}");
        assert_eq!(found.tags.get(key), Some(&value));
    }
}

#[test]
fn a_caller_cannot_write_the_tags_that_the_provider_writes() {
    let metadata = json!({ "bedrock.guardrail": "none", "team": "a" });
    let record = json!({ "requestId": "r", "operation": "Converse", "requestMetadata": metadata });
    let tags = only(record.to_string().as_bytes()).tags;
    let keys: Vec<&str> = tags.keys().map(String::as_str).collect();
    assert_eq!(keys, ["request_metadata.bedrock.guardrail", "team"]);
}

#[test]
fn configured_place_fills_in_only_what_the_record_lacks() {
    let config: BedrockConfig = toml::from_str("account = \"1\"\nregion = \"eu-west-1\"").unwrap();
    assert!(toml::from_str::<BedrockConfig>("acount = \"1\"").is_err());
    let log = BedrockLog::new(config);
    for (record, account) in [
        (json!({ "requestId": "r", "operation": "Converse" }), "1"),
        (json!({ "requestId": "r", "operation": "Converse", "accountId": "2" }), "2"),
    ] {
        let mut out = Vec::new();
        log.normalize(record.to_string().as_bytes(), &at("a", 0), &mut out);
        let [Normalized::Observation(found)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!((found.account.as_deref(), found.region.as_deref()), (Some(account), Some("eu-west-1")));
    }
}

#[test]
fn wants_logs_and_leaves_what_lies_beside_them() {
    let log = BedrockLog::default();
    assert_eq!(log.name(), "bedrock");
    for key in [
        OBJECT,
        "p/AWSLogs/1/BedrockModelInvocationLogs/us-east-1/2025/06/01/13/20250601T130059123Z_0123456789abcdef.json.gz",
        "/data/logs/AWSLogs/1/BedrockModelInvocationLogs/us-east-1/2025/06/01/13/x.json.gz",
        "a.json",
        "a.JSONL",
        "a.ndjson",
        "export/000000.gz",
        "firehose/stream-1-2025-06-01-13-00-00-abc",
        "a.log",
        "a.txt",
    ] {
        assert!(log.wants(key), "{key}");
    }
    for key in [
        "AWSLogs/1/BedrockModelInvocationLogs/us-east-1/2025/06/01/13/data/r_input.json.gz",
        "AWSLogs/1/BedrockModelInvocationLogs/us-east-1/2025/06/01/13/data/x.json.gz",
        "AWSLogs/1/BedrockModelInvocationLogs/amazon-bedrock-logs-permission-check",
        "x/amazon-bedrock-logs-permission-check",
        "elsewhere/r_output.json.gz",
        "data/x.json.gz",
        "a/data/r_input_media_00.pdf",
        "folder/",
        "a.parquet",
        ".hidden",
    ] {
        assert!(!log.wants(key), "{key}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_rows_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!rows(&bytes).is_empty());
        let start = br#"{"requestId":"r","operation":"Converse","output":{"outputBodyJson":""#;
        let body = [start.as_slice(), &bytes].concat();
        prop_assert!(!rows(&body).is_empty());
    }

    #[test]
    fn damage_anywhere_gives_rows_and_no_panic(which in 0_usize..11, place in any::<usize>(), byte in any::<u8>()) {
        for record in fixtures().swap_remove(which).1 {
            let mut record = record;
            let place = place % record.len();
            record[place] = byte;
            prop_assert!(!rows(&record).is_empty());
        }
    }

    #[test]
    fn counts_are_kept_or_rejected(count in any::<i64>()) {
        let record = json!({ "requestId": "r", "operation": "Converse", "timestamp": "2026-03-02T09:00:00Z",
            "output": { "outputTokenCount": count } });
        match rows(record.to_string().as_bytes()).as_slice() {
            [Normalized::Observation(o)] => prop_assert_eq!(o.usage.output.map(i128::from), Some(i128::from(count))),
            [Normalized::Rejected(_)] => prop_assert!(!(0..=1_000_000_000).contains(&count)),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
