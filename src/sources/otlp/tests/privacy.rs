//! Canaries: content attributes, events and messages leave no trace in any row.

use super::build::{at, event, failed, request, rows, span, text};
use super::vocabulary::CONTENT;
use crate::sources::otlp::{OtlpConfig, OtlpSpans};

const CANARY: &str = "CANARY what the user said";

#[test]
fn no_content_reaches_a_row() {
    let marks = [
        ("gen_ai.operation.name", "chat"),
        ("openinference.span.kind", "LLM"),
        ("ai.operationId", "ai.generateText.doGenerate"),
        ("langfuse.observation.type", "generation"),
        ("traceloop.span.kind", "workflow"),
        ("hidden_params", "{\"additional_headers\": {\"llm_provider-x\": \"CANARY\"}, \"cache_key\": null}"),
        ("llm.request.type", "acompletion"),
    ];
    let scopes = [
        "litellm",
        "ai",
        "gen_ai",
        "pydantic-ai",
        "openlit.instrumentation.openai",
        "openinference.x",
        "langfuse-sdk",
        "opentelemetry.instrumentation.openai.v1",
        "com.anthropic.sdk.python",
        "kong",
        "tensorzero",
        "x",
        "",
    ];
    for scope in scopes {
        for name in ["raw_gen_ai_request", "litellm_request", "chat"] {
            for (key, value) in marks {
                let mut attributes: Vec<_> = CONTENT.iter().map(|content| (*content, text(CANARY))).collect();
                attributes.push((key, text(value)));
                attributes.push(("error.type", text(CANARY)));
                attributes.push(("gen_ai.usage.raw", text(CANARY)));
                attributes.push((
                    "metadata.requester_metadata",
                    text("{'headers': {'x': 'CANARY'}, 'prompt': 'CANARY', 'nested': {'a': 'CANARY'}}"),
                ));
                attributes.push(("llm.invocation_parameters", text("{\"messages\": [\"CANARY\"]}")));
                let mut span = failed(span(2, name, attributes), "Error: the prompt was CANARY request_id CANARY");
                span.events = vec![
                    event("gen_ai.user.message", 1, vec![("content", text(CANARY))]),
                    event("exception", 2, vec![("exception.message", text(CANARY)), ("exception.type", text(CANARY))]),
                ];
                let rows = rows(&request(scope, vec![span]));
                assert!(!format!("{rows:?}").contains("CANARY"), "{scope} {name} {key}: {rows:#?}");
            }
        }
    }
}

#[test]
fn log_records_are_counted_and_not_read() {
    let body = r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "CANARY"}}]}]}]}"#;
    let request = crate::sources::otlp::decode_logs(body.as_bytes(), &mut crate::model::Flaws::default()).unwrap();
    assert!(!format!("{request:?}").contains("CANARY"));
    let mut out = Vec::new();
    OtlpSpans::new(OtlpConfig::default()).logs(&request, &at(), &mut out);
    assert_eq!(out.len(), 1);
}
