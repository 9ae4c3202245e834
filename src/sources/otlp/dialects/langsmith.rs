//! LangSmith attributes (LangChain's tracer and LangSmith's SDKs over OTLP). See
//! <https://docs.langchain.com/langsmith/trace-with-opentelemetry>.

use super::{Draft, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::SpanView;

/// Reads `langsmith.*`; counts follow the general conventions.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let provider = ["gen_ai.provider.name", "gen_ai.system", "langsmith.metadata.ls_provider"]
        .iter()
        .filter_map(|key| attributes.word(key))
        .find(|name| place::platform_of(name).is_some());
    draft.provider_or(provider);
    let observation = &mut draft.observation;
    set(&mut observation.operation, || {
        let embedding = attributes.is_any("langsmith.span.kind", &["embedding"]);
        let named = attributes.word("gen_ai.operation.name").map(|name| super::operation_name(&name));
        named.or_else(|| Some(if embedding { "embeddings" } else { "chat" }.to_owned()))
    });
    set(&mut observation.request_model, || {
        attributes.first_text(&["gen_ai.request.model", "langsmith.metadata.ls_model_name"])
    });
    set(&mut observation.ttft_ms, || view.event_after_ms("new_token"));
}
