//! Which convention a span follows: scope name first, then attributes.

use super::gateways::Gateway;
use super::{Dialect, semantic_kernel, spring_ai};
use crate::sources::otlp::record::{Family, SpanView};

/// Packages of OpenLLMetry, whose scopes begin like those of `OpenTelemetry` itself.
const OPENLLMETRY: [&str; 32] = [
    "openai",
    "anthropic",
    "bedrock",
    "langchain",
    "llamaindex",
    "llama_index",
    "cohere",
    "mistralai",
    "groq",
    "ollama",
    "together",
    "vertexai",
    "google_generativeai",
    "google_genai",
    "replicate",
    "watsonx",
    "sagemaker",
    "alephalpha",
    "transformers",
    "crewai",
    "haystack",
    "agno",
    "mcp",
    "openai_agents",
    "writer",
    "voyageai",
    "milvus",
    "pinecone",
    "qdrant",
    "chromadb",
    "weaviate",
    "lancedb",
];

/// Tells the dialect; `None` for a span that has nothing to do with LLMs.
pub(in crate::sources::otlp) fn detect(view: &SpanView<'_>) -> Option<Dialect> {
    let attributes = &view.attributes;
    // LiteLLM writes onto whatever span is open, so its marks go before the scope of that span.
    if attributes.has("hidden_params") && attributes.has_family(&[Family::LiteLlm, Family::GenAi]) {
        return Some(Dialect::LiteLlm);
    }
    by_scope(view).or_else(|| by_attributes(view))
}

fn by_scope(view: &SpanView<'_>) -> Option<Dialect> {
    let scope = view.scope;
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| scope.starts_with(prefix));
    if scope.is_empty() {
        return None;
    }
    if scope == "litellm" || scope.starts_with("litellm.") {
        return Some(Dialect::LiteLlm);
    }
    if starts(&["com.anthropic.sdk"]) {
        return Some(Dialect::AnthropicSdk);
    }
    if scope == "gen_ai" {
        return Some(Dialect::VercelGenAi);
    }
    if scope == "ai" {
        let legacy = view.attributes.has_family(&[Family::Ai]);
        return Some(if legacy { Dialect::Vercel } else { Dialect::VercelGenAi });
    }
    if starts(&["pydantic-ai", "pydantic_ai", "logfire"]) {
        return Some(Dialect::Logfire);
    }
    if starts(&["openlit"]) {
        return Some(Dialect::OpenLit);
    }
    if starts(&["openinference", "@arizeai/openinference"]) {
        return Some(Dialect::OpenInference);
    }
    if starts(&["@traceloop/", "traceloop.tracer"]) {
        return Some(Dialect::OpenLlmetry);
    }
    if starts(&[
        "opentelemetry.instrumentation.genai",
        "opentelemetry.util.genai",
        "opentelemetry.instrumentation.openai_v2",
        "opentelemetry.instrumentation.botocore.bedrock",
        "opentelemetry.instrumentation.vertexai_v2",
        "opentelemetry.instrumentation.google_genai",
    ]) {
        return Some(Dialect::GenAi);
    }
    if let Some(rest) = scope.strip_prefix("opentelemetry.instrumentation.") {
        let package = rest.split('.').next().unwrap_or_default();
        return OPENLLMETRY.contains(&package).then_some(Dialect::OpenLlmetry);
    }
    if scope.starts_with("langfuse") {
        return Some(Dialect::Langfuse);
    }
    if semantic_kernel::is_scope(scope) && view.attributes.has_family(&[Family::GenAi]) {
        return Some(Dialect::SemanticKernel);
    }
    Gateway::by_scope(view).map(Dialect::Gateway)
}

fn by_attributes(view: &SpanView<'_>) -> Option<Dialect> {
    let attributes = &view.attributes;
    let any = |families: &[Family]| attributes.has_family(families);
    if let Some(gateway) = Gateway::by_attributes(view) {
        return Some(Dialect::Gateway(gateway));
    }
    if attributes.has("openinference.span.kind") {
        return Some(Dialect::OpenInference);
    }
    if attributes.has("ai.operationId") {
        return Some(Dialect::Vercel);
    }
    if attributes.has("langfuse.observation.type") {
        return Some(Dialect::Langfuse);
    }
    if spring_ai::is_span(view) {
        return Some(Dialect::SpringAi);
    }
    if attributes.has("langsmith.span.kind") {
        return Some(Dialect::LangSmith);
    }
    if any(&[Family::Traceloop]) {
        return Some(Dialect::OpenLlmetry);
    }
    if attributes.has("hidden_params") || any(&[Family::LiteLlm]) {
        return Some(Dialect::LiteLlm);
    }
    if semantic_kernel::is_span(view) {
        return Some(Dialect::SemanticKernel);
    }
    let generic = any(&[Family::GenAi])
        || attributes.has_prefix(Family::Llm, &["llm.usage.", "llm.request.", "llm.token_count."])
        || attributes.has("logfire.pending_parent_id");
    generic.then_some(Dialect::Generic)
}
