//! TensorZero: functions, variants and models wrap `model_provider_inference`, the request to a provider. See
//! <https://www.tensorzero.com/docs/operations/export-opentelemetry-traces>.

use crate::model::Observation;
use crate::sources::otlp::attribution as tags;
use crate::sources::otlp::dialects::{Draft, set};
use crate::sources::otlp::record::SpanView;

const CALL: &str = "model_provider_inference";

/// True for a request to a provider.
pub(super) fn is_call(view: &SpanView<'_>) -> bool {
    view.span.name == CALL
}

/// True for its own layers around a request.
pub(super) fn is_wrapper(view: &SpanView<'_>) -> bool {
    ["function_", "variant_", "model_inference"].iter().any(|head| view.span.name.starts_with(head))
}

/// Reads the operation, which not every version writes.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let named = view.attributes.has("gen_ai.operation.name");
    set(&mut draft.observation.operation, || (is_call(view) && !named).then(|| "chat".to_owned()));
}

/// Takes over the tags of a function's call.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let mut keys: Vec<(&str, &str)> = view
        .attributes
        .keys()
        .filter_map(|key| {
            let name = ["tensorzero.tags.", "tags."].iter().find_map(|prefix| key.strip_prefix(prefix))?;
            (!name.starts_with("tensorzero::")).then_some((key, name))
        })
        .collect();
    keys.sort_unstable();
    for (key, name) in keys {
        if let Some(value) = view.attributes.word(key) {
            tags::take(observation, name, &value);
        }
    }
}
