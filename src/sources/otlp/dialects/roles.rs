//! Which spans are calls. A call is one attempt at a provider; agents, workflows, tools, steps, echoes and service
//! spans never are, even where they repeat the token counts of the calls inside them.

use std::borrow::Cow;

use super::{Dialect, gateways, litellm, logfire, openlit, spring_ai, vercel};
use crate::sources::otlp::record::{Family, SpanView};

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources::otlp) enum Role {
    /// One attempt at a provider.
    Call,
    /// A span around calls.
    Context,
    /// LiteLLM's copy of a provider's answer: the call itself only where nothing above it speaks.
    Raw,
    /// A log span that carries the token counts of the call it belongs to.
    UsageForParent,
    /// It looks like a call and never reached a provider: `cache_hit`, `mock`, `rejected`.
    NotACall(&'static str),
    /// A second export of a span that is still open.
    Pending,
}

/// Operations that wrap calls or stand beside them.
const NEVER: [&str; 14] = [
    "invoke_agent",
    "create_agent",
    "invoke_workflow",
    "agent_step",
    "execute_tool",
    "execute_task",
    "plan",
    "retrieval",
    "framework",
    "handoff",
    "guardrail",
    "execute_event_loop_cycle",
    "evaluate",
    "call_mcp_tool",
];

/// Canonical operations that are one request to a provider.
const CALLS: [&str; 9] =
    ["chat", "text_completion", "embeddings", "rerank", "image", "transcription", "speech", "moderation", "realtime"];

/// Keys that count tokens.
const TOKEN_KEYS: [&str; 17] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.usage.prompt_tokens",
    "llm.usage.completion_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.prompt",
    "llm.token_count.completion",
    "llm.token_count.total",
    "ai.usage.inputTokens",
    "ai.usage.outputTokens",
    "ai.usage.promptTokens",
    "ai.usage.completionTokens",
    "ai.usage.tokens",
    "gen_ai.usage.total_tokens",
    "gen_ai.usage.raw",
];

/// Attributes that say what a span is, and their values for a call.
const KINDS: [(&str, &[&str]); 3] = [
    ("openinference.span.kind", &["llm", "embedding", "reranker"]),
    ("langfuse.observation.type", &["generation", "embedding"]),
    ("langsmith.span.kind", &["llm", "embedding"]),
];

/// Tells what a span of a dialect stands for.
pub(in crate::sources::otlp) fn classify(dialect: Dialect, view: &SpanView<'_>) -> Role {
    let attributes = &view.attributes;
    let counted = attributes.has_family(&[Family::GenAi, Family::Llm, Family::Ai]);
    let tokens = counted && TOKEN_KEYS.iter().any(|key| attributes.has(key));
    let special = match dialect {
        Dialect::LiteLlm => litellm::role(view, tokens),
        Dialect::Logfire | Dialect::Generic => logfire::role(view),
        Dialect::Gateway(gateway) => gateway.role(view),
        _ => None,
    };
    if let Some(role) = special {
        return role;
    }
    let operation = attributes.word("gen_ai.operation.name").map(|name| {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { name }
    });
    if never(view, operation.as_deref()) {
        return Role::Context;
    }
    if view.is_server() && !tokens && !(dialect.gateway().is_some() && operation.is_some()) {
        return Role::Context;
    }
    if let Some((key, calls)) = KINDS.iter().find(|(key, _)| attributes.word(key).is_some()) {
        return if attributes.is_any(key, calls) { Role::Call } else { Role::Context };
    }
    if let Some(id) = attributes.word("ai.operationId") {
        return if vercel::CALLS.iter().any(|end| id.ends_with(end)) { Role::Call } else { Role::Context };
    }
    let by_dialect = match dialect {
        // A stream's span carries neither operation nor tokens, those sit on its log span.
        Dialect::Logfire => view.scope.starts_with("logfire") && attributes.has("gen_ai.request.model"),
        Dialect::OpenLit => openlit::is_bare_failure(view),
        _ => false,
    };
    // A word that no convention lists, without model and tokens, is somebody's own step.
    let asks = operation.as_deref().is_some_and(|name| {
        CALLS.contains(&name)
            || attributes.has("gen_ai.request.model")
            || CALLS.contains(&super::operation_name(name).as_str())
    });
    let marked = asks || tokens || attributes.has("llm.request.type");
    if by_dialect || marked { Role::Call } else { Role::Context }
}

fn never(view: &SpanView<'_>, operation: Option<&str>) -> bool {
    let attributes = &view.attributes;
    let by_operation = operation.is_some_and(|name| NEVER.contains(&name) || name.ends_with("_memory"));
    by_operation
        || attributes.is_any("traceloop.span.kind", &["workflow", "task", "agent", "tool"])
        || attributes.has_prefix(Family::GenAi, &["gen_ai.aggregated_usage."])
        || spring_ai::is_wrapper(view)
        || gateways::is_wrapper(view)
}
