//! OpenLIT. It follows the general conventions, estimates the counts of streams without saying so, and leaves failed
//! calls of some providers without any attribute. See <https://docs.openlit.io/latest/sdk/integrations/overview>.

use super::{Draft, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::SpanView;

/// Reads what differs from the general conventions.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let provider = attributes.first_text(&["gen_ai.provider.name", "gen_ai.system"]);
    draft.provider_or(provider.or_else(|| place::of_scope(view.scope).map(str::to_owned)));
    let streaming = attributes.first_truth(&["gen_ai.request.stream", "gen_ai.request.is_stream"]);
    set(&mut draft.observation.streaming, streaming);
    draft.estimated = streaming == Some(true);
    // Its time to the first token on unary calls is the whole latency.
    if streaming == Some(true) {
        let seconds = attributes.number("gen_ai.server.time_to_first_token");
        set(&mut draft.observation.ttft_ms, seconds.and_then(super::genai::millis));
    }
}
