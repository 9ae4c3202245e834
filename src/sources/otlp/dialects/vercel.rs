//! Vercel AI SDK with its own `ai.*` attributes: versions up to 4 (`promptTokens`), 5 (`inputTokens`), 6 and 7
//! (`inputTokenDetails`). See <https://ai-sdk.dev/docs/ai-sdk-core/telemetry>.

use super::{Draft, set};
use crate::model::Usage;
use crate::model::platform::{ANTHROPIC, BEDROCK};
use crate::sources::otlp::place;
use crate::sources::otlp::pyrepr::Tree;
use crate::sources::otlp::record::{Family, SpanView};
use crate::sources::otlp::usage::Basis;

/// Ends of the operations that are one request to a provider; others wrap them.
pub(super) const CALLS: [&str; 4] = [".doGenerate", ".doStream", ".doEmbed", ".doRerank"];

/// From version 6 on the input is the whole and says its parts; before, it is what the provider answered, which for
/// Anthropic and Bedrock leaves cached tokens out.
pub(super) fn basis(view: &SpanView<'_>) -> Basis {
    let attributes = &view.attributes;
    let details = || attributes.has_prefix(Family::Ai, &["ai.usage.inputTokenDetails."]);
    let provider =
        attributes.word("ai.model.provider").or_else(|| attributes.word("gen_ai.system")).unwrap_or_default();
    let beside =
        provider.contains("anthropic") || matches!(place::platform_of(&provider).as_deref(), Some(ANTHROPIC | BEDROCK));
    if beside && attributes.has_family(&[Family::Ai]) && !details() { Basis::Exclusive } else { Basis::Inclusive }
}

/// Reads `ai.*` of the inner spans.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let n = |keys: &[&str]| attributes.first_count(keys);
    draft.provider_or(attributes.word("ai.model.provider").or_else(|| attributes.word("gen_ai.system")));
    let mut usage = Usage {
        input: n(&["ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"]),
        cache_read: n(&["ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"]),
        cache_write: n(&["ai.usage.inputTokenDetails.cacheWriteTokens", "ai.usage.cacheCreationInputTokens"]),
        output: n(&["ai.usage.outputTokens", "ai.usage.completionTokens"]),
        reasoning: n(&["ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"]),
        ..Usage::default()
    };
    if usage.cache_read.is_none() || usage.cache_write.is_none() {
        from_metadata(view, &mut usage);
    }
    draft.counts.fill(&usage);
    let observation = &mut draft.observation;
    let id = attributes.word("ai.operationId").unwrap_or_default();
    set(&mut observation.operation, || Some(operation(&id).to_owned()));
    set(&mut observation.streaming, || Some(id.ends_with(".doStream")));
    set(&mut observation.request_model, || attributes.first_text(&["ai.model.id", "gen_ai.request.model"]));
    set(&mut observation.response_model, || attributes.text("ai.response.model"));
    set(&mut observation.response_id, || attributes.text("ai.response.id"));
    set(&mut observation.finish_reason, || attributes.text("ai.response.finishReason"));
    set(&mut observation.ttft_ms, || {
        let ms = attributes.number("ai.response.msToFirstChunk").filter(|ms| (0.0..86_400_000.0).contains(ms));
        ms.or_else(|| view.event_after_ms("ai.stream.firstChunk"))
    });
}

/// Cache counts that versions up to 5 leave in the provider's metadata, JSON by provider.
fn from_metadata(view: &SpanView<'_>, usage: &mut Usage) {
    let Some(metadata) = view.attributes.tree("ai.response.providerMetadata") else { return };
    let n = |provider: &Tree<'_>, paths: &[&[&str]]| provider.count(paths);
    for provider in ["anthropic", "vertex", "bedrock"].iter().filter_map(|name| metadata.get(name)) {
        set(&mut usage.cache_read, || {
            n(
                provider,
                &[&["cacheReadInputTokens"], &["usage", "cache_read_input_tokens"], &["usage", "cacheReadInputTokens"]],
            )
        });
        set(&mut usage.cache_write, || {
            n(
                provider,
                &[
                    &["cacheCreationInputTokens"],
                    &["usage", "cache_creation_input_tokens"],
                    &["usage", "cacheWriteInputTokens"],
                ],
            )
        });
    }
    for provider in ["openai", "azure", "xai"].iter().filter_map(|name| metadata.get(name)) {
        set(&mut usage.cache_read, || n(provider, &[&["cachedPromptTokens"]]));
        set(&mut usage.reasoning, || n(provider, &[&["reasoningTokens"]]));
    }
}

fn operation(id: &str) -> &'static str {
    if id.ends_with(".doEmbed") {
        "embeddings"
    } else if id.ends_with(".doRerank") {
        "rerank"
    } else if id.contains("generateImage") {
        "image"
    } else {
        "chat"
    }
}
