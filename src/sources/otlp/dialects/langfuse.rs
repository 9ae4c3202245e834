//! Langfuse and LangSmith attributes on spans of other libraries. See
//! <https://langfuse.com/integrations/native/opentelemetry> and
//! <https://docs.langchain.com/langsmith/trace-with-opentelemetry>.

use super::{Draft, set};
use crate::model::Timestamp;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::{self, Basis};

/// Reads `langfuse.observation.*` and `langsmith.*`.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    draft.provider_or(first(&["gen_ai.provider.name", "gen_ai.system", "langsmith.metadata.ls_provider"]));
    if let Some(tree) = attributes.tree("langfuse.observation.usage_details") {
        let counts = usage::from_object(&tree);
        if !counts.is_empty() {
            draft.counts.basis = Basis::Inclusive;
            draft.counts.fill(&counts);
        }
    }
    let kind = first(&["langfuse.observation.type", "langsmith.span.kind"]).map(|kind| kind.to_ascii_lowercase());
    let observation = &mut draft.observation;
    let named = first(&["gen_ai.operation.name"]).map(|name| super::operation_name(&name));
    let operation = if kind.as_deref() == Some("embedding") { "embeddings" } else { "chat" };
    set(&mut observation.operation, named.or_else(|| Some(operation.to_owned())));
    set(
        &mut observation.request_model,
        first(&["langfuse.observation.model.name", "gen_ai.request.model", "langsmith.metadata.ls_model_name"]),
    );
    let first_token = first(&["langfuse.observation.completion_start_time"]);
    let first_token = first_token.and_then(|text| Timestamp::parse(text.trim_matches('"')));
    let start = Timestamp::from_unix_nanos(view.span.start_time_unix_nano);
    if let (Some(at), Some(start)) = (first_token, start) {
        set(&mut observation.ttft_ms, Some(at.millis_since(start)).filter(|ms| *ms >= 0.0));
    }
    set(&mut observation.ttft_ms, view.event_after_ms("new_token"));
}
