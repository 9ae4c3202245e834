//! OpenLIT. It follows the general conventions, estimates the counts of streams without saying so, and leaves failed
//! calls of some providers without any attribute. See <https://docs.openlit.io/latest/sdk/integrations/overview>.

use super::{Draft, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::{Family, SpanView};

/// True for a failed span without any attribute of a call: some of its integrations lose them when they fail. Only
/// integrations of providers make such spans, those of frameworks and stores stand for something else.
pub(super) fn is_bare_failure(view: &SpanView<'_>) -> bool {
    let plain = !view.attributes.has_family(&[Family::Transport, Family::GenAi]);
    view.is_client() && view.is_error() && plain && place::of_scope(view.scope).is_some()
}

/// Reads what differs from the general conventions.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let provider = attributes.word("gen_ai.provider.name").or_else(|| attributes.word("gen_ai.system"));
    draft.provider_or(provider.or_else(|| place::of_scope(view.scope).map(Into::into)));
    let streaming = attributes.first_truth(&["gen_ai.request.stream", "gen_ai.request.is_stream"]);
    set(&mut draft.observation.streaming, || streaming);
    draft.estimated = streaming == Some(true);
    // Its time to the first token on unary calls is the whole latency.
    if streaming == Some(true) {
        let seconds = ["gen_ai.server.time_to_first_token", "gen_ai.server.ttft"];
        let seconds = seconds.iter().find_map(|key| attributes.number(key));
        set(&mut draft.observation.ttft_ms, || seconds.and_then(super::genai::millis));
    }
}
