//! Pydantic AI and Logfire. See <https://ai.pydantic.dev/logfire/> and <https://logfire.pydantic.dev/docs/>.

use super::{Draft, Role};
use crate::sources::otlp::record::{Family, SpanView};
use crate::sources::otlp::usage_object;

/// Reads what differs from the general conventions: the usage object of the OpenAI integration, as JSON.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    if let Some(tree) = view.attributes.tree("gen_ai.usage.raw") {
        // Attributes are primary; this fills the details that they lack.
        let own = super::genai::read_counts(view);
        draft.counts.fill(&own);
        draft.counts.fill(&usage_object::read(&tree));
    }
}

/// Log spans, open spans and totals of agents.
pub(super) fn role(view: &SpanView<'_>) -> Option<Role> {
    let attributes = &view.attributes;
    if attributes.is_any("logfire.span_type", &["pending_span"]) || attributes.has("logfire.pending_parent_id") {
        return Some(Role::Pending);
    }
    if attributes.is_any("logfire.span_type", &["log"]) {
        let usage = attributes.has_prefix(Family::GenAi, &["gen_ai.usage."]);
        return Some(if usage { Role::UsageForParent } else { Role::Context });
    }
    // Agent runs of older versions carry totals under the plain keys and no operation.
    let agent = view.scope.starts_with("pydantic") && !attributes.has("gen_ai.operation.name");
    agent.then_some(Role::Context)
}
