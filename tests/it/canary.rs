//! Nothing that people said to a model is kept: not in a file, not in a log line, not in an answer.

use serde_json::{Value, json};

use crate::harness::{Place, files_below};
use crate::records::{bedrock, gzip, lines, now_us, span, spans};

const TABLES: [&str; 4] = ["calls", "observations", "quarantine", "provider_metrics"];

/// Attributes that hold content in one convention or another.
const CONTENT: [&str; 34] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "gen_ai.completion",
    "gen_ai.completion.0.content",
    "gen_ai.completion.0.tool_calls.0.arguments",
    "input.value",
    "output.value",
    "llm.input_messages.0.message.content",
    "llm.output_messages.0.message.content",
    "llm.prompts",
    "llm.invocation_parameters",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.response.text",
    "ai.response.toolCalls",
    "request_data",
    "response_data",
    "llm.openai.messages",
    "llm.openai.choices",
    "error.message",
    "exception.message",
    "exception.stacktrace",
    "url.full",
    "url.query",
    "http.url",
    "http.request.header.authorization",
];

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// No file, no log line and no row holds one of the words.
fn assert_absent(place: &Place, words: &[String]) {
    let mut found = Vec::new();
    let mut look = |what: &str, bytes: &[u8]| {
        for word in words.iter().filter(|word| contains(bytes, word)) {
            found.push(format!("{word} in {what}"));
        }
    };
    let files = files_below(&place.path("data"));
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        look(&file.display().to_string(), &bytes);
        if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            look(&file.display().to_string(), &zstd::decode_all(bytes.as_slice()).unwrap_or_default());
        }
    }
    for log in place.logs() {
        look(&log.display().to_string(), &std::fs::read(&log).unwrap());
    }
    for table in TABLES {
        let done = place.run(&["sql", &format!("SELECT * FROM {table}"), "--data", &place.data(), "--format", "csv"]);
        assert!(done.status.success(), "{table}: {}", done.stderr);
        look(table, done.stdout.as_bytes());
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Something that must be kept is found by the same look, so that an empty result means something.
fn assert_kept(place: &Place, word: &str) {
    let done = place.run(&["sql", "SELECT * FROM observations", "--data", &place.data(), "--format", "csv"]);
    assert!(done.stdout.contains(word), "{word} should be there");
}

/// Hands out words that are found nowhere else.
#[derive(Default)]
struct Canaries(Vec<String>);

impl Canaries {
    fn word(&mut self) -> String {
        let word = format!("kanarienvogel{:04}zwitschert", self.0.len());
        self.0.push(word.clone());
        word
    }
}

fn bedrock_log(canaries: &mut Canaries) -> Vec<u8> {
    let mut word = || canaries.word();
    let mut record = bedrock(5, 0);
    record["input"]["inputBodyJson"] = json!({
        "system": [{"text": word()}],
        "messages": [{"role": "user", "content": [{"text": word()}, {"image": {"source": {"bytes": word()}}},
            {"toolResult": {"toolUseId": word(), "content": [{"json": {"answer": word()}}]}}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": word(), "description": word()}}]},
        "additionalModelRequestFields": {"stop": [word()]},
    });
    record["output"]["outputBodyJson"] = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": word()}, {"reasoningContent": {"reasoningText": {"text": word()}}},
            {"toolUse": {"toolUseId": word(), "name": word(), "input": {"argument": word()}}}]}},
        "stopReason": "tool_use", "metrics": {"latencyMs": 12},
        "trace": {"guardrail": {"modelOutput": [word()], "inputAssessment": {"g": {"wordPolicy": {"customWords": [{"match": word()}]}}}}},
    });
    let mut invoke = bedrock(5, 1);
    invoke["operation"] = json!("InvokeModelWithResponseStream");
    invoke["input"]["inputBodyJson"] = json!({"prompt": word(), "messages": [{"role": "user", "content": word()}]});
    invoke["output"]["outputBodyJson"] = json!([
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": word()}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": word()}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": word()}},
    ]);
    let mut failed = bedrock(5, 2);
    failed["errorCode"] = json!("ValidationException");
    failed["errorMessage"] = json!(word());
    failed["output"] = json!({"outputBodyJson": {"message": word()}});
    // What is set aside must not be kept either.
    let mut bad = bedrock(5, 3);
    bad["input"]["inputTokenCount"] = json!(word());
    bad["input"]["inputBodyJson"] = json!({"text": word()});
    let mut bad_time = bedrock(5, 4);
    bad_time["timestamp"] = json!(word());
    bad_time["input"]["inputBodyJson"] = json!({"text": word()});
    let mut text = lines([record, invoke, failed, bad, bad_time]);
    let mut cut = bedrock(5, 5);
    cut["input"]["inputBodyJson"] = json!({"text": word()});
    let cut = cut.to_string();
    let end = cut.rfind("output").unwrap();
    text.extend_from_slice(format!("{}\n", &cut[..end]).as_bytes());
    text.extend_from_slice(format!("{} {{not json}}\n{{\"{}\": }}\n\"{}\n", word(), word(), word()).as_bytes());
    text
}

fn azure_log(canaries: &mut Canaries) -> Vec<u8> {
    let mut word = || canaries.word();
    let fixtures = format!("{}/tests/fixtures/azure/gateway_logs.jsonl", env!("CARGO_MANIFEST_DIR"));
    let fixtures = std::fs::read_to_string(fixtures).unwrap();
    let mut rows: Vec<Value> = fixtures.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &mut rows {
        let properties = row["properties"].as_object_mut().unwrap();
        let said =
            json!({"messages": [{"role": "user", "content": word()}], "tools": [{"function": {"name": word()}}]});
        properties.insert("requestBody".to_owned(), json!(said.to_string()));
        properties.insert("backendRequestBody".to_owned(), json!(word()));
        let answered = json!({"id": "chatcmpl-1", "model": "gpt-4o", "choices": [{"message": {"content": word(), "tool_calls":
            [{"function": {"name": "f", "arguments": word()}}]}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
        properties.insert("responseBody".to_owned(), json!(answered.to_string()));
        properties.insert("lastError".to_owned(), json!({"message": word(), "reason": "Backend", "elapsed": 1}));
        properties.insert("errors".to_owned(), json!([{"message": word(), "source": "policy"}]));
        properties.insert(
            "url".to_owned(),
            json!(format!("https://gw.azure-api.net/openai/deployments/d/chat/completions?q={}", word())),
        );
        properties.insert("requestHeaders".to_owned(), json!({"Authorization": word(), "api-key": word()}));
        properties.insert("traceRecords".to_owned(), json!([{"message": word()}]));
    }
    let mut damaged = rows[0].clone();
    damaged["properties"] = json!(format!("{{\"requestBody\": \"{}", word()));
    rows.push(damaged);
    let mut broken = rows[0].clone();
    broken["time"] = json!(word());
    rows.push(broken);
    let mut text = lines(rows);
    text.extend_from_slice(format!("{{\"records\": [{{\"x\": \"{}\n", word()).as_bytes());
    text
}

fn vertex_log(canaries: &mut Canaries) -> Vec<u8> {
    let mut word = || canaries.word();
    let row = |n: u64, full: Value, payload: Value, said: String| {
        json!({"logging_time": "2026-03-02T10:00:00Z", "request_id": n.to_string(), "api_method": "streamGenerateContent",
            "model": "publishers/google/models/gemini-2.5-flash", "full_response": full, "response_payload": payload,
            "full_request": {"contents": [{"parts": [{"text": said}]}], "labels": {"service": "checkout-api"}},
            "request_payload": [said], "otel_log": {"gen_ai.input.messages": said}})
    };
    let answer = json!({"candidates": [{"content": {"parts": [{"text": word()}, {"functionCall": {"args": {"a": word()}}}]},
        "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}});
    let failed = json!({"error": {"code": 400, "message": word(), "status": word(), "details": [{"reason": word()}]}});
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": word()}});
    let claude =
        json!({"id": "msg_1", "content": [{"text": word()}], "usage": {"input_tokens": 3, "output_tokens": 4}});
    let events = format!("event: content_block_delta\ndata: {{\"delta\": {{\"text\": \"{}\"}}}}\n", word());
    let mut bad = row(6, answer.clone(), Value::Null, word());
    bad["full_response"]["usageMetadata"]["promptTokenCount"] = json!(word());
    let mut text = lines([
        row(0, answer.clone(), Value::Null, word()),
        row(1, json!(answer.to_string()), Value::Null, word()),
        row(2, failed, Value::Null, word()),
        row(3, blocked, Value::Null, word()),
        row(4, Value::Null, json!([claude.to_string()]), word()),
        row(5, Value::Null, json!([events, word()]), word()),
        bad,
        json!({"logName": "projects/p/logs/app", "jsonPayload": {"message": word()}}),
    ]);
    text.extend_from_slice(format!("{{\"model\": \"m\", \"full_request\": \"{}\n", word()).as_bytes());
    text
}

fn attributes(names: &[&str], canaries: &mut Canaries) -> Vec<Value> {
    names.iter().map(|name| json!({"key": name, "value": {"stringValue": canaries.word()}})).collect()
}

fn spans_with_content(canaries: &mut Canaries) -> Vec<Value> {
    let mut all = Vec::new();
    for (n, scope) in ["app", "openinference", "failed"].iter().enumerate() {
        let mut one = span(6, u64::try_from(n).unwrap(), now_us());
        let content = attributes(&CONTENT, canaries);
        one["attributes"].as_array_mut().unwrap().extend(content);
        one["events"] = json!([
            {"timeUnixNano": one["startTimeUnixNano"], "name": "gen_ai.user.message", "attributes": attributes(&["content", "gen_ai.prompt"], canaries)},
            {"timeUnixNano": one["startTimeUnixNano"], "name": "exception", "attributes": attributes(&["exception.message", "exception.stacktrace"], canaries)},
            {"timeUnixNano": one["startTimeUnixNano"], "name": "gen_ai.client.inference.operation.details", "attributes": attributes(&["gen_ai.output.messages"], canaries)},
        ]);
        if *scope == "failed" {
            one["status"] = json!({"code": 2, "message": canaries.word()});
        }
        all.push(one);
    }
    let mut tool = span(6, 10, now_us());
    tool["name"] = json!("execute_tool search");
    tool["attributes"] = json!(attributes(&["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"], canaries));
    all.push(tool);
    let mut bad = span(6, 11, now_us());
    let content = attributes(&["gen_ai.input.messages"], canaries);
    bad["attributes"][4]["value"] = json!({"intValue": "-1"});
    bad["attributes"].as_array_mut().unwrap().extend(content);
    all.push(bad);
    all
}

#[test]
fn nothing_that_logs_hold_of_conversations_is_kept() {
    let place = Place::new();
    let mut canaries = Canaries::default();
    let bedrock = place.file("in/bedrock.json", bedrock_log(&mut canaries));
    let packed = place.file("in/cut.json.gz", {
        let whole = gzip(&bedrock_log(&mut canaries));
        whole[..whole.len() - 9].to_vec()
    });
    let azure = place.file("in/PT1H.json", azure_log(&mut canaries));
    assert!(place.import("bedrock", &[&bedrock, &packed])["observations"].as_u64() >= Some(3));
    assert!(place.import("azure", &[&azure])["observations"].as_u64() >= Some(3));
    let vertex = place.file("in/rows.json", vertex_log(&mut canaries));
    assert!(place.import("vertex", &[&vertex])["observations"].as_u64() >= Some(5));
    assert!(canaries.0.len() > 100);
    assert_absent(&place, &canaries.0);
    assert_kept(&place, "checkout-api");
}

#[test]
fn nothing_that_a_followed_folder_holds_of_conversations_is_kept_or_logged() {
    let place = Place::new();
    let mut canaries = Canaries::default();
    place.file(&format!("in/{}", crate::records::bedrock_key("a")), gzip(&bedrock_log(&mut canaries)));
    let log = "[log]\nlevel = 'debug,polymeter=trace'\n";
    let config = format!(
        "{}{log}[[source]]\nname = 'b'\nkind = 'bedrock'\nlocation = '{}'\n",
        crate::harness::QUICK,
        place.text("in")
    );
    let server = place.serve_with(&config, &[]);
    crate::harness::eventually("calls are there", crate::harness::PATIENCE, || {
        (server.number("SELECT count(*) FROM calls") >= 3).then_some(())
    });
    server.stop();
    assert_absent(&place, &canaries.0);
    assert_kept(&place, "checkout-api");
}

#[test]
fn nothing_that_spans_hold_of_conversations_is_kept_or_logged() {
    let place = Place::new();
    let mut canaries = Canaries::default();
    let server = place.serve_with("[settle]\ninterval_s = 3600\n[log]\nlevel = 'debug,polymeter=trace'\n", &[]);
    let json = [("content-type", "application/json")];
    let reply = server.post("/v1/traces", &json, spans(spans_with_content(&mut canaries)).to_string()).unwrap();
    assert_eq!(reply.status, 200);
    assert!(!canaries.0.iter().any(|word| contains(&reply.body, word)));
    // Requests that are refused are not quoted either.
    for body in [format!("{{\"resourceSpans\": \"{}\"}}", canaries.word()), format!("{} is no JSON", canaries.word())] {
        for kind in ["application/json", "application/x-protobuf"] {
            let reply = server.post("/v1/traces", &[("content-type", kind)], body.clone()).unwrap();
            assert_eq!(reply.status, 400);
            assert!(!canaries.0.iter().any(|word| contains(&reply.body, word)), "{}", reply.text());
        }
    }
    crate::harness::eventually("calls are there", crate::harness::PATIENCE, || {
        (server.number("SELECT count(*) FROM calls") >= 3).then_some(())
    });
    // Once while everything is in the journal, and once settled.
    server.kill();
    assert_absent(&place, &canaries.0);
    place.serve().stop();
    assert_absent(&place, &canaries.0);
    assert_kept(&place, "shop");
}

#[test]
fn the_fixtures_leave_no_canary_behind() {
    let place = Place::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for kind in ["bedrock", "azure"] {
        let files = files_below(&folder.join(kind));
        let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
        place.import(kind, &files);
    }
    assert_absent(&place, &["CANARY".to_owned()]);
}
