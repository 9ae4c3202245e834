//! What the input count of a library covers, as found by sending calls with known counts through it.

use super::Dialect;
use crate::sources::otlp::record::SpanView;
use crate::sources::otlp::usage::Basis;

/// Libraries that copy what Anthropic and Bedrock answer, where cached tokens stand beside the input.
const EXCLUSIVE: [&str; 4] = [
    "opentelemetry.instrumentation.bedrock",
    "opentelemetry.instrumentation.botocore.bedrock-runtime",
    "openlit.instrumentation.anthropic",
    "openlit.instrumentation.bedrock",
];

/// Libraries whose input count is the whole.
const INCLUSIVE: [&str; 9] = [
    "opentelemetry.instrumentation.genai",
    "opentelemetry.util.genai",
    "opentelemetry.instrumentation.openai_v2",
    "opentelemetry.instrumentation.openai",
    "opentelemetry.instrumentation.anthropic",
    "openinference",
    "@arizeai/openinference-instrumentation-openai",
    "openlit.instrumentation.openai",
    "com.anthropic.sdk",
];

/// The basis of a span's counts.
pub(super) fn of(dialect: Dialect, view: &SpanView<'_>) -> Basis {
    let within = |list: &[&str]| {
        let under = |rest: &str| rest.is_empty() || rest.starts_with('.');
        list.iter().any(|name| view.scope.strip_prefix(name).is_some_and(under))
    };
    if within(&EXCLUSIVE) {
        return Basis::Exclusive;
    }
    match dialect {
        Dialect::LiteLlm | Dialect::Logfire | Dialect::VercelGenAi => Basis::Inclusive,
        Dialect::Vercel => super::vercel::basis(view),
        _ if within(&INCLUSIVE) => Basis::Inclusive,
        _ => Basis::Unknown,
    }
}
