//! Gateways: who served a call, what never left the gateway, and attempts that left no span.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::build::{at, double, event, failed, int, one, request, span, text};
use crate::model::{Normalized, Observation, Outcome, Witness};
use crate::sources::otlp::{OtlpConfig, OtlpSpans};

type Pairs = Vec<(&'static str, AnyValue)>;

fn tag<'o>(o: &'o Observation, key: &str) -> Option<&'o str> {
    o.tags.get(key).map(String::as_str)
}

fn litellm(hidden: &str, extra: Pairs) -> Span {
    let mut attributes = vec![
        ("hidden_params", text(hidden)),
        ("gen_ai.operation.name", text("acompletion")),
        ("gen_ai.system", text("openai")),
        ("litellm.provider.model", text("openai/gpt-5")),
        ("litellm.model_group", text("gpt-5")),
        ("litellm.call_id", text("call-1")),
        ("gen_ai.response.id", text("chatcmpl-1")),
        ("gen_ai.usage.input_tokens", int(111)),
        ("gen_ai.usage.output_tokens", int(22)),
    ];
    attributes.retain(|(key, _)| !extra.iter().any(|(other, _)| other == key));
    attributes.extend(extra);
    span(2, "litellm_request", attributes)
}

#[test]
fn retries_between_the_first_failure_and_the_last_attempt_are_counted() {
    for (attempted, hidden) in [("0", None), ("1", None), ("2", Some("1")), ("4", Some("3"))] {
        let headers = format!(
            "{{\"cache_key\": null, \"additional_headers\": {{\"llm_provider-x-request-id\": \"r\", \"x-litellm-attempted-retries\": {attempted}}}, \"litellm_overhead_time_ms\": 1.0}}"
        );
        assert_eq!(tag(&one("litellm", litellm(&headers, vec![])), "retries"), hidden, "{attempted}");
    }
}

#[test]
fn the_second_version_tells_attempts_on_its_server_span() {
    let server = |attempts: &[(&str, &str)], status: i64| {
        let mut server = span(
            1,
            "POST /v1/chat/completions",
            vec![
                ("litellm.api_key.hash", text("h")),
                ("gen_ai.request.model", text("gpt-5")),
                ("http.status_code", int(status)),
            ],
        );
        server.kind = 2;
        let selected = |(group, reason): &(&str, &str)| {
            let attributes =
                vec![("litellm.deployment.model_group", text(group)), ("litellm.deployment.reason", text(reason))];
            event("litellm.request.deployment_selected", 1, attributes)
        };
        server.events = attempts.iter().map(selected).collect();
        one("opentelemetry.instrumentation.fastapi", server)
    };
    let retry = ("a", "retry");
    for (attempts, status, hidden) in [
        (&[("a", "initial")][..], 200, None),
        (&[("a", "initial"), retry][..], 200, None),
        (&[("a", "initial"), retry, retry][..], 200, Some("1")),
        (&[("a", "initial"), ("b", "fallback")][..], 200, None),
        (&[("a", "initial"), retry, retry, ("b", "fallback")][..], 200, Some("2")),
        (&[("a", "initial"), retry, retry][..], 500, Some("2")),
        (&[][..], 200, None),
    ] {
        let o = server(attempts, status);
        assert_eq!(o.witness, Witness::Context);
        assert_eq!((tag(&o, "chain_retries"), tag(&o, "retries")), (hidden, None), "{attempts:?} {status}");
    }
}

#[test]
fn a_request_that_never_got_a_deployment_was_refused() {
    let mut server =
        failed(span(1, "POST", vec![("litellm.api_key.hash", text("h")), ("gen_ai.request.model", text("m"))]), "");
    server.kind = 2;
    server.events = vec![event("litellm.request.body_received", 1, vec![])];
    let o = one("opentelemetry.instrumentation.fastapi", server.clone());
    assert_eq!((o.witness, tag(&o, "gateway_event")), (Witness::NotACall, Some("rejected")));
    server.events.push(event("litellm.request.deployment_selected", 2, vec![]));
    assert_eq!(one("opentelemetry.instrumentation.fastapi", server).witness, Witness::Context);
}

#[test]
fn a_cache_hit_keeps_the_tokens_that_it_saved() {
    let hidden = r#"{"cache_key": "abc", "additional_headers": {"x-litellm-model-group": "gpt-5"}, "litellm_overhead_time_ms": 0.1}"#;
    let o = one("litellm", litellm(hidden, vec![]));
    assert_eq!((o.witness, tag(&o, "gateway_event")), (Witness::NotACall, Some("cache_hit")));
    assert_eq!((o.usage.input, o.usage.output), (Some(111), Some(22)));
    for (scope, extra) in [
        ("kong", ("gen_ai.cache.status", text("Hit"))),
        ("portkey", ("cache_status", text("HIT"))),
        ("bifrost", ("gen_ai.cache.hit", text("true"))),
    ] {
        let attributes = vec![("gen_ai.operation.name", text("chat")), ("gen_ai.usage.input_tokens", int(7)), extra];
        let o = one(scope, span(2, "x", attributes));
        assert_eq!((o.witness, o.usage.input), (Witness::NotACall, Some(7)), "{scope}");
    }
    // A miss, in a version that writes the key and no headers.
    let old = r#"{"cache_key": "abc", "api_base": "https://api.openai.com", "additional_headers": {}}"#;
    let miss = one("litellm", litellm(old, vec![("litellm.call_id", text(""))]));
    assert_eq!(tag(&miss, "gateway_event"), Some("cache_hit"), "with a call id the key tells a hit");
    let mut plain = litellm(old, vec![]);
    plain.attributes.retain(|entry| entry.key != "litellm.call_id");
    assert!(one("litellm", plain.clone()).is_call());
    plain.end_time_unix_nano = plain.start_time_unix_nano + 400_000;
    assert_eq!(one("litellm", plain).witness, Witness::NotACall);
}

#[test]
fn litellm_names_hold_provider_region_and_interface() {
    let headers = r#"{"cache_key": null, "additional_headers": {"llm_provider-x-request-id": "x", "llm_provider-x-amzn-requestid": "aws", "llm_provider-request-id": "r", "llm_provider-apim-request-id": "apim"}}"#;
    for (model, system, request_model, region, id) in [
        ("bedrock/eu-west-1/anthropic.claude-v2", "bedrock", "anthropic.claude-v2", Some("eu-west-1"), "aws"),
        ("bedrock/converse/us.amazon.nova-pro-v1:0", "", "us.amazon.nova-pro-v1:0", None, "aws"),
        ("azure/my-gpt", "azure", "my-gpt", None, "apim"),
        ("anthropic/claude-sonnet-4", "anthropic", "claude-sonnet-4", None, "r"),
        ("openrouter/meta-llama/llama-3", "openrouter", "meta-llama/llama-3", None, "x"),
    ] {
        let o = one(
            "litellm",
            litellm(headers, vec![("litellm.provider.model", text(model)), ("gen_ai.system", text(system))]),
        );
        assert_eq!((o.request_model.as_deref(), o.region.as_deref()), (Some(request_model), region), "{model}");
        assert_eq!(o.provider_request_id.as_deref(), Some(id), "{model}");
    }
    let failure = r#"{"cache_key": null, "additional_headers": {"x-request-id": "req_1"}}"#;
    let bare_id = vec![
        ("gen_ai.response.id", text("667a810f-41d0-4435-876f-b59c9eb6d776")),
        ("gen_ai.usage.input_tokens", int(0)),
        ("gen_ai.usage.output_tokens", int(0)),
    ];
    let o = one("litellm", failed(litellm(failure, bare_id), "litellm.InternalServerError: x"));
    assert_eq!((o.response_id.as_deref(), o.provider_request_id.as_deref()), (None, Some("req_1")));
    assert_eq!((o.usage.is_empty(), o.outcome), (true, Some(Outcome::ServerError)));
}

#[test]
fn managing_files_and_tools_asks_no_model() {
    for operation in
        ["acreate_file", "alist_input_items", "acreate_batch", "call_mcp_tool", "avector_store_search", "acount_tokens"]
    {
        let attributes = vec![("gen_ai.operation.name", text(operation)), ("gen_ai.request.model", text("m"))];
        let o = one("litellm", span(2, "litellm_request", attributes));
        assert_eq!(o.witness, Witness::Context, "{operation}");
    }
}

#[test]
fn the_raw_answer_of_every_provider_is_read() {
    let raw = |attributes: Pairs| one("litellm", span(2, "raw_gen_ai_request", attributes));
    let gemini = raw(vec![
        (
            "llm.gemini.usageMetadata",
            text(
                "{'promptTokenCount': 64, 'candidatesTokenCount': 56, 'thoughtsTokenCount': 200, 'totalTokenCount': 320}",
            ),
        ),
        ("llm.gemini.responseId", text("g-1")),
        ("llm.gemini.modelVersion", text("gemini-2.5-flash")),
        ("llm.request.type", text("acompletion")),
    ]);
    assert_eq!((gemini.usage.input, gemini.usage.output, gemini.usage.reasoning), (Some(64), Some(256), Some(200)));
    assert_eq!((gemini.platform.as_deref(), gemini.response_id.as_deref()), (Some("gcp.gemini"), Some("g-1")));
    let bedrock = raw(vec![(
        "llm.bedrock.usage",
        text("{'inputTokens': 200, 'outputTokens': 30, 'cacheReadInputTokens': 1000, 'cacheWriteInputTokens': 300}"),
    )]);
    assert_eq!((bedrock.usage.input, bedrock.platform.as_deref()), (Some(1500), Some("aws.bedrock")));
    let responses = raw(vec![
        (
            "llm.None.usage",
            text(
                "ResponseAPIUsage(input_tokens=70, input_tokens_details=InputTokensDetails(cached_tokens=32), output_tokens=300, output_tokens_details=OutputTokensDetails(reasoning_tokens=256), total_tokens=370)",
            ),
        ),
        ("llm.None.id", text("resp_1")),
    ]);
    assert_eq!(
        (responses.usage.input, responses.usage.cache_read, responses.usage.reasoning),
        (Some(70), Some(32), Some(256))
    );
    assert_eq!((responses.platform, responses.response_id.as_deref()), (None, Some("resp_1")));
    let stream = raw(vec![("llm.openai.messages", text("CANARY"))]);
    assert_eq!((stream.usage.is_empty(), stream.platform.as_deref()), (true, Some("openai")));
}

/// A model and counts, which all gateways write alike.
fn counted() -> Pairs {
    vec![
        ("gen_ai.usage.input_tokens", int(10)),
        ("gen_ai.usage.output_tokens", int(5)),
        ("gen_ai.request.model", text("m")),
    ]
}

#[test]
fn each_gateway_is_told_and_read() {
    let with = |extra: Pairs| counted().into_iter().chain(extra).collect::<Pairs>();
    let named = |scope: &str, name: &str, attributes: Pairs| one(scope, span(2, name, attributes));
    let bifrost = named(
        "",
        "gen_ai.chat",
        with(vec![
            ("gen_ai.provider.name", text("vertex")),
            ("gen_ai.fallback_index", int(1)),
            ("gen_ai.virtual_key_name", text("search-prod")),
            ("gen_ai.team_name", text("Search")),
            ("gen_ai.number_of_retries", int(2)),
        ]),
    );
    assert_eq!((bifrost.dialect.as_str(), bifrost.operation.as_deref()), ("otlp.bifrost", Some("chat")));
    assert_eq!((bifrost.principal.as_deref(), bifrost.team.as_deref()), (Some("search-prod"), Some("Search")));
    // Every attempt has a span of its own.
    assert_eq!((bifrost.platform.as_deref(), tag(&bifrost, "retries")), (Some("gcp.vertex_ai"), None));
    let cloudflare = named(
        "",
        "x",
        with(vec![
            ("gen_ai.model.provider", text("google-ai-studio")),
            ("team", text("search")),
            ("user_id", text("u-1")),
            ("prompt", text("CANARY")),
        ]),
    );
    assert_eq!((cloudflare.dialect.as_str(), cloudflare.platform.as_deref()), ("otlp.cloudflare", Some("gcp.gemini")));
    assert_eq!((cloudflare.team.as_deref(), cloudflare.user_id.as_deref()), (Some("search"), Some("u-1")));
    assert!(!format!("{cloudflare:?}").contains("CANARY"));
}

#[test]
fn gateways_with_conventions_of_others_are_told_and_read() {
    let with = |extra: Pairs| counted().into_iter().chain(extra).collect::<Pairs>();
    let named = |scope: &str, name: &str, attributes: Pairs| one(scope, span(2, name, attributes));
    let agw = named(
        "agentgateway",
        "POST /v1/chat/completions",
        with(vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.provider.name", text("openai")),
            ("endpoint", text("acme.openai.azure.com:443")),
            ("agw.ai.time_to_first_token", double(0.1)),
            ("agentgateway.user", text("u-1")),
            ("agw.ai.usage.cost.total", double(0.5)),
        ]),
    );
    assert_eq!(
        (agw.platform.as_deref(), agw.ttft_ms, agw.user_id.as_deref()),
        (Some("azure.ai.openai"), Some(100.0), Some("u-1"))
    );
    assert_eq!(tag(&agw, "reported_cost_usd"), Some("0.5"));
    let refused = named(
        "agentgateway",
        "POST",
        vec![
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.request.model", text("m")),
            ("http.status", int(403)),
            ("reason", text("Guardrail")),
        ],
    );
    assert_eq!((refused.witness, tag(&refused, "gateway_event")), (Witness::NotACall, Some("rejected")));
    let envoy = named(
        "ai-gateway",
        "ChatCompletion",
        vec![
            ("openinference.span.kind", text("LLM")),
            ("llm.system", text("openai")),
            ("llm.model_name", text("m")),
            ("llm.token_count.prompt", int(10)),
            ("llm.token_count.prompt_details.cache_creation", int(3)),
            ("llm.token_count.completion", int(5)),
            ("session.id", text("s")),
        ],
    );
    assert_eq!(
        (envoy.gateway.as_deref(), envoy.usage.cache_write, envoy.session_id.as_deref()),
        (Some("envoy"), Some(3), Some("s"))
    );
    let hub = named(
        "traceloop_hub",
        "openai.chat",
        vec![
            ("llm.request.type", text("chat")),
            ("gen_ai.system", text("Azure")),
            ("gen_ai.usage.prompt_tokens", int(10)),
            ("gen_ai.usage.completion_tokens", int(5)),
        ],
    );
    assert_eq!(
        (hub.gateway.as_deref(), hub.platform.as_deref(), hub.usage.input),
        (Some("traceloop_hub"), Some("azure.ai.openai"), Some(10))
    );
    let tensorzero = named(
        "tensorzero",
        "model_provider_inference",
        with(vec![("gen_ai.system", text("gcp_vertex_gemini")), ("tensorzero.cost_usd", text("0.0025"))]),
    );
    assert_eq!(
        (tensorzero.operation.as_deref(), tensorzero.platform.as_deref()),
        (Some("chat"), Some("gcp.vertex_ai"))
    );
    assert_eq!(tag(&tensorzero, "reported_cost_usd"), Some("0.0025"));
    for wrapper in ["function_inference", "variant_inference", "model_inference"] {
        let o = named(
            "tensorzero",
            wrapper,
            with(vec![("openinference.span.kind", text("CHAIN")), ("tags.team", text("search"))]),
        );
        assert_eq!((o.witness, o.team.as_deref()), (Witness::Context, Some("search")), "{wrapper}");
    }
    let kong = named("kong-internal", "kong.gen_ai", with(vec![("gen_ai.provider.name", text("azure"))]));
    assert_eq!((kong.gateway.as_deref(), kong.witness), (Some("kong"), Witness::Gateway));
}

#[test]
fn the_operators_defaults_do_not_replace_a_gateways_own_words() {
    let config: OtlpConfig = toml::from_str("attributes = { team = \"core\" }").unwrap();
    let mut out = Vec::new();
    let spans = vec![span(
        2,
        "gen_ai.chat",
        vec![
            ("gen_ai.provider.name", text("openai")),
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.team_name", text("Search")),
            ("gen_ai.fallback_index", int(0)),
        ],
    )];
    OtlpSpans::new(config).traces(&request("bifrost", spans), &at(), &mut out);
    assert!(matches!(&out[..], [Normalized::Observation(o)] if o.team.as_deref() == Some("Search")));
}
