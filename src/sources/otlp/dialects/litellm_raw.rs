//! LiteLLM's `raw_gen_ai_request`: the provider's answer, field for field, under `llm.<provider>.*`. It sits below the
//! call span, and it *is* the call where a tracing framework above LiteLLM kept that span from being made.

use super::{Draft, set};
use crate::model::Usage;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::{self, Basis};

/// Fields of the answer that are read, in the spellings of the providers.
const FIELDS: [&str; 9] = [
    "usage",
    "usageMetadata",
    "id",
    "responseId",
    "model",
    "modelVersion",
    "service_tier",
    "stopReason",
    "stop_reason",
];

/// Reads usage, model, id and provider; never messages, choices, content or output.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    draft.counts.basis = Basis::Inclusive;
    for key in attributes.keys() {
        let Some((provider, field)) = key.strip_prefix("llm.").and_then(|rest| rest.split_once('.')) else { continue };
        if !provider.is_empty() && provider != "None" && provider.len() <= 64 {
            draft.provider_or(Some(provider.to_owned()));
        }
        if !FIELDS.contains(&field) {
            continue;
        }
        if matches!(field, "usage" | "usageMetadata") {
            let counts = attributes.tree(key).map_or_else(Usage::default, |tree| usage::from_object(&tree));
            draft.counts.fill(&counts);
            continue;
        }
        let text = attributes.text(key);
        let observation = &mut draft.observation;
        match field {
            "id" | "responseId" => set(&mut observation.response_id, text.filter(|id| id.len() <= 256)),
            "model" | "modelVersion" => set(&mut observation.response_model, text),
            "service_tier" => set(&mut observation.tier, text.and_then(|tier| super::tier_name(&tier))),
            _ => set(&mut observation.finish_reason, text),
        }
    }
    let mock = attributes
        .keys()
        .any(|key| key.ends_with(".stringified_raw_response") && attributes.raw(key) == Some("my-original-response"));
    let tags = &mut draft.observation.tags;
    if mock {
        tags.insert("gateway_event".to_owned(), "mock".to_owned());
    } else {
        tags.insert("raw".to_owned(), "litellm".to_owned());
    }
    super::litellm::attribution(view, &mut draft.observation);
}
