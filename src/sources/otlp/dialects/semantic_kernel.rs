//! Semantic Kernel (Python and .NET) and Microsoft's Agent Framework. The general conventions with older words:
//! operations `chat.completions` and `chat.streaming_completions`, one `finish_reason` as a Python enum's text, and a URL
//! as server address. See <https://learn.microsoft.com/semantic-kernel/concepts/enterprise-readiness/observability/>.

use super::{Draft, set};
use crate::sources::otlp::record::SpanView;

/// True for scopes of these libraries.
pub(super) fn is_scope(scope: &str) -> bool {
    ["semantic_kernel", "Microsoft.SemanticKernel", "agent_framework", "Microsoft.Agents.AI"]
        .iter()
        .any(|name| scope.starts_with(name))
}

/// True for a span with operations that only these libraries name so.
pub(super) fn is_span(view: &SpanView<'_>) -> bool {
    view.attributes.word("gen_ai.operation.name").is_some_and(|name| streamed(&name).is_some())
}

/// Whether an operation's name says that the answer is streamed.
fn streamed(operation: &str) -> Option<bool> {
    match operation {
        "chat.completions" | "text.completions" => Some(false),
        "chat.streaming_completions" | "text.streaming_completions" => Some(true),
        _ => None,
    }
}

/// Reads what differs from the general conventions.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let observation = &mut draft.observation;
    set(&mut observation.streaming, || streamed(&attributes.word("gen_ai.operation.name")?));
    set(&mut observation.finish_reason, || {
        // Several choices are joined by commas.
        let reasons = attributes.text("gen_ai.response.finish_reason")?;
        let first = reasons.split(',').next()?.trim().trim_start_matches("FinishReason.");
        Some(first.to_ascii_lowercase()).filter(|reason| !reason.is_empty())
    });
    let n = |key: &str| attributes.count(key);
    let counts = &mut draft.counts.usage;
    set(&mut counts.input, || n("gen_ai.usage.input_tokens").or_else(|| n("gen_ai.response.prompt_tokens")));
    set(&mut counts.output, || n("gen_ai.usage.output_tokens").or_else(|| n("gen_ai.response.completion_tokens")));
}
