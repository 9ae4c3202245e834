//! Vercel AI SDK with its own `ai.*` attributes. See <https://ai-sdk.dev/docs/ai-sdk-core/telemetry>.

use super::{Draft, set};
use crate::model::Usage;
use crate::sources::otlp::record::SpanView;

/// Reads `ai.*` of the inner spans (`….doGenerate`, `….doStream`, `….doEmbed`).
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    let n = |keys: &[&str]| attributes.first_count(keys);
    draft.provider_or(first(&["ai.model.provider", "gen_ai.system"]).map(|name| provider(&name)));
    draft.counts.fill(&Usage {
        input: n(&["ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"]),
        cache_read: n(&["ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"]),
        cache_write: n(&["ai.usage.inputTokenDetails.cacheWriteTokens"]),
        output: n(&["ai.usage.outputTokens", "ai.usage.completionTokens"]),
        reasoning: n(&["ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"]),
        ..Usage::default()
    });
    let observation = &mut draft.observation;
    let id = first(&["ai.operationId"]).unwrap_or_default();
    let operation = if id.ends_with(".doEmbed") { "embeddings" } else { "chat" };
    set(&mut observation.operation, Some(operation.to_owned()));
    set(&mut observation.streaming, Some(id.ends_with(".doStream")));
    set(&mut observation.request_model, first(&["ai.model.id", "gen_ai.request.model"]));
    set(&mut observation.response_model, first(&["ai.response.model"]));
    set(&mut observation.response_id, first(&["ai.response.id"]));
    set(&mut observation.finish_reason, first(&["ai.response.finishReason"]));
    let ttft = attributes.number("ai.response.msToFirstChunk").filter(|ms| (0.0..86_400_000.0).contains(ms));
    set(&mut observation.ttft_ms, ttft.or_else(|| view.event_after_ms("ai.stream.firstChunk")));
}

/// `openai.chat` is a provider and an API; only Vertex shares its first word with another platform.
fn provider(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("google.vertex") || lower.starts_with("vertex.") {
        return "vertex_ai".to_owned();
    }
    match lower.split_once('.') {
        Some((head, _)) => head.to_owned(),
        None => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_api_off_a_provider() {
        assert_eq!(provider("openai.chat"), "openai");
        assert_eq!(provider("google.vertex.chat"), "vertex_ai");
        assert_eq!(provider("amazon-bedrock"), "amazon-bedrock");
    }
}
