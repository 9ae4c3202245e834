//! Bifrost: the general conventions, one span for each attempt, plus keys, teams and customers under `gen_ai.*` and
//! `bifrost.*`. See <https://docs.getbifrost.ai/features/observability/otel>.

use crate::model::Observation;
use crate::sources::otlp::attribution as tags;
use crate::sources::otlp::dialects::{Draft, set};
use crate::sources::otlp::record::SpanView;

/// True for spans with marks that only Bifrost makes.
pub(super) fn is_span(view: &SpanView<'_>) -> bool {
    ["gen_ai.fallback_index", "gen_ai.selected_key_id"].iter().any(|key| view.attributes.has(key))
        || view.resource.is_any("service.name", &["bifrost"]) && view.attributes.has("gen_ai.provider.name")
}

/// Reads the operation, which older versions have in the span's name only.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let named = ["gen_ai.operation.name", "llm.request.type"].iter().any(|key| view.attributes.has(key));
    let operation = match view.span.name.as_str() {
        "gen_ai.chat" | "gen_ai.responses" => Some("chat"),
        "gen_ai.text" => Some("text_completion"),
        "gen_ai.embeddings" | "gen_ai.embedding" => Some("embeddings"),
        _ => None,
    };
    set(&mut draft.observation.operation, || operation.filter(|_| !named).map(str::to_owned));
}

/// Reads who asked.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let first = |keys: &[&str]| view.attributes.first_text(keys);
    set(&mut observation.principal, || {
        first(&["gen_ai.virtual_key_name", "bifrost.virtual_key.name", "gen_ai.virtual_key_id"])
    });
    set(&mut observation.team, || first(&["gen_ai.team_name", "bifrost.team.name", "gen_ai.team_id"]));
    if let Some(customer) = first(&["gen_ai.customer_name", "gen_ai.customer_id"]) {
        tags::put(&mut observation.tags, "customer", &customer);
    }
}
