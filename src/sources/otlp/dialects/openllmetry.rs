//! Traceloop OpenLLMetry. See <https://www.traceloop.com/docs/openllmetry/contributing/semantic-conventions>.

use super::{Draft, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::SpanView;

/// Names that a framework writes where a provider belongs.
const FRAMEWORKS: [&str; 5] = ["langchain", "langgraph", "llamaindex", "crewai", "haystack"];

/// Reads what differs from the general conventions, which the library follows otherwise.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let provider = attributes
        .first_text(&["gen_ai.provider.name", "gen_ai.system", "llm.vendor"])
        .filter(|name| !FRAMEWORKS.contains(&name.to_ascii_lowercase().as_str()));
    draft.provider_or(provider.or_else(|| place::of_scope(view.scope).map(str::to_owned)));
    let observation = &mut draft.observation;
    set(&mut observation.request_model, attributes.first_text(&["gen_ai.request.model", "llm.request.model"]));
    set(&mut observation.response_model, attributes.first_text(&["gen_ai.response.model", "llm.response.model"]));
    set(&mut observation.ttft_ms, view.event_after_ms("gen_ai.content.completion.chunk"));
}
