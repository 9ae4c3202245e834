//! Compares with the values expected of published samples, where they are at hand (`POLYMETER_SAMPLES`).

use std::path::PathBuf;

use serde_json::Value;

use super::*;

#[test]
#[expect(clippy::print_stdout, reason = "the count is what a reader of the test wants to see")]
fn finds_what_is_expected_of_published_samples() {
    let root = std::env::var("POLYMETER_SAMPLES").unwrap_or_else(|_| "../shared/samples".to_owned());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(root).join("azure");
    let Ok(expected) = std::fs::read_to_string(folder.join("EXPECTED.json")) else {
        println!("skipped: no samples at {}", folder.display());
        return;
    };
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    for (name, file) in expected["files"].as_object().unwrap() {
        let Ok(content) = std::fs::read_to_string(folder.join(name)) else {
            println!("skipped: {name} is not there");
            continue;
        };
        let records = file["records"].as_array().unwrap();
        let rows = rows_of(name, &content, records.len());
        for (record, rows) in records.iter().zip(rows) {
            all += 1;
            let faults = compare(record, &rows);
            if faults.is_empty() {
                right += 1;
            } else {
                wrong.push(format!("{name} #{}: {}", record["index"], faults.join("; ")));
            }
        }
    }
    println!("{right} of {all} records right");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows of each record of a file.
fn rows_of(name: &str, content: &str, records: usize) -> Vec<Vec<Normalized>> {
    if name.ends_with("jsonl") {
        let lines = content.lines().filter(|line| !line.trim().is_empty());
        return lines
            .enumerate()
            .map(|(n, line)| run_with(AzureConfig::default(), line.as_bytes(), n.try_into().unwrap()))
            .collect();
    }
    let rows = run(content);
    if rows.len() == records { rows.into_iter().map(|row| vec![row]).collect() } else { vec![rows] }
}

fn compare(record: &Value, rows: &[Normalized]) -> Vec<String> {
    if record["skip"] == true {
        let metric = record["disposition"] == "metric";
        return rows
            .iter()
            .filter(
                |row| if metric { !is_metric(row, &record["facts"]) } else { !matches!(row, Normalized::Skipped(_)) },
            )
            .map(|row| format!("not skipped as {}: {row:?}", record["disposition"]))
            .collect();
    }
    let [Normalized::Observation(seen)] = rows else {
        return if record["optional"] == true { Vec::new() } else { vec![format!("no single observation: {rows:?}")] };
    };
    let mut faults = Vec::new();
    for (field, found) in found(seen) {
        let Some(expected) = record.get(field) else { continue };
        let accepted = record["also_accept"][field].as_array().cloned().unwrap_or_default();
        if !std::iter::once(expected).chain(&accepted).any(|value| same(value, &found)) {
            faults.push(format!("{field}: expected {expected}, found {found}"));
        }
    }
    faults
}

fn is_metric(row: &Normalized, facts: &Value) -> bool {
    let Normalized::Metric(metric) = row else { return false };
    let name = &facts["metricName"];
    let total = facts.get("total").or_else(|| facts.get("Sum"));
    (name.is_null() || *name == metric.name) && total.is_none_or(|total| total.as_f64() == metric.total)
}

/// What was found, under the names of the expectation. Family and vendor of a model are the catalog's business.
fn found(seen: &Observation) -> Vec<(&'static str, Value)> {
    let usage = seen.usage;
    let fresh = usage.input.map(|input| input - usage.cache_read.unwrap_or(0) - usage.cache_write.unwrap_or(0));
    let failed = seen.outcome.filter(|outcome| *outcome != Outcome::Ok);
    let tag = |key: &str| seen.tags.get(key).cloned();
    let class = failed.map(|outcome| match (outcome, seen.http_status) {
        (Outcome::ContentFiltered, _) => "content_filter",
        (Outcome::ClientError, Some(401 | 403)) => "auth",
        (Outcome::ClientError, Some(404)) => "not_found",
        (Outcome::ClientError, _) => "bad_request",
        (other, _) => other.as_str(),
    });
    vec![
        ("provider", json!(seen.platform)),
        ("operation", json!(tag("azure.operation"))),
        ("kind", json!(seen.operation)),
        ("streaming", json!(seen.streaming)),
        ("model_raw", json!(seen.response_model.as_ref().or(seen.request_model.as_ref()))),
        ("model_version", json!(seen.model_version)),
        ("deployment", json!(seen.deployment)),
        ("region", json!(seen.region)),
        ("account", json!(tag("azure.account"))),
        ("subscription", json!(seen.account)),
        ("request_id", json!(seen.response_id)),
        ("correlation_id", json!(seen.provider_request_id.as_ref().or(seen.gateway_request_id.as_ref()))),
        ("start_time", if seen.ts_assumed { Value::Null } else { json!(seen.ts.to_string()) }),
        ("input_tokens", json!(fresh)),
        ("cache_read_tokens", json!(usage.cache_read)),
        ("cache_write_tokens", json!(usage.cache_write)),
        ("output_tokens", json!(usage.output)),
        ("input_tokens_total", json!(usage.input)),
        ("latency_ms", json!(seen.duration_ms)),
        ("first_token_ms", json!(seen.ttft_ms)),
        ("time_to_response_ms", json!(tag("azure.time_to_response_ms").map(|ms| ms.parse::<f64>().unwrap()))),
        ("http_status", json!(seen.http_status)),
        ("status", json!(seen.outcome.map(|outcome| if outcome == Outcome::Ok { "ok" } else { "error" }))),
        ("error_code", json!(seen.error_code)),
        ("error_class", json!(class)),
        ("identity", json!(seen.principal)),
        ("resource_id", json!(seen.resource)),
    ]
}

/// Numbers agree within a millisecond (some are cut to whole ones), instants to the microsecond.
fn same(expected: &Value, found: &Value) -> bool {
    if let (Some(a), Some(b)) = (expected.as_f64(), found.as_f64()) {
        return if expected.is_u64() && found.is_u64() { expected == found } else { (a - b).abs() < 1.0 };
    }
    if let (Some(a), Some(b)) = (expected.as_str(), found.as_str())
        && let (Some(a), Some(b)) = (Timestamp::parse(a), Timestamp::parse(b))
    {
        return a == b;
    }
    expected == found
}
