//! The OpenTelemetry GenAI conventions of all generations, the newest spelling first, and what close relatives write
//! beside them. See <https://github.com/open-telemetry/semantic-conventions-genai> and, for the older generations,
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>.

use super::{Draft, note_retries, set};
use crate::model::{Tags, Usage};
use crate::sources::otlp::place;
use crate::sources::otlp::record::{Family, SpanView};

/// Attributes that name the host that was asked, the most certain first.
const HOSTS: [&str; 8] = [
    "server.address",
    "gen_ai.openai.api_base",
    "llm.openai.api_base",
    "openai.api_base",
    "url.full",
    "http.url",
    "net.peer.name",
    "http.host",
];

/// Fills everything that is still absent.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    if draft.provider.is_none() {
        let names = ["gen_ai.provider.name", "gen_ai.system", "gen_ai.model.provider"];
        draft.provider =
            names.iter().filter_map(|key| attributes.word(key)).find(|name| place::platform_of(name).is_some());
    }
    draft.hosts.extend(HOSTS.iter().filter_map(|key| attributes.word(key)));
    draft.counts.fill(&read_counts(view));
    set(&mut draft.counts.total, || {
        attributes.first_count(&["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "ai.usage.totalTokens"])
    });
    claim(view, &mut draft.observation.tags);
    let observation = &mut draft.observation;
    set(&mut observation.operation, || {
        let word = attributes.word("gen_ai.operation.name").or_else(|| attributes.word("llm.request.type"))?;
        Some(operation_name(&word)).filter(|name| name != "unknown")
    });
    set(&mut observation.request_model, || first(&["gen_ai.request.model"]));
    if !draft.echoed_model {
        set(&mut observation.response_model, || first(&["gen_ai.response.model"]));
    }
    if !draft.response_id_decided {
        set(&mut observation.response_id, || first(&["gen_ai.response.id"]));
    }
    let finish = ["gen_ai.response.finish_reasons", "llm.response.finish_reason", "llm.response.stop_reason"];
    set(&mut observation.finish_reason, || finish.iter().find_map(|key| attributes.first_item(key)));
    let tier = [
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
        "gen_ai.request.service_tier",
    ];
    set(&mut observation.tier, || tier.iter().find_map(|key| tier_name(&attributes.word(key)?)));
    set(&mut observation.provider_request_id, || {
        let named = first(&["anthropic.request.id", "gen_ai.provider.request.id", "gen_ai.openai.request_id"]);
        named.or_else(|| request_id_header(view))
    });
    let streaming = [
        "gen_ai.request.stream",
        "gen_ai.is_streaming",
        "gen_ai.request.is_stream",
        "llm.is_streaming",
        "litellm.request.streaming",
    ];
    set(&mut observation.streaming, || attributes.first_truth(&streaming));
    if observation.streaming != Some(false) {
        let seconds = ["gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"];
        set(&mut observation.ttft_ms, || seconds.iter().find_map(|key| millis(attributes.number(key)?)));
    }
    if observation.streaming == Some(true) {
        set(&mut observation.ttft_ms, || millis(attributes.number("gen_ai.server.time_to_first_token")?));
    }
    // A client that asks again inside one span.
    note_retries(&mut observation.tags, attributes.count("http.request.resend_count").unwrap_or(0));
}

/// A provider's request id among captured response headers, which come as lists; the header that the provider's own log
/// knows goes first.
fn request_id_header(view: &SpanView<'_>) -> Option<String> {
    if !view.attributes.has_prefix(Family::Transport, &["http.response.header."]) {
        return None;
    }
    ["x-amzn-requestid", "apim-request-id", "request-id", "x-request-id"].iter().find_map(|name| {
        let keys = [format!("http.response.header.{name}"), format!("http.response.header.{}", name.replace('-', "_"))];
        keys.iter().find_map(|key| view.attributes.first_item(key)).filter(|id| id.len() <= 256)
    })
}

/// Keys under which clients and gateways state a cost of their own making, in USD.
const COSTS: [&str; 7] = [
    "gen_ai.cost.total_cost",
    "litellm.cost.total",
    "gen_ai.usage.cost",
    "operation.cost",
    "llm.cost.total",
    "agw.ai.usage.cost.total",
    "tensorzero.cost_usd",
];

/// Keeps the reporter's claim about the cost as a tag; 0 mostly means that it knew no price.
fn claim(view: &SpanView<'_>, tags: &mut Tags) {
    let attributes = &view.attributes;
    let in_details = || {
        let details = attributes.tree("langfuse.observation.cost_details")?;
        details.get("total")?.scalar()?.parse().ok()
    };
    let cost: Option<f64> = COSTS.iter().find_map(|key| attributes.number(key)).or_else(in_details);
    // Ten digits, because the last ones differ between the encodings of one request.
    let rounded = cost.and_then(|cost| format!("{cost:.9e}").parse::<f64>().ok());
    if let Some(cost) = rounded.filter(|cost| *cost > 0.0 && *cost < 1e9) {
        tags.insert("reported_cost_usd".to_owned(), cost.to_string());
    }
}

/// Milliseconds of a latency in seconds; `None` for what no latency is.
pub(super) fn millis(seconds: f64) -> Option<f64> {
    (0.0..86_400.0).contains(&seconds).then_some(seconds * 1000.0)
}

/// Token counts under all spellings of the general conventions.
pub(super) fn read_counts(view: &SpanView<'_>) -> Usage {
    if !view.attributes.has_family(&[Family::GenAi, Family::Llm]) {
        return Usage::default();
    }
    let n = |keys: &[&str]| view.attributes.first_count(keys);
    let some = |key: &str| view.attributes.count(key).filter(|n| *n > 0);
    let hour = some("anthropic.usage.cache_creation.ephemeral_1h_input_tokens");
    let minutes = some("anthropic.usage.cache_creation.ephemeral_5m_input_tokens");
    let written =
        || (hour.is_some() || minutes.is_some()).then(|| hour.unwrap_or(0).saturating_add(minutes.unwrap_or(0)));
    Usage {
        input: n(&["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"]),
        cache_read: n(&[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_read_input_tokens",
            "gen_ai.usage.details.cached_tokens",
            "gen_ai.usage.cached_input_tokens",
            "gen_ai.usage.input_tokens.cached",
        ]),
        cache_write: n(&[
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.cache_creation_input_tokens",
        ])
        .or_else(written),
        cache_write_1h: hour,
        output: n(&["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"]),
        reasoning: n(&[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "gen_ai.usage.details.thoughts_tokens",
            "llm.usage.reasoning_tokens",
        ]),
        audio_input: n(&["gen_ai.usage.audio.input_tokens", "gen_ai.usage.details.input_audio_tokens"]),
        audio_output: n(&["gen_ai.usage.audio.output_tokens", "gen_ai.usage.details.output_audio_tokens"]),
        image_input: n(&["gen_ai.usage.image.input_tokens", "gen_ai.usage.details.input_image_tokens"]),
        images: None,
    }
}

/// The canonical operation; LiteLLM prefixes its asynchronous functions with `a` and names them after the Python call.
pub(in crate::sources::otlp) fn operation_name(name: &str) -> String {
    // What most clients write needs no folding.
    if matches!(name, "chat" | "embeddings" | "text_completion") {
        return name.to_owned();
    }
    let lower = name.trim().trim_start_matches('_').to_ascii_lowercase();
    let word = match lower.as_str() {
        "acompletion"
        | "completion"
        | "chat"
        | "responses"
        | "aresponses"
        | "anthropic_messages"
        | "messages"
        | "generate_content"
        | "agenerate_content"
        | "generate_content_stream"
        | "agenerate_content_stream"
        | "chat_completion"
        | "chat.completions"
        | "chat.streaming_completions" => "chat",
        "atext_completion" | "text_completion" | "text.completions" | "text.streaming_completions" => "text_completion",
        "aembedding" | "embedding" | "aembeddings" | "embeddings" => "embeddings",
        "arerank" | "rerank" => "rerank",
        "aimage_generation" | "image_generation" | "aimage_edit" | "image_edit" | "aimage_variation"
        | "image_variation" | "image" | "generate_image" => "image",
        "atranscription" | "transcription" => "transcription",
        "aspeech" | "speech" => "speech",
        "amoderation" | "moderation" => "moderation",
        "arealtime" | "realtime" => "realtime",
        other => other,
    };
    word.chars().take(64).collect()
}

/// The canonical service tier; `auto` says nothing.
pub(in crate::sources::otlp) fn tier_name(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    Some(match lower.as_str() {
        "" | "auto" | "standard_only" | "none" => return None,
        "default" | "standard" | "on_demand" => "standard".to_owned(),
        "scale" | "provisioned" => "provisioned".to_owned(),
        _ => lower.chars().take(64).collect(),
    })
}
