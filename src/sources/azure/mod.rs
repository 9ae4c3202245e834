//! Azure: the diagnostics of Azure OpenAI and AI Foundry accounts (`RequestResponse`, `AzureOpenAIRequestUsage`), the
//! gateway logs of API Management (`GatewayLogs`, `GatewayLlmLogs`) and platform metrics.
//!
//! Promises: rows are not requests, so every row becomes an observation of its own that carries the keys by which rows
//! of one request find each other (lower-case resource and correlation id; gateway request id; response id); a row that
//! stands for a request without saying how it went is a placeholder; a missing number stays missing; metrics are control
//! totals and never calls. Bodies that a gateway logged are read for ids, model, counts and error codes only.

mod body;
mod config;
mod gateway;
mod llm_log;
mod metrics;
mod naming;
mod normalize;
mod record;
mod request_response;
mod row;
mod shipper;
#[cfg(test)]
mod tests;
mod usage;

pub use config::{AzureConfig, Deployment};

use super::LogFormat;
use crate::model::{Normalized, RecordRef};

/// Metrics that are control totals, as Azure Monitor is asked for them: names that share their dimensions, and the
/// dimensions to split by. The first two are the older family's, the others the newer one's; a resource may have both.
pub const METRICS: [(&str, &str); 5] = [
    ("AzureOpenAIRequests", "ModelDeploymentName eq '*' and ModelName eq '*' and StatusCode eq '*'"),
    ("ProcessedPromptTokens,GeneratedTokens", "ModelDeploymentName eq '*' and FeatureName eq '*'"),
    ("ModelRequests", "ModelDeploymentName eq '*' and ModelName eq '*' and StatusCode eq '*'"),
    ("InputTokens,OutputTokens", "ModelDeploymentName eq '*' and ModelName eq '*'"),
    (
        "cacheReadInputTokens,ephemeral5mInputTokens,ephemeral1hInputTokens",
        "ModelDeploymentName eq '*' and ModelName eq '*'",
    ),
];

/// The Azure diagnostics format: blob lines, Event Hub envelopes and rows exported from Log Analytics.
#[derive(Clone, Debug, Default)]
pub struct AzureDiagnostics {
    config: AzureConfig,
}

impl AzureDiagnostics {
    /// The format with what the operator says about deployments.
    #[must_use]
    pub const fn new(config: AzureConfig) -> Self {
        Self { config }
    }
}

impl LogFormat for AzureDiagnostics {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn wants(&self, key: &str) -> bool {
        normalize::wants(key)
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        normalize::normalize(record, at, &self.config, out);
    }
}
