//! LiteLLM's `raw_gen_ai_request`: the provider's answer, field for field, under `llm.<provider>.*`. It sits below the
//! call span, and it *is* the call where a tracing framework above LiteLLM kept that span from being made.

use super::{Draft, set};
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::Basis;
use crate::sources::otlp::usage_object;

/// Second words of keys that belong to other conventions.
const NOT_PROVIDERS: [&str; 9] =
    ["None", "", "request", "response", "usage", "token_count", "invocation_parameters", "prompts", "completions"];

/// Reads usage, model, id and provider; never messages, choices, content or output.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    draft.counts.basis = Basis::Inclusive;
    let mut mock = false;
    // Sorted, because whoever speaks first is believed and the order of attributes means nothing.
    let mut keys: Vec<&str> = attributes.keys().filter(|key| key.starts_with("llm.")).collect();
    keys.sort_unstable();
    for key in keys {
        let Some((provider, field)) = key.strip_prefix("llm.").and_then(|rest| rest.split_once('.')) else { continue };
        if !NOT_PROVIDERS.contains(&provider) && provider.len() <= 64 {
            draft.provider_or(Some(provider.into()));
        }
        let text = || attributes.text(key);
        let observation = &mut draft.observation;
        match field {
            "usage" | "usageMetadata" | "usage_metadata" => {
                if let Some(tree) = attributes.tree(key) {
                    draft.counts.fill(&usage_object::read(&tree));
                }
            }
            "id" | "responseId" => set(&mut observation.response_id, || text().filter(|id| id.len() <= 256)),
            "model" | "modelVersion" => set(&mut observation.response_model, text),
            "service_tier" => set(&mut observation.tier, || super::tier_name(&text()?)),
            "stopReason" | "stop_reason" => set(&mut observation.finish_reason, text),
            "stringified_raw_response" => mock |= attributes.raw(key) == Some("my-original-response"),
            _ => {}
        }
    }
    let tags = &mut draft.observation.tags;
    if mock {
        tags.insert("gateway_event".to_owned(), "mock".to_owned());
    } else {
        tags.insert("raw".to_owned(), "litellm".to_owned());
    }
    super::litellm::attribution(view, &mut draft.observation);
}
