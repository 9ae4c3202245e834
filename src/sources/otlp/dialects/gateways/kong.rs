//! Kong AI Gateway: the general conventions on a span that Kong names `kong.gen_ai`. See
//! <https://developer.konghq.com/ai-gateway/llm-open-telemetry/>.

use crate::sources::otlp::record::{Family, SpanView};

/// True for the span of a request to a model.
pub(super) fn is_call(view: &SpanView<'_>) -> bool {
    view.span.name == "kong.gen_ai" && view.attributes.has_family(&[Family::GenAi])
}
