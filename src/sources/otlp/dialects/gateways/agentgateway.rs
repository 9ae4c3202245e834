//! agentgateway: the general conventions on its request span, plus `agw.*`. See
//! <https://agentgateway.dev/docs/standalone/latest/llm/observability/>.

use crate::model::Observation;
use crate::sources::otlp::dialects::{Draft, genai, set};
use crate::sources::otlp::record::SpanView;

/// True where it refused the request itself (authentication, limits, guardrails): then there is no endpoint.
pub(super) fn is_refused(view: &SpanView<'_>) -> bool {
    let attributes = &view.attributes;
    let failed =
        attributes.first_count(&["http.status", "http.response.status_code"]).is_some_and(|status| status >= 400);
    failed && attributes.has("reason") && !attributes.has("endpoint")
}

/// Reads latency, the model that the caller named, and the host.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let observation = &mut draft.observation;
    set(&mut observation.ttft_ms, || genai::millis(attributes.number("agw.ai.time_to_first_token")?));
    draft.hosts.extend(attributes.word("endpoint"));
}

/// Reads who asked.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let first = |keys: &[&str]| view.attributes.first_text(keys);
    set(&mut observation.user_id, || first(&["agentgateway.user", "agw.user"]));
    set(&mut observation.team, || first(&["agentgateway.group", "agw.group"]));
}
