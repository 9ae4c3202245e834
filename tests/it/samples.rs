//! Published records and captured requests with known truth, through the whole program. `$POLYMETER_SAMPLES` (default
//! `../shared/samples` beside the crate) has them; without them these tests say so and pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::Rng;
use crate::harness::{Place, QUICK, Server, files_below};
use crate::witnesses::Logged;

/// Sums that a case of captured requests is judged by.
const CORE: [&str; 4] = ["calls", "failed_calls", "input_tokens", "output_tokens"];
const FULL: [&str; 7] = [
    "calls",
    "failed_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
];
/// Time for observations of long ago to be settled.
const SETTLED: Duration = Duration::from_secs(30);

fn folder(name: &str) -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples");
    let root = std::env::var_os("POLYMETER_SAMPLES").map_or(default, PathBuf::from);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no samples at {}", folder.display());
    None
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy that can be imported: the records of a rule test in YAML become lines, everything else is taken as it is.
fn importable(place: &Place, path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let bytes = std::fs::read(path).unwrap();
    if !name.ends_with(".yml") {
        return place.file(name, bytes);
    }
    let rule: Value = serde_yaml_ng::from_slice(&bytes).unwrap();
    let logs = rule["Tests"].as_array().unwrap().iter().map(|test| test["Log"].clone());
    place.file(&format!("{name}.json"), crate::records::lines(logs))
}

/// What is expected of a field under the name of a column, and what else is right.
fn accepts(fact: &Value, field: &str, found: &Value) -> bool {
    let masked = fact["masked"].as_array().is_some_and(|all| all.iter().any(|name| name == field));
    let others = fact["also_accept"][field].as_array().cloned().unwrap_or_default();
    masked || std::iter::once(&fact[field]).chain(&others).any(|expected| same(expected, found))
}

fn same(expected: &Value, found: &Value) -> bool {
    match (expected.as_f64(), found.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < 1.0,
        _ => expected == found,
    }
}

/// Every call of the store against the expectation of its records; names are those of `EXPECTED.json`. Where records
/// of one call disagree, each of them is right.
fn disagreements(facts: &[&Value], call: &Value) -> Vec<String> {
    let mut wrong: Vec<Vec<(&str, String)>> = facts.iter().map(|fact| faults(fact, call)).collect();
    let last = wrong.pop().unwrap_or_default();
    let everywhere = |field: &str| wrong.iter().all(|faults| faults.iter().any(|(name, _)| *name == field));
    last.into_iter().filter(|(field, _)| everywhere(field)).map(|(field, found)| format!("{field}: {found}")).collect()
}

fn faults(fact: &Value, call: &Value) -> Vec<(&'static str, String)> {
    let status = match call["outcome"].as_str().unwrap_or_default() {
        "ok" => json!("ok"),
        "unknown" => Value::Null,
        // A block by a guardrail is `ok` in Bedrock's expectation and an error in Azure's.
        "content_filtered" if fact["status"] == "ok" => json!("ok"),
        _ => json!("error"),
    };
    let provider = &call["provider_duration_ms"];
    let mut values = vec![
        ("provider", call["platform"].clone()),
        ("input_tokens_total", call["input_tokens"].clone()),
        ("cache_read_tokens", call["cache_read_tokens"].clone()),
        ("cache_write_tokens", call["cache_write_tokens"].clone()),
        ("output_tokens", call["output_tokens"].clone()),
        // What a gateway measured is what its caller saw.
        ("latency_ms", if provider.is_null() { call["duration_ms"].clone() } else { provider.clone() }),
        ("status", status),
    ];
    if fact.get("error_code").is_some() {
        values.push(("error_code", call["error_code"].clone()));
    }
    if fact["kind"].is_string() {
        values.push(("kind", call["operation"].clone()));
    }
    if fact["region"].is_string() {
        values.push(("region", call["region"].clone()));
    }
    values.push(("model_vendor", call["publisher"].clone()));
    values.retain(|(field, found)| !accepts(fact, field, found));
    if !same_model(fact, &call["model"]) {
        values.push(("model_family", call["model"].clone()));
    }
    values.into_iter().map(|(field, found)| (field, format!("expected {}, found {found}", fact[field]))).collect()
}

/// Family names are compared loosely: dots and dashes are one.
fn same_model(fact: &Value, found: &Value) -> bool {
    let loose = |value: &Value| value.as_str().map(|text| text.replace('.', "-"));
    let others = fact["also_accept"]["model_family"].as_array().cloned().unwrap_or_default();
    std::iter::once(&fact["model_family"]).chain(&others).any(|expected| loose(expected) == loose(found))
}

/// One number that the records of a file sum to, over distinct calls.
fn sum(facts: &[&Value], field: &str) -> u64 {
    facts.iter().filter_map(|fact| fact[field].as_u64()).sum()
}

/// What is wrong with one file.
fn check_file(kind: &str, path: &Path, expected: &Value) -> Vec<String> {
    let place = Place::new();
    let summary = place.import(kind, &[&importable(&place, path)]);
    let calls = place.sql("SELECT * FROM calls ORDER BY ts, provider_request_id");
    let records = expected["records"].as_array().unwrap();
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: u64, right: u64| {
        if found != right {
            wrong.push(format!("{what}: expected {right}, found {found}"));
        }
    };
    let dead = records.iter().filter(|record| record["disposition"] == "dead_letter").count();
    let kept = records.iter().filter(|record| record["skip"] != true).count();
    check("quarantined", summary["quarantined"].as_u64().unwrap(), u64::try_from(dead).unwrap());
    check("observations", summary["observations"].as_u64().unwrap(), u64::try_from(kept).unwrap());
    let metrics = u64::from(records.iter().any(|record| record["disposition"] == "metric"));
    check("provider metrics", summary["metrics"].as_u64().unwrap().min(1), metrics);
    check("calls", u64::try_from(calls.len()).unwrap(), expected["totals"]["distinct_keys"].as_u64().unwrap());

    let key = |fact: &Value| match (&fact["request_id"], &fact["correlation_id"]) {
        _ if kind == "azure" => fact["correlation_id"].to_string() + &fact["resource_id"].to_string(),
        (Value::Null, _) => fact["index"].to_string(),
        (id, _) => id.to_string(),
    };
    let mut by_key: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for fact in records.iter().filter(|fact| fact["skip"] != true) {
        by_key.entry(key(fact)).or_default().push(fact);
    }
    let facts: Vec<&Value> = by_key.values().map(|facts| facts[0]).collect();
    let total = |column: &str| calls.iter().filter_map(|call| call[column].as_u64()).sum::<u64>();
    if !facts.iter().any(|fact| fact.get("also_accept").is_some()) {
        check("sum of input", total("input_tokens"), sum(&facts, "input_tokens_total"));
        check("sum of output", total("output_tokens"), sum(&facts, "output_tokens"));
    }

    // Each key has the call that disagrees least with its records.
    let mut left: Vec<&Value> = calls.iter().collect();
    for facts in by_key.values() {
        let compared = left.iter().enumerate().map(|(at, call)| (disagreements(facts, call), at));
        let Some((faults, at)) = compared.min_by_key(|(all, at)| (all.len(), *at)) else { break };
        left.remove(at);
        if !faults.is_empty() {
            wrong.push(format!("#{}: {}", facts[0]["index"], faults.join("; ")));
        }
    }
    wrong
}

fn check_folder(kind: &str) {
    let Some(folder) = folder(kind) else { return };
    let mut expectations: Vec<_> =
        files_below(&folder).into_iter().filter(|path| path.ends_with("EXPECTED.json")).collect();
    expectations.sort();
    let (mut right, mut all, mut faults) = (0, 0, Vec::new());
    for expectation in expectations {
        let expected = read_json(&expectation);
        for (name, facts) in expected["files"].as_object().unwrap() {
            let path = expectation.with_file_name(name);
            if !path.exists() {
                println!("skipped: {name} is not there");
                continue;
            }
            all += 1;
            let wrong = check_file(kind, &path, facts);
            right += usize::from(wrong.is_empty());
            faults.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
        }
    }
    println!("{kind}: {right} of {all} files right");
    assert!(faults.is_empty(), "{right} of {all} files right\n{}", faults.join("\n"));
}

#[test]
fn published_bedrock_logs_give_their_expected_calls() {
    check_folder("bedrock");
}

#[test]
fn published_azure_logs_give_their_expected_calls() {
    check_folder("azure");
}

/// A case of captured requests.
struct Case {
    name: String,
    payloads: Vec<(&'static str, PathBuf)>,
    traces: Vec<String>,
    expected: Value,
}

fn cases(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in files_below(folder).into_iter().filter(|path| path.ends_with("expected.json")) {
        let client = read_json(&file);
        for case in client["cases"].as_array().unwrap() {
            let payloads = ["traces", "metrics", "logs"].into_iter().flat_map(|signal| {
                let names = case["files"][signal].as_array().cloned().unwrap_or_default();
                names.into_iter().map(move |name| (signal, name.as_str().unwrap().to_owned()))
            });
            let texts = case["trace_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
            cases.push(Case {
                name: format!("{}/{}", client["client"].as_str().unwrap(), case["case"].as_str().unwrap()),
                payloads: payloads.map(|(signal, name)| (signal, file.with_file_name(name))).collect(),
                traces: texts.collect(),
                expected: case.clone(),
            });
        }
    }
    cases
}

fn post_all(server: &Server<'_>, cases: &[Case]) {
    for (signal, path) in cases.iter().flat_map(|case| &case.payloads) {
        post(server, signal, path);
    }
}

fn post(server: &Server<'_>, signal: &str, path: &Path) {
    let body = std::fs::read(path).unwrap();
    let reply = server.post(&format!("/v1/{signal}"), &[("content-type", "application/x-protobuf")], body).unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 0), "{}: {}", path.display(), reply.text());
}

type Sums = BTreeMap<&'static str, Option<i64>>;

/// The sums of each case, by its trace ids.
fn measure(server: &Server<'_>, cases: &[Case]) -> Vec<Sums> {
    let rows = server.sql(
        "SELECT trace_id, count(*) AS calls, sum(CASE WHEN outcome IN ('ok', 'unknown') THEN 0 ELSE 1 END) AS failed_calls, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cache_read_tokens) AS cache_read_tokens, \
         sum(cache_write_tokens) AS cache_write_tokens, sum(reasoning_tokens) AS reasoning_tokens FROM calls GROUP BY trace_id",
    );
    let by_trace: BTreeMap<&str, &Value> =
        rows.iter().filter_map(|row| Some((row["trace_id"].as_str()?, row))).collect();
    cases
        .iter()
        .map(|case| {
            let mut sums: Sums = FULL.iter().map(|name| (*name, name.ends_with("calls").then_some(0))).collect();
            for row in case.traces.iter().filter_map(|id| by_trace.get(id.as_str())) {
                for name in FULL {
                    if let Some(value) = row[name].as_i64() {
                        let sum = sums.get_mut(name).unwrap();
                        *sum = Some(sum.unwrap_or(0) + value);
                    }
                }
            }
            sums
        })
        .collect()
}

/// A number must match; 0 may be told as NULL; where nothing is on the wire any number is an invention.
fn matches(expected: &Value, found: Option<i64>) -> bool {
    match expected.as_i64() {
        None => found.is_none(),
        Some(0) => found.unwrap_or(0) == 0,
        Some(n) => found == Some(n),
    }
}

/// Whether the sums are those of the case, with any combination of what is also right.
fn is_right(case: &Case, sums: &Sums, names: &[&str]) -> bool {
    let also = case.expected["also_right"].as_array().cloned().unwrap_or_default();
    (0..1_usize << also.len()).any(|pick| {
        let mut meter = case.expected["meter"].clone();
        for (_, other) in also.iter().enumerate().filter(|(n, _)| pick >> n & 1 == 1) {
            let replaced = other.as_object().unwrap().iter().filter(|(name, _)| *name != "why");
            replaced.for_each(|(name, value)| meter[name] = value.clone());
        }
        names.iter().all(|name| matches(&meter[*name], sums[name]))
    })
}

#[test]
fn captured_requests_of_real_clients_are_counted_right() {
    let Some(folder) = folder("otlp") else { return };
    let cases = cases(&folder);
    let place = Place::new();
    let server = place.serve_with(QUICK, &[]);
    post_all(&server, &cases);
    let end = Instant::now() + SETTLED;
    let right = |sums: &[Sums], names: &[&str]| {
        cases.iter().zip(sums).filter(|(case, sums)| is_right(case, sums, names)).count()
    };
    let sums = loop {
        let sums = measure(&server, &cases);
        if right(&sums, &FULL) == cases.len() || Instant::now() > end {
            break sums;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let mut wrong = Vec::new();
    for (case, sums) in cases.iter().zip(&sums).filter(|(case, sums)| !is_right(case, sums, &FULL)) {
        let core = if is_right(case, sums, &CORE) { "" } else { " (core)" };
        wrong.push(format!("{}{core}: expected {}, found {sums:?}", case.name, case.expected["meter"]));
    }
    let (core, full) = (right(&sums, &CORE), right(&sums, &FULL));
    println!("otlp: {full} of {} cases right in all sums, {core} in calls, failures, input and output", cases.len());
    assert_eq!(core, cases.len(), "{}", wrong.join("\n"));

    // Sent again, everything stays as it is.
    post_all(&server, &cases);
    let unchanged = |sums: &[Sums], how: &str| {
        let again = measure(&server, &cases);
        let pairs = cases.iter().zip(sums.iter().zip(&again));
        let changed: Vec<_> = pairs.filter(|(_, (a, b))| a != b).map(|(case, _)| &case.name).collect();
        assert!(changed.is_empty(), "{how} changes {changed:?}");
    };
    unchanged(&sums, "a second delivery");
    server.stop();
}

/// Requests of all clients mixed, parents after children: the sums are those of the order in which they were sent.
#[test]
fn captured_requests_in_any_order_are_counted_the_same() {
    let Some(folder) = folder("otlp") else { return };
    let cases = cases(&folder);
    for seed in [1, 2] {
        let place = Place::new();
        let server = place.serve_with(QUICK, &[]);
        let mut payloads: Vec<_> = cases.iter().flat_map(|case| &case.payloads).cloned().collect();
        let mut rng = Rng::new(seed, 0);
        for last in (1..payloads.len()).rev() {
            payloads.swap(last, usize::try_from(rng.below(last as u64 + 1)).unwrap());
        }
        for (signal, path) in &payloads {
            post(&server, signal, path);
        }
        let end = Instant::now() + SETTLED;
        let wrong = loop {
            let sums = measure(&server, &cases);
            let pairs = cases.iter().zip(&sums).filter(|(case, sums)| !is_right(case, sums, &CORE));
            let wrong: Vec<_> = pairs.map(|(case, sums)| format!("{}: {sums:?}", case.name)).collect();
            if wrong.is_empty() || Instant::now() > end {
                break wrong;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        println!("seed {seed}: {} of {} cases right", cases.len() - wrong.len(), cases.len());
        assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
        server.stop();
    }
}

/// A captured request to a cloud whose own log can be written from what is known about it.
pub struct CloudCall {
    pub name: String,
    pub traces: Vec<Vec<u8>>,
    pub at_bedrock: bool,
    pub logged: Logged,
}

/// All captured cases of one call to Bedrock or Azure, if there are samples.
pub fn captured_cloud_calls() -> Option<Vec<CloudCall>> {
    let one = |case: Case| {
        let [call] = case.expected["calls"].as_array()?.as_slice() else { return None };
        let at_bedrock = call["platform"] == "aws.bedrock";
        let tokens = ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"]
            .map(|name| call[name].as_u64().unwrap_or(0));
        let answered = call["outcome"] == "ok";
        let logged = Logged {
            request_id: call["provider_request_id"].as_str()?.to_owned(),
            start_us: 0,
            model: call["request_model"].as_str()?.to_owned(),
            tokens: answered.then_some(tokens),
            error: (!answered).then_some("ThrottlingException"),
        };
        let traces = case.payloads.iter().filter(|(signal, _)| *signal == "traces");
        let traces = traces.map(|(_, path)| std::fs::read(path).unwrap()).collect();
        let known = at_bedrock || call["platform"] == "azure.ai.openai";
        known.then_some(CloudCall { name: case.name, traces, at_bedrock, logged })
    };
    Some(cases(&folder("otlp")?).into_iter().filter_map(one).collect())
}
