//! Arize OpenInference. See <https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md>.

use super::{Draft, set};
use crate::model::Usage;
use crate::model::platform::BEDROCK;
use crate::sources::otlp::place;
use crate::sources::otlp::pyrepr::Tree;
use crate::sources::otlp::record::SpanView;

/// Reads `llm.*`, `embedding.*` and `reranker.*`; counts include cached tokens for every provider.
/// `prompt_details.cache_input` is left out: it overlaps reads and writes without saying how.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    let n = |keys: &[&str]| attributes.first_count(keys);
    // `llm.system` is the vendor of the model, who on Bedrock is not the one that serves it.
    let bedrock = place::of_scope(view.scope).filter(|platform| *platform == BEDROCK);
    draft.provider_or(
        attributes.word("llm.provider").or(bedrock.map(Into::into)).or_else(|| attributes.word("llm.system")),
    );
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
    set(&mut draft.counts.total, || n(&["llm.token_count.total"]));
    let observation = &mut draft.observation;
    let kind = |word: &str| attributes.is_any("openinference.span.kind", &[word]);
    let operation = [("EMBEDDING", "embeddings"), ("RERANKER", "rerank"), ("LLM", "chat")];
    let operation = operation.iter().find(|(word, _)| kind(word)).map(|(_, operation)| *operation);
    set(&mut observation.operation, || operation.map(str::to_owned));
    let parameters =
        ["llm.invocation_parameters", "embedding.invocation_parameters"].iter().find_map(|key| attributes.tree(key));
    let in_parameters = parameters.as_ref().and_then(|tree| {
        let model = ["model", "modelId", "model_id", "model_name"].iter().find_map(|key| tree.get(key))?;
        model.scalar().map(str::to_owned)
    });
    let named = first(&["llm.model_name", "embedding.model_name", "reranker.model_name"]);
    let asked = first(&["llm.request.model_name"]).or(in_parameters);
    // `llm.model_name` is the model of the answer where the request is known from elsewhere, else that of the request.
    let answered = asked.as_ref().and_then(|_| named.clone()).filter(|_| !view.is_error());
    set(&mut observation.request_model, || asked.or(named));
    set(&mut observation.response_model, || first(&["llm.response.model_name"]).or(answered));
    set(&mut observation.finish_reason, || first(&["llm.finish_reason"]));
    set(&mut observation.streaming, || match parameters.as_ref()?.get("stream")? {
        Tree::Bool(truth) => Some(*truth),
        other => other.scalar().map(|text| text.eq_ignore_ascii_case("true")),
    });
    if view.span.name.to_ascii_lowercase().ends_with("_stream") {
        observation.streaming = observation.streaming.or(Some(true));
    }
    set(&mut observation.ttft_ms, || view.event_after_ms("First Token Stream Event"));
}
