//! Gateways other than LiteLLM. They mostly follow the general conventions or OpenInference; each file says what tells
//! one and what it writes in its own way. A gateway speaks of a call only with marks of a call: its plain proxy spans
//! are like anybody else's.

mod agentgateway;
mod bifrost;
mod cloudflare;
mod kong;
mod tensorzero;

use super::{Draft, Role, openinference};
use crate::model::Observation;
use crate::sources::otlp::record::{Family, SpanView};

/// A gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources::otlp) enum Gateway {
    /// agentgateway.
    Agentgateway,
    /// Apache APISIX.
    Apisix,
    /// Maxim Bifrost.
    Bifrost,
    /// Cloudflare AI Gateway.
    Cloudflare,
    /// Envoy AI Gateway.
    Envoy,
    /// Kong AI Gateway.
    Kong,
    /// Portkey Enterprise.
    Portkey,
    /// TensorZero.
    TensorZero,
    /// Traceloop Hub.
    TraceloopHub,
}

/// Words of a scope name, and the gateway that they mean.
const SCOPES: [(&str, Gateway); 11] = [
    ("traceloop_hub", Gateway::TraceloopHub),
    ("traceloop-hub", Gateway::TraceloopHub),
    ("ai-gateway", Gateway::Envoy),
    ("envoy", Gateway::Envoy),
    ("agentgateway", Gateway::Agentgateway),
    ("kong", Gateway::Kong),
    ("bifrost", Gateway::Bifrost),
    ("tensorzero", Gateway::TensorZero),
    ("portkey", Gateway::Portkey),
    ("cloudflare", Gateway::Cloudflare),
    ("apisix", Gateway::Apisix),
];

/// Keys under which gateways say that they answered from their own cache.
const CACHE_KEYS: [&str; 7] = [
    "cache_hit",
    "gen_ai.cache.hit",
    "gen_ai.response.cached",
    "gen_ai.cache.status",
    "ai.cache.status",
    "cf-aig-cache-status",
    "cache_status",
];

impl Gateway {
    /// The observation's `dialect`.
    pub(super) const fn dialect(self) -> &'static str {
        match self {
            Self::Agentgateway => "otlp.agentgateway",
            Self::Apisix => "otlp.apisix",
            Self::Bifrost => "otlp.bifrost",
            Self::Cloudflare => "otlp.cloudflare",
            Self::Envoy => "otlp.envoy",
            Self::Kong => "otlp.kong",
            Self::Portkey => "otlp.portkey",
            Self::TensorZero => "otlp.tensorzero",
            Self::TraceloopHub => "otlp.traceloop_hub",
        }
    }

    /// Its name in `gateway`.
    pub(super) fn name(self) -> &'static str {
        self.dialect().trim_start_matches("otlp.")
    }

    /// The gateway that a scope name means, where the span has to do with LLMs.
    pub(super) fn by_scope(view: &SpanView<'_>) -> Option<Self> {
        let gateway = SCOPES.iter().find(|(word, _)| has_word(view.scope, word)).map(|(_, gateway)| *gateway)?;
        let marks = [Family::GenAi, Family::Llm, Family::OpenInference, Family::TensorZero, Family::AgentGateway];
        let named = kong::is_call(view) || tensorzero::is_call(view) || tensorzero::is_wrapper(view);
        (view.attributes.has_family(&marks) || named).then_some(gateway)
    }

    /// The gateway that attributes or the span's name mean.
    pub(super) fn by_attributes(view: &SpanView<'_>) -> Option<Self> {
        let attributes = &view.attributes;
        if attributes.has_family(&[Family::TensorZero]) {
            Some(Self::TensorZero)
        } else if attributes.has_family(&[Family::AgentGateway]) {
            Some(Self::Agentgateway)
        } else if kong::is_call(view) {
            Some(Self::Kong)
        } else if attributes.has("gen_ai.model.provider") {
            Some(Self::Cloudflare)
        } else if bifrost::is_span(view) {
            Some(Self::Bifrost)
        } else {
            None
        }
    }

    /// What the span stands for where the gateway's own marks tell; `None` leaves it to the general rules.
    pub(super) fn role(self, view: &SpanView<'_>) -> Option<Role> {
        if is_cache_hit(view) {
            return Some(Role::NotACall("cache_hit"));
        }
        match self {
            Self::Agentgateway if agentgateway::is_refused(view) => Some(Role::NotACall("rejected")),
            Self::TensorZero if tensorzero::is_wrapper(view) => Some(Role::Context),
            Self::TensorZero if tensorzero::is_call(view) => Some(Role::Call),
            Self::Kong if kong::is_call(view) => Some(Role::Call),
            Self::Cloudflare if cloudflare::is_call(view) => Some(Role::Call),
            _ => None,
        }
    }

    /// Reads what differs from the general conventions.
    pub(super) fn read<'a>(self, view: &SpanView<'a>, draft: &mut Draft<'a>) {
        let attributes = &view.attributes;
        if attributes.has("openinference.span.kind") || attributes.has_prefix(Family::Llm, &["llm.token_count."]) {
            openinference::read(view, draft);
        }
        match self {
            Self::Agentgateway => agentgateway::read(view, draft),
            Self::Bifrost => bifrost::read(view, draft),
            Self::TensorZero => tensorzero::read(view, draft),
            _ => {}
        }
        self.attribution(view, &mut draft.observation);
    }

    /// Reads who asked, also on spans that are no calls.
    pub(super) fn attribution(self, view: &SpanView<'_>, observation: &mut Observation) {
        match self {
            Self::Agentgateway => agentgateway::attribution(view, observation),
            Self::Bifrost => bifrost::attribution(view, observation),
            Self::Cloudflare => cloudflare::attribution(view, observation),
            Self::TensorZero => tensorzero::attribution(view, observation),
            _ => {}
        }
    }
}

/// True for a gateway's own layers around an attempt, also where nothing else tells the gateway.
pub(super) fn is_wrapper(view: &SpanView<'_>) -> bool {
    matches!(view.span.name.as_str(), "function_inference" | "variant_inference" | "model_inference")
}

/// True where the scope has the word as a segment of its own: `kong` is not in `hongkong`.
fn has_word(scope: &str, word: &str) -> bool {
    let scope = scope.to_ascii_lowercase();
    scope.match_indices(word).any(|(at, _)| {
        let before = scope.get(..at).and_then(|head| head.chars().next_back());
        let after = scope.get(at + word.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// True where a gateway says that it answered by itself.
fn is_cache_hit(view: &SpanView<'_>) -> bool {
    CACHE_KEYS.iter().any(|key| {
        view.attributes.truth(key) == Some(true) || view.attributes.is_any(key, &["hit", "semantic_hit", "simple_hit"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_name_a_gateway_by_whole_words() {
        for (scope, word) in
            [("kong-internal", "kong"), ("envoyproxy/ai-gateway", "ai-gateway"), ("Bifrost", "bifrost")]
        {
            assert!(has_word(scope, word), "{scope}");
        }
        for (scope, word) in [("com.hongkong.app", "kong"), ("envoyproxy", "envoy"), ("", "kong")] {
            assert!(!has_word(scope, word), "{scope}");
        }
    }
}
