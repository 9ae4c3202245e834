//! LiteLLM proxy and SDK: the original attribute set, the one behind `OTEL_SEMCONV_STABILITY_OPT_IN`, and v2. See
//! <https://docs.litellm.ai/docs/observability/opentelemetry_integration>.
//!
//! A span is one attempt at a provider. Cache hits, mocks and requests that the gateway itself refused look alike and
//! are told apart by `hidden_params`; they never reached a provider.

use std::borrow::Cow;

use super::{Draft, Role, litellm_attempts, set};
use crate::model::platform::{ANTHROPIC, AZURE_INFERENCE, AZURE_OPENAI, BEDROCK};
use crate::model::{Observation, fingerprint};
use crate::sources::otlp::pyrepr::Tree;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::Basis;
use crate::sources::otlp::{attribution, place, usage_object};

/// Name of the span that copies the provider's answer.
const RAW: &str = "raw_gen_ai_request";
/// Prefix that LiteLLM puts before the headers of a provider's answer.
pub(super) const PROVIDER_HEADER: &str = "llm_provider-";

/// Words in the names of functions that manage things and ask no model.
const MANAGEMENT: [&str; 12] = [
    "file",
    "batch",
    "fine_tuning",
    "vector_store",
    "assistant",
    "thread",
    "mcp",
    "count_tokens",
    "list_",
    "retrieve",
    "delete_",
    "get_responses",
];

/// What the span stands for where LiteLLM's own marks tell; `None` leaves it to the general rules.
pub(super) fn role(view: &SpanView<'_>, tokens: bool) -> Option<Role> {
    let attributes = &view.attributes;
    if view.span.name == RAW {
        return Some(Role::Raw);
    }
    let hidden = view.hidden_params();
    if let Some(role) = hidden.and_then(|hidden| litellm_attempts::not_a_call(view, hidden)) {
        return Some(role);
    }
    if litellm_attempts::is_refused(view) {
        return Some(Role::NotACall("rejected"));
    }
    if !tokens {
        let named = attributes.word("gen_ai.operation.name").or_else(|| attributes.word("llm.request.type"));
        if named.is_some_and(|name| MANAGEMENT.iter().any(|word| name.contains(word))) {
            return Some(Role::Context);
        }
    }
    let own_name = view.scope.starts_with("litellm") && view.span.name == "litellm_request";
    // The attributes of a whole attempt on somebody else's span make that span the attempt.
    let borrowed = hidden.is_some()
        && attributes
            .word("gen_ai.operation.name")
            .is_some_and(|name| !name.contains("agent") && !name.contains("tool"));
    (own_name || borrowed).then_some(Role::Call)
}

/// Headers of the provider's answer and of the gateway's own.
pub(super) fn headers<'t, 'a>(hidden: &'t Tree<'a>) -> &'t [(Cow<'a, str>, Tree<'a>)] {
    hidden.get("additional_headers").map(Tree::entries).unwrap_or_default()
}

/// One header, whatever its case.
pub(super) fn header<'t>(hidden: &'t Tree<'_>, name: &str) -> Option<&'t str> {
    headers(hidden).iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.scalar())
}

/// Provider in LiteLLM's spelling; `""` on some routes, then the prefix of the provider's model.
pub(super) fn provider<'a>(view: &SpanView<'a>) -> Option<Cow<'a, str>> {
    let attributes = &view.attributes;
    attributes.word("gen_ai.provider.name").or_else(|| attributes.word("gen_ai.system")).or_else(|| {
        let (provider, _) = attributes.raw("litellm.provider.model")?.split_once('/')?;
        (provider.len() <= 64).then_some(Cow::Borrowed(provider))
    })
}

/// Whether the answer was streamed.
pub(super) fn streaming(view: &SpanView<'_>) -> Option<bool> {
    view.attributes.first_truth(&["litellm.request.streaming", "gen_ai.request.stream", "llm.is_streaming"])
}

/// Model that the provider was asked for, and the region that LiteLLM's name for it holds: `azure/gpt-4o` and
/// `bedrock/eu-west-1/anthropic.claude-v2` without their prefixes.
fn provider_model(view: &SpanView<'_>) -> (Option<String>, Option<String>) {
    let full = view.attributes.word("litellm.provider.model").or_else(|| {
        let name = view.hidden_params()?.get("litellm_model_name")?.scalar()?;
        Some(Cow::Owned(name.to_owned()))
    });
    let Some(full) = full else { return (None, None) };
    let Some((provider, mut model)) = full.split_once('/') else { return (Some(full.into_owned()), None) };
    let mut region = None;
    if provider.starts_with("bedrock") {
        for api in ["converse/", "invoke/", "converse_like/"] {
            model = model.strip_prefix(api).unwrap_or(model);
        }
        if let Some((place, rest)) = model.split_once('/').filter(|(place, _)| place::is_aws_region(place)) {
            region = Some(place.to_owned());
            model = rest;
        }
    }
    model = model.strip_prefix("responses/").unwrap_or(model);
    ((!model.is_empty()).then(|| model.to_owned()), region)
}

/// Reads what LiteLLM writes in its own way; the general conventions fill the rest.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let hidden = view.hidden_params();
    draft.provider_or(provider(view));
    draft.counts.basis = Basis::Inclusive;
    draft.counts.fill(&super::genai::read_counts(view));
    if let Some(tree) = attributes.tree("metadata.usage_object") {
        draft.counts.fill(&usage_object::read(&tree));
        let observed = || super::tier_name(tree.get("service_tier")?.scalar()?);
        set(&mut draft.observation.tier, || service_tier(view).or_else(observed));
    }
    if view.is_error() && draft.counts.usage.is_zero() {
        // A failed attempt reports zeros; no provider counted them.
        draft.no_counts = true;
    }
    if let Some(hidden) = hidden {
        litellm_attempts::on_call(hidden, &mut draft.observation.tags);
        let base = hidden.get("api_base").and_then(Tree::scalar);
        draft.hosts.extend(base.map(|base| Cow::Owned(base.to_owned())));
    }
    identify(view, hidden, draft);
    // The answer's model repeats the alias that the caller used; the true one is only in the raw span.
    let (alias, asked) = (attributes.word("litellm.model_group"), attributes.word("gen_ai.request.model"));
    let answered = attributes.word("gen_ai.response.model");
    draft.echoed_model |= answered.is_some() && (answered == alias || answered == asked);
    let observation = &mut draft.observation;
    set(&mut observation.streaming, || streaming(view));
    let (model, region) = provider_model(view);
    set(&mut observation.region, || region);
    set(&mut observation.request_model, || model.or_else(|| asked.map(Cow::into_owned)));
    if let Some(alias) = alias {
        observation.tags.insert("litellm.model_group".to_owned(), alias.chars().take(256).collect());
    }
    set(&mut observation.region, || place::region(header(hidden?, "llm_provider-x-ms-region")?));
    attribution(view, observation);
}

fn service_tier(view: &SpanView<'_>) -> Option<String> {
    let keys = ["openai.response.service_tier", "gen_ai.openai.response.service_tier"];
    keys.iter().find_map(|key| super::tier_name(&view.attributes.word(key)?))
}

/// Ids: of the provider's request, of the provider's answer, and of LiteLLM's own request.
fn identify(view: &SpanView<'_>, hidden: Option<&Tree<'_>>, draft: &mut Draft<'_>) {
    let attributes = &view.attributes;
    // The header that the platform's own log knows goes first.
    let names = match draft.provider.as_deref().and_then(place::platform_of).as_deref() {
        Some(AZURE_OPENAI | AZURE_INFERENCE) => ["apim-request-id", "x-request-id", "request-id", "x-amzn-requestid"],
        Some(BEDROCK) => ["x-amzn-requestid", "x-request-id", "request-id", "apim-request-id"],
        Some(ANTHROPIC) => ["request-id", "x-request-id", "x-amzn-requestid", "apim-request-id"],
        _ => ["x-request-id", "x-amzn-requestid", "apim-request-id", "request-id"],
    };
    let observation = &mut draft.observation;
    set(&mut observation.provider_request_id, || {
        let hidden = hidden?;
        let prefixed = names.iter().find_map(|name| {
            let is_it = |key: &str| key.strip_prefix(PROVIDER_HEADER).is_some_and(|key| key.eq_ignore_ascii_case(name));
            headers(hidden).iter().find(|(key, _)| is_it(key)).and_then(|(_, value)| value.scalar())
        });
        // Failed attempts keep the provider's headers under their own names.
        let bare = || names.iter().find_map(|name| header(hidden, name)).filter(|_| view.is_error());
        prefixed.or_else(bare).filter(|id| id.len() <= 256).map(str::to_owned)
    });
    let call_id = attributes.text("litellm.call_id");
    if let Some(id) = attributes.raw("gen_ai.response.id").map(str::trim).filter(|id| !id.is_empty())
        && call_id.as_deref() != Some(id)
        && !(view.is_error() && is_uuid(id))
    {
        if is_rewritten(id) {
            observation.tags.insert("gateway_response_id".to_owned(), short_id(id));
        } else {
            set(&mut observation.response_id, || attributes.text("gen_ai.response.id"));
        }
    }
    draft.response_id_decided = true;
    set(&mut observation.chain_id, || call_id.clone());
    set(&mut observation.gateway_request_id, || call_id);
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// True for ids that LiteLLM made itself: `chatcmpl-<uuid>`, and opaque long ones for Responses.
fn is_rewritten(id: &str) -> bool {
    id.strip_prefix("chatcmpl-").is_some_and(is_uuid) || (id.starts_with("resp_") && id.len() > 128)
}

/// An id short enough for a tag: long ones are hashed, so that equal ones stay equal.
fn short_id(id: &str) -> String {
    if id.len() <= 128 { id.to_owned() } else { fingerprint([id.as_bytes()]).to_string() }
}

/// Team, key, end user, session and metadata, in the spellings of all modes.
pub(super) fn attribution(view: &SpanView<'_>, observation: &mut Observation) {
    let attributes = &view.attributes;
    let first = |keys: &[&str]| attributes.first_text(keys);
    set(&mut observation.principal, || {
        first(&[
            "metadata.user_api_key_alias",
            "litellm.metadata.user_api_key_alias",
            "litellm.api_key.alias",
            "metadata.user_api_key_hash",
            "litellm.api_key.hash",
        ])
    });
    set(&mut observation.team, || {
        first(&[
            "metadata.user_api_key_team_alias",
            "litellm.team.alias",
            "metadata.team_alias",
            "metadata.user_api_key_team_id",
            "litellm.team.id",
            "metadata.team_id",
        ])
    });
    set(&mut observation.user_id, || {
        first(&["metadata.user_api_key_end_user_id", "litellm.metadata.user_api_key_end_user_id", "llm.user"])
    });
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
        let kept = entries.into_iter().filter(|(name, _)| !own.contains(&&**name)).collect();
        attribution::take_tree(observation, &Tree::Map(kept));
    }
    for key in ["metadata.tags", "metadata.request_tags"] {
        attributes.items(key, 32).iter().for_each(|label| attribution::take_label(observation, label));
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
