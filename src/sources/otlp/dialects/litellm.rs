//! LiteLLM proxy and SDK: the original attribute set, the one behind `OTEL_SEMCONV_STABILITY_OPT_IN`, and v2. See
//! <https://docs.litellm.ai/docs/observability/opentelemetry_integration>.
//!
//! A span is one attempt at a provider. Cache hits, mocks and requests that the gateway itself refused look alike and
//! are told apart by `hidden_params`; they never reached a provider.

use super::{Draft, Role, set};
use crate::model::{Observation, fingerprint, platform};
use crate::sources::otlp::pyrepr::Tree;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::{self, Basis};
use crate::sources::otlp::{attribution, place};

/// Name of the span that copies the provider's answer.
const RAW: &str = "raw_gen_ai_request";
/// Prefix that LiteLLM puts before the headers of a provider's answer.
const PROVIDER_HEADER: &str = "llm_provider-";

/// What the span stands for where LiteLLM's own marks tell; `None` leaves it to the general rules.
pub(super) fn role(view: &SpanView<'_>) -> Option<Role> {
    let attributes = &view.attributes;
    if view.span.name == RAW {
        return Some(Role::Raw);
    }
    let hidden = attributes.tree("hidden_params");
    if let Some(role) = hidden.as_ref().and_then(|hidden| not_a_call(view, hidden)) {
        return Some(role);
    }
    let own_name = view.scope.starts_with("litellm") && view.span.name == "litellm_request";
    // The attributes of a whole attempt on somebody else's span make that span the attempt.
    let borrowed = hidden.is_some() && attributes.has("gen_ai.operation.name");
    let named = attributes.text("gen_ai.operation.name").map(|name| name.to_ascii_lowercase());
    let call = own_name || (borrowed && named.is_some_and(|name| !name.contains("agent") && !name.contains("tool")));
    call.then_some(Role::Call)
}

/// Cache hits, mocks and rejections.
fn not_a_call(view: &SpanView<'_>, hidden: &Tree) -> Option<Role> {
    let attributes = &view.attributes;
    let provider_headers = headers(hidden).iter().any(|(name, _)| name.starts_with(PROVIDER_HEADER));
    if view.is_error() {
        let by_provider =
            attributes.first_text(&["error.llm_provider", "litellm.provider.error.llm_provider"]).is_some();
        let refused = !by_provider && !provider_headers && hidden.is_null_at("additional_headers");
        return refused.then_some(Role::NotACall("rejected"));
    }
    if provider_headers {
        return None;
    }
    // Google's answers come without headers: for them only the overhead tells a call that left the gateway.
    let google = matches!(
        provider(view).as_deref().and_then(platform::canonical).as_deref(),
        Some(platform::GEMINI | platform::VERTEX)
    );
    let overhead = hidden.get("litellm_overhead_time_ms").is_some();
    let marked_hit = attributes.first_truth(&["litellm.cache_hit", "metadata.cache_hit", "cache_hit"]) == Some(true);
    if marked_hit || (hidden.get("cache_key").is_some() && !(google && overhead)) {
        return Some(Role::NotACall("cache_hit"));
    }
    let routed = headers(hidden).iter().any(|(name, _)| name == "x-litellm-attempted-retries");
    let streamed_google = google && streaming(view) == Some(true);
    (routed && !overhead && !streamed_google).then_some(Role::NotACall("mock"))
}

fn headers(hidden: &Tree) -> &[(String, Tree)] {
    hidden.get("additional_headers").map(Tree::entries).unwrap_or_default()
}

fn header(hidden: &Tree, name: &str) -> Option<String> {
    headers(hidden).iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.scalar())
}

/// Provider in LiteLLM's spelling; `""` on some routes, then the prefix of the provider's model.
fn provider(view: &SpanView<'_>) -> Option<String> {
    view.attributes.first_text(&["gen_ai.provider.name", "gen_ai.system"]).or_else(|| {
        let model = view.attributes.text("litellm.provider.model")?;
        model.split_once('/').map(|(provider, _)| provider.to_owned())
    })
}

fn streaming(view: &SpanView<'_>) -> Option<bool> {
    view.attributes.first_truth(&["litellm.request.streaming", "gen_ai.request.stream", "llm.is_streaming"])
}

/// Model that the provider was asked for: `azure/gpt-4o` without LiteLLM's prefixes.
fn provider_model(view: &SpanView<'_>, hidden: Option<&Tree>) -> Option<String> {
    let full = view
        .attributes
        .text("litellm.provider.model")
        .or_else(|| hidden?.get("litellm_model_name").and_then(Tree::scalar))?;
    let Some((_, mut model)) = full.split_once('/') else { return Some(full) };
    for api in ["converse/", "invoke/", "converse_like/", "responses/"] {
        model = model.strip_prefix(api).unwrap_or(model);
    }
    (!model.is_empty()).then(|| model.to_owned())
}

/// Reads what LiteLLM writes in its own way; the general conventions fill the rest.
pub(super) fn read(view: &SpanView<'_>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let hidden = attributes.tree("hidden_params");
    let alias = attributes.text("litellm.model_group");
    let asked = attributes.text("gen_ai.request.model");
    draft.provider_or(provider(view));
    draft.counts.basis = Basis::Inclusive;
    draft.counts.fill(&super::genai::read_counts(view));
    if let Some(tree) = attributes.tree("metadata.usage_object") {
        draft.counts.fill(&usage::from_object(&tree));
        let tier = tree.get("service_tier").and_then(Tree::scalar);
        set(&mut draft.observation.tier, service_tier(view).or_else(|| super::tier_name(&tier?)));
    }
    if view.is_error() && draft.counts.usage.is_zero() {
        // A failed attempt reports zeros; no provider counted them.
        draft.no_counts = true;
    }
    if let Some(hidden) = &hidden {
        // Retries inside one deployment leave two spans whatever their number.
        let retries = header(hidden, "x-litellm-attempted-retries").filter(|n| n != "0");
        if let Some(retries) = retries {
            attribution::put(&mut draft.observation.tags, "attempted_retries", &retries);
        }
        draft.hosts.extend(hidden.get("api_base").and_then(Tree::scalar));
    }
    identify(view, hidden.as_ref(), draft);
    let observation = &mut draft.observation;
    set(&mut observation.streaming, streaming(view));
    // The answer's model repeats the alias that the caller used; the true one is only in the raw span.
    let answered = attributes.text("gen_ai.response.model");
    let echo = answered.is_some() && (answered == alias || answered == asked);
    if echo {
        draft.echoed_model = true;
    }
    set(&mut observation.request_model, provider_model(view, hidden.as_ref()).or(asked));
    if let Some(alias) = alias {
        attribution::put(&mut observation.tags, "litellm.model_group", &alias);
    }
    let region = hidden.as_ref().and_then(|hidden| header(hidden, "llm_provider-x-ms-region"));
    set(&mut observation.region, region.and_then(|region| place::region(&region)));
    attribution(view, observation);
}

fn service_tier(view: &SpanView<'_>) -> Option<String> {
    let keys = ["openai.response.service_tier", "gen_ai.openai.response.service_tier"];
    keys.iter().find_map(|key| super::tier_name(&view.attributes.text(key)?))
}

/// Ids: of the provider's request, of the provider's answer, and of LiteLLM's own request.
fn identify(view: &SpanView<'_>, hidden: Option<&Tree>, draft: &mut Draft) {
    let attributes = &view.attributes;
    let azure = draft.provider.as_deref().and_then(platform::canonical).as_deref() == Some(platform::AZURE_OPENAI);
    // Azure's logs know a request by `apim-request-id` only.
    let names = if azure {
        ["apim-request-id", "x-request-id", "request-id", "x-amzn-requestid"]
    } else {
        ["x-request-id", "x-amzn-requestid", "apim-request-id", "request-id"]
    };
    let observation = &mut draft.observation;
    if let Some(hidden) = hidden {
        let prefixed = names.iter().find_map(|name| header(hidden, &format!("{PROVIDER_HEADER}{name}")));
        let bare = || names.iter().find_map(|name| header(hidden, name)).filter(|_| view.is_error());
        set(&mut observation.provider_request_id, prefixed.or_else(bare).filter(|id| id.len() <= 256));
    }
    let call_id = attributes.text("litellm.call_id");
    if let Some(id) = attributes.text("gen_ai.response.id")
        && call_id.as_deref() != Some(id.as_str())
    {
        if is_rewritten(&id) {
            observation.tags.insert("gateway_response_id".to_owned(), short_id(&id));
        } else {
            set(&mut observation.response_id, Some(id));
        }
    }
    draft.response_id_decided = true;
    set(&mut observation.chain_id, call_id.clone());
    set(&mut observation.gateway_request_id, call_id);
}

/// True for ids that LiteLLM made itself: `chatcmpl-<uuid>`, and opaque long ones for Responses.
fn is_rewritten(id: &str) -> bool {
    let uuid = |text: &str| {
        text.len() == 36
            && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    };
    id.strip_prefix("chatcmpl-").is_some_and(uuid) || (id.starts_with("resp_") && id.len() > 128)
}

/// An id short enough for a tag: long ones are hashed, so that equal ones stay equal.
pub(super) fn short_id(id: &str) -> String {
    if id.len() <= 128 { id.to_owned() } else { fingerprint([id.as_bytes()]).to_string() }
}

/// Team, key, end user, session and metadata, in the spellings of all modes.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    set(
        &mut observation.principal,
        first(&[
            "metadata.user_api_key_alias",
            "litellm.metadata.user_api_key_alias",
            "litellm.api_key.alias",
            "metadata.user_api_key_hash",
            "litellm.api_key.hash",
        ]),
    );
    set(
        &mut observation.team,
        first(&[
            "metadata.user_api_key_team_alias",
            "litellm.team.alias",
            "metadata.team_alias",
            "metadata.user_api_key_team_id",
            "litellm.team.id",
            "metadata.team_id",
        ]),
    );
    set(
        &mut observation.user_id,
        first(&["metadata.user_api_key_end_user_id", "litellm.metadata.user_api_key_end_user_id", "llm.user"]),
    );
    let labels = [
        ("team_id", &["metadata.user_api_key_team_id", "litellm.team.id"][..]),
        ("org_id", &["metadata.user_api_key_org_id", "litellm.metadata.user_api_key_org_id"][..]),
        ("key_user_id", &["metadata.user_api_key_user_id", "litellm.metadata.user_api_key_user_id"][..]),
        ("project_id", &["metadata.user_api_key_project_id"][..]),
    ];
    for (name, keys) in labels {
        if let Some(value) = first(keys) {
            observation.tags.entry(name.to_owned()).or_insert_with(|| value.chars().take(256).collect());
        }
    }
    for key in ["metadata.requester_metadata", "metadata.spend_logs_metadata", "metadata.user_api_key_auth_metadata"] {
        let Some(Tree::Map(entries)) = attributes.tree(key) else { continue };
        let own = ["trace_id", "trace_user_id", "headers", "used_client_oauth_token", "generation_id", "trace_name"];
        let kept = entries.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
        attribution::take_tree(observation, &Tree::Map(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_ids_from_those_of_providers() {
        assert!(is_rewritten("chatcmpl-0c8acf41-773b-41d3-b72f-cb57b5e3b2e2"));
        assert!(is_rewritten(&format!("resp_{}", "a".repeat(300))));
        for id in ["chatcmpl-AbC123", "resp_68a1", "msg_01", "chatcmpl-", "chatcmpl-é"] {
            assert!(!is_rewritten(id), "{id}");
        }
        assert_eq!(short_id(&"a".repeat(300)).len(), 32);
    }
}
