//! Gateways other than LiteLLM. They mostly follow the general conventions or OpenInference; here is what tells them
//! apart and what each writes in its own way.

use super::{Draft, openinference, set};
use crate::sources::otlp::record::SpanView;

/// Words in a scope name, and the gateway that they mean.
const SCOPES: [(&str, &str); 10] = [
    ("traceloop_hub", "traceloop_hub"),
    ("ai-gateway", "envoy"),
    ("envoy", "envoy"),
    ("agentgateway", "agentgateway"),
    ("kong", "kong"),
    ("bifrost", "bifrost"),
    ("tensorzero", "tensorzero"),
    ("portkey", "portkey"),
    ("cloudflare", "cloudflare"),
    ("apisix", "apisix"),
];

/// The gateway that a scope name means.
pub(super) fn by_scope(scope: &str) -> Option<&'static str> {
    let scope = scope.to_ascii_lowercase();
    SCOPES.iter().find(|(word, _)| scope.contains(word)).map(|(_, name)| *name)
}

/// The gateway that attributes or the span's name mean.
pub(super) fn by_attributes(view: &SpanView<'_>) -> Option<&'static str> {
    let attributes = &view.attributes;
    if attributes.has_prefix(&["tensorzero."]) {
        Some("tensorzero")
    } else if attributes.has_prefix(&["agw.", "agentgateway."]) {
        Some("agentgateway")
    } else if view.span.name == "kong.gen_ai" {
        Some("kong")
    } else if attributes.has("gen_ai.model.provider") {
        Some("cloudflare")
    } else {
        None
    }
}

/// True for spans that stand for a call by their name alone.
pub(super) fn is_call(view: &SpanView<'_>) -> bool {
    let name = view.span.name.as_str();
    matches!(name, "kong.gen_ai" | "model_provider_inference")
        || (view.attributes.has("gen_ai.model.provider") && view.attributes.has("gen_ai.request.model"))
}

/// True for a gateway's own layers around the attempt.
pub(super) fn is_wrapper(view: &SpanView<'_>) -> bool {
    let tensorzero = ["function_", "variant_", "model_inference"];
    view.attributes.has_prefix(&["tensorzero."]) && tensorzero.iter().any(|head| view.span.name.starts_with(head))
        || matches!(view.span.name.as_str(), "function_inference" | "variant_inference" | "model_inference")
}

/// Reads what differs from the general conventions.
pub(super) fn read(name: &str, view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    if attributes.has("openinference.span.kind") || attributes.has_prefix(&["llm.token_count."]) {
        openinference::read(view, draft);
    }
    if name == "agentgateway" {
        let ttft = attributes.number("agw.ai.time_to_first_token");
        set(&mut draft.observation.ttft_ms, ttft.and_then(super::genai::millis));
        set(&mut draft.observation.user_id, attributes.first_text(&["agentgateway.user", "agw.user"]));
        set(&mut draft.observation.team, attributes.first_text(&["agentgateway.group", "agw.group"]));
        draft.hosts.extend(attributes.text("endpoint"));
    }
    let operation = match view.span.name.as_str() {
        "gen_ai.chat" => Some("chat"),
        "gen_ai.embeddings" | "gen_ai.embedding" => Some("embeddings"),
        "model_provider_inference" => Some("chat"),
        _ => None,
    };
    let named = attributes.first_text(&["gen_ai.operation.name", "llm.request.type"]);
    if named.is_none() {
        set(&mut draft.observation.operation, operation.map(str::to_owned));
    }
}
