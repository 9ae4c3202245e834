//! Published records against the values that were read from them by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::rows;
use crate::model::{Normalized, Outcome};

/// The published samples. `model_family`, `model_vendor`, `model_scope` and the form of the id are the catalog's to
/// find and are checked there; where bodies were kept is nothing that a call knows.
#[test]
#[expect(clippy::print_stdout, reason = "says how far the check went, and that it was skipped")]
fn published_samples_give_their_expected_values() {
    let samples = std::env::var_os("POLYMETER_SAMPLES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"), PathBuf::from);
    let folder = samples.join("bedrock");
    let Ok(expected) = std::fs::read(folder.join("EXPECTED.json")) else {
        println!("skipped: no published Bedrock samples at hand (POLYMETER_SAMPLES)");
        return;
    };
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let (mut right, mut all) = (0, 0);
    for (file, facts) in expected["files"].as_object().unwrap() {
        let records = framed(file, &std::fs::read(folder.join(file)).unwrap());
        let facts = facts["records"].as_array().unwrap();
        assert_eq!(records.len(), facts.len(), "{file}");
        for fact in facts {
            let index = usize::try_from(fact["index"].as_u64().unwrap()).unwrap();
            let found = rows(&records[index]);
            let wrong = disagreements(&found, fact);
            all += 1;
            if wrong.is_empty() {
                right += 1;
            } else {
                println!("{file} #{index}: {wrong:?}");
            }
        }
    }
    println!("bedrock: {right} of {all} records right");
    assert_eq!(right, all);
}

/// The records of a file: a JSON array, one pretty-printed record, lines, a rule test in YAML, or text.
fn framed(file: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
    if file.ends_with(".yml") {
        let rule: Value = serde_yaml_ng::from_slice(bytes).unwrap();
        let logs = rule["Tests"].as_array().unwrap().iter();
        return logs.map(|test| test["Log"].to_string().into_bytes()).collect();
    }
    if file.ends_with(".jsonl") {
        return bytes.split(|byte| *byte == b'\n').filter(|l| !l.trim_ascii().is_empty()).map(<[u8]>::to_vec).collect();
    }
    match serde_json::from_slice::<Value>(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)) {
        Ok(Value::Array(records)) => records.iter().map(|record| record.to_string().into_bytes()).collect(),
        _ => vec![bytes.to_vec()],
    }
}

fn disagreements(found: &[Normalized], fact: &Value) -> Vec<String> {
    let skip = fact["skip"] == true;
    let o = match found {
        [Normalized::Skipped(_)] if skip && fact["disposition"] == "ignore" => return Vec::new(),
        [Normalized::Rejected(_)] if skip && fact["disposition"] == "dead_letter" => return Vec::new(),
        [Normalized::Observation(observation)] if !skip => observation,
        other => return vec![format!("{other:?}")],
    };
    let masked = |name: &str| fact["masked"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let metadata: Map<String, Value> = o
        .tags
        .iter()
        .filter(|(key, _)| !key.starts_with("bedrock."))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let fresh = o.usage.input.map(|all| all - o.usage.cache_read.unwrap_or(0) - o.usage.cache_write.unwrap_or(0));
    let failed = !matches!(o.outcome, Some(Outcome::Ok | Outcome::ContentFiltered));
    let class = failed.then(|| o.outcome.unwrap().as_str());
    let kind = o.operation.as_ref().filter(|kind| kind.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    let values: BTreeMap<&str, Value> = BTreeMap::from([
        ("provider", json!(o.platform)),
        ("kind", json!(kind)),
        ("streaming", json!(o.streaming)),
        ("model_raw", json!(o.request_model)),
        ("region", json!(o.region)),
        ("inference_region", json!(o.served_region)),
        ("account", json!(o.account)),
        ("request_id", json!(o.provider_request_id)),
        ("correlation_id", json!(o.trace_id)),
        ("timestamp", if o.ts_assumed { Value::Null } else { json!(o.ts.to_string().replace(".000000Z", "Z")) }),
        ("input_tokens", json!(fresh)),
        ("cache_read_tokens", json!(o.usage.cache_read)),
        ("cache_write_tokens", json!(o.usage.cache_write)),
        ("output_tokens", json!(o.usage.output)),
        ("input_tokens_total", json!(o.usage.input)),
        ("latency_ms", json!(o.duration_ms)),
        ("first_token_ms", json!(o.ttft_ms)),
        // A block by a guardrail is `ok` there; here it is an outcome of its own.
        ("status", json!(if failed { "error" } else { "ok" })),
        ("http_status", json!(o.http_status)),
        ("error_code", json!(o.error_code)),
        ("error_class", json!(class)),
        ("guardrail", json!(o.tags.get("bedrock.guardrail"))),
        ("stop_reason", json!(o.finish_reason)),
        ("identity", json!(o.principal)),
        ("request_metadata", if metadata.is_empty() { Value::Null } else { Value::Object(metadata) }),
    ]);
    let same = |a: &Value, b: &Value| a == b || (a.is_number() && a.as_f64() == b.as_f64());
    let wrong = |(name, value): (&&str, &Value)| {
        let want = fact.get(*name).unwrap_or(&Value::Null);
        let also = fact["also_accept"][*name].as_array().is_some_and(|all| all.iter().any(|a| same(a, value)));
        (!same(want, value) && !also && !masked(name)).then(|| format!("{name}: want {want}, found {value}"))
    };
    values.iter().filter_map(wrong).collect()
}
