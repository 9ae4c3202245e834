//! Arize OpenInference. See <https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md>.

use super::{Draft, set};
use crate::model::Usage;
use crate::sources::otlp::record::SpanView;

/// Reads `llm.*`, `embedding.*` and `reranker.*`; counts include cached tokens for every provider.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    let n = |keys: &[&str]| attributes.first_count(keys);
    draft.provider_or(first(&["llm.provider", "llm.system"]));
    draft.counts.fill(&Usage {
        input: n(&["llm.token_count.prompt"]),
        cache_read: n(&["llm.token_count.prompt_details.cache_read"]),
        cache_write: n(&[
            "llm.token_count.prompt_details.cache_write",
            "llm.token_count.prompt_details.cache_creation",
        ]),
        output: n(&["llm.token_count.completion"]),
        reasoning: n(&["llm.token_count.completion_details.reasoning"]),
        audio_input: n(&["llm.token_count.prompt_details.audio"]),
        audio_output: n(&["llm.token_count.completion_details.audio"]),
        ..Usage::default()
    });
    let observation = &mut draft.observation;
    let operation = match first(&["openinference.span.kind"]).map(|kind| kind.to_ascii_uppercase()).as_deref() {
        Some("EMBEDDING") => Some("embeddings"),
        Some("RERANKER") => Some("rerank"),
        Some("LLM") => Some("chat"),
        _ => None,
    };
    set(&mut observation.operation, operation.map(str::to_owned));
    let parameters =
        ["llm.invocation_parameters", "embedding.invocation_parameters"].iter().find_map(|key| attributes.tree(key));
    let asked = parameters.as_ref().and_then(|tree| tree.get("model").or_else(|| tree.get("modelId"))?.scalar());
    let named = first(&["llm.model_name", "embedding.model_name", "reranker.model_name"]);
    let asked = first(&["llm.request.model_name"]).or(asked);
    // `llm.model_name` is the model of the answer where the request is known from elsewhere, else that of the request.
    let answered = asked.as_ref().and_then(|_| named.clone()).filter(|_| !view.is_error());
    set(&mut observation.request_model, asked.or(named));
    set(&mut observation.response_model, first(&["llm.response.model_name"]).or(answered));
    set(&mut observation.finish_reason, first(&["llm.finish_reason"]));
    if let Some(parameters) = &parameters {
        let stream = parameters.get("stream").and_then(crate::sources::otlp::pyrepr::Tree::scalar);
        set(&mut observation.streaming, stream.map(|truth| truth == "true"));
    }
    if view.span.name.to_ascii_lowercase().ends_with("_stream") {
        set(&mut observation.streaming, Some(true));
    }
    set(&mut observation.ttft_ms, view.event_after_ms("First Token Stream Event"));
}
