//! Every convention in the small: what its documentation says beyond the plain call.

use opentelemetry_proto::tonic::common::v1::AnyValue;

use super::build::{array, call, double, event, failed, int, one, request, rows, span, tag, text, tokens, truth};
use crate::model::{Normalized, Outcome, UsageStatus, Witness};

#[test]
fn all_generations_of_the_conventions_count_the_same() {
    let old = vec![
        ("llm.request.type", text("chat")),
        ("gen_ai.system", text("OpenAI")),
        ("gen_ai.usage.prompt_tokens", int(2048)),
        ("gen_ai.usage.completion_tokens", int(400)),
        ("gen_ai.usage.cache_read_input_tokens", int(1920)),
        ("gen_ai.usage.reasoning_tokens", int(320)),
    ];
    let middle = vec![
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.system", text("openai")),
        ("gen_ai.usage.input_tokens", int(2048)),
        ("gen_ai.usage.output_tokens", int(400)),
        ("gen_ai.usage.cache_read.input_tokens", int(1920)),
        ("llm.usage.reasoning_tokens", int(320)),
    ];
    let new = vec![
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.usage.input_tokens", int(2048)),
        ("gen_ai.usage.output_tokens", int(400)),
        ("gen_ai.usage.cache_read.input_tokens", int(1920)),
        ("gen_ai.usage.reasoning.output_tokens", int(320)),
    ];
    for attributes in [old, middle, new] {
        for scope in ["opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.openai.v1", "acme.sdk", ""]
        {
            let o = call(scope, attributes.clone());
            assert_eq!(tokens(&o), (Some(2048), Some(1920), None, Some(400), Some(320)), "{scope}");
            assert_eq!((o.platform.as_deref(), o.operation.as_deref()), (Some("openai"), Some("chat")));
            assert_eq!(o.tags.contains_key("usage_assumed"), !scope.starts_with("opentelemetry"), "{scope}");
        }
    }
}

#[test]
fn modalities_are_subsets() {
    let o = call(
        "opentelemetry.util.genai.handler",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.usage.input_tokens", int(100)),
            ("gen_ai.usage.text.input_tokens", int(60)),
            ("gen_ai.usage.audio.input_tokens", int(30)),
            ("gen_ai.usage.image.input_tokens", int(10)),
            ("gen_ai.usage.output_tokens", int(50)),
            ("gen_ai.usage.audio.output_tokens", int(40)),
        ],
    );
    assert_eq!((o.usage.input, o.usage.audio_input, o.usage.image_input), (Some(100), Some(30), Some(10)));
    assert_eq!((o.usage.output, o.usage.audio_output), (Some(50), Some(40)));
}

#[test]
fn a_total_proves_what_an_unknown_library_counts() {
    let with_total = |total| {
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.usage.input_tokens", int(3000)),
            ("gen_ai.usage.output_tokens", int(44)),
            ("gen_ai.usage.cache_read.input_tokens", int(2000)),
            ("gen_ai.usage.total_tokens", int(total)),
        ]
    };
    let beside = call("acme", with_total(5044));
    assert_eq!((beside.usage.input, tag(&beside, "usage_assumed")), (Some(5000), None));
    let unclear = call("acme", with_total(3044));
    assert_eq!((unclear.usage.input, tag(&unclear, "usage_assumed")), (Some(3000), Some("input_includes_cache")));
}

#[test]
fn the_anthropic_sdk_tells_how_long_its_cache_lasts() {
    let o = call(
        "com.anthropic.sdk.python",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.usage.input_tokens", int(3000)),
            ("gen_ai.usage.output_tokens", int(44)),
            ("gen_ai.usage.cache_read.input_tokens", int(2000)),
            ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens", int(200)),
            ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens", int(500)),
            ("anthropic.request.id", text("req_011")),
            ("http.response.status_code", int(200)),
        ],
    );
    assert_eq!(tokens(&o), (Some(3000), Some(2000), Some(700), Some(44), None));
    assert_eq!(o.usage.cache_write_1h, Some(500));
    assert_eq!((o.platform.as_deref(), o.provider_request_id.as_deref()), (Some("anthropic"), Some("req_011")));
    assert_eq!((o.http_status, o.streaming), (Some(200), Some(false)));
    let bedrock = call(
        "com.anthropic.sdk.python",
        vec![("gen_ai.operation.name", text("chat")), ("gen_ai.provider.name", text("aws.bedrock"))],
    );
    assert_eq!(bedrock.platform.as_deref(), Some("aws.bedrock"));
}

#[test]
fn botocore_tells_region_request_and_its_own_retries() {
    let o = call(
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        vec![
            ("gen_ai.operation.name", text("text_completion")),
            ("gen_ai.system", text("aws.bedrock")),
            ("gen_ai.request.model", text("amazon.titan-embed-text-v2:0")),
            ("rpc.method", text("InvokeModel")),
            ("aws.request_id", text("0f1e2d3c")),
            ("cloud.region", text("eu-west-1")),
            ("http.status_code", int(200)),
            ("retry_attempts", int(2)),
            ("gen_ai.usage.input_tokens", int(9)),
        ],
    );
    assert_eq!((o.operation.as_deref(), o.region.as_deref()), (Some("embeddings"), Some("eu-west-1")));
    assert_eq!((o.provider_request_id.as_deref(), tag(&o, "retries")), (Some("0f1e2d3c"), Some("2")));
    assert_eq!((o.streaming, o.usage.output), (Some(false), None));
    let once = call(
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("retry_attempts", int(0)),
            ("rpc.method", text("ConverseStream")),
        ],
    );
    assert_eq!((tag(&once, "retries"), once.streaming), (None, Some(true)));
}

#[test]
fn openinference_on_bedrock_is_not_the_vendor_of_the_model() {
    let o = call(
        "openinference.instrumentation.bedrock",
        vec![
            ("openinference.span.kind", text("LLM")),
            ("llm.system", text("anthropic")),
            ("llm.model_name", text("anthropic.claude-sonnet-4-20250514-v1:0")),
            ("llm.token_count.prompt", int(3000)),
            ("llm.token_count.prompt_details.cache_read", int(2000)),
            ("llm.token_count.prompt_details.cache_write", int(700)),
            ("llm.token_count.prompt_details.cache_input", int(1)),
            ("llm.token_count.completion", int(44)),
            ("llm.token_count.total", int(3044)),
            ("metadata", text("{\"team\": \"search\", \"prompt\": \"CANARY\"}")),
            ("session.id", text("s-1")),
        ],
    );
    assert_eq!(tokens(&o), (Some(3000), Some(2000), Some(700), Some(44), None));
    assert_eq!((o.platform.as_deref(), o.team.as_deref()), (Some("aws.bedrock"), Some("search")));
    assert_eq!(o.session_id.as_deref(), Some("s-1"));
    let titan = call(
        "openinference.instrumentation.bedrock",
        vec![("openinference.span.kind", text("LLM")), ("llm.model_name", text("amazon.titan-embed-text-v2:0"))],
    );
    assert_eq!(titan.operation.as_deref(), Some("embeddings"));
    for kind in ["RETRIEVER", "GUARDRAIL", "EVALUATOR", "PROMPT", "AGENT"] {
        let o = one(
            "openinference.instrumentation.langchain",
            span(2, "x", vec![("openinference.span.kind", text(kind)), ("llm.token_count.prompt", int(1))]),
        );
        assert_eq!(o.witness, Witness::Context, "{kind}");
    }
}

#[test]
fn azure_inference_keeps_its_platform_on_a_shared_host() {
    let o = call(
        "azure.core.tracing",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.system", text("az.ai.inference")),
            ("gen_ai.request.model", text("Llama-3.3-70B-Instruct")),
            ("server.address", text("acme.services.ai.azure.com")),
            ("gen_ai.usage.input_tokens", int(31)),
        ],
    );
    assert_eq!((o.platform.as_deref(), o.usage.output), (Some("azure.ai.inference"), None));
}

#[test]
fn openlit_failures_are_calls_only_for_providers() {
    let bare = || failed(span(2, "x", vec![]), "boom");
    assert!(one("openlit.instrumentation.bedrock", bare()).is_call());
    for scope in
        ["openlit.instrumentation.langchain", "openlit.instrumentation.chroma", "openlit.instrumentation.crewai"]
    {
        assert_eq!(one(scope, bare()).witness, Witness::Context, "{scope}");
    }
    let stored = failed(span(2, "x", vec![("db.system", text("pinecone"))]), "boom");
    assert_eq!(one("openlit.instrumentation.openai", stored).witness, Witness::Context);
    let free = call(
        "openlit.instrumentation.openai",
        vec![("gen_ai.operation.name", text("chat")), ("gen_ai.usage.cost", int(0))],
    );
    assert_eq!(tag(&free, "reported_cost_usd"), None);
}

#[test]
fn error_types_may_be_statuses() {
    let with = |error: &str| {
        one(
            "acme",
            failed(span(2, "x", vec![("gen_ai.operation.name", text("chat")), ("error.type", text(error))]), ""),
        )
    };
    assert_eq!((with("429").outcome, with("429").http_status), (Some(Outcome::Throttled), Some(429)));
    assert_eq!((with("500").outcome, with("timeout").outcome), (Some(Outcome::ServerError), Some(Outcome::Timeout)));
    let bifrost = vec![
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.error.type", text("rate_limit_error")),
        ("gen_ai.fallback_index", int(0)),
    ];
    assert_eq!(one("", failed(span(2, "x", bifrost), "")).outcome, Some(Outcome::Throttled));
}

#[test]
fn captured_headers_give_the_providers_request_id() {
    let o = call(
        "@opentelemetry/instrumentation-openai",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.system", text("openai")),
            (
                "url.full",
                text("https://acme.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=1"),
            ),
            ("http.response.header.apim_request_id", array(&["a-1"])),
            ("http.response.header.x-request-id", array(&["x-1"])),
            ("http.request.resend_count", int(1)),
        ],
    );
    assert_eq!((o.provider_request_id.as_deref(), o.deployment.as_deref()), (Some("a-1"), Some("my-gpt")));
    assert_eq!((o.platform.as_deref(), tag(&o, "retries")), (Some("azure.ai.openai"), Some("1")));
}

#[test]
fn claims_of_cost_do_not_depend_on_the_last_digits() {
    let claim = |cost: AnyValue| {
        let o = call("acme", vec![("gen_ai.operation.name", text("chat")), ("gen_ai.usage.cost", cost)]);
        o.tags.get("reported_cost_usd").cloned()
    };
    let (near, next) = (9.472_121_956_798_501, 9.472_121_956_798_503);
    assert_eq!(claim(double(near)), claim(double(next)));
    assert_eq!(claim(double(0.000_000_48)).as_deref(), Some("0.00000048"));
    assert_eq!(claim(text("0.0025")).as_deref(), Some("0.0025"));
    assert_eq!((claim(double(1e300)), claim(double(-1.0)), claim(double(0.0))), (None, None, None));
}

#[test]
fn sentences_are_no_finish_reasons() {
    let o = call(
        "acme",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.response.finish_reasons", array(&["the user said CANARY"])),
        ],
    );
    assert_eq!(o.finish_reason, None);
}

#[test]
fn an_exception_without_status_is_no_failure() {
    let mut span = span(2, "x", vec![("gen_ai.operation.name", text("chat")), ("gen_ai.request.stream", truth(true))]);
    span.events = vec![event("exception", 1, vec![("exception.type", text("X"))])];
    let o = one("opentelemetry.instrumentation.genai.openai", span);
    assert_eq!((o.outcome, o.usage_status), (Some(Outcome::Ok), UsageStatus::Missing));
}

#[test]
fn spans_that_have_nothing_to_do_with_models_stay_out() {
    for (scope, name) in [
        ("kong-internal", "kong.router"),
        ("envoy", "ingress"),
        ("com.hongkong.app", "x"),
        ("opentelemetry.instrumentation.redis", "GET"),
    ] {
        let rows = rows(&request(scope, vec![span(2, name, vec![("http.method", text("GET"))])]));
        assert_eq!(rows, vec![Normalized::Skipped("not_llm")], "{scope}");
    }
}
