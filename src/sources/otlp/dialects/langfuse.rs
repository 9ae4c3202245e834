//! Langfuse: its SDK's spans, and its attributes on spans of other libraries. See
//! <https://langfuse.com/integrations/native/opentelemetry>.

use super::{Draft, set};
use crate::model::Timestamp;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::Basis;
use crate::sources::otlp::usage_object;

/// Reads `langfuse.observation.*`.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    if let Some(tree) = attributes.tree("langfuse.observation.usage_details") {
        let counts = usage_object::read(&tree);
        if !counts.is_empty() {
            draft.counts.basis = Basis::Inclusive;
            draft.counts.fill(&counts);
        }
    }
    let observation = &mut draft.observation;
    set(&mut observation.operation, || {
        let embedding = attributes.is_any("langfuse.observation.type", &["embedding"]);
        let named = attributes.word("gen_ai.operation.name").map(|name| super::operation_name(&name));
        named.or_else(|| Some(if embedding { "embeddings" } else { "chat" }.to_owned()))
    });
    set(&mut observation.request_model, || attributes.text("langfuse.observation.model.name"));
    set(&mut observation.ttft_ms, || {
        // Some versions write JSON text, with quotes.
        let at = Timestamp::parse(attributes.word("langfuse.observation.completion_start_time")?.trim_matches('"'))?;
        let start = Timestamp::from_unix_nanos(view.span.start_time_unix_nano)?;
        Some(at.millis_since(start)).filter(|ms| *ms >= 0.0)
    });
}

/// True where Langfuse calls the observation failed; its spans leave the status unset.
pub(in crate::sources::otlp) fn is_error(view: &SpanView<'_>) -> bool {
    view.attributes.is_any("langfuse.observation.level", &["ERROR"])
}
