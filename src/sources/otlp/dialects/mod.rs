//! Conventions for describing an LLM call in a span: one file each, all pure. A dialect is told by scope name, then by
//! attributes; never by schema URL or span name alone, both lie. The specific reader speaks first, the generic one
//! fills what is left.

mod anthropic_sdk;
mod basis;
mod botocore;
mod detect;
mod gateways;
mod genai;
mod langfuse;
mod langsmith;
mod litellm;
mod litellm_attempts;
mod litellm_raw;
mod logfire;
mod openinference;
mod openlit;
mod openllmetry;
mod roles;
mod semantic_kernel;
mod spring_ai;
mod vercel;

use std::borrow::Cow;

use crate::model::{Observation, Tags};

use super::record::SpanView;
use super::usage::Counts;

pub(super) use detect::detect;
use gateways::Gateway;
pub(super) use genai::{operation_name, tier_name};
pub(super) use langfuse::is_error;
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
    /// Spring AI.
    SpringAi,
    /// Microsoft's Semantic Kernel and Agent Framework.
    SemanticKernel,
    /// `OpenTelemetry`'s own instrumentations.
    GenAi,
    /// A gateway that is not LiteLLM.
    Gateway(Gateway),
    /// None of these, but with attributes of the OpenTelemetry conventions.
    Generic,
}

impl Dialect {
    /// The observation's `dialect`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LiteLlm => "otlp.litellm",
            Self::OpenInference => "otlp.openinference",
            Self::OpenLlmetry => "otlp.openllmetry",
            Self::OpenLit => "otlp.openlit",
            Self::Vercel => "otlp.vercel",
            Self::VercelGenAi => "otlp.vercel_genai",
            Self::Logfire => "otlp.logfire",
            Self::Langfuse => "otlp.langfuse",
            Self::LangSmith => "otlp.langsmith",
            Self::AnthropicSdk => "otlp.anthropic_sdk",
            Self::SpringAi => "otlp.spring_ai",
            Self::SemanticKernel => "otlp.semantic_kernel",
            Self::GenAi => "otlp.genai",
            Self::Gateway(gateway) => gateway.dialect(),
            Self::Generic => "otlp.generic",
        }
    }

    /// Name of the gateway that speaks, `None` for clients.
    pub(super) fn gateway(self) -> Option<&'static str> {
        match self {
            Self::LiteLlm => Some("litellm"),
            Self::Gateway(gateway) => Some(gateway.name()),
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
            // Its operations have a streaming twin each.
            Self::SemanticKernel => {
                view.attributes.word("gen_ai.operation.name").is_some_and(|name| name.contains('.'))
            }
            _ => false,
        }
    }
}

/// A span's reading under construction.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    /// The observation; usage, platform and outcome are decided at the end.
    pub(super) observation: Observation,
    /// Counts as the span writes them.
    pub(super) counts: Counts,
    /// Provider as the span names it.
    pub(super) provider: Option<Cow<'a, str>>,
    /// Hosts and URLs that may prove the platform, the most certain first.
    pub(super) hosts: Vec<Cow<'a, str>>,
    /// True where the client estimates its counts.
    pub(super) estimated: bool,
    /// True where the counts stand for nothing (zeros of a failed attempt).
    pub(super) no_counts: bool,
    /// True where the span's response model only repeats what the caller asked for.
    pub(super) echoed_model: bool,
    /// True where a specific reader has judged the response id, so that the generic one leaves it alone.
    pub(super) response_id_decided: bool,
}

impl<'a> Draft<'a> {
    /// Sets the provider name unless a more specific reader did.
    fn provider_or(&mut self, provider: Option<Cow<'a, str>>) {
        if self.provider.is_none() {
            self.provider = provider;
        }
    }
}

/// Fills `column` unless a more specific reader did; what is not needed is not read.
fn set<T>(column: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if column.is_none() {
        *column = value();
    }
}

/// Tag of a call during which the provider was asked more often than there are spans: how often more.
const RETRIES: &str = "retries";

/// Notes attempts at the provider that left no span of their own.
fn note_retries(tags: &mut Tags, hidden: u64) {
    if hidden > 0 {
        tags.entry(RETRIES.to_owned()).or_insert_with(|| hidden.to_string());
    }
}

/// Reads a call span: the dialect's own spellings first, then the generic ones for what is left.
pub(super) fn read<'a>(dialect: Dialect, view: &SpanView<'a>, draft: &mut Draft<'a>) {
    draft.counts.basis = basis::of(dialect, view);
    match dialect {
        Dialect::LiteLlm => litellm::read(view, draft),
        Dialect::OpenInference => openinference::read(view, draft),
        Dialect::OpenLlmetry => openllmetry::read(view, draft),
        Dialect::OpenLit => openlit::read(view, draft),
        Dialect::Vercel => vercel::read(view, draft),
        Dialect::Logfire => logfire::read(view, draft),
        Dialect::Langfuse => langfuse::read(view, draft),
        Dialect::LangSmith => langsmith::read(view, draft),
        Dialect::AnthropicSdk => anthropic_sdk::read(view, draft),
        Dialect::SemanticKernel => semantic_kernel::read(view, draft),
        Dialect::Gateway(gateway) => gateway.read(view, draft),
        Dialect::SpringAi | Dialect::VercelGenAi | Dialect::GenAi | Dialect::Generic => {}
    }
    botocore::read(view, draft);
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

/// Libraries call `InvokeModel` with an embedding model a chat or a text completion; its answer is a vector all the same.
fn settle_operation(observation: &mut Observation) {
    let model = observation.request_model.as_deref().unwrap_or_default();
    if matches!(observation.operation.as_deref(), Some("text_completion" | "chat")) {
        if model.contains("embed") {
            observation.operation = Some("embeddings".to_owned());
        } else if model.contains("rerank") {
            observation.operation = Some("rerank".to_owned());
        }
    }
    // Microseconds are all a latency means; more digits only differ between encodings of the same number.
    observation.ttft_ms = observation.ttft_ms.map(|ms| (ms * 1000.0).round() / 1000.0);
}

/// Reads LiteLLM's copy of the provider's answer (`raw_gen_ai_request`), which speaks only where no call span does.
pub(super) fn read_raw<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    litellm_raw::read(view, draft);
}

/// Attribution and attempts that only one dialect's spellings carry; also on spans that are no calls.
pub(super) fn read_context(dialect: Dialect, view: &SpanView<'_>, observation: &mut Observation) {
    match dialect {
        Dialect::LiteLlm => {
            litellm::attribution(view, observation);
            litellm_attempts::on_server(view, observation);
        }
        Dialect::Gateway(gateway) => gateway.attribution(view, observation),
        _ => {}
    }
}
