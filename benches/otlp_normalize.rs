//! How much of the work on an OTLP request is normalizing: rate of decoding the protobuf alone against decoding and
//! normalizing it, on one core, over realistic requests of the common conventions. See `benches/README.md`.
//!
//! Needs only the pure part: `cargo bench --no-default-features --bench otlp_normalize`.

use std::io::Write;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use polymeter::model::{Normalized, RecordRef, Timestamp};
use polymeter::sources::otlp::{OtlpConfig, OtlpSpans};
use prost::Message;

/// Calls of one request, as a batching exporter sends them.
const CALLS: u64 = 10;
/// Time of one measurement, and how often each is made; the fastest counts.
const SLICE: Duration = Duration::from_millis(250);
const ROUNDS: usize = 12;
const START: u64 = 1_780_000_000_000_000_000;

/// A prompt and an answer of modest length, which decoding copies and normalizing leaves alone.
const PROMPT: &str = r#"[{"role": "system", "content": "You are the assistant of a shop for garden tools. Answer shortly, in the language of the question, and never promise a delivery date that the order does not name."}, {"role": "user", "content": "My order from last week has not arrived, the tracking page says that it left the warehouse on Monday. Can you find out where it is, and whether I can change the address?"}]"#;
const ANSWER: &str = r#"[{"role": "assistant", "content": "It is on its way: the parcel reached the depot in your town this morning. The address can be changed until it is handed to the driver; shall I ask for it?", "finish_reason": "stop"}]"#;

#[derive(Clone, Copy)]
enum Is {
    Text(&'static str),
    Id(&'static str),
    Int(i64),
    Double(f64),
    List(&'static str),
}
use Is::{Double, Id, Int, List, Text};

struct Convention {
    name: &'static str,
    scope: &'static str,
    span: &'static str,
    attributes: &'static [(&'static str, Is)],
}

const CONVENTIONS: [Convention; 6] = [
    Convention {
        name: "genai",
        scope: "opentelemetry.instrumentation.genai.openai",
        span: "chat gpt-4o",
        attributes: &[
            ("gen_ai.operation.name", Text("chat")),
            ("gen_ai.provider.name", Text("openai")),
            ("gen_ai.request.model", Text("gpt-4o")),
            ("gen_ai.request.temperature", Double(0.2)),
            ("gen_ai.request.max_tokens", Int(800)),
            ("gen_ai.response.model", Text("gpt-4o-2024-08-06")),
            ("gen_ai.response.id", Id("chatcmpl-AbCdEf")),
            ("gen_ai.response.finish_reasons", List("stop")),
            ("gen_ai.usage.input_tokens", Int(2048)),
            ("gen_ai.usage.output_tokens", Int(400)),
            ("gen_ai.usage.cache_read.input_tokens", Int(1920)),
            ("gen_ai.usage.reasoning.output_tokens", Int(320)),
            ("gen_ai.request.stream", Text("true")),
            ("gen_ai.response.time_to_first_chunk", Double(0.31)),
            ("server.address", Text("api.openai.com")),
            ("server.port", Int(443)),
            ("gen_ai.input.messages", Text(PROMPT)),
            ("gen_ai.output.messages", Text(ANSWER)),
        ],
    },
    Convention {
        name: "openllmetry",
        scope: "opentelemetry.instrumentation.anthropic",
        span: "anthropic.chat",
        attributes: &[
            ("gen_ai.operation.name", Text("chat")),
            ("gen_ai.provider.name", Text("anthropic")),
            ("gen_ai.request.model", Text("claude-sonnet-4-20250514")),
            ("gen_ai.request.max_tokens", Int(800)),
            ("gen_ai.response.model", Text("claude-sonnet-4-20250514")),
            ("gen_ai.response.id", Id("msg_01AbCdEf")),
            ("gen_ai.usage.input_tokens", Int(3000)),
            ("gen_ai.usage.output_tokens", Int(44)),
            ("gen_ai.usage.total_tokens", Int(3044)),
            ("gen_ai.usage.cache_read.input_tokens", Int(2000)),
            ("gen_ai.usage.cache_creation.input_tokens", Int(700)),
            ("traceloop.workflow.name", Text("support")),
            ("traceloop.association.properties.user_id", Text("u-4711")),
            ("traceloop.association.properties.team", Text("search")),
            ("gen_ai.input.messages", Text(PROMPT)),
            ("gen_ai.output.messages", Text(ANSWER)),
        ],
    },
    Convention {
        name: "openinference",
        scope: "openinference.instrumentation.openai",
        span: "ChatCompletion",
        attributes: &[
            ("openinference.span.kind", Text("LLM")),
            ("llm.system", Text("openai")),
            (
                "llm.invocation_parameters",
                Text(r#"{"model": "gpt-4o", "temperature": 0.2, "max_tokens": 800, "stream": false}"#),
            ),
            ("llm.model_name", Text("gpt-4o-2024-08-06")),
            ("llm.token_count.prompt", Int(2048)),
            ("llm.token_count.completion", Int(400)),
            ("llm.token_count.total", Int(2448)),
            ("llm.token_count.prompt_details.cache_read", Int(1920)),
            ("llm.token_count.completion_details.reasoning", Int(320)),
            ("llm.finish_reason", Text("stop")),
            ("session.id", Text("s-4711")),
            ("metadata", Text(r#"{"team": "search", "feature": "checkout"}"#)),
            ("input.value", Text(PROMPT)),
            ("input.mime_type", Text("application/json")),
            ("output.value", Text(ANSWER)),
            ("output.mime_type", Text("application/json")),
            ("llm.input_messages.0.message.role", Text("system")),
            ("llm.input_messages.0.message.content", Text("You are the assistant of a shop for garden tools.")),
            ("llm.input_messages.1.message.role", Text("user")),
            ("llm.input_messages.1.message.content", Text("My order from last week has not arrived.")),
            ("llm.output_messages.0.message.role", Text("assistant")),
            ("llm.output_messages.0.message.content", Text("It is on its way.")),
        ],
    },
    Convention {
        name: "vercel",
        scope: "ai",
        span: "ai.generateText.doGenerate",
        attributes: &[
            ("operation.name", Text("ai.generateText.doGenerate support")),
            ("ai.operationId", Text("ai.generateText.doGenerate")),
            ("ai.telemetry.functionId", Text("support")),
            ("ai.telemetry.metadata.team", Text("search")),
            ("ai.model.provider", Text("openai.chat")),
            ("ai.model.id", Text("gpt-4o")),
            ("ai.settings.maxRetries", Int(2)),
            ("ai.prompt.messages", Text(PROMPT)),
            ("ai.response.text", Text(ANSWER)),
            ("ai.response.finishReason", Text("stop")),
            ("ai.response.id", Id("chatcmpl-AbCdEf")),
            ("ai.response.model", Text("gpt-4o-2024-08-06")),
            ("ai.usage.inputTokens", Int(2048)),
            ("ai.usage.outputTokens", Int(400)),
            ("ai.usage.totalTokens", Int(2448)),
            ("ai.usage.cachedInputTokens", Int(1920)),
            ("ai.usage.inputTokenDetails.cacheReadTokens", Int(1920)),
            ("ai.usage.reasoningTokens", Int(320)),
            ("gen_ai.system", Text("openai.chat")),
            ("gen_ai.request.model", Text("gpt-4o")),
            ("gen_ai.response.finish_reasons", List("stop")),
            ("gen_ai.response.id", Id("chatcmpl-AbCdEf")),
            ("gen_ai.usage.input_tokens", Int(2048)),
            ("gen_ai.usage.output_tokens", Int(400)),
        ],
    },
    Convention {
        name: "botocore",
        scope: "opentelemetry.instrumentation.botocore.bedrock-runtime",
        span: "chat us.anthropic.claude-sonnet-4-20250514-v1:0",
        attributes: &[
            ("rpc.system", Text("aws-api")),
            ("rpc.service", Text("Bedrock Runtime")),
            ("rpc.method", Text("Converse")),
            ("cloud.region", Text("us-east-1")),
            ("server.address", Text("bedrock-runtime.us-east-1.amazonaws.com")),
            ("server.port", Int(443)),
            ("aws.request_id", Id("0f1e2d3c-4b5a-6978-8796-")),
            ("http.status_code", Int(200)),
            ("retry_attempts", Int(0)),
            ("gen_ai.system", Text("aws.bedrock")),
            ("gen_ai.operation.name", Text("chat")),
            ("gen_ai.request.model", Text("us.anthropic.claude-sonnet-4-20250514-v1:0")),
            ("gen_ai.response.finish_reasons", List("end_turn")),
            ("gen_ai.usage.input_tokens", Int(300)),
            ("gen_ai.usage.output_tokens", Int(44)),
            ("gen_ai.usage.cache_read.input_tokens", Int(2000)),
            ("gen_ai.usage.cache_creation.input_tokens", Int(700)),
        ],
    },
    Convention {
        name: "litellm",
        scope: "litellm",
        span: "litellm_request",
        attributes: &[
            ("metadata.user_api_key_hash", Text("25c7667680aaa25a0bb1d1e757b83bd6e762ae25e0668473ecbe8a3b935dcf83")),
            ("metadata.user_api_key_alias", Text("search-prod")),
            ("metadata.user_api_key_spend", Double(0.0)),
            ("metadata.user_api_key_max_budget", Text("")),
            ("metadata.user_api_key_budget_reset_at", Text("")),
            ("metadata.user_api_key_team_spend", Text("")),
            ("metadata.user_api_key_team_max_budget", Text("")),
            ("metadata.user_api_key_team_id", Text("team-search-001")),
            ("metadata.user_api_key_org_id", Text("org-acme")),
            ("metadata.user_api_key_project_id", Text("")),
            ("metadata.user_api_key_user_id", Text("user-ada")),
            ("metadata.user_api_key_team_alias", Text("Search")),
            ("metadata.user_api_key_end_user_id", Text("")),
            ("metadata.user_api_key_request_route", Text("/v1/chat/completions")),
            ("metadata.requester_ip_address", Text("127.0.0.1")),
            (
                "metadata.requester_metadata",
                Text(
                    "{'tags': ['feature:checkout'], 'session_id': 's-4711', 'headers': {'accept-encoding': 'identity', 'host': 'gateway:4000', 'user-agent': 'x', 'content-type': 'application/json'}}",
                ),
            ),
            (
                "metadata.usage_object",
                Text(
                    "{'completion_tokens': 400, 'prompt_tokens': 2048, 'total_tokens': 2448, 'completion_tokens_details': {'accepted_prediction_tokens': 0, 'audio_tokens': 0, 'reasoning_tokens': 320, 'rejected_prediction_tokens': 0}, 'prompt_tokens_details': {'audio_tokens': 0, 'cached_tokens': 1920}}",
                ),
            ),
            ("metadata.user_api_key_auth_metadata", Text("{'cost_center': 'CC-1001', 'feature': 'semantic-search'}")),
            (
                "hidden_params",
                Text(
                    r#"{"model_id": "dep-1", "cache_key": null, "api_base": "https://api.openai.com/v1", "response_cost": 0.0036, "additional_headers": {"llm_provider-server": "cloudflare", "llm_provider-date": "Sat, 21 Nov 2026 00:05:01 GMT", "llm_provider-content-type": "application/json", "llm_provider-x-request-id": "req_0123456789", "llm_provider-openai-processing-ms": "860", "llm_provider-content-length": "1623", "x-litellm-model-group": "gpt-4o", "x-litellm-attempted-retries": 0, "x-litellm-attempted-fallbacks": 0}, "litellm_overhead_time_ms": 5.5, "batch_models": null, "litellm_model_name": "openai/gpt-4o", "usage_object": null}"#,
                ),
            ),
            ("http.route", Text("/v1/chat/completions")),
            ("litellm.model_group", Text("gpt-4o")),
            ("litellm.provider.model", Text("openai/gpt-4o")),
            ("litellm.call_id", Id("4d7c168d-e351-4e19-ade6-")),
            ("gen_ai.cost.input_cost", Double(0.001)),
            ("gen_ai.cost.output_cost", Double(0.002)),
            ("gen_ai.cost.total_cost", Double(0.003)),
            ("gen_ai.request.model", Text("gpt-4o")),
            ("llm.request.type", Text("acompletion")),
            ("gen_ai.system", Text("openai")),
            ("llm.is_streaming", Text("False")),
            ("gen_ai.response.id", Id("chatcmpl-AbCdEf")),
            ("gen_ai.response.model", Text("gpt-4o")),
            ("gen_ai.usage.total_tokens", Int(2448)),
            ("gen_ai.usage.output_tokens", Int(400)),
            ("gen_ai.usage.input_tokens", Int(2048)),
            ("gen_ai.operation.name", Text("acompletion")),
            ("gen_ai.response.finish_reasons", Text("[\"stop\"]")),
            ("gen_ai.input.messages", Text(PROMPT)),
            ("gen_ai.output.messages", Text(ANSWER)),
        ],
    },
];

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn value(is: Is, number: u64) -> Value {
    match is {
        Text(text) => Value::StringValue(text.to_owned()),
        Id(head) => Value::StringValue(format!("{head}{number:012}")),
        Int(n) => Value::IntValue(n),
        Double(n) => Value::DoubleValue(n),
        List(word) => Value::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(Value::StringValue(word.to_owned())) }],
        }),
    }
}

/// One request with calls of one convention.
fn request(convention: &Convention) -> Vec<u8> {
    let spans = (1..=CALLS).map(|number| Span {
        trace_id: [number.to_be_bytes(), (number * 7919).to_be_bytes()].concat(),
        span_id: (number * 104_729).to_be_bytes().to_vec(),
        parent_span_id: (number * 15_485_863).to_be_bytes().to_vec(),
        name: convention.span.to_owned(),
        kind: 3,
        start_time_unix_nano: START + number * 1_000_000,
        end_time_unix_nano: START + number * 1_000_000 + 900_000_000,
        attributes: convention.attributes.iter().map(|(key, is)| pair(key, value(*is, number))).collect(),
        status: Some(Status::default()),
        ..Span::default()
    });
    let resource = [
        ("service.name", "shop"),
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "prod"),
        ("telemetry.sdk.language", "python"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.version", "1.45.0"),
        ("host.name", "shop-5d4c7b"),
    ];
    let resource = Resource {
        attributes: resource.iter().map(|(key, text)| pair(key, Value::StringValue((*text).to_owned()))).collect(),
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: convention.scope.to_owned(),
        version: "2.0.1".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Calls per second of a piece of work over requests of [`CALLS`] each.
fn rate(requests: &[Vec<u8>], work: &mut dyn FnMut(&[u8])) -> f64 {
    let (start, mut calls) = (Instant::now(), 0_u32);
    while start.elapsed() < SLICE {
        requests.iter().for_each(|request| work(request));
        calls += u32::try_from(requests.len()).unwrap_or(1) * u32::try_from(CALLS).unwrap_or(1);
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}

/// Rates of decoding alone and of decoding and normalizing, taken in turns; the best of each.
fn measure(requests: &[Vec<u8>]) -> (f64, f64) {
    let spans = OtlpSpans::new(OtlpConfig::default());
    let now = Timestamp::from_unix_nanos(START + 3_600_000_000_000).unwrap_or_default();
    let at = RecordRef { source: "otlp", object: "bench", position: 0, object_time: now, observed_at: now };
    let mut out = Vec::new();
    let mut decode = |request: &[u8]| {
        std::hint::black_box(ExportTraceServiceRequest::decode(request).is_ok());
    };
    let mut both = |request: &[u8]| {
        out.clear();
        if let Ok(request) = ExportTraceServiceRequest::decode(request) {
            spans.traces(&request, &at, &mut out);
        }
        assert!(std::hint::black_box(&out).iter().all(|row| matches!(row, Normalized::Observation(o) if o.is_call())));
    };
    let (mut decoding, mut whole) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        decoding = decoding.max(rate(requests, &mut decode));
        whole = whole.max(rate(requests, &mut both));
    }
    (decoding, whole)
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    // Cargo adds `--bench`; a name picks one convention, for a profile.
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let chosen = || CONVENTIONS.iter().filter(|c| named.is_empty() || named.iter().any(|name| name == c.name));
    let requests: Vec<Vec<u8>> = chosen().map(request).collect();
    for (convention, request) in chosen().zip(&requests) {
        let (decoding, whole) = measure(std::slice::from_ref(request));
        writeln!(
            out,
            "# {:<14} {:>5} bytes a call: decoding {decoding:>7.0} calls/s, decoding and normalizing {whole:>7.0} calls/s, ratio {:.2}",
            convention.name,
            request.len() / usize::try_from(CALLS).unwrap_or(1),
            whole / decoding,
        )?;
    }
    let (decoding, whole) = measure(&requests);
    writeln!(
        out,
        "otlp_normalize: one core, mix of {} conventions: decoding {decoding:.0} calls/s, decoding and normalizing {whole:.0} calls/s, ratio {:.2}",
        requests.len(),
        whole / decoding,
    )
}
