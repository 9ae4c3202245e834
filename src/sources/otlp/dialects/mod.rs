//! Conventions for describing an LLM call in a span: one file each, all pure. A dialect is told by scope name, then by
//! attributes; never by schema URL or span name alone, both lie. The specific reader speaks first, the generic one
//! fills what is left.

mod gateways;
mod genai;
mod langfuse;
mod litellm;
mod litellm_raw;
mod logfire;
mod openinference;
mod openlit;
mod openllmetry;
mod roles;
mod vercel;

use crate::model::Observation;

use super::record::SpanView;
use super::usage::{Basis, Counts};

pub(super) use genai::{operation_name, tier_name};
pub(super) use roles::{Role, classify};

/// A convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// LiteLLM, all its modes.
    LiteLlm,
    /// Arize OpenInference.
    OpenInference,
    /// Traceloop OpenLLMetry.
    OpenLlmetry,
    /// OpenLIT.
    OpenLit,
    /// Vercel AI SDK, `ai.*` attributes.
    Vercel,
    /// Vercel AI SDK with OpenTelemetry attributes.
    VercelGenAi,
    /// Pydantic AI and Logfire.
    Logfire,
    /// Langfuse attributes.
    Langfuse,
    /// LangSmith attributes.
    LangSmith,
    /// The Anthropic SDK's own spans.
    AnthropicSdk,
    /// `OpenTelemetry`'s own instrumentations.
    GenAi,
    /// A gateway that is not LiteLLM; the word is its name.
    Gateway(&'static str),
    /// None of these, but with attributes of the OpenTelemetry conventions.
    Generic,
}

impl Dialect {
    /// The observation's `dialect`.
    pub(super) fn name(self) -> String {
        let word = match self {
            Self::LiteLlm => "litellm",
            Self::OpenInference => "openinference",
            Self::OpenLlmetry => "openllmetry",
            Self::OpenLit => "openlit",
            Self::Vercel => "vercel",
            Self::VercelGenAi => "vercel_genai",
            Self::Logfire => "logfire",
            Self::Langfuse => "langfuse",
            Self::LangSmith => "langsmith",
            Self::AnthropicSdk => "anthropic_sdk",
            Self::GenAi => "genai",
            Self::Gateway(name) => name,
            Self::Generic => "generic",
        };
        format!("otlp.{word}")
    }

    /// Name of the gateway that speaks, `None` for clients.
    pub(super) const fn gateway(self) -> Option<&'static str> {
        match self {
            Self::LiteLlm => Some("litellm"),
            Self::Gateway(name) => Some(name),
            _ => None,
        }
    }

    /// True where a span without any mark of streaming was not streamed.
    fn marks_streams(self, view: &SpanView<'_>) -> bool {
        match self {
            Self::LiteLlm | Self::OpenInference | Self::AnthropicSdk => true,
            // The earlier instrumentations (`openai_v2`) do not mark streams at all.
            Self::GenAi => view.scope.starts_with("opentelemetry.instrumentation.genai"),
            // It marks streams by the time to the first chunk, which a failed stream may lack.
            Self::VercelGenAi => !view.is_error(),
            _ => false,
        }
    }
}

/// A span's reading under construction.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The observation; usage, platform and outcome are decided at the end.
    pub(super) observation: Observation,
    /// Counts as the span writes them.
    pub(super) counts: Counts,
    /// Provider as the span names it.
    pub(super) provider: Option<String>,
    /// Hosts and URLs that may prove the platform, the most certain first.
    pub(super) hosts: Vec<String>,
    /// True where the client estimates its counts.
    pub(super) estimated: bool,
    /// True where the counts stand for nothing (zeros of a failed attempt).
    pub(super) no_counts: bool,
    /// True where the span's response model only repeats what the caller asked for.
    pub(super) echoed_model: bool,
    /// True where a specific reader has judged the response id, so that the generic one leaves it alone.
    pub(super) response_id_decided: bool,
}

impl Draft {
    /// Sets the provider name unless a more specific reader did.
    fn provider_or(&mut self, provider: Option<String>) {
        self.provider = self.provider.take().or(provider);
    }
}

/// Fills `column` unless a more specific reader did.
fn set<T>(column: &mut Option<T>, value: Option<T>) {
    if column.is_none() {
        *column = value;
    }
}

/// Packages of OpenLLMetry, whose scopes begin like those of `OpenTelemetry` itself.
const OPENLLMETRY: [&str; 30] = [
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
];

/// Tells the dialect; `None` for a span that has nothing to do with LLMs.
pub(super) fn detect(view: &SpanView<'_>) -> Option<Dialect> {
    // LiteLLM writes onto whatever span is open, so its marks go before the scope of that span.
    if view.attributes.has("hidden_params") && view.attributes.has_prefix(&["litellm.", "gen_ai."]) {
        return Some(Dialect::LiteLlm);
    }
    by_scope(view).or_else(|| by_attributes(view))
}

fn by_scope(view: &SpanView<'_>) -> Option<Dialect> {
    let scope = view.scope;
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| scope.starts_with(prefix));
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
        let legacy = view.attributes.has_prefix(&["ai."]);
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
    gateways::by_scope(scope).map(Dialect::Gateway)
}

fn by_attributes(view: &SpanView<'_>) -> Option<Dialect> {
    let attributes = &view.attributes;
    let any = |prefixes: &[&str]| attributes.has_prefix(prefixes);
    if let Some(name) = gateways::by_attributes(view) {
        return Some(Dialect::Gateway(name));
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
    if attributes.has("langsmith.span.kind") {
        return Some(Dialect::LangSmith);
    }
    if any(&["traceloop."]) {
        return Some(Dialect::OpenLlmetry);
    }
    if attributes.has("hidden_params") || any(&["litellm."]) {
        return Some(Dialect::LiteLlm);
    }
    any(&["gen_ai.", "llm.usage.", "llm.request.", "llm.token_count.", "logfire.pending_parent_id"])
        .then_some(Dialect::Generic)
}

/// What the input count of a library covers, as found by sending it calls with known counts.
fn basis(dialect: Dialect, scope: &str) -> Basis {
    const EXCLUSIVE: [&str; 4] = [
        "opentelemetry.instrumentation.bedrock",
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        "openlit.instrumentation.anthropic",
        "openlit.instrumentation.bedrock",
    ];
    const INCLUSIVE: [&str; 8] = [
        "opentelemetry.instrumentation.genai",
        "opentelemetry.util.genai",
        "opentelemetry.instrumentation.openai_v2",
        "opentelemetry.instrumentation.openai.v1",
        "opentelemetry.instrumentation.anthropic",
        "openinference",
        "openlit.instrumentation.openai",
        "com.anthropic.sdk",
    ];
    let within = |list: &[&str]| {
        list.iter().any(|name| scope.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    if within(&EXCLUSIVE) {
        Basis::Exclusive
    } else if within(&INCLUSIVE)
        || matches!(dialect, Dialect::LiteLlm | Dialect::Logfire | Dialect::Vercel | Dialect::VercelGenAi)
    {
        Basis::Inclusive
    } else {
        Basis::Unknown
    }
}

/// Reads a call span: the dialect's own spellings first, then the generic ones for what is left.
pub(super) fn read(dialect: Dialect, view: &SpanView<'_>, draft: &mut Draft) {
    draft.counts.basis = basis(dialect, view.scope);
    match dialect {
        Dialect::LiteLlm => litellm::read(view, draft),
        Dialect::OpenInference => openinference::read(view, draft),
        Dialect::OpenLlmetry => openllmetry::read(view, draft),
        Dialect::OpenLit => openlit::read(view, draft),
        Dialect::Vercel => vercel::read(view, draft),
        Dialect::Logfire => logfire::read(view, draft),
        Dialect::Langfuse | Dialect::LangSmith => langfuse::read(view, draft),
        Dialect::Gateway(name) => gateways::read(name, view, draft),
        Dialect::AnthropicSdk | Dialect::VercelGenAi | Dialect::GenAi | Dialect::Generic => {}
    }
    genai::read(view, draft);
    settle_operation(&mut draft.observation);
    let observation = &mut draft.observation;
    if observation.streaming.is_none() && observation.ttft_ms.is_some() {
        observation.streaming = Some(true);
    }
    let never_streams = matches!(observation.operation.as_deref(), Some("embeddings" | "rerank" | "image"));
    if observation.streaming.is_none() && (never_streams || dialect.marks_streams(view)) {
        observation.streaming = Some(false);
    }
}

/// Libraries call `InvokeModel` with an embedding model a text completion; its answer is a vector all the same.
fn settle_operation(observation: &mut Observation) {
    let model = observation.request_model.as_deref().unwrap_or_default();
    if observation.operation.as_deref() == Some("text_completion") && model.contains("embed") {
        observation.operation = Some("embeddings".to_owned());
    }
    // Microseconds are all a latency means; more digits only differ between encodings of the same number.
    observation.ttft_ms = observation.ttft_ms.map(|ms| (ms * 1000.0).round() / 1000.0);
}

/// Reads LiteLLM's copy of the provider's answer (`raw_gen_ai_request`), which speaks only where no call span does.
pub(super) fn read_raw(view: &SpanView<'_>, draft: &mut Draft) {
    litellm_raw::read(view, draft);
}

/// Attribution that only LiteLLM's spellings carry; also on spans that are no calls.
pub(super) fn read_attribution(dialect: Dialect, view: &SpanView<'_>, observation: &mut Observation) {
    if dialect == Dialect::LiteLlm {
        litellm::attribution(view, observation);
    }
}
