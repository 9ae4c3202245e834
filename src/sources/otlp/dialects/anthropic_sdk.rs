//! The spans that Anthropic's own SDKs make wherever a global tracer provider exists (scope `com.anthropic.sdk.*`):
//! the general conventions, plus how long what was written to the cache is kept. See
//! <https://github.com/anthropics/anthropic-sdk-python>.

use super::{Draft, set};
use crate::sources::otlp::record::SpanView;

/// Reads what differs from the general conventions. The same SDK asks Bedrock and Vertex, and says so.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let named = attributes.word("gen_ai.provider.name").or_else(|| attributes.word("gen_ai.system"));
    draft.provider_or(named.or(Some("anthropic".into())));
    set(&mut draft.observation.provider_request_id, || attributes.text("anthropic.request.id"));
}
