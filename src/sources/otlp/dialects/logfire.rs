//! Pydantic AI and Logfire. See <https://ai.pydantic.dev/logfire/> and <https://logfire.pydantic.dev/docs/>.

use super::{Draft, Role};
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage;

/// Reads what differs from the general conventions: the usage object of the OpenAI integration, as JSON.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    if let Some(tree) = view.attributes.tree("gen_ai.usage.raw") {
        // Attributes are primary; this fills the details that they lack.
        let own = super::genai::read_counts(view);
        draft.counts.fill(&own);
        draft.counts.fill(&usage::from_object(&tree));
    }
}

/// Log spans, open spans and totals of agents.
pub(super) fn role(view: &SpanView<'_>) -> Option<Role> {
    let attributes = &view.attributes;
    match attributes.text("logfire.span_type").as_deref() {
        Some("pending_span") => return Some(Role::Pending),
        Some("log") => {
            let usage = attributes.has_prefix(&["gen_ai.usage."]);
            return Some(if usage { Role::UsageForParent } else { Role::Context });
        }
        _ => {}
    }
    // Agent runs of older versions carry totals under the plain keys and no operation.
    let agent = view.scope.starts_with("pydantic") && !attributes.has("gen_ai.operation.name");
    agent.then_some(Role::Context)
}
