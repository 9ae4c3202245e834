//! What was metered against the providers' own counters.

use serde_json::{Value, json};

use crate::harness::Place;
use crate::records::lines;

const RESOURCE: &str = "/subscriptions/s/resourcegroups/g/providers/microsoft.cognitiveservices/accounts/a";

/// The rows that Azure writes of a call at that minute.
fn call(n: u64, minute: u64) -> [Value; 2] {
    let common = |category: &str, properties: Value| {
        json!({"time": format!("2026-03-02T10:{minute:02}:01.0000000Z"), "category": category, "resourceId": RESOURCE,
            "location": "eastus", "correlationId": format!("aaaaaaaa-0000-4000-8000-{n:012}"), "durationMs": 900,
            "operationName": "ChatCompletions_Create", "resultSignature": "200", "properties": properties.to_string()})
    };
    let shared = json!({"streamType": "Non-Streaming", "modelDeploymentName": "prod", "modelName": "gpt-4o"});
    let mut told = shared.clone();
    told["requestLength"] = json!(800);
    told["responseLength"] = json!(500);
    let mut used = shared;
    used["promptTokens"] = json!([100]);
    used["generatedTokens"] = json!([10]);
    [common("RequestResponse", told), common("AzureOpenAIRequestUsage", used)]
}

/// An answer of Azure Monitor.
fn counted(name: &str, model: &str, status: Option<&str>, total: f64) -> Value {
    let mut pairs = vec![
        json!({"name": {"value": "modeldeploymentname"}, "value": "prod"}),
        json!({"name": {"value": "modelname"}, "value": model}),
    ];
    pairs.extend(status.map(|status| json!({"name": {"value": "statuscode"}, "value": status})));
    json!({"timespan": "x", "interval": "PT1M", "resourceregion": "eastus", "value": [{
        "id": format!("{RESOURCE}/providers/Microsoft.Insights/metrics/{name}"), "name": {"value": name}, "unit": "Count",
        "timeseries": [{"metadatavalues": pairs, "data": [{"timeStamp": "2026-03-02T10:20:00Z", "total": total}]}]}]})
}

#[test]
fn coverage_shows_what_the_provider_counted_and_nobody_logged() {
    let place = Place::new();
    let calls = (0..8).flat_map(|n| call(n, n));
    let counters = [
        counted("AzureOpenAIRequests", "gpt-4o", Some("200"), 10.0),
        counted("AzureOpenAIRequests", "gpt-4o", Some("429"), 4.0),
        // Both families count the same calls.
        counted("ModelRequests", "gpt-4o", Some("200"), 10.0),
        counted("InputTokens", "gpt-4o", None, 1000.0),
        counted("ProcessedPromptTokens", "gpt-4o", None, 1000.0),
        counted("OutputTokens", "gpt-4o", None, 100.0),
        counted("ModelRequests", "gpt-4o-mini", Some("200"), 5.0),
    ];
    let file = place.file("azure.jsonl", lines(calls.chain(counters)));
    place.import("azure", &[&file]);
    let rows = place.sql("SELECT * FROM coverage ORDER BY calls_share");
    let of = |row: &Value, names: [&str; 5]| names.map(|name| row[name].as_f64());
    let columns = ["metered_calls", "provider_calls", "calls_share", "metered_input_tokens", "tokens_share"];
    let one = "SELECT * FROM coverage WHERE hour > '2020-01-01' AND platform = 'azure.ai.openai' \
               ORDER BY calls_share, hour DESC, platform, model";
    assert_eq!(place.sql(one), rows, "sorted by what a filter holds at one value");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(of(&rows[0], columns), [Some(0.0), Some(5.0), Some(0.0), Some(0.0), None]);
    assert_eq!(of(&rows[1], columns), [Some(8.0), Some(10.0), Some(0.8), Some(800.0), Some(0.8)]);
    assert_eq!((rows[1]["model"].as_str(), rows[1]["account"].as_str()), (Some("gpt-4o"), Some("s")));
    let server = place.serve();
    let named = "/api/v1/queries/coverage?from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z";
    let found = server.get(named).json();
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(server.get(&format!("{named}&below=0.5")).json()["rows"].as_array().map(Vec::len), Some(1));
    server.stop();
}

#[test]
fn calls_without_counters_have_no_share() {
    let place = Place::new();
    let file = place.file("azure.jsonl", lines((0..3).flat_map(|n| call(n, n))));
    place.import("azure", &[&file]);
    let rows = place.sql("SELECT metered_calls, provider_calls, calls_share, tokens_share FROM coverage");
    assert_eq!(rows, [json!({"metered_calls": 3, "provider_calls": null, "calls_share": null, "tokens_share": null})]);
}
