//! Traceloop OpenLLMetry. See <https://www.traceloop.com/docs/openllmetry/contributing/semantic-conventions>.

use super::{Draft, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::SpanView;

/// Reads what differs from the general conventions, which the library follows otherwise.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    // A framework's instrumentation writes the framework's name where the provider belongs.
    let provider = ["gen_ai.provider.name", "gen_ai.system", "llm.vendor"]
        .iter()
        .filter_map(|key| attributes.word(key))
        .find(|name| place::platform_of(name).is_some());
    draft.provider_or(provider.or_else(|| place::of_scope(view.scope).map(Into::into)));
    let observation = &mut draft.observation;
    set(&mut observation.request_model, || attributes.first_text(&["gen_ai.request.model", "llm.request.model"]));
    set(&mut observation.response_model, || attributes.first_text(&["gen_ai.response.model", "llm.response.model"]));
    set(&mut observation.ttft_ms, || view.event_after_ms("gen_ai.content.completion.chunk"));
}
