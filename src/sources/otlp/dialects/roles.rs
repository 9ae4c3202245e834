//! Which spans are calls. A call is one attempt at a provider; agents, workflows, tools, steps, echoes and service
//! spans never are, even where they repeat the token counts of the calls inside them.

use super::{Dialect, gateways, litellm, logfire};
use crate::sources::otlp::record::SpanView;

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
const NEVER: [&str; 12] = [
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
];

/// Canonical operations that are one request to a provider.
const CALLS: [&str; 8] =
    ["chat", "text_completion", "embeddings", "rerank", "image", "transcription", "speech", "moderation"];

/// Keys that count tokens.
const TOKEN_KEYS: [&str; 15] = [
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
];

/// Tells what a span of a dialect stands for.
pub(in crate::sources::otlp) fn classify(dialect: Dialect, view: &SpanView<'_>) -> Role {
    let attributes = &view.attributes;
    let special = match dialect {
        Dialect::LiteLlm => litellm::role(view),
        Dialect::Logfire | Dialect::Generic => logfire::role(view),
        _ => None,
    };
    if let Some(role) = special {
        return role;
    }
    let operation = attributes.text("gen_ai.operation.name").map(|name| name.to_ascii_lowercase());
    let tokens = TOKEN_KEYS.iter().any(|key| attributes.has(key));
    if never(view, operation.as_deref()) {
        return Role::Context;
    }
    if view.is_server() && !tokens && !(dialect.gateway().is_some() && operation.is_some()) {
        return Role::Context;
    }
    let kinds = [
        ("openinference.span.kind", &["llm", "embedding", "reranker"][..]),
        ("langfuse.observation.type", &["generation", "embedding"][..]),
        ("langsmith.span.kind", &["llm", "embedding"][..]),
    ];
    for (key, calls) in kinds {
        if let Some(kind) = attributes.text(key) {
            let is_call = calls.contains(&kind.to_ascii_lowercase().as_str());
            return if is_call { Role::Call } else { Role::Context };
        }
    }
    if let Some(id) = attributes.text("ai.operationId") {
        let is_call = [".doGenerate", ".doStream", ".doEmbed"].iter().any(|end| id.ends_with(end));
        return if is_call { Role::Call } else { Role::Context };
    }
    let bare_error = dialect == Dialect::OpenLit
        && view.is_client()
        && view.is_error()
        && !attributes.has_prefix(&["db.", "http.", "url."]);
    let by_dialect = match dialect {
        Dialect::Gateway(_) => gateways::is_call(view),
        // A stream's span carries neither operation nor tokens, those sit on its log span.
        Dialect::Logfire => view.scope.starts_with("logfire") && attributes.has("gen_ai.request.model"),
        _ => bare_error,
    };
    // A word that no convention lists, without model and tokens, is somebody's own step.
    let asks = operation.as_deref().is_some_and(|name| {
        CALLS.contains(&super::operation_name(name).as_str()) || attributes.has("gen_ai.request.model")
    });
    let marked = asks || tokens || attributes.has("llm.request.type");
    if by_dialect || marked { Role::Call } else { Role::Context }
}

fn never(view: &SpanView<'_>, operation: Option<&str>) -> bool {
    let attributes = &view.attributes;
    let by_operation = operation.is_some_and(|name| NEVER.contains(&name) || name.ends_with("_memory"));
    let by_traceloop = attributes
        .text("traceloop.span.kind")
        .is_some_and(|kind| matches!(kind.to_ascii_lowercase().as_str(), "workflow" | "task" | "agent" | "tool"));
    by_operation
        || by_traceloop
        || attributes.has_prefix(&["gen_ai.aggregated_usage."])
        || view.span.name.starts_with("spring.ai.")
        || gateways::is_wrapper(view)
}
