//! Cloudflare AI Gateway: one span for each request, the provider under `gen_ai.model.provider`, and the caller's
//! metadata as bare attributes. See <https://developers.cloudflare.com/ai-gateway/observability/otel-integration/>.

use crate::model::Observation;
use crate::sources::otlp::attribution as tags;
use crate::sources::otlp::record::SpanView;

/// True for a request: the span has no operation.
pub(super) fn is_call(view: &SpanView<'_>) -> bool {
    view.attributes.has("gen_ai.model.provider") && view.attributes.has("gen_ai.request.model")
}

/// Takes over the caller's metadata: everything whose key is one word.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let mut keys: Vec<&str> = view.attributes.keys().filter(|key| !key.contains('.')).collect();
    keys.sort_unstable();
    for key in keys {
        if let Some(value) = view.attributes.word(key) {
            tags::take(observation, key, &value);
        }
    }
}
