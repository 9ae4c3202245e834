//! What stands beside the calls: events of gateways, totals that services report, and why a call is what it is.

use serde_json::{Value, json};

use crate::harness::{Finished, Place};
use crate::ops::{on, told, works};
use crate::records::{bedrock, lines, now_us};

pub const SECOND_US: i64 = 1_000_000;

pub fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

pub fn count(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

/// A span of trace `n`; `id` and `parent` are small numbers.
pub fn span(n: u64, id: u64, parent: Option<u64>, start_us: i64, attributes: &[Value]) -> Value {
    let mut span = json!({
        "traceId": format!("{n:032x}"),
        "spanId": format!("{:016x}", n * 100 + id),
        "name": "span",
        "kind": 3,
        "startTimeUnixNano": (start_us * 1000).to_string(),
        "endTimeUnixNano": ((start_us + SECOND_US) * 1000).to_string(),
        "attributes": attributes,
        "status": {},
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = format!("{:016x}", n * 100 + parent).into();
    }
    span
}

pub fn export(service: &str, scope: &str, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", service)]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": spans}],
    }]})
}

pub fn usage(model: &str) -> Vec<Value> {
    vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", model),
        count("gen_ai.usage.input_tokens", 1000),
        count("gen_ai.usage.output_tokens", 200),
    ]
}

/// LiteLLM's span for a request; `hidden` is what it writes about the way there.
fn litellm(n: u64, parent: Option<u64>, start_us: i64, hidden: &Value) -> Value {
    let own = [text("hidden_params", &hidden.to_string()), text("metadata.user_api_key_team_alias", "Search")];
    let attributes = [usage("gpt-4o"), own.to_vec()].concat();
    span(n, 2, parent, start_us, &attributes)
}

fn only(place: &Place, statement: &str) -> Value {
    let rows = place.sql(statement);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

pub fn import(place: &Place, requests: &[Value]) {
    let file = place.file("requests.json", lines(requests.iter().cloned()));
    place.import("otlp", &[&file]);
}

#[test]
fn a_cache_hit_is_an_event_with_what_it_saved_and_no_call() {
    let place = Place::new();
    let now = now_us() - 10 * SECOND_US;
    let hit = json!({"cache_key": "abc", "additional_headers": {"x-litellm-attempted-retries": 0}, "litellm_overhead_time_ms": null});
    let sent = json!({"cache_key": null, "additional_headers": {"llm_provider-x-request-id": "req_1"}});
    import(
        &place,
        &[
            // The application's span around a cache hit, and around a call that left the gateway.
            export("app", "opentelemetry.instrumentation.openai_v2", &[span(1, 1, None, now, &usage("gpt-4o"))]),
            export("litellm", "litellm", &[litellm(1, Some(1), now + 1000, &hit)]),
            export("app", "opentelemetry.instrumentation.openai_v2", &[span(2, 1, None, now, &usage("gpt-4o"))]),
            export("litellm", "litellm", &[litellm(2, Some(1), now + 1000, &sent)]),
        ],
    );
    let call = only(&place, "SELECT trace_id, input_tokens, service, team FROM calls");
    assert_eq!(
        call,
        json!({"trace_id": format!("{:032x}", 2), "input_tokens": 1000, "service": "app", "team": "Search"})
    );
    let event = "SELECT kind, gateway, team, model, saved_input_tokens, saved_output_tokens, \
        CAST(saved_cost AS VARCHAR) AS saved_cost, trace_id FROM gateway_events";
    assert_eq!(
        only(&place, event),
        json!({
            "kind": "cache_hit", "gateway": "litellm", "team": "Search", "model": "gpt-4o", "saved_input_tokens": 1000,
            "saved_output_tokens": 200, "saved_cost": "0.004500000000", "trace_id": format!("{:032x}", 1),
        })
    );
    let explained = told(&works(&place, &["explain", "--json", "--trace", &format!("{:032x}", 1)]));
    assert_eq!(explained["calls"], json!([]));
    let why: Vec<_> =
        explained["records"].as_array().unwrap().iter().map(|record| record["left_out"].as_str().unwrap()).collect();
    assert!(why[0].contains("the gateway below it answered"), "{why:?}");
    assert!(why[1].contains("never reached a provider (cache hit)"), "{why:?}");
}

#[test]
fn explain_says_who_said_what_and_which_rule_joined_them() {
    let place = Place::new();
    let record = bedrock(7, 1);
    let id = record["requestId"].as_str().unwrap();
    let start = polymeter::model::Timestamp::parse(record["timestamp"].as_str().unwrap()).unwrap().0;
    let mut attributes = usage("eu.anthropic.claude-sonnet-4-5-20250929-v1:0");
    attributes[1] = text("gen_ai.provider.name", "aws.bedrock");
    attributes.push(text("aws.request_id", id));
    let agent = span(3, 1, None, start, &[text("gen_ai.operation.name", "invoke_agent")]);
    import(&place, &[export("shop", "app", &[agent, span(3, 2, Some(1), start, &attributes)])]);
    let log = place.file("log.json", lines([record.clone()]));
    place.import("bedrock", &[&log]);

    let call = only(&place, "SELECT call_id, CAST(cost AS VARCHAR) AS cost FROM calls");
    let explained = told(&works(&place, &["explain", "--json", "--call", call["call_id"].as_str().unwrap()]));
    let told_call = &explained["calls"][0];
    assert_eq!((&told_call["call_id"], &told_call["in_calls"]), (&call["call_id"], &json!(true)));
    assert_eq!(told_call["differs"], json!([]));
    assert_eq!(told_call["joined"][0]["rule"], "same provider request id");
    let records = explained["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    let of = |witness: &str| {
        let record = records.iter().find(|record| record["witness"] == witness).unwrap();
        record["observation_id"].clone()
    };
    let from = |column: &str| {
        let figure = told_call["figures"].as_array().unwrap().iter().find(|figure| figure["column"] == column).unwrap();
        figure["from"].clone()
    };
    assert_eq!((from("input_tokens"), from("service")), (of("provider_log"), of("client")));
    // Bedrock's 101 tokens, not the client's 1,000; and the arithmetic adds up.
    let lines = told_call["price"].as_array().unwrap();
    assert_eq!((&lines[0]["bucket"], &lines[0]["quantity"]), (&json!("input"), &json!(101)));
    let costs = lines.iter().map(|line| line["cost"].as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap());
    assert_eq!(costs.sum::<rust_decimal::Decimal>(), call["cost"].as_str().unwrap().parse().unwrap());

    let Finished { stdout, .. } = works(&place, &["explain", "--trace", &format!("{:032x}", 3)]);
    assert!(stdout.contains("it surrounds calls") && stdout.contains("(provider log) speaks first"), "{stdout}");
    for (args, hint) in [
        (["explain", "--trace", "xyz"], "32 hex digits"),
        (["explain", "--call", "00000000000000000000000000000000"], "holds no record of it"),
    ] {
        let refused = on(&place, &args);
        assert!(!refused.status.success() && refused.stderr.contains(hint), "{}", refused.stderr);
    }
}

/// A cumulative token count, as an exporter repeats it.
fn tokens(service: &str, kind: &str, total: u64, start_us: i64, end_us: i64) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [text("service.name", service)]},
        "scopeMetrics": [{"scope": {"name": "app"}, "metrics": [{
            "name": "gen_ai.client.token.usage",
            "unit": "{token}",
            "histogram": {"aggregationTemporality": 2, "dataPoints": [{
                "startTimeUnixNano": (start_us * 1000).to_string(),
                "timeUnixNano": (end_us * 1000).to_string(),
                "count": "3",
                "sum": total,
                "bucketCounts": [],
                "explicitBounds": [],
                "attributes": [
                    text("gen_ai.token.type", kind),
                    text("gen_ai.provider.name", "openai"),
                    text("gen_ai.request.model", "gpt-4o"),
                ],
            }]},
        }]}],
    }]})
}

#[test]
fn who_sends_only_metrics_is_seen_and_never_added_to_calls() {
    let place = Place::new();
    let now = now_us();
    let start = now - 60 * SECOND_US;
    let points = |service: &str| {
        // The second point repeats the first and adds to it; the first is sent twice.
        let first = tokens(service, "input", 1000, start, start + 20 * SECOND_US);
        let second = tokens(service, "input", 1500, start, start + 40 * SECOND_US);
        // A start that wanders is no new beginning, and a number without sense breaks nothing.
        let output = tokens(service, "output", 50, start + 1000, start + 20 * SECOND_US);
        let absurd =
            tokens("absurd", "output", 70, start, start + 40 * SECOND_US).to_string().replace(":70,", ":1e300,");
        let absurd = serde_json::from_str(&absurd).unwrap();
        [first.clone(), first, second, output, tokens(service, "output", 70, start, start + 40 * SECOND_US), absurd]
    };
    let spans = export("traced", "app", &[span(4, 1, None, start, &usage("gpt-4o"))]);
    import(&place, &[&[spans], &points("traced")[..], &points("dark")].concat());
    assert_eq!(only(&place, "SELECT sum(input_tokens) AS n FROM calls"), json!({"n": 1000}));
    let sums = "SELECT sum(input_tokens) AS input, sum(output_tokens) AS output FROM";
    for (service, both) in [("traced", "metric_usage"), ("dark", "metered_by_metrics_only")] {
        let row = only(&place, &format!("{sums} {both} WHERE service = '{service}'"));
        assert_eq!(row, json!({"input": 1500, "output": 70}), "{service}");
    }
    let dark = "SELECT count(DISTINCT service) AS n FROM metered_by_metrics_only WHERE service <> 'absurd'";
    assert_eq!(only(&place, dark), json!({"n": 1}));
    let server = place.serve();
    let coverage = server.get("/api/v1/queries/metrics_coverage").json();
    let rows: Vec<_> = coverage["rows"].as_array().unwrap().iter().collect();
    let of = |service: &str| rows.iter().find(|row| row["service"] == service).unwrap();
    assert!((of("traced")["seen_share"].as_f64().unwrap() - 1200.0 / 1570.0).abs() < 1e-9, "{rows:?}");
    assert_eq!(of("dark")["calls"], Value::Null);
    server.stop();
}

/// An export at the end follows the last one within a second, and the first may come within a second of the start.
#[test]
fn points_of_one_second_are_in_their_order() {
    let place = Place::new();
    let start = now_us() / SECOND_US * SECOND_US - 100 * SECOND_US;
    let again = start + 60 * SECOND_US;
    let points = [(start, 400_000, 100), (start, 20_000_000, 500), (start, 20_300_000, 700), (again, 300_000, 30)];
    let points = points.map(|(start, after_us, total)| tokens("hasty", "input", total, start, start + after_us));
    import(&place, &[&points[..], &[tokens("hasty", "input", 40, again, again + 9 * SECOND_US)]].concat());
    assert_eq!(only(&place, "SELECT sum(input_tokens) AS n FROM metric_usage"), json!({"n": 740}));
}

/// A point a minute of several services, more than a group of maps could hold in memory.
#[test]
fn the_metrics_of_days_are_summed_within_the_memory_of_a_query() {
    const POINTS: i64 = 1500;
    let place = Place::new();
    let start = (now_us() / (60 * SECOND_US) - 2 * POINTS) * 60 * SECOND_US;
    let at = |minute: i64| start + minute * 60 * SECOND_US;
    let point = |minute: i64| tokens("busy", "input", 10 * minute.unsigned_abs(), start, at(minute));
    let others = |minute: i64| tokens(&format!("service-{}", minute % 7), "output", 5, at(minute - 1), at(minute));
    let exports: Vec<Value> = (1..=POINTS).flat_map(|minute| [point(minute), others(minute)]).collect();
    let line = |exports: &[Value]| {
        let all: Vec<_> = exports.iter().map(|export| export["resourceMetrics"][0].clone()).collect();
        json!({"resourceMetrics": all})
    };
    import(&place, &exports.chunks(500).map(line).collect::<Vec<_>>());
    let busy = "SELECT sum(input_tokens) AS n FROM metric_usage WHERE service = 'busy'";
    assert_eq!(only(&place, busy), json!({"n": 10 * POINTS}));
    let dark = "SELECT count(DISTINCT service) AS n FROM metered_by_metrics_only";
    assert_eq!(only(&place, dark), json!({"n": 8}));
}
