//! Spans of a LiteLLM proxy in its default form: `Received Proxy Server Request` over one `litellm_request` per attempt,
//! each good one over a `raw_gen_ai_request`. The attempt's `hidden_params` hold the provider's own request id.

use std::fmt::Write;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};

use super::company::{Kind, Place, Platform};
use super::request::{Attempt, Ending, Request};
use super::rng::Rng;
use super::spans::{Emitter, Position, Spans, double, flag, int, span, text};
use super::text::{json, millis, nanos};
use crate::model::Timestamp;

/// Adds the gateway's spans; `parent` is the application's span where that one is instrumented. Gives the time that the
/// request spent in the gateway.
pub(super) fn spans(
    out: &mut Spans,
    rng: &mut Rng,
    request: &Request,
    parent: Option<[u8; 8]>,
) -> (Timestamp, Timestamp) {
    let emitter = emitter(request);
    let first = request.attempts.first().map(|attempt| attempt.start).unwrap_or_default();
    let last = request.attempts.last().map(Attempt::end).unwrap_or_default();
    let waited_us = 3000 + rng.below_us(9000);
    let (begin, end) = (first.plus(-waited_us - 15_000), last.plus(6000 + rng.below_us(9000)));
    let server = Position { trace: request.trace_id, span: rng.span_id(), parent };
    for (index, attempt) in (0_u64..).zip(&request.attempts) {
        attempt_spans(out, rng, request, attempt, Tried { emitter, server: server.span, index });
    }
    received(out, request, emitter, server, (begin, end), waited_us);
    (begin, end)
}

/// Adds the spans of a request that the gateway answers from its cache: no provider hears of it.
pub(super) fn cached(out: &mut Spans, rng: &mut Rng, request: &Request) {
    let Some(attempt) = request.attempts.first() else { return };
    let emitter = emitter(request);
    let server = Position { trace: request.trace_id, span: rng.span_id(), parent: None };
    let at = Position { trace: request.trace_id, span: rng.span_id(), parent: Some(server.span) };
    let times = (attempt.start, attempt.end());
    let mut made = span("litellm_request", SpanKind::Internal, at, times, Some(Ok(())));
    made.attributes = caller(request);
    made.attributes.push(text("metadata.usage_object", usage_object(attempt)));
    let hidden = format!(
        r#"{{"model_id": "dep-{group}", "cache_key": "{:016x}{:016x}", "api_base": null, "response_cost": 0.0, "additional_headers": {{"x-litellm-model-group": "{group}"}}, "litellm_overhead_time_ms": null, "batch_models": null, "litellm_model_name": null, "usage_object": null}}"#,
        rng.next(),
        rng.next(),
        group = attempt.place.group,
    );
    made.attributes.push(text("hidden_params", hidden));
    call(&mut made.attributes, request, attempt);
    answer(&mut made.attributes, request, attempt);
    out.push(emitter, made);
    let waited_us = 1000 + rng.below_us(3000);
    received(out, request, emitter, server, (times.0.plus(-waited_us), times.1.plus(1000)), waited_us);
}

const fn emitter(request: &Request) -> Emitter {
    Emitter {
        service: Emitter::GATEWAY_SERVICE,
        environment: request.environment(),
        scope: "litellm",
        scope_version: "",
        schema_url: "",
    }
}

/// Adds the span of the request as it came in.
fn received(
    out: &mut Spans,
    request: &Request,
    emitter: Emitter,
    at: Position,
    times: (Timestamp, Timestamp),
    waited_us: i64,
) {
    let good = request.attempts.last().is_some_and(|attempt| attempt.ending.is_answer());
    let status = if good { Ok(()) } else { Err(String::new()) };
    let mut received = span("Received Proxy Server Request", SpanKind::Server, at, times, Some(status));
    let code = request.attempts.last().map_or(500, |attempt| attempt.ending.status());
    received.attributes = vec![
        text("url.path", route(request)),
        text("http.route", route(request)),
        double("litellm.preprocessing.duration_ms", f64::from(u32::try_from(waited_us).unwrap_or(0)) / 1000.0),
        int("http.response.status_code", u64::from(code)),
    ];
    out.push(emitter, received);
}

/// Where an attempt stands among those of its request.
struct Tried {
    emitter: Emitter,
    server: [u8; 8],
    index: u64,
}

fn attempt_spans(out: &mut Spans, rng: &mut Rng, request: &Request, attempt: &Attempt, tried: Tried) {
    let before_us = 4000 + rng.below_us(9000);
    let times = (attempt.start.plus(-before_us), attempt.end().plus(1000 + rng.below_us(4000)));
    let at = Position { trace: request.trace_id, span: rng.span_id(), parent: Some(tried.server) };
    let good = attempt.ending.is_answer();
    let status = if good { Ok(()) } else { Err(String::new()) };
    let mut made = span("litellm_request", SpanKind::Internal, at, times, Some(status));
    made.attributes = caller(request);
    made.attributes.push(text("metadata.usage_object", if good { usage_object(attempt) } else { "{}".to_owned() }));
    made.attributes.push(text("hidden_params", hidden_params(request, attempt, before_us, tried.index)));
    call(&mut made.attributes, request, attempt);
    if good {
        answer(&mut made.attributes, request, attempt);
    } else {
        failure(&mut made.attributes, attempt);
        let attributes = vec![
            text("exception.type", format!("litellm.exceptions.{}", error_class(attempt.ending))),
            text("exception.message", error_message(attempt)),
        ];
        let time_unix_nano = nanos(times.1);
        made.events = vec![Event { time_unix_nano, name: "exception".to_owned(), attributes, ..Event::default() }];
    }
    out.push(tried.emitter, made);
    if good {
        let below = Position { trace: at.trace, span: rng.span_id(), parent: Some(at.span) };
        let mut raw = span("raw_gen_ai_request", SpanKind::Internal, below, times, Some(Ok(())));
        raw.attributes = raw_attributes(request, attempt);
        out.push(tried.emitter, raw);
    }
}

const fn route(request: &Request) -> &'static str {
    match request.feature.kind {
        Kind::Embeddings => "/v1/embeddings",
        Kind::Chat | Kind::Agent => "/v1/chat/completions",
    }
}

/// LiteLLM's word for a platform.
const fn provider(place: &Place) -> &'static str {
    match place.platform {
        Platform::Azure { .. } => "azure",
        Platform::Bedrock { .. } => "bedrock",
        Platform::OpenAi => "openai",
        Platform::Anthropic => "anthropic",
    }
}

/// The model as the gateway asks the provider for it: on Azure that is the deployment.
const fn asked_model(place: &Place) -> &'static str {
    match place.platform {
        Platform::Azure { deployment, .. } => deployment,
        Platform::Bedrock { .. } | Platform::OpenAi | Platform::Anthropic => place.model,
    }
}

/// Who calls, by the key that the gateway knows.
fn caller(request: &Request) -> Vec<KeyValue> {
    let Some(team) = request.feature.team else {
        return Vec::new();
    };
    let mut attributes = Vec::with_capacity(64);
    attributes.extend([
        text("metadata.user_api_key_hash", team.key_hash),
        text("metadata.user_api_key_alias", team.key_alias),
        double("metadata.user_api_key_spend", 0.0),
        text("metadata.user_api_key_team_id", team.gateway_id),
        text("metadata.user_api_key_team_alias", team.name),
        text("metadata.user_api_key_org_id", "org-acme"),
        text("metadata.user_api_key_user_id", format!("{}-service", team.name)),
        text("metadata.user_api_key_end_user_id", end_user(request)),
        text("metadata.user_api_key_request_route", route(request)),
        text("metadata.requester_ip_address", "203.0.113.24"),
        text("metadata.user_agent", "OpenAI/Python 2.54.0"),
        text(
            "metadata.requester_metadata",
            format!(
                "{{'tags': ['feature:{}', 'env:{}'], 'session_id': '{}', 'trace_id': '{:032x}', 'headers': \
                 {{'host': 'llm-gateway.acme.internal', 'user-agent': 'OpenAI/Python 2.54.0'}}, \
                 'used_client_oauth_token': False}}",
                request.feature.name,
                request.environment(),
                session(request),
                u128::from_be_bytes(request.trace_id)
            ),
        ),
        text(
            "metadata.user_api_key_auth_metadata",
            format!("{{'cost_center': '{}', 'feature': '{}'}}", team.cost_center, request.feature.name),
        ),
        text("metadata.applied_guardrails", "[]"),
        text("metadata.requester_custom_headers", "{}"),
        flag("metadata.used_client_oauth_token", false),
    ]);
    for unset in [
        "user_api_key_max_budget",
        "user_api_key_org_alias",
        "user_api_key_project_id",
        "user_api_key_user_email",
        "spend_logs_metadata",
        "team_alias",
        "team_id",
    ] {
        attributes.push(text(&format!("metadata.{unset}"), ""));
    }
    attributes
}

fn end_user(request: &Request) -> String {
    format!("user-{:04}", request.user)
}

/// The id of the conversation.
pub(super) fn session(request: &Request) -> String {
    format!("sess-{:05}", request.session)
}

/// Counts in the gateway's own object, as Python writes it: input includes the cache on every platform.
fn usage_object(attempt: &Attempt) -> String {
    let usage = attempt.usage;
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    let total = input + output;
    let (read, written) = (usage.cache_read.unwrap_or(0), usage.cache_write.unwrap_or(0));
    let thoughts = usage.reasoning.unwrap_or(0);
    let head = format!("{{'completion_tokens': {output}, 'prompt_tokens': {input}, 'total_tokens': {total}, ");
    if usage.output.is_none() {
        return format!("{head}'completion_tokens_details': None, 'prompt_tokens_details': None}}");
    }
    match attempt.place.platform {
        Platform::Azure { .. } | Platform::OpenAi => format!(
            "{head}'completion_tokens_details': {{'accepted_prediction_tokens': 0, 'audio_tokens': 0, \
             'reasoning_tokens': {thoughts}, 'rejected_prediction_tokens': 0}}, 'prompt_tokens_details': \
             {{'audio_tokens': 0, 'cached_tokens': {read}}}}}"
        ),
        Platform::Bedrock { .. } | Platform::Anthropic => format!(
            "{head}'completion_tokens_details': {{'reasoning_tokens': 0, 'text_tokens': {output}}}, \
             'prompt_tokens_details': {{'audio_tokens': None, 'cache_write_tokens': {written}, 'cached_tokens': \
             {read}, 'text_tokens': {}, 'image_tokens': None, 'video_tokens': None, 'cache_creation_tokens': \
             {written}}}, 'cache_creation_input_tokens': {written}, 'cache_read_input_tokens': {read}}}",
            input.saturating_sub(read + written)
        ),
    }
}

/// The provider's response headers and the gateway's own facts. Failed attempts carry the headers without their prefix.
fn hidden_params(request: &Request, attempt: &Attempt, overhead_us: i64, index: u64) -> String {
    let good = attempt.ending.is_answer();
    let prefix = if good { "llm_provider-" } else { "" };
    let id = &attempt.request_id;
    let mut headers = match attempt.place.platform {
        Platform::Azure { region_name, .. } => format!(
            r#""{prefix}apim-request-id": "{id}", "{prefix}x-ms-region": "{region_name}", "{prefix}content-type": "application/json""#
        ),
        Platform::Bedrock { .. } => {
            format!(r#""{prefix}x-amzn-requestid": "{id}", "{prefix}content-type": "application/json""#)
        }
        Platform::OpenAi => format!(
            r#""{prefix}x-request-id": "{id}", "{prefix}openai-processing-ms": "{}", "{prefix}openai-organization": "acme""#,
            attempt.duration_us / 1000
        ),
        Platform::Anthropic => format!(r#""{prefix}request-id": "{id}", "{prefix}content-type": "application/json""#),
    };
    if good && !request.streamed {
        let _ = write!(
            headers,
            r#", "x-litellm-model-group": "{}", "x-litellm-attempted-retries": 0, "x-litellm-attempted-fallbacks": {index}"#,
            attempt.place.group
        );
    }
    let known = |text: String| if good { json(&text) } else { "null".to_owned() };
    let overhead = if good && !request.streamed { millis(overhead_us) } else { "null".to_owned() };
    let model_name = if good && !request.streamed { json(&provider_model(attempt.place)) } else { "null".to_owned() };
    format!(
        r#"{{"model_id": {}, "cache_key": null, "api_base": {}, "response_cost": 0.0, "additional_headers": {{{headers}}}, "litellm_overhead_time_ms": {overhead}, "batch_models": null, "batch_successful_requests": null, "batch_failed_requests": null, "litellm_model_name": {model_name}, "usage_object": null}}"#,
        known(format!("dep-{}", attempt.place.group)),
        if good { api_base(request, attempt.place) } else { "null".to_owned() },
    )
}

fn provider_model(place: &Place) -> String {
    format!("{}/{}", provider(place), asked_model(place))
}

fn api_base(request: &Request, place: &Place) -> String {
    match place.platform {
        Platform::Azure { account, .. } => {
            let end = if request.staging { "-stg" } else { "" };
            format!("\"https://{account}{end}.openai.azure.com\"")
        }
        Platform::Bedrock { .. } if request.streamed => format!(
            "\"https://bedrock-runtime.{}.amazonaws.com/model/{}/converse-stream\"",
            place.region,
            place.model.replace(':', "%3A")
        ),
        Platform::Bedrock { .. } => "null".to_owned(),
        Platform::OpenAi => "\"https://api.openai.com/v1\"".to_owned(),
        Platform::Anthropic => "\"https://api.anthropic.com\"".to_owned(),
    }
}

/// What was asked.
fn call(attributes: &mut Vec<KeyValue>, request: &Request, attempt: &Attempt) {
    let embeddings = request.feature.kind == Kind::Embeddings;
    let operation = if embeddings { "aembedding" } else { "acompletion" };
    let answer_id = if attempt.ending.is_answer() && !embeddings { &attempt.response_id } else { &request.call_id };
    attributes.extend([
        text("http.route", route(request)),
        text("litellm.model_group", attempt.place.group),
        text("litellm.provider.model", provider_model(attempt.place)),
        text("gen_ai.request.model", asked_model(attempt.place)),
        text("llm.request.type", operation),
        text("gen_ai.system", if embeddings { "" } else { provider(attempt.place) }),
        text("llm.is_streaming", if request.streamed { "True" } else { "False" }),
        text("llm.user", end_user(request)),
        text("gen_ai.response.id", answer_id.as_str()),
        text("litellm.call_id", request.call_id.as_str()),
        text(
            "gen_ai.input.messages",
            format!(r#"[{{"role": "user", "parts": [{{"type": "text", "content": {}}}]}}]"#, json(request.prompt)),
        ),
        text("gen_ai.operation.name", operation),
    ]);
}

/// The gateway's word for why an answer ended.
pub(super) const fn finish(ending: Ending) -> &'static str {
    match ending {
        Ending::ToolUse => "tool_calls",
        Ending::CutOff => "length",
        _ => "stop",
    }
}

/// What came back.
fn answer(attributes: &mut Vec<KeyValue>, request: &Request, attempt: &Attempt) {
    let (input, output) = (attempt.usage.input.unwrap_or(0), attempt.usage.output.unwrap_or(0));
    attributes.extend([
        text("gen_ai.response.model", attempt.place.group),
        double("gen_ai.cost.total_cost", 0.0),
        int("gen_ai.usage.total_tokens", input + output),
        int("gen_ai.usage.output_tokens", output),
        int("gen_ai.usage.input_tokens", input),
    ]);
    if request.feature.kind != Kind::Embeddings {
        let finish = finish(attempt.ending);
        let content = json(request.answer);
        attributes.extend([
            text(
                "gen_ai.output.messages",
                format!(
                    r#"[{{"role": "assistant", "parts": [{{"type": "text", "content": {content}}}], "finish_reason": "{finish}"}}]"#
                ),
            ),
            text("gen_ai.response.finish_reasons", format!("[\"{finish}\"]")),
        ]);
        if matches!(attempt.place.platform, Platform::Azure { .. } | Platform::OpenAi) {
            attributes.push(text("gen_ai.openai.response.service_tier", "default"));
        }
    }
}

/// LiteLLM's exception class.
pub(super) const fn error_class(ending: Ending) -> &'static str {
    match ending {
        Ending::Throttled => "RateLimitError",
        Ending::Broken => "ServiceUnavailableError",
        Ending::Filtered => "ContentPolicyViolationError",
        Ending::TimedOut => "Timeout",
        _ => "BadRequestError",
    }
}

fn error_message(attempt: &Attempt) -> String {
    let class = error_class(attempt.ending);
    format!("litellm.{class}: {class}: {} did not answer", provider(attempt.place))
}

fn failure(attributes: &mut Vec<KeyValue>, attempt: &Attempt) {
    let status = attempt.ending.status();
    attributes.extend([
        text("error.code", status.to_string()),
        int("http.response.status_code", u64::from(status)),
        text("error.type", error_class(attempt.ending)),
        text("error.message", error_message(attempt)),
        text("error.llm_provider", provider(attempt.place)),
    ]);
}

fn raw_attributes(request: &Request, attempt: &Attempt) -> Vec<KeyValue> {
    let name = if request.feature.kind == Kind::Embeddings { "None" } else { provider(attempt.place) };
    let key = |key: &str| format!("llm.{name}.{key}");
    let mut attributes = vec![text(
        &key(if name == "None" { "input" } else { "messages" }),
        format!("[{{'role': 'user', 'content': {}}}]", json(request.prompt)),
    )];
    if let Platform::Bedrock { .. } = attempt.place.platform {
        attributes.push(text(&key("stringified_raw_response"), "response received"));
    } else if request.streamed {
        attributes.push(text(&key("model"), asked_model(attempt.place)));
        attributes.push(flag(&key("stream"), true));
        attributes.push(text(&key("stream_options"), "{'include_usage': True}"));
    } else {
        attributes.push(text(&key("model"), attempt.place.answers_as));
    }
    if let Some(team) = request.feature.team {
        attributes.push(text("metadata.user_api_key_team_id", team.gateway_id));
        attributes.push(text("metadata.user_api_key_team_alias", team.name));
    }
    attributes
}
