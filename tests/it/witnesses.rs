//! The application's span, the gateway's span and the provider's log of the same requests: together they say what the
//! log says alone.

use polymeter::model::Timestamp;
use serde_json::{Value, json};

use crate::harness::Place;
use crate::ops::works;
use crate::records::{lines, now_us};
use crate::samples;

const SECOND_US: i64 = 1_000_000;
/// 100 ns ticks from the year 1 to 1970.
const DOTNET_EPOCH: i64 = 621_355_968_000_000_000;
/// Sums by what a bill is about. Azure's log does not tell cache writes, which a client may know to be 0.
const TOTALS: &str = "SELECT platform, outcome, count(*) AS calls, sum(input_tokens) AS input, \
    sum(cache_read_tokens) AS cache_read, coalesce(sum(cache_write_tokens), 0) AS cache_write, sum(output_tokens) AS output \
    FROM calls WHERE platform IN ('aws.bedrock', 'azure.ai.openai') GROUP BY 1, 2 ORDER BY 1, 2";

/// A request at a cloud, as its own log knows it.
#[derive(Clone, Debug)]
pub struct Logged {
    pub request_id: String,
    pub start_us: i64,
    pub model: String,
    /// All of it, cached parts included; `None` where the provider refused.
    pub tokens: Option<[u64; 4]>,
    /// The provider's word for a failure.
    pub error: Option<&'static str>,
}

/// Bedrock's invocation record.
fn bedrock(logged: &Logged) -> Value {
    let mut record = json!({
        "timestamp": Timestamp(logged.start_us / SECOND_US * SECOND_US).to_string(),
        "accountId": "111122223333",
        "region": "us-east-1",
        "requestId": logged.request_id,
        "operation": "Converse",
        "modelId": logged.model,
        "identity": {"arn": "arn:aws:sts::111122223333:assumed-role/llm-gateway/litellm"},
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
    });
    if let Some(word) = logged.error {
        record["errorCode"] = word.into();
    }
    if let Some([input, read, write, output]) = logged.tokens {
        record["input"] = json!({
            "inputContentType": "application/json", "inputTokenCount": input - read - write,
            "cacheReadInputTokenCount": read, "cacheWriteInputTokenCount": write,
        });
        record["output"] = json!({"outputContentType": "application/json", "outputTokenCount": output});
    }
    record
}

/// Azure's rows: the empty one, the one that says how it went, and that of the usage.
fn azure(logged: &Logged) -> Vec<Value> {
    let ticks = logged.start_us * 10 + DOTNET_EPOCH;
    let [input, read, _, output] = logged.tokens.unwrap_or_default();
    let row = |category: &str, event: &str, status: Option<(u16, u32)>, properties: &Value| {
        let mut row = json!({
            "category": category,
            "correlationId": logged.request_id,
            "event": event,
            "location": "eastus",
            "operationName": "ChatCompletions_Create",
            "properties": properties.to_string(),
            "resourceId": "/SUBSCRIPTIONS/8A3E9D10-4B7C-4E52-9F16-2D5C7B8E0F31/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/SHOP",
            "time": format!("{}0Z", Timestamp(logged.start_us + 2 * SECOND_US).floor(1000).to_string().trim_end_matches('Z')),
            "Tenant": "eastus",
        });
        if let Some((status, ms)) = status {
            row["resultSignature"] = status.to_string().into();
            row["durationMs"] = ms.into();
        }
        row
    };
    let request = |answered: bool| {
        json!({
            "apiName": "Azure OpenAI API version 2024-10-21", "requestTime": ticks,
            "requestLength": 420, "responseTime": if answered { ticks + 9_000_000 } else { ticks },
            "responseLength": if answered { 640 } else { 0 }, "objectId": "", "streamType": "Non-Streaming",
            "modelDeploymentName": "gpt-4o-prod", "modelName": "gpt-4o", "modelVersion": "2024-11-20",
        })
    };
    let status = if logged.error.is_some() { 429 } else { 200 };
    let mut rows = vec![
        row("RequestResponse", "ShoeboxCallResult", Some((200, 0)), &request(false)),
        row("RequestResponse", "ShoeboxCallResult", Some((status, 900)), &request(true)),
    ];
    if logged.tokens.is_some() {
        let usage = json!({
            "modelDeploymentName": "gpt-4o-prod", "modelName": "gpt-4o", "modelVersion": "2024-11-20",
            "streamType": "Non-Streaming", "promptTokens": [input], "cachedTokens": [read], "generatedTokens": [output],
            "timeToFirstTokenMs": 300.5, "timeToLastTokenMs": 900.25,
        });
        rows.push(row("AzureOpenAIRequestUsage", "ShoeboxAzureOpenAIRequestUsage", None, &usage));
    }
    rows
}

/// Imports the logs of requests at both clouds.
fn import_logs(place: &Place, at_bedrock: &[Logged], at_azure: &[Logged]) {
    if !at_bedrock.is_empty() {
        place.import("bedrock", &[&place.file("bedrock.json", lines(at_bedrock.iter().map(bedrock)))]);
    }
    if !at_azure.is_empty() {
        place.import("azure", &[&place.file("azure.json", lines(at_azure.iter().flat_map(azure)))]);
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn count(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

/// What the application and the gateway export about one request, as two requests.
fn spans(n: usize, logged: &Logged, is_bedrock: bool) -> [Value; 2] {
    let trace = format!("{:032x}", 0xabc0_0000 + n);
    let id = |k: usize| format!("{:016x}", n * 10 + k);
    let (provider, header) = if is_bedrock {
        ("bedrock", "llm_provider-x-amzn-requestid")
    } else {
        ("azure", "llm_provider-apim-request-id")
    };
    let span = |k: usize, parent: Option<usize>, shift_us: i64, attributes: Vec<Value>| {
        let mut span = json!({
            "traceId": trace, "spanId": id(k), "name": "chat", "kind": 3,
            "startTimeUnixNano": ((logged.start_us + shift_us) * 1000).to_string(),
            "endTimeUnixNano": ((logged.start_us + shift_us + SECOND_US) * 1000).to_string(),
            "attributes": attributes,
            "status": if logged.error.is_some() { json!({"code": 2}) } else { json!({}) },
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = id(parent).into();
        }
        span
    };
    let mut told = vec![text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", &logged.model)];
    if let Some([input, read, write, output]) = logged.tokens {
        told.push(count("gen_ai.usage.input_tokens", input));
        told.push(count("gen_ai.usage.cache_read.input_tokens", read));
        told.push(count("gen_ai.usage.cache_creation.input_tokens", write));
        told.push(count("gen_ai.usage.output_tokens", output));
    }
    if logged.error.is_some() {
        told.push(text("error.type", "RateLimitError"));
    }
    // The application speaks the OpenAI protocol to the gateway and believes that OpenAI answers.
    let app = [told.clone(), vec![text("gen_ai.provider.name", "openai")]].concat();
    let headers = if logged.error.is_some() { header.replace("llm_provider-", "") } else { header.to_owned() };
    let hidden = json!({"additional_headers": {headers: logged.request_id}, "litellm_overhead_time_ms": 3.5});
    let own = [
        text("gen_ai.system", provider),
        text("hidden_params", &hidden.to_string()),
        text("metadata.user_api_key_team_alias", "Search"),
        text("error.llm_provider", provider),
    ];
    let gateway = [told, own[..if logged.error.is_some() { 4 } else { 3 }].to_vec()].concat();
    let export = |service: &str, scope: &str, span: Value| {
        json!({"resourceSpans": [{
            "resource": {"attributes": [text("service.name", service)]},
            "scopeSpans": [{"scope": {"name": scope}, "spans": [span]}],
        }]})
    };
    [
        export("shop", "opentelemetry.instrumentation.openai_v2", span(1, None, -2000, app)),
        export("litellm", "litellm", span(2, Some(1), -1000, gateway)),
    ]
}

#[test]
fn application_gateway_and_log_say_what_the_log_says_alone() {
    let now = now_us();
    let logged = |n: u64, at_bedrock: bool| Logged {
        request_id: format!("{n:08x}-{}-4000-8000-000000000000", if at_bedrock { "bbbb" } else { "aaaa" }),
        start_us: now - 600 * SECOND_US + i64::try_from(n).unwrap() * 7 * SECOND_US,
        model: if at_bedrock { "us.anthropic.claude-sonnet-4-20250514-v1:0" } else { "gpt-4o" }.to_owned(),
        tokens: (!n.is_multiple_of(6))
            .then(|| [500 + n, 100 * (n % 3), if at_bedrock { 50 * (n % 2) } else { 0 }, 20 + n]),
        error: n.is_multiple_of(6).then_some("ThrottlingException"),
    };
    let at_bedrock: Vec<Logged> = (0..40).map(|n| logged(n, true)).collect();
    let at_azure: Vec<Logged> = (0..40).map(|n| logged(n, false)).collect();
    let (alone, together) = (Place::new(), Place::new());
    import_logs(&alone, &at_bedrock, &at_azure);
    let expected = alone.sql(TOTALS);
    assert_eq!(expected.iter().map(|row| row["calls"].as_i64().unwrap()).sum::<i64>(), 80, "{expected:?}");

    let told = [(&at_bedrock, true), (&at_azure, false)];
    let requests = told.iter().flat_map(|(all, at_bedrock)| all.iter().map(|one| (one, *at_bedrock)));
    let mut exports: Vec<Value> = requests.enumerate().flat_map(|(n, (one, b))| spans(n, one, b)).collect();
    // The gateway's spans first, the last request first.
    exports
        .sort_by_key(|export| export["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"].as_str().map(str::to_owned));
    exports.reverse();
    let half = exports.split_off(exports.len() / 2);
    together.import("otlp", &[&together.file("first.json", lines(exports))]);
    import_logs(&together, &at_bedrock, &at_azure);
    together.import("otlp", &[&together.file("second.json", lines(half))]);
    assert_eq!(together.sql(TOTALS), expected);
    assert_eq!(together.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 80})]);
    // And the three sides complete each other.
    let whole = "SELECT count(*) AS n FROM calls WHERE service = 'shop' AND team = 'Search' AND gateway = 'litellm' \
        AND array_length(witnesses) = 2 AND NOT conflict";
    assert_eq!(together.sql(whole), [json!({"n": 80})]);
}

/// Requests that real clients and gateways made to the clouds, with the log that the cloud would have written.
#[test]
fn captured_calls_with_the_logs_of_their_clouds_say_what_the_logs_say_alone() {
    let Some(captured) = samples::captured_cloud_calls() else { return };
    let total = captured.len();
    let (mut right, mut wrong, mut nameless) = (0, Vec::new(), 0);
    let spans = Place::new();
    let server = spans.serve();
    for case in &captured {
        for body in &case.traces {
            let reply = server.post("/v1/traces", &[("content-type", "application/x-protobuf")], body.clone()).unwrap();
            assert_eq!(reply.status, 200);
        }
    }
    server.stop();
    // They are of another day: only a settle shows them.
    works(&spans, &["maintain"]);
    // Which of them bear the id of the cloud's request on the wire, and when they started.
    let mut logs = Vec::new();
    for case in &captured {
        let found = spans.sql(&format!(
            "SELECT CAST(ts AS BIGINT) AS ts FROM calls WHERE provider_request_id = '{}'",
            case.logged.request_id
        ));
        match found.first() {
            Some(row) => {
                let mut logged = case.logged.clone();
                logged.start_us = row["ts"].as_i64().unwrap() + 300_000;
                logs.push((case, logged));
            }
            None => nameless += 1,
        }
    }
    for (case, logged) in &logs {
        let (alone, together) = (Place::new(), Place::new());
        let (at_bedrock, at_azure) =
            if case.at_bedrock { (vec![logged.clone()], vec![]) } else { (vec![], vec![logged.clone()]) };
        import_logs(&alone, &at_bedrock, &at_azure);
        let server = together.serve();
        for body in &case.traces {
            server.post("/v1/traces", &[("content-type", "application/x-protobuf")], body.clone()).unwrap();
        }
        server.stop();
        import_logs(&together, &at_bedrock, &at_azure);
        let of_it = TOTALS.replace("WHERE", &format!("WHERE provider_request_id = '{}' AND", logged.request_id));
        let (expected, found) = (alone.sql(&of_it), together.sql(&of_it));
        if expected == found {
            right += 1
        } else {
            wrong.push(format!("{}: {expected:?}, with spans {found:?}", case.name))
        }
    }
    println!(
        "captured cloud calls with logs: {right} of {} right; {nameless} of {total} bear no request id",
        logs.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
