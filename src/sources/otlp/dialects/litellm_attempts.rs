//! What LiteLLM says about attempts: which of its spans never reached a provider, and how many requests to a provider
//! left no span. Retries within one deployment leave two spans whatever their number: the first failure and the last
//! attempt. See <https://docs.litellm.ai/docs/proxy/reliability>.

use super::litellm::{PROVIDER_HEADER, header, headers, provider, streaming};
use super::{Role, note_retries};
use crate::model::{Observation, Tags, platform};
use crate::sources::otlp::place;
use crate::sources::otlp::pyrepr::Tree;
use crate::sources::otlp::record::{Family, SpanView, attribute_of};

/// Shorter than any answer over a network.
const LOCAL_NANOS: u64 = 10_000_000;
/// Tag on the span around a request: attempts below it that left no span. It is not for any single call below.
const CHAIN_RETRIES: &str = "chain_retries";
/// Event of v2 on the server's span, one for each attempt.
const SELECTED: &str = "litellm.request.deployment_selected";

/// Cache hits, mocks and rejections look like calls and never reached a provider.
pub(super) fn not_a_call(view: &SpanView<'_>, hidden: &Tree<'_>) -> Option<Role> {
    let attributes = &view.attributes;
    let provider_headers = headers(hidden).iter().any(|(name, _)| name.starts_with(PROVIDER_HEADER));
    if view.is_error() {
        let by_provider = ["error.llm_provider", "litellm.provider.error.llm_provider"]
            .iter()
            .any(|key| attributes.word(key).is_some());
        let refused = !by_provider && !provider_headers && hidden.is_null_at("additional_headers");
        return refused.then_some(Role::NotACall("rejected"));
    }
    if provider_headers {
        return None;
    }
    // Google's answers come without headers: for them only the overhead tells a call that left the gateway.
    let google = matches!(
        provider(view).as_deref().and_then(place::platform_of).as_deref(),
        Some(platform::GEMINI | platform::VERTEX)
    );
    let overhead = hidden.get("litellm_overhead_time_ms").is_some();
    if attributes.first_truth(&["litellm.cache_hit", "metadata.cache_hit", "cache_hit"]) == Some(true) {
        return Some(Role::NotACall("cache_hit"));
    }
    // Versions that never keep headers (1.78, told by the lack of a call id) write the key of a miss too.
    let keeps_headers = attributes.has("litellm.call_id") || !headers(hidden).is_empty();
    let local = view.span.end_time_unix_nano.saturating_sub(view.span.start_time_unix_nano) < LOCAL_NANOS;
    if hidden.get("cache_key").is_some() && !(google && overhead) && (keeps_headers || local) {
        return Some(Role::NotACall("cache_hit"));
    }
    let routed = header(hidden, "x-litellm-attempted-retries").is_some();
    let streamed_google = google && streaming(view) == Some(true);
    (routed && !overhead && !streamed_google).then_some(Role::NotACall("mock"))
}

/// Notes the attempts between the first failure, which has a span, and this one.
pub(super) fn on_call(hidden: &Tree<'_>, tags: &mut Tags) {
    let retries: Option<u64> = header(hidden, "x-litellm-attempted-retries").and_then(|n| n.trim().parse().ok());
    note_retries(tags, retries.unwrap_or(0).saturating_sub(1));
}

/// True for a request that v2's server span shows to have ended before any deployment was chosen.
pub(super) fn is_refused(view: &SpanView<'_>) -> bool {
    let has = |name: &str| view.span.events.iter().any(|event| event.name == name);
    view.is_server()
        && view.is_error()
        && view.attributes.has_family(&[Family::LiteLlm])
        && has("litellm.request.body_received")
        && !has(SELECTED)
}

/// Notes on v2's server span how many attempts below it left no span. A model group that was asked n times has a span
/// for its first failure and one for its success.
pub(super) fn on_server(view: &SpanView<'_>, observation: &mut Observation) {
    let groups = view
        .span
        .events
        .iter()
        .filter(|event| event.name == SELECTED)
        .map(|event| attribute_of(&event.attributes, "litellm.deployment.model_group").unwrap_or_default());
    let mut attempts: Vec<(&str, u64)> = Vec::new();
    for group in groups.take(1000) {
        match attempts.iter_mut().find(|(name, _)| *name == group) {
            Some((_, n)) => *n += 1,
            None => attempts.push((group, 1)),
        }
    }
    let answered = !view.is_error() && view.attributes.count("http.status_code").is_none_or(|status| status < 400);
    let last = attempts.len().saturating_sub(1);
    let hidden = attempts.iter().enumerate().map(|(at, (_, n))| {
        let success = u64::from(answered && at == last);
        let failure = u64::from(*n > success);
        n.saturating_sub(success + failure)
    });
    let hidden: u64 = hidden.sum();
    if hidden > 0 {
        observation.tags.insert(CHAIN_RETRIES.to_owned(), hidden.to_string());
    }
}
