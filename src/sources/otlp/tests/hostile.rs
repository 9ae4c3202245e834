//! Damaged and hostile requests: nothing panics, nothing good is lost beside something bad.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::build::{array, at, child, double, int, one, request, rows, span, text, truth};
use crate::model::{Flaws, Normalized};
use crate::sources::LogFormat;
use crate::sources::otlp::{JsonError, OtlpConfig, OtlpSpans, decode_metrics, decode_traces};

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
            ("gen_ai.usage.cache_write.input_tokens", int(3)),
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

/// How long one span with that many attributes, events and array items takes, the best of three.
fn time_of(length: u32) -> Duration {
    let pair = |n: u32| KeyValue {
        key: match n % 4 {
            0 => format!("traceloop.association.properties.k{n}"),
            1 => format!("llm.openai.x{n}"),
            2 => format!("gen_ai.prompt.{n}.content"),
            _ => format!("{n}"),
        },
        value: Some(text("some value of a common length")),
        ..KeyValue::default()
    };
    let mut big =
        span(2, "raw_gen_ai_request", vec![("gen_ai.operation.name", text("chat")), ("hidden_params", text("{}"))]);
    big.attributes.extend((0..length).map(pair));
    big.events = (0..length / 10).map(|_| super::build::event("exception", 1, vec![])).collect();
    let requests = ["litellm", "x"].map(|scope| request(scope, vec![big.clone()]));
    (0..3)
        .map(|_| {
            let start = Instant::now();
            requests.iter().for_each(|request| assert_eq!(rows(request).len(), 1));
            start.elapsed()
        })
        .min()
        .unwrap()
}

fn out_of_proportion((small, large): &(Duration, Duration)) -> bool {
    *large > *small * 30 + Duration::from_millis(50)
}

#[test]
fn a_span_of_a_hundred_thousand_attributes_takes_time_in_proportion() {
    // Ten times the attributes; a hundred times the time would be quadratic, and would be so each time. Once in a while
    // another process has the core.
    let pairs: Vec<_> = (0..20).map(|_| (time_of(10_000), time_of(100_000))).take_while(out_of_proportion).collect();
    assert!(pairs.len() < 20, "{pairs:?}");
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
    ] {
        let rows = read(record);
        assert!(
            matches!(&rows[..], [Normalized::Rejected(r)] if r.reason == reason && !r.detail.contains("CANARY")),
            "{record}"
        );
    }
    assert_eq!(decode_traces(&[b'['; 100_000], &mut Flaws::default()), Err(JsonError::NotJson));
}

#[test]
fn a_damaged_span_costs_no_other_span_of_its_request() {
    let good = r#"{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "name": "chat", "kind": 3,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000100000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}"#;
    let chat = r#""attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]"#;
    let time = r#""startTimeUnixNano": "1700000000000000000""#;
    for (damaged, expected) in [
        (format!("{{\"traceId\": \"CANARY\", \"spanId\": 7, {time}, {chat}}}"), "observation"),
        (format!("{{\"startTimeUnixNano\": \"yesterday\", {chat}}}"), "bad_time"),
        (
            format!("{{\"name\": [1], \"kind\": \"SIDEWAYS\", \"status\": 3, \"events\": {{}}, {time}, {chat}}}"),
            "observation",
        ),
        (r#"{"attributes": 5}"#.to_owned(), "skipped"),
        (
            format!(
                "{{{time}, \"attributes\": [7, {{\"key\": 5}}, {{\"key\": \"gen_ai.operation.name\", \"value\": {{\"stringValue\": \"chat\"}}}}]}}"
            ),
            "observation",
        ),
    ] {
        let rows = read(&format!("{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{damaged}, {good}]}}]}}]}}"));
        let kinds: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Normalized::Observation(_) => "observation",
                Normalized::Rejected(reject) => reject.reason,
                _ => "skipped",
            })
            .collect();
        assert_eq!(kinds, [expected, "observation"], "{damaged}");
        assert!(!format!("{rows:?}").contains("CANARY"));
    }
}

/// An attribute, what stands beside the spans, beside their groups, beside the resources; how many are lost or mended.
type Damage = (Vec<u8>, &'static str, &'static str, &'static str, u64, u64);

/// Good spans beside damage of each kind: all of them are kept, and it is told what was not.
#[test]
fn damage_within_json_costs_the_element_that_has_it() {
    let good = |id: u8| {
        format!(
            r#"{{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B1{id:02}", "name": "chat",
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000100000000",
            "attributes": [{{"key": "gen_ai.operation.name", "value": {{"stringValue": "chat"}}}}, XTRA]}}"#
        )
    };
    let none = r#"{"key": "n"}"#;
    let text = |content: &str| format!(r#"{{"key": "n", "value": {{"stringValue": "{content}"}}}}"#).into_bytes();
    let (open, close) = (r#"{"arrayValue": {"values": ["#.repeat(200), "]}}".repeat(200));
    let deep = format!(r#"{{"key": "n", "value": {open}{{"intValue": 1}}{close}}}"#).into_bytes();
    let number = |n: &str| format!(r#"{{"key": "n", "value": {{"doubleValue": {n}}}}}"#).into_bytes();
    let cases: [Damage; 14] = [
        (text("x"), "", "", "", 0, 0),
        (text("a\\ud800b"), "", "", "", 0, 1),
        (text("\\udc00 \\ud83d\\ude00"), "", "", "", 0, 1),
        ([&text("")[..28], b"\xff\xfe\xc3", &text("")[28..]].concat(), "", "", "", 0, 1),
        (text("a\nb"), "", "", "", 0, 1),
        (deep, "", "", "", 0, 1),
        (number("NaN"), "", "", "", 0, 1),
        (number("1e999"), "", "", "", 0, 1),
        (b"null, 1, \"x\", []".to_vec(), "", "", "", 0, 4),
        (none.into(), "null,", "", "", 1, 0),
        (none.into(), "7, \"x\", [{}],", "", "", 3, 0),
        (none.into(), "", "null, 5,", "", 2, 0),
        (none.into(), "", r#"{"spans": "x"}, {"scope": 5, "spans": null},"#, "", 1, 1),
        (none.into(), "", "", r#"null, "x", {"scopeSpans": 5}, {"resource": []},"#, 3, 1),
    ];
    for (attribute, beside, groups, resources, lost, mended) in cases {
        let spans = format!("{}, {beside} {}", good(1), good(2).replace("XTRA", none));
        let body = format!(r#"{{"resourceSpans": [{resources} {{"scopeSpans": [{groups} {{"spans": [{spans}]}}]}}]}}"#);
        let (before, behind) = body.split_once("XTRA").unwrap();
        let body = [before.as_bytes(), &attribute, behind.as_bytes()].concat();
        let shown = String::from_utf8_lossy(&body);
        let mut flaws = Flaws::default();
        let request = decode_traces(&body, &mut flaws).unwrap_or_else(|error| panic!("{error}: {shown}"));
        let kept = rows(&request).into_iter().filter(|row| matches!(row, Normalized::Observation(_))).count();
        let lost_here: u64 = flaws.left_out().map(|(_, count)| count).sum();
        let mended_here: u64 = flaws.mended().map(|(_, count)| count).sum();
        assert_eq!((kept, lost_here, mended_here), (2, lost, mended), "{flaws:?} {shown}");
        let mut from_file = Vec::new();
        OtlpSpans::default().normalize(&body, &at(), &mut from_file);
        let rejected = from_file.iter().filter(|row| matches!(row, Normalized::Rejected(_))).count();
        assert_eq!(rejected, flaws.left_out().count(), "one row of the quarantine for all of a kind");
    }
}

#[test]
fn absurd_totals_of_tokens_are_set_aside() {
    let rows = |name: &str, unit: &str, data: &str| {
        let body = format!(
            r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"name": "{name}", "unit": "{unit}", {data}}}]}}]}}]}}"#
        );
        let mut out = Vec::new();
        OtlpSpans::default().metrics(&decode_metrics(body.as_bytes(), &mut Flaws::default()).unwrap(), &at(), &mut out);
        let told = |row: Normalized| match row {
            Normalized::Rejected(reject) => reject.reason,
            Normalized::Metric(_) => "kept",
            _ => "skipped",
        };
        out.into_iter().map(told).collect::<Vec<_>>()
    };
    let times = r#""startTimeUnixNano": "1700000000000000000", "timeUnixNano": "1700000060000000000""#;
    let (usage, tokens) = ("gen_ai.client.token.usage", "{token}");
    for (total, expected) in [
        ("0", "kept"),
        ("12.5", "kept"),
        ("999999999999999", "kept"),
        ("null", "kept"),
        ("NaN", "absurd_tokens"),
        ("\"NaN\"", "absurd_tokens"),
        ("\"Infinity\"", "absurd_tokens"),
        ("-1", "absurd_tokens"),
        ("1e15", "absurd_tokens"),
        ("1e999", "absurd_tokens"),
    ] {
        for kind in ["histogram", "exponentialHistogram"] {
            let data = format!(r#""{kind}": {{"dataPoints": [{{{times}, "count": "3", "sum": {total}}}]}}"#);
            assert_eq!(rows(usage, tokens, &data), [expected], "{data}");
            assert_eq!(rows(usage, "", &data), [expected], "{data}");
            assert_eq!(rows("gen_ai.client.operation.duration", "s", &data), ["kept"], "{data}");
        }
        let data = format!(r#""sum": {{"dataPoints": [{{{times}, "asDouble": {total}}}]}}"#);
        assert_eq!(rows("gen_ai.usage.tokens", "", &data), [expected], "{data}");
    }
    let many = format!(r#""histogram": {{"dataPoints": [{{{times}, "count": "18446744073709551615", "sum": 1}}]}}"#);
    assert_eq!(rows(usage, tokens, &many), ["absurd_tokens"]);
    let negative = format!(r#""sum": {{"dataPoints": [{{{times}, "asInt": "-9223372036854775808"}}]}}"#);
    assert_eq!(rows(usage, tokens, &negative), ["absurd_tokens"]);
}

#[test]
fn damage_within_json_metrics_costs_the_element_that_has_it() {
    let point = r#"{"startTimeUnixNano": "1700000000000000000", "timeUnixNano": "1700000060000000000", "asInt": "7"}"#;
    let metric =
        |points: &str| format!(r#"{{"name": "gen_ai.client.token.usage", "sum": {{"dataPoints": [{points}]}}}}"#);
    for (metrics, kept, lost) in [
        (metric(point), 1, 0),
        (metric(&format!("null, {point}, 5")), 1, 2),
        (metric(&format!("{}, {point}", point.replace("\"1700000000000000000\"", "{}"))), 1, 1),
        (format!("3, {}, null", metric(point)), 1, 2),
        (format!("{}, {}", metric(point), metric(point).replace("\"gen_ai.client.token.usage\"", "5")), 1, 1),
        (r#"{"name": "gen_ai.client.token.usage", "sum": "x"}"#.to_owned(), 0, 1),
    ] {
        let body = format!(r#"{{"resourceMetrics": [null, {{"scopeMetrics": [7, {{"metrics": [{metrics}]}}]}}]}}"#);
        let mut flaws = Flaws::default();
        let request = decode_metrics(body.as_bytes(), &mut flaws).unwrap();
        let mut out = Vec::new();
        OtlpSpans::default().metrics(&request, &at(), &mut out);
        assert_eq!(out.iter().filter(|row| matches!(row, Normalized::Metric(_))).count(), kept, "{metrics}");
        assert_eq!(flaws.left_out().map(|(_, count)| count).sum::<u64>(), lost + 2, "{metrics}");
    }
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
