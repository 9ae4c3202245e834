//! Captured requests with known truth. `$POLYMETER_SAMPLES` (default `../shared/samples` beside the crate) has them;
//! without them these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::Value;

use super::build::{at, rows};
use crate::model::{Flaws, Normalized, Observation, Outcome, UsageStatus};
use crate::sources::otlp::{OtlpConfig, OtlpSpans, decode_logs, decode_metrics, decode_traces};

#[expect(clippy::print_stderr, reason = "a test that reports its score")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn folders() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples");
    let root = std::env::var_os("POLYMETER_SAMPLES").map_or(default, PathBuf::from).join("otlp");
    let Ok(entries) = std::fs::read_dir(&root) else {
        say("skipped: no OTLP samples");
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders
}

fn observations(rows: Vec<Normalized>) -> Vec<Observation> {
    rows.into_iter()
        .filter_map(|row| match row {
            Normalized::Observation(observation) => Some(*observation),
            Normalized::Rejected(reject) => panic!("{reject:?}"),
            _ => None,
        })
        .collect()
}

#[test]
fn json_and_protobuf_give_the_same_rows() {
    let mut compared = 0;
    for folder in folders() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|end| end != "bin") || !path.with_extension("json").exists() {
                continue;
            }
            let binary = std::fs::read(&path).unwrap();
            let json = std::fs::read(path.with_extension("json")).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let spans = OtlpSpans::new(OtlpConfig::default());
            let (mut left, mut right) = (Vec::new(), Vec::new());
            if name.contains(".traces.") {
                left = rows(&ExportTraceServiceRequest::decode(binary.as_slice()).unwrap());
                right = rows(&decode_traces(&json, &mut Flaws::default()).unwrap());
            } else if name.contains(".metrics.") {
                spans.metrics(&ExportMetricsServiceRequest::decode(binary.as_slice()).unwrap(), &at(), &mut left);
                spans.metrics(&decode_metrics(&json, &mut Flaws::default()).unwrap(), &at(), &mut right);
            } else {
                decode_logs(&json, &mut Flaws::default()).unwrap();
                continue;
            }
            let differs = left.iter().zip(&right).find(|(left, right)| left != right);
            assert!(left == right, "{}: {differs:#?}", path.display());
            compared += 1;
        }
    }
    say(&format!("{compared} requests are the same in JSON and protobuf"));
}

/// The sums of a case that an expectation names.
fn meter(calls: &[Observation]) -> BTreeMap<&'static str, Option<u64>> {
    let sum = |get: fn(&Observation) -> Option<u64>| {
        let values: Vec<u64> = calls.iter().filter_map(get).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    };
    let failed = calls.iter().filter(|c| !matches!(c.outcome, Some(Outcome::Ok | Outcome::Unknown) | None)).count();
    BTreeMap::from([
        ("calls", Some(u64::try_from(calls.len()).unwrap())),
        ("failed_calls", Some(u64::try_from(failed).unwrap())),
        ("input_tokens", sum(|c| c.usage.input)),
        ("cache_read_tokens", sum(|c| c.usage.cache_read)),
        ("cache_write_tokens", sum(|c| c.usage.cache_write)),
        ("output_tokens", sum(|c| c.usage.output)),
        ("reasoning_tokens", sum(|c| c.usage.reasoning)),
    ])
}

/// Folds the layers of a case: what shares an ancestor line or an id is one call, the innermost with usage speaks.
fn settle(all: Vec<Observation>) -> Vec<Observation> {
    let mut by_id: BTreeMap<_, Observation> = BTreeMap::new();
    for observation in all {
        by_id.insert(observation.observation_id, observation);
    }
    let spans: HashMap<(String, String), Observation> =
        by_id.values().filter_map(|o| Some(((o.trace_id.clone()?, o.span_id.clone()?), o.clone()))).collect();
    let ancestors = |o: &Observation| {
        let mut line = Vec::new();
        let mut current = o.clone();
        while let (Some(trace), Some(parent)) = (current.trace_id.clone(), current.parent_span_id.clone()) {
            let Some(next) = spans.get(&(trace, parent)) else { break };
            line.push(next.observation_id);
            current = next.clone();
            if line.len() > 50 {
                break;
            }
        }
        line
    };
    let is_call = |o: &Observation| o.is_call();
    let mut calls: Vec<Observation> = by_id.values().filter(|o| is_call(o)).cloned().collect();
    for raw in by_id.values().filter(|o| o.tags.contains_key("raw") && !o.usage.is_empty()) {
        let above = ancestors(raw);
        let spoken = by_id
            .values()
            .any(|o| above.contains(&o.observation_id) && (o.is_call() || o.tags.contains_key("gateway_event")));
        if !spoken {
            calls.push(raw.clone());
        }
    }
    let mut dropped = BTreeSet::new();
    for call in &calls {
        let above = ancestors(call);
        for other in calls.iter().filter(|o| above.contains(&o.observation_id)) {
            let inner_speaks = !call.usage.is_empty() || other.usage.is_empty();
            dropped.insert(if inner_speaks { other.observation_id } else { call.observation_id });
        }
        let twin = |o: &&Observation| o.observation_id < call.observation_id && o.response_id.is_some();
        if calls.iter().filter(twin).any(|o| o.response_id == call.response_id)
            && !dropped.contains(&call.observation_id)
        {
            let alive = calls
                .iter()
                .filter(twin)
                .any(|o| o.response_id == call.response_id && !dropped.contains(&o.observation_id));
            if alive {
                dropped.insert(call.observation_id);
            }
        }
    }
    calls.retain(|call| !dropped.contains(&call.observation_id));
    calls
}

fn matches(name: &str, expected: &Value, meter: &BTreeMap<&'static str, Option<u64>>) -> bool {
    let found = meter.get(name).copied().flatten();
    match expected.as_u64() {
        Some(0) => found.unwrap_or(0) == 0,
        Some(n) => found == Some(n),
        None => found.is_none(),
    }
}

/// Names of the sums that are wrong; every value may also be one of those that the case calls right too.
fn wrong(case: &Value, meter: &BTreeMap<&'static str, Option<u64>>) -> Vec<String> {
    let also = case["also_right"].as_array().cloned().unwrap_or_default();
    let fields = case["meter"].as_object().unwrap();
    fields
        .iter()
        .filter(|(name, expected)| {
            let others = also.iter().filter_map(|other| other.get(name.as_str()));
            !std::iter::once(*expected).chain(others).any(|expected| matches(name, expected, meter))
        })
        .map(|(name, expected)| format!("{name}: {:?} not {expected}", meter.get(name.as_str()).copied().flatten()))
        .collect()
}

#[test]
fn captured_cases_are_counted_right() {
    let (mut single, mut single_right, mut total, mut total_right) = (0, 0, 0, 0);
    let (mut failures, mut differ) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for folder in folders() {
        let Ok(bytes) = std::fs::read(folder.join("expected.json")) else { continue };
        let expected: Value = serde_json::from_slice(&bytes).unwrap();
        for case in expected["cases"].as_array().unwrap() {
            let mut all = Vec::new();
            for file in case["files"]["traces"].as_array().unwrap() {
                let bytes = std::fs::read(folder.join(file.as_str().unwrap())).unwrap();
                let request = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
                all.extend(observations(rows(&request)));
            }
            let traces: BTreeSet<&str> =
                case["trace_ids"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            all.retain(|o| traces.contains(o.trace_id.as_deref().unwrap_or_default()));
            let is_single = all.iter().filter(|o| o.is_call()).count() == 1;
            let calls = settle(all);
            let wrong = wrong(case, &meter(&calls));
            total += 1;
            total_right += usize::from(wrong.is_empty());
            if is_single {
                single += 1;
                single_right += usize::from(wrong.is_empty());
            }
            if !wrong.is_empty() {
                failures.push(format!("{}/{}: {}", expected["client"], case["case"], wrong.join(", ")));
            }
            let name = format!("{}/{}", expected["client"], case["case"]);
            differing_fields(case, &calls, &name).into_iter().for_each(|field| *differ.entry(field).or_default() += 1);
        }
    }
    failures.iter().for_each(|failure| say(failure));
    say(&format!(
        "{single_right} of {single} single-span cases, {total_right} of {total} cases; told otherwise: {differ:?}"
    ));
    assert_eq!(single_right, single);
}

/// Where a field of a single visible call differs from the truth (informational): spans don't tell everything.
fn differing_fields(case: &Value, calls: &[Observation], name: &str) -> Vec<&'static str> {
    let visible: Vec<&Value> =
        case["calls"].as_array().unwrap().iter().filter(|call| call["visible"] == Value::Bool(true)).collect();
    let ([truth], [call]) = (visible.as_slice(), calls) else { return Vec::new() };
    let unknowable: Vec<&str> = case["unknowable"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let outcome = call.outcome.map(|o| o.to_string());
    let fields = [
        ("platform", call.platform.clone()),
        ("operation", call.operation.clone()),
        ("request_model", call.request_model.clone()),
        ("response_model", call.response_model.clone()),
        ("streaming", call.streaming.map(|b| b.to_string())),
        ("http_status", call.http_status.map(|n| n.to_string())),
        ("outcome", outcome),
        ("response_id", call.response_id.clone()),
        ("provider_request_id", call.provider_request_id.clone()),
    ];
    if truth["outcome"] == "ok" && call.usage_status == UsageStatus::Missing {
        assert!(case["tags"].as_array().unwrap().contains(&Value::String("no_usage".into())), "{name}");
    }
    let differs = |(field, found): &(&str, Option<String>)| {
        let expected = match &truth[*field] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let hidden = unknowable.iter().any(|path| path.ends_with(&format!(".{field}")));
        *found != expected && !(found.is_none() && (hidden || *field == "http_status"))
    };
    fields.into_iter().filter(differs).map(|(field, _)| field).collect()
}
