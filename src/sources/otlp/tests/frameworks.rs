//! Frameworks: spans of SDKs and tracers above the provider's, in the words of each and of its versions.

use super::build::{Pairs, array, call, double, int, one, span, tag, text, tokens};
use crate::model::{Outcome, Witness};

#[test]
fn vercel_counts_cached_tokens_differently_by_version_and_provider() {
    let base = |provider: &str, id: &str| {
        vec![("ai.operationId", text(id)), ("ai.model.provider", text(provider)), ("ai.model.id", text("m"))]
    };
    let with = |provider: &str, extra: Pairs| {
        let mut all = base(provider, "ai.streamText.doStream");
        all.extend(extra);
        call("ai", all)
    };
    // Version 4: cache counts are in the provider's metadata only.
    let v4 = with(
        "anthropic.messages",
        vec![
            ("ai.usage.promptTokens", int(300)),
            ("ai.usage.completionTokens", int(44)),
            (
                "ai.response.providerMetadata",
                text(
                    "{\"anthropic\": {\"cacheCreationInputTokens\": 700, \"cacheReadInputTokens\": 2000, \"x\": \"CANARY\"}}",
                ),
            ),
        ],
    );
    // Version 5: the read part has a key of its own, the input is as the provider counts.
    let v5 = with(
        "amazon-bedrock",
        vec![
            ("ai.usage.inputTokens", int(300)),
            ("ai.usage.outputTokens", int(44)),
            ("ai.usage.cachedInputTokens", int(2000)),
            ("ai.response.providerMetadata", text("{\"bedrock\": {\"usage\": {\"cacheWriteInputTokens\": 700}}}")),
        ],
    );
    // Version 6 and later: the input is the whole.
    let v6 = with(
        "anthropic.messages",
        vec![
            ("ai.usage.inputTokens", int(3000)),
            ("ai.usage.outputTokens", int(44)),
            ("ai.usage.cachedInputTokens", int(2000)),
            ("ai.usage.inputTokenDetails.cacheReadTokens", int(2000)),
            ("ai.usage.inputTokenDetails.cacheWriteTokens", int(700)),
            ("ai.response.msToFirstChunk", double(120.5)),
        ],
    );
    for o in [&v4, &v5, &v6] {
        assert_eq!(tokens(o), (Some(3000), Some(2000), Some(700), Some(44), None));
        assert_eq!(o.streaming, Some(true));
    }
    assert_eq!(v6.ttft_ms, Some(120.5));
    let openai = with(
        "openai.chat",
        vec![
            ("ai.usage.inputTokens", int(2048)),
            ("ai.usage.outputTokens", int(4)),
            ("ai.usage.cachedInputTokens", int(1920)),
        ],
    );
    assert_eq!(tokens(&openai), (Some(2048), Some(1920), None, Some(4), None));
    for (id, operation) in
        [("ai.embed.doEmbed", "embeddings"), ("ai.rerank.doRerank", "rerank"), ("ai.generateObject.doGenerate", "chat")]
    {
        let mut embed = base("openai.embedding", id);
        embed.push(("ai.usage.tokens", int(8)));
        let o = call("ai", embed);
        assert_eq!((o.operation.as_deref(), o.usage.input, o.streaming), (Some(operation), Some(8), Some(false)));
    }
}

#[test]
fn langfuse_buckets_levels_and_first_tokens_are_read() {
    let observation = |extra: Pairs| {
        let mut all = vec![
            ("langfuse.observation.type", text("generation")),
            ("langfuse.observation.model.name", text("claude-sonnet-4")),
            ("langfuse.trace.metadata.team", text("search")),
            ("langfuse.trace.tags", array(&["beta", "feature:checkout"])),
            ("langfuse.user.id", text("u-1")),
            ("session.id", text("s-1")),
            ("langfuse.environment", text("staging")),
        ];
        all.extend(extra);
        span(2, "x", all)
    };
    let ok = one(
        "langfuse-sdk",
        observation(vec![
            (
                "langfuse.observation.usage_details",
                text(
                    "{\"input\": 300, \"input_cache_read\": 2000, \"input_cache_creation\": 700, \"output\": 12, \"output_reasoning\": 32, \"total\": 3044}",
                ),
            ),
            ("langfuse.observation.completion_start_time", text("\"2023-11-14T22:13:20.050Z\"")),
            ("langfuse.observation.cost_details", text("{\"input\": 0.1, \"total\": 0.25}")),
        ]),
    );
    assert_eq!(tokens(&ok), (Some(3000), Some(2000), Some(700), Some(44), Some(32)));
    assert_eq!((ok.ttft_ms, ok.streaming, ok.outcome), (Some(50.0), Some(true), Some(Outcome::Ok)));
    assert_eq!((ok.team.as_deref(), ok.feature.as_deref()), (Some("search"), Some("checkout")));
    assert_eq!((ok.user_id.as_deref(), ok.session_id.as_deref()), (Some("u-1"), Some("s-1")));
    assert_eq!((tag(&ok, "reported_cost_usd"), tag(&ok, "beta")), (Some("0.25"), Some("true")));
    let openai = one(
        "langfuse-sdk",
        observation(vec![(
            "langfuse.observation.usage_details",
            text(
                "{\"prompt_tokens\": 2048, \"completion_tokens\": 40, \"total_tokens\": 2088, \"prompt_tokens_details\": {\"cached_tokens\": 1920}}",
            ),
        )]),
    );
    assert_eq!(tokens(&openai), (Some(2048), Some(1920), None, Some(40), None));
    let bad = one(
        "langfuse-sdk",
        observation(vec![
            ("langfuse.observation.level", text("ERROR")),
            ("langfuse.observation.status_message", text("Error code: 429 - CANARY")),
        ]),
    );
    assert_eq!((bad.outcome, bad.http_status), (Some(Outcome::Throttled), Some(429)));
    for kind in ["span", "agent", "tool", "guardrail", "retriever", "evaluator", "chain"] {
        let o = one(
            "langfuse-sdk",
            span(2, "x", vec![("langfuse.observation.type", text(kind)), ("gen_ai.usage.input_tokens", int(1))]),
        );
        assert_eq!(o.witness, Witness::Context, "{kind}");
    }
}

#[test]
fn langsmith_names_the_provider_behind_the_framework() {
    let o = call(
        "langsmith",
        vec![
            ("langsmith.span.kind", text("llm")),
            ("gen_ai.system", text("langchain")),
            ("langsmith.metadata.ls_provider", text("google_vertexai")),
            ("langsmith.metadata.ls_model_name", text("gemini-2.5-flash")),
            ("langsmith.metadata.thread_id", text("t-1")),
            ("gen_ai.usage.input_tokens", int(10)),
            ("gen_ai.usage.output_tokens", int(5)),
        ],
    );
    assert_eq!((o.dialect.as_str(), o.platform.as_deref()), ("otlp.langsmith", Some("gcp.vertex_ai")));
    assert_eq!((o.request_model.as_deref(), o.session_id.as_deref()), (Some("gemini-2.5-flash"), Some("t-1")));
}

#[test]
fn spring_ai_writes_text_and_wraps_its_models() {
    let o = call(
        "org.springframework.boot",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.system", text("azure-openai")),
            ("gen_ai.request.model", text("my-gpt")),
            ("gen_ai.response.finish_reasons", text("[\"STOP\"]")),
            ("gen_ai.usage.input_tokens", text("31")),
            ("gen_ai.usage.output_tokens", text("4")),
            ("gen_ai.usage.total_tokens", text("35")),
        ],
    );
    assert_eq!((o.platform.as_deref(), o.deployment.as_deref()), (Some("azure.ai.openai"), Some("my-gpt")));
    assert_eq!((o.usage.input, o.usage.output, o.finish_reason.as_deref()), (Some(31), Some(4), Some("STOP")));
    for kind in ["chat_client", "advisor", "vector_store", "tool_call"] {
        let wrapper = vec![
            ("spring.ai.kind", text(kind)),
            ("gen_ai.system", text("spring_ai")),
            ("gen_ai.operation.name", text("framework")),
        ];
        let o = one("org.springframework.boot", span(2, "spring_ai chat_client", wrapper));
        assert_eq!((o.witness, o.dialect.as_str()), (Witness::Context, "otlp.spring_ai"), "{kind}");
    }
}

#[test]
fn semantic_kernel_speaks_an_older_language() {
    for (operation, streaming) in [("chat.completions", false), ("chat.streaming_completions", true)] {
        for scope in ["semantic_kernel.utils.telemetry.model_diagnostics.decorators", ""] {
            let o = call(
                scope,
                vec![
                    ("gen_ai.operation.name", text(operation)),
                    ("gen_ai.system", text("openai")),
                    ("gen_ai.request.model", text("gpt-4o")),
                    ("server.address", text("https://acme.openai.azure.com/")),
                    ("gen_ai.response.finish_reason", text("FinishReason.TOOL_CALLS,FinishReason.STOP")),
                    ("gen_ai.usage.input_tokens", int(31)),
                    ("gen_ai.usage.output_tokens", int(4)),
                ],
            );
            assert_eq!((o.operation.as_deref(), o.streaming), (Some("chat"), Some(streaming)));
            assert_eq!(
                (o.platform.as_deref(), o.finish_reason.as_deref()),
                (Some("azure.ai.openai"), Some("tool_calls"))
            );
            assert_eq!((o.usage.input, o.usage.output), (Some(31), Some(4)));
        }
    }
}

#[test]
fn pydantic_details_fill_what_the_conventions_lack() {
    let o = call(
        "pydantic-ai",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.provider.name", text("anthropic")),
            ("gen_ai.system", text("anthropic")),
            ("gen_ai.usage.input_tokens", int(3000)),
            ("gen_ai.usage.output_tokens", int(44)),
            ("gen_ai.usage.details.cache_read_tokens", int(2000)),
            ("gen_ai.usage.details.cache_write_tokens", int(700)),
            ("gen_ai.usage.details.reasoning_tokens", int(12)),
            ("gen_ai.usage.details.input_audio_tokens", int(3)),
            ("gen_ai.client.operation.time_to_first_chunk", double(0.02)),
        ],
    );
    assert_eq!(tokens(&o), (Some(3000), Some(2000), Some(700), Some(44), Some(12)));
    assert_eq!((o.usage.audio_input, o.ttft_ms, o.streaming), (Some(3), Some(20.0), Some(true)));
}
