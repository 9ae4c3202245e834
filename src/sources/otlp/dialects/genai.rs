//! The OpenTelemetry GenAI conventions of all generations, the newest spelling first, and what close relatives write
//! beside them. See <https://github.com/open-telemetry/semantic-conventions-genai> and, for the older generations,
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>.

use super::{Draft, set};
use crate::model::Usage;
use crate::sources::otlp::attribution;
use crate::sources::otlp::record::SpanView;

/// Fills everything that is still absent.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    draft.provider_or(first(&["gen_ai.provider.name", "gen_ai.system", "gen_ai.model.provider"]));
    draft.hosts.extend(
        ["server.address", "gen_ai.openai.api_base", "llm.openai.api_base", "url.full", "http.url", "net.peer.name"]
            .iter()
            .filter_map(|key| attributes.text(key)),
    );
    draft.counts.fill(&read_counts(view));
    claim(view, draft);
    let observation = &mut draft.observation;
    set(&mut observation.operation, first(&["gen_ai.operation.name", "llm.request.type"]).map(|n| operation_name(&n)));
    set(&mut observation.request_model, first(&["gen_ai.request.model"]));
    if !draft.echoed_model {
        set(&mut observation.response_model, first(&["gen_ai.response.model"]));
    }
    if !draft.response_id_decided {
        set(&mut observation.response_id, first(&["gen_ai.response.id"]));
    }
    let finish = ["gen_ai.response.finish_reasons", "llm.response.finish_reason", "llm.response.stop_reason"];
    set(&mut observation.finish_reason, finish.iter().find_map(|key| attributes.first_item(key)));
    let tier = [
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
        "gen_ai.request.service_tier",
    ];
    set(&mut observation.tier, tier.iter().find_map(|key| tier_name(&attributes.text(key)?)));
    set(
        &mut observation.provider_request_id,
        first(&["aws.request_id", "aws.request.id", "anthropic.request.id", "gen_ai.provider.request.id"]),
    );
    // `cloud.region` on the span is the region that was called; on the resource it is where the caller runs.
    set(
        &mut observation.region,
        first(&["cloud.region", "aws.region"]).and_then(|r| crate::sources::otlp::place::region(&r)),
    );
    let streaming = [
        "gen_ai.request.stream",
        "gen_ai.is_streaming",
        "gen_ai.request.is_stream",
        "llm.is_streaming",
        "litellm.request.streaming",
    ];
    set(&mut observation.streaming, attributes.first_truth(&streaming));
    // botocore names the method that was called.
    set(&mut observation.streaming, attributes.text("rpc.method").map(|method| method.ends_with("Stream")));
    if observation.streaming != Some(false) {
        let seconds = ["gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"];
        set(&mut observation.ttft_ms, seconds.iter().find_map(|key| millis(attributes.number(key)?)));
    }
    if observation.streaming == Some(true) {
        let seconds = attributes.number("gen_ai.server.time_to_first_token");
        set(&mut observation.ttft_ms, seconds.and_then(millis));
    }
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
fn claim(view: &SpanView<'_>, draft: &mut Draft) {
    let cost = COSTS.iter().find_map(|key| view.attributes.number(key)).filter(|cost| *cost > 0.0);
    if let Some(cost) = cost {
        let text = format!("{cost:.12}");
        attribution::put(
            &mut draft.observation.tags,
            "reported_cost_usd",
            text.trim_end_matches('0').trim_end_matches('.'),
        );
    }
    let retries = view.attributes.count("retry_attempts").filter(|n| *n > 0);
    if let Some(retries) = retries {
        attribution::put(&mut draft.observation.tags, "attempted_retries", &retries.to_string());
    }
}

/// Milliseconds of a latency in seconds; `None` for what no latency is.
pub(super) fn millis(seconds: f64) -> Option<f64> {
    (0.0..86_400.0).contains(&seconds).then_some(seconds * 1000.0)
}

/// Token counts under all spellings of the general conventions.
pub(super) fn read_counts(view: &SpanView<'_>) -> Usage {
    let n = |keys: &[&str]| view.attributes.first_count(keys);
    let hour = n(&["anthropic.usage.cache_creation.ephemeral_1h_input_tokens"]);
    Usage {
        input: n(&["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"]),
        cache_read: n(&[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_read_input_tokens",
            "gen_ai.usage.cached_input_tokens",
        ]),
        cache_write: n(&[
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.cache_creation_input_tokens",
        ]),
        cache_write_1h: hour.filter(|n| *n > 0),
        output: n(&["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"]),
        reasoning: n(&[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.usage.reasoning_tokens",
        ]),
        audio_input: n(&["gen_ai.usage.audio.input_tokens", "gen_ai.usage.details.input_audio_tokens"]),
        audio_output: n(&["gen_ai.usage.audio.output_tokens", "gen_ai.usage.details.output_audio_tokens"]),
        image_input: n(&["gen_ai.usage.image.input_tokens"]),
        images: None,
    }
}

/// The canonical operation; LiteLLM prefixes its asynchronous functions with `a` and names them after the Python call.
pub(in crate::sources::otlp) fn operation_name(name: &str) -> String {
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
        | "chat_completion" => "chat",
        "atext_completion" | "text_completion" => "text_completion",
        "aembedding" | "embedding" | "aembeddings" | "embeddings" => "embeddings",
        "arerank" | "rerank" => "rerank",
        "aimage_generation" | "image_generation" | "aimage_edit" | "image_edit" | "image" | "generate_image" => "image",
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
