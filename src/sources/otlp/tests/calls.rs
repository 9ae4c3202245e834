//! One call in every convention, and the spans around it that are none.

use super::build::{array, at, child, double, event, failed, int, one, request, rows, span, text, truth};
use crate::model::{Normalized, Observation, Outcome, Usage, UsageStatus, Witness};
use crate::sources::otlp::{OtlpConfig, OtlpSpans};

const OPENLIT: &str = "openlit.instrumentation.openai";

/// Input, cache read, cache write, output, reasoning.
type Tokens = (Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>);

fn usage(o: &Observation) -> Tokens {
    let Usage { input, cache_read, cache_write, output, reasoning, .. } = o.usage;
    (input, cache_read, cache_write, output, reasoning)
}

#[test]
fn a_call_has_every_field_that_the_conventions_name() {
    let mut call = span(
        2,
        "chat gpt-4o",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.provider.name", text("openai")),
            ("gen_ai.request.model", text("gpt-4o")),
            ("gen_ai.response.model", text("gpt-4o-2024-08-06")),
            ("gen_ai.response.id", text("chatcmpl-1")),
            ("gen_ai.response.finish_reasons", array(&["stop"])),
            ("gen_ai.usage.input_tokens", int(2048)),
            ("gen_ai.usage.output_tokens", double(400.0)),
            ("gen_ai.usage.cache_read.input_tokens", text("1920")),
            ("gen_ai.usage.reasoning.output_tokens", int(320)),
            ("gen_ai.request.stream", truth(true)),
            ("gen_ai.response.time_to_first_chunk", double(0.05)),
            ("openai.response.service_tier", text("default")),
            ("openai.request.service_tier", text("priority")),
            ("server.address", text("acme.openai.azure.com")),
            ("gen_ai.conversation.id", text("c-1")),
        ],
    );
    call.parent_span_id = vec![9; 8];
    let o = one("opentelemetry.instrumentation.genai.openai", call);
    assert_eq!(o.dialect, "otlp.genai");
    assert_eq!(o.witness, Witness::Client);
    assert_eq!(o.platform.as_deref(), Some("azure.ai.openai"));
    assert_eq!(usage(&o), (Some(2048), Some(1920), None, Some(400), Some(320)));
    assert_eq!(o.usage_status, UsageStatus::Measured);
    assert_eq!((o.outcome, o.streaming, o.tier.as_deref()), (Some(Outcome::Ok), Some(true), Some("standard")));
    assert_eq!((o.duration_ms, o.ttft_ms), (Some(100.0), Some(50.0)));
    assert_eq!(o.parent_span_id.as_deref(), Some("0909090909090909"));
    assert_eq!(o.trace_id.as_deref(), Some("01010101010101010101010101010101"));
    assert_eq!((o.service.as_deref(), o.environment.as_deref()), (Some("shop"), Some("prod")));
    assert_eq!((o.finish_reason.as_deref(), o.session_id.as_deref()), (Some("stop"), Some("c-1")));
}

#[test]
fn the_same_key_means_another_input_in_another_library() {
    for (scope, reported) in [
        ("com.anthropic.sdk.python", 3000),
        ("opentelemetry.instrumentation.anthropic", 3000),
        ("opentelemetry.instrumentation.bedrock", 300),
        ("opentelemetry.instrumentation.botocore.bedrock-runtime", 300),
        ("openlit.instrumentation.anthropic", 300),
        ("somebody.else", 300),
        ("somebody.else", 3000),
    ] {
        for write in ["gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"] {
            let o = one(
                scope,
                span(
                    2,
                    "chat",
                    vec![
                        ("gen_ai.operation.name", text("chat")),
                        ("gen_ai.usage.input_tokens", int(reported)),
                        ("gen_ai.usage.output_tokens", int(44)),
                        ("gen_ai.usage.cache_read.input_tokens", int(2000)),
                        (write, int(700)),
                    ],
                ),
            );
            assert_eq!(usage(&o), (Some(3000), Some(2000), Some(700), Some(44), None), "{scope} {write}");
            // 300 can't include 2700, so only 3000 leaves a doubt.
            assert_eq!(o.tags.contains_key("usage_assumed"), scope == "somebody.else" && reported == 3000);
        }
    }
}

#[test]
fn every_convention_gives_one_call() {
    let cases = [
        (
            "openinference.instrumentation.bedrock",
            "otlp.openinference",
            vec![
                ("openinference.span.kind", text("LLM")),
                ("llm.provider", text("aws")),
                ("llm.model_name", text("m")),
                ("llm.token_count.prompt", int(10)),
                ("llm.token_count.completion", int(5)),
            ],
        ),
        (
            "ai",
            "otlp.vercel",
            vec![
                ("ai.operationId", text("ai.generateText.doGenerate")),
                ("ai.model.provider", text("amazon-bedrock.converse")),
                ("ai.model.id", text("m")),
                ("ai.usage.promptTokens", int(10)),
                ("ai.usage.completionTokens", int(5)),
            ],
        ),
        (
            "opentelemetry.instrumentation.openai.v1",
            "otlp.openllmetry",
            vec![
                ("llm.request.type", text("chat")),
                ("gen_ai.system", text("AWS")),
                ("gen_ai.request.model", text("m")),
                ("gen_ai.usage.prompt_tokens", int(10)),
                ("gen_ai.usage.completion_tokens", int(5)),
            ],
        ),
        (
            "langfuse-sdk",
            "otlp.langfuse",
            vec![
                ("langfuse.observation.type", text("generation")),
                ("gen_ai.system", text("aws_bedrock")),
                ("langfuse.observation.model.name", text("m")),
                ("langfuse.observation.usage_details", text("{\"input\": 10, \"output\": 5}")),
            ],
        ),
        (
            "kong",
            "otlp.kong",
            vec![
                ("gen_ai.provider.name", text("bedrock")),
                ("gen_ai.request.model", text("m")),
                ("gen_ai.usage.input_tokens", int(10)),
                ("gen_ai.usage.output_tokens", int(5)),
            ],
        ),
        (
            "",
            "otlp.cloudflare",
            vec![
                ("gen_ai.model.provider", text("aws-bedrock")),
                ("gen_ai.request.model", text("m")),
                ("gen_ai.usage.input_tokens", int(10)),
                ("gen_ai.usage.output_tokens", int(5)),
            ],
        ),
        (
            "pydantic-ai",
            "otlp.logfire",
            vec![
                ("gen_ai.operation.name", text("chat")),
                ("gen_ai.system", text("bedrock")),
                ("gen_ai.request.model", text("m")),
                ("gen_ai.usage.input_tokens", int(10)),
                ("gen_ai.usage.output_tokens", int(5)),
            ],
        ),
    ];
    for (scope, dialect, attributes) in cases {
        let o = one(scope, span(2, "x", attributes));
        assert_eq!(o.dialect, dialect);
        assert!(o.is_call(), "{dialect}");
        assert_eq!((o.usage.input, o.usage.output), (Some(10), Some(5)), "{dialect}");
        assert_eq!(o.request_model.as_deref(), Some("m"), "{dialect}");
        assert_eq!(o.operation.as_deref().unwrap_or("chat"), "chat", "{dialect}");
        let gateway = matches!(dialect, "otlp.kong" | "otlp.cloudflare");
        assert_eq!(o.witness == Witness::Gateway, gateway, "{dialect}");
        assert_eq!(o.platform.as_deref(), Some("aws.bedrock"), "{dialect}");
    }
}

#[test]
fn spans_around_calls_are_context_without_counts() {
    let tokens = ("gen_ai.usage.input_tokens", int(99));
    let cases = [
        ("gen_ai", "invoke_agent", vec![("gen_ai.operation.name", text("invoke_agent")), tokens.clone()]),
        ("gen_ai", "step 1", vec![("gen_ai.operation.name", text("agent_step"))]),
        ("x", "tool", vec![("gen_ai.operation.name", text("execute_tool")), tokens.clone()]),
        ("x", "memory", vec![("gen_ai.operation.name", text("search_memory"))]),
        ("traceloop.tracer", "flow", vec![("traceloop.span.kind", text("workflow")), tokens.clone()]),
        (
            "openinference.instrumentation.langchain",
            "c",
            vec![("openinference.span.kind", text("CHAIN")), tokens.clone()],
        ),
        ("ai", "ai.generateText", vec![("ai.operationId", text("ai.generateText")), ("ai.usage.promptTokens", int(9))]),
        ("pydantic-ai", "agent run", vec![("model_name", text("m")), tokens.clone()]),
        (
            "pydantic-ai",
            "x",
            vec![("gen_ai.operation.name", text("chat")), ("gen_ai.aggregated_usage.input_tokens", int(1))],
        ),
        ("litellm", "route gpt-4o", vec![("gen_ai.request.model", text("gpt-4o"))]),
        ("litellm", "Failed Proxy Server Request", vec![("exception", text("secret"))]),
        ("langfuse-sdk", "trace", vec![("langfuse.observation.type", text("span")), tokens.clone()]),
        ("", "function_inference", vec![("tensorzero.function_name", text("f")), tokens.clone()]),
        ("spring", "spring.ai.chat.client", vec![("gen_ai.operation.name", text("framework"))]),
        ("openlit.instrumentation.chroma", "q", vec![("db.system", text("chroma"))]),
    ];
    for (scope, name, attributes) in cases {
        let o = one(scope, span(2, name, attributes));
        assert_eq!(o.witness, Witness::Context, "{name}");
        assert!(o.usage.is_empty() && o.outcome.is_none(), "{name}");
        assert_eq!(o.duration_ms, Some(100.0));
    }
    let server = opentelemetry_proto::tonic::trace::v1::Span {
        kind: 2,
        ..span(2, "POST /v1/chat", vec![("gen_ai.request.model", text("m")), ("litellm.team.alias", text("Search"))])
    };
    let o = one("opentelemetry.instrumentation.fastapi", server);
    assert_eq!((o.witness, o.team.as_deref()), (Witness::Context, Some("Search")));
}

#[test]
fn plain_spans_are_kept_only_below_a_call_of_the_same_request() {
    let call = span(2, "chat", vec![("gen_ai.operation.name", text("chat"))]);
    let spans = vec![
        child(span(4, "tcp", vec![]), 3),
        child(span(3, "POST", vec![("http.method", text("POST"))]), 2),
        call,
        span(5, "SELECT", vec![("db.system", text("postgresql"))]),
        child(span(6, "a", vec![]), 7),
        child(span(7, "b", vec![]), 6),
    ];
    let rows = rows(&request("", spans));
    let context = |row: &Normalized| matches!(row, Normalized::Observation(o) if o.dialect == "otlp.bridge");
    assert!(context(&rows[0]) && context(&rows[1]));
    assert!(rows[3..].iter().all(|row| *row == Normalized::Skipped("not_llm")));
    let alone = super::build::rows(&request("", vec![span(5, "SELECT", vec![])]));
    assert_eq!(alone, vec![Normalized::Skipped("not_llm")]);
}

#[test]
fn litellm_tells_calls_from_what_never_left_the_gateway() {
    let make = |hidden: &str, extra: Vec<(&'static str, _)>| {
        let mut attributes = vec![
            ("hidden_params", text(hidden)),
            ("gen_ai.operation.name", text("acompletion")),
            ("gen_ai.system", text("bedrock")),
            ("litellm.provider.model", text("bedrock/converse/us.amazon.nova-pro-v1:0")),
            ("litellm.model_group", text("nova")),
            ("gen_ai.request.model", text("nova")),
            ("gen_ai.response.model", text("nova")),
            ("gen_ai.response.id", text("chatcmpl-0c8acf41-773b-41d3-b72f-cb57b5e3b2e2")),
            ("litellm.call_id", text("call-1")),
            ("llm.is_streaming", text("False")),
            ("gen_ai.usage.input_tokens", int(1500)),
            ("gen_ai.usage.output_tokens", int(30)),
            (
                "metadata.usage_object",
                text(
                    "{'prompt_tokens': 1500, 'prompt_tokens_details': {'cached_tokens': 1000}, 'cache_creation_input_tokens': 300}",
                ),
            ),
            ("metadata.user_api_key_alias", text("search-prod")),
            ("metadata.user_api_key_team_alias", text("Search")),
            ("metadata.user_api_key_end_user_id", text("")),
            (
                "metadata.requester_metadata",
                text("{'tags': ['feature:checkout'], 'session_id': 's-1', 'headers': {'a': 'CANARY'}}"),
            ),
            ("metadata.user_api_key_auth_metadata", text("{'cost_center': 'CC-1'}")),
        ];
        attributes.extend(extra);
        span(2, "litellm_request", attributes)
    };
    let good = r#"{"cache_key": null, "api_base": null, "additional_headers": {"llm_provider-x-amzn-requestid": "aws-1"}, "litellm_overhead_time_ms": 3.0}"#;
    let o = one("litellm", make(good, vec![]));
    assert_eq!((o.witness, o.platform.as_deref()), (Witness::Gateway, Some("aws.bedrock")));
    assert_eq!(usage(&o), (Some(1500), Some(1000), Some(300), Some(30), None));
    assert_eq!(o.request_model.as_deref(), Some("us.amazon.nova-pro-v1:0"));
    assert_eq!((o.response_model.as_deref(), o.response_id.as_deref()), (None, None));
    assert!(o.tags.contains_key("gateway_response_id"));
    assert_eq!(o.provider_request_id.as_deref(), Some("aws-1"));
    assert_eq!((o.chain_id.as_deref(), o.gateway.as_deref()), (Some("call-1"), Some("litellm")));
    assert_eq!((o.team.as_deref(), o.principal.as_deref()), (Some("Search"), Some("search-prod")));
    assert_eq!((o.feature.as_deref(), o.session_id.as_deref()), (Some("checkout"), Some("s-1")));
    assert_eq!((o.cost_center.as_deref(), o.user_id.as_deref()), (Some("CC-1"), None));
    assert_eq!((o.operation.as_deref(), o.streaming), (Some("chat"), Some(false)));
    assert_eq!(o.service, None);

    let hit = r#"{"cache_key": "abc", "additional_headers": {}, "litellm_overhead_time_ms": 0.1}"#;
    let mock = r#"{"cache_key": null, "additional_headers": {"x-litellm-attempted-retries": 0}, "litellm_overhead_time_ms": null}"#;
    for (hidden, event) in [(hit, "cache_hit"), (mock, "mock")] {
        let o = one("litellm", make(hidden, vec![]));
        assert_eq!(o.witness, Witness::NotACall);
        assert_eq!(o.tags.get("gateway_event").map(String::as_str), Some(event));
    }
    let rejected = r#"{"cache_key": null, "additional_headers": null}"#;
    let o = one("litellm", failed(make(rejected, vec![("error.type", text("ProxyException"))]), "budget"));
    assert_eq!(o.tags.get("gateway_event").map(String::as_str), Some("rejected"));
    let by_provider = vec![("error.llm_provider", text("bedrock")), ("error.code", text("503"))];
    let o = one("litellm", failed(make(rejected, by_provider), ""));
    assert_eq!((o.witness, o.outcome, o.http_status), (Witness::Gateway, Some(Outcome::ServerError), Some(503)));
}

#[test]
fn the_raw_answer_is_context_that_carries_the_usage() {
    let o = one(
        "litellm",
        span(
            2,
            "raw_gen_ai_request",
            vec![
                (
                    "llm.anthropic.usage",
                    text(
                        "{'input_tokens': 300, 'cache_creation_input_tokens': 700, 'cache_read_input_tokens': 2000, 'cache_creation': {'ephemeral_1h_input_tokens': 700}, 'output_tokens': 44}",
                    ),
                ),
                ("llm.anthropic.id", text("msg_1")),
                ("llm.anthropic.model", text("claude-sonnet-4-20250514")),
                ("llm.anthropic.content", text("CANARY")),
            ],
        ),
    );
    assert_eq!((o.witness, o.platform.as_deref()), (Witness::Context, Some("anthropic")));
    assert_eq!(o.tags.get("raw").map(String::as_str), Some("litellm"));
    assert_eq!(usage(&o), (Some(3000), Some(2000), Some(700), Some(44), None));
    assert_eq!(o.usage.cache_write_1h, Some(700));
    assert_eq!(
        (o.response_id.as_deref(), o.response_model.as_deref()),
        (Some("msg_1"), Some("claude-sonnet-4-20250514"))
    );
}

#[test]
fn log_spans_of_logfire_lend_their_counts() {
    let attributes = vec![
        ("logfire.span_type", text("log")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.usage.input_tokens", int(77)),
        (
            "gen_ai.usage.raw",
            text(
                "{\"prompt_tokens\": 77, \"completion_tokens\": 33, \"completion_tokens_details\": {\"reasoning_tokens\": 2}}",
            ),
        ),
    ];
    let o = one("logfire.openai", span(2, "streaming response", attributes));
    assert_eq!((o.witness, o.duration_ms), (Witness::Context, None));
    assert!(o.tags.contains_key("usage_for_parent"));
    assert_eq!(usage(&o), (Some(77), None, None, Some(33), Some(2)));
    let pending = span(3, "chat", vec![("logfire.span_type", text("pending_span"))]);
    assert_eq!(rows(&request("pydantic-ai", vec![pending])), vec![Normalized::Skipped("pending_span")]);
}

#[test]
fn openlit_estimates_streams_and_leaves_failures_bare() {
    let attributes = |stream| {
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.request.stream", truth(stream)),
            ("gen_ai.usage.input_tokens", int(8)),
            ("gen_ai.server.time_to_first_token", double(0.1)),
        ]
    };
    let o = one(OPENLIT, span(2, "chat", attributes(true)));
    assert_eq!((o.usage_status, o.ttft_ms), (UsageStatus::Estimated, Some(100.0)));
    let o = one(OPENLIT, span(2, "chat", attributes(false)));
    assert_eq!((o.usage_status, o.ttft_ms), (UsageStatus::Measured, None));
    let bare = failed(span(2, "anthropic.messages", vec![]), "Error code: 529 - {'type': 'overloaded_error'}");
    let o = one("openlit.instrumentation.anthropic", bare);
    assert!(o.is_call());
    assert_eq!(
        (o.platform.as_deref(), o.outcome, o.http_status),
        (Some("anthropic"), Some(Outcome::ServerError), Some(529))
    );
    assert_eq!(o.usage_status, UsageStatus::Missing);
}

#[test]
fn failures_are_classified_by_status_class_and_text() {
    let chat = || vec![("gen_ai.operation.name", text("chat")), ("gen_ai.system", text("anthropic"))];
    let with = |extra: Vec<(&'static str, _)>, message: &str| {
        let mut attributes = chat();
        attributes.extend(extra);
        one("com.anthropic.sdk.python", failed(span(2, "x", attributes), message))
    };
    let o = with(vec![("error.type", text("openai.RateLimitError"))], "");
    assert_eq!((o.outcome, o.http_status), (Some(Outcome::Throttled), None));
    let o = with(vec![("error.type", text("AI_APICallError")), ("http.response.status_code", int(400))], "");
    assert_eq!((o.outcome, o.http_status), (Some(Outcome::ClientError), Some(400)));
    let o = with(vec![], "An error occurred (ThrottlingException) when calling the Converse operation: x");
    assert_eq!((o.outcome, o.error_code.as_deref()), (Some(Outcome::Throttled), Some("ThrottlingException")));
    let o = with(vec![], "Error code: 401 - {'request_id': 'req_011CAabcdef'}");
    assert_eq!((o.outcome, o.provider_request_id.as_deref()), (Some(Outcome::ClientError), Some("req_011CAabcdef")));
    let o = with(vec![], "something broke");
    assert_eq!((o.outcome, o.error_code.as_deref()), (Some(Outcome::ServerError), None));
    assert_eq!(o.tags.get("otlp.outcome").map(String::as_str), Some("assumed"));
    let mut thrown = failed(span(2, "x", chat()), "");
    thrown.events = vec![event(
        "exception",
        1,
        vec![("exception.type", text("anthropic.APITimeoutError")), ("exception.message", text("CANARY"))],
    )];
    let o = one("x", thrown);
    assert_eq!((o.outcome, o.error_code.as_deref()), (Some(Outcome::Timeout), Some("anthropic.APITimeoutError")));
}

#[test]
fn first_tokens_are_read_from_events() {
    let mut call = span(
        2,
        "ChatCompletion",
        vec![
            ("openinference.span.kind", text("LLM")),
            ("llm.invocation_parameters", text("{\"model\": \"gpt-4o\", \"stream\": true}")),
        ],
    );
    call.events = vec![event("First Token Stream Event", 20, vec![])];
    let o = one("openinference.instrumentation.openai", call);
    assert_eq!((o.ttft_ms, o.streaming, o.request_model.as_deref()), (Some(20.0), Some(true), Some("gpt-4o")));
    assert_eq!((o.usage_status, o.usage), (UsageStatus::Missing, Usage::default()));
}

#[test]
fn operators_fill_what_spans_leave_open() {
    let config: OtlpConfig =
        toml::from_str("attributes = { environment = \"dev\", team = \"core\", gateway = \"edge\", stack = \"eu\" }")
            .unwrap();
    let mut out = Vec::new();
    let call = span(2, "chat", vec![("gen_ai.operation.name", text("chat"))]);
    OtlpSpans::new(config).traces(&request("x", vec![call]), &at(), &mut out);
    let Some(Normalized::Observation(o)) = out.first() else { panic!("no observation") };
    assert_eq!((o.environment.as_deref(), o.team.as_deref()), (Some("prod"), Some("core")));
    assert_eq!((o.gateway.as_deref(), o.tags.get("stack").map(String::as_str)), (Some("edge"), Some("eu")));
}

#[test]
fn the_line_between_two_layers_survives_a_cut_between_requests() {
    let http = |key: &'static str, url: &str| span(3, "POST", vec![(key, text(url))]);
    for (key, url) in [
        ("http.url", "http://gateway:4000/v1/chat/completions?x=1"),
        ("url.path", "/v1/messages"),
        ("http.target", "/model/us.anthropic.claude/converse-stream"),
        ("url.full", "https://g/v1beta/models/gemini-2.5-flash:generateContent"),
    ] {
        let o = one("opentelemetry.instrumentation.httpx", child(http(key, url), 2));
        assert_eq!((o.witness, o.dialect.as_str()), (Witness::Context, "otlp.bridge"), "{url}");
    }
    let mut call = child(span(2, "litellm_request", vec![]), 3);
    call.kind = 1;
    let rows = rows(&request("litellm", vec![call.clone()]));
    assert!(matches!(&rows[..], [Normalized::Observation(o)] if o.is_call()));
    let mut mixed = request("litellm", vec![call]);
    let plain = request("opentelemetry.instrumentation.fastapi", vec![child(http("http.route", "/proxy"), 8)]);
    mixed.resource_spans.extend(plain.resource_spans);
    let rows = super::build::rows(&mixed);
    assert!(matches!(&rows[1], Normalized::Observation(o) if o.dialect == "otlp.bridge"));
}

#[test]
fn sampled_traces_claims_and_deployments_are_marked() {
    let mut call = span(
        2,
        "chat",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.system", text("az.ai.openai")),
            ("gen_ai.request.model", text("my-gpt")),
            ("operation.cost", double(0.25)),
        ],
    );
    call.trace_state = "a=b, ot=th:8;rv:1".to_owned();
    let o = one("x", call.clone());
    assert_eq!(o.tags.get("otlp.sampled").map(String::as_str), Some("true"));
    assert_eq!(o.tags.get("reported_cost_usd").map(String::as_str), Some("0.25"));
    assert_eq!(o.deployment.as_deref(), Some("my-gpt"));
    call.trace_state = "ot=th:0".to_owned();
    assert!(!one("x", call).tags.contains_key("otlp.sampled"));
}

#[test]
fn unknown_operations_without_a_model_are_no_calls() {
    let o = one("x", span(2, "s", vec![("gen_ai.operation.name", text("summarize_cart"))]));
    assert_eq!(o.witness, Witness::Context);
    let with_model = vec![("gen_ai.operation.name", text("summarize")), ("gen_ai.request.model", text("m"))];
    assert!(one("x", span(2, "s", with_model)).is_call());
    let stream = vec![("gen_ai.request.model", text("gpt-4o")), ("logfire.span_type", text("span"))];
    assert!(one("logfire.openai", span(2, "Chat Completion", stream)).is_call());
}
