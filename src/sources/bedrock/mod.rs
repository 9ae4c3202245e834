//! Amazon Bedrock model invocation logs: one JSON record per call of the runtime API, written by Bedrock itself to S3
//! (`AWSLogs/<account>/BedrockModelInvocationLogs/<region>/…json.gz`) or to a CloudWatch log group.
//!
//! Metered: every record of `Converse`, `ConverseStream`, `InvokeModel`, `InvokeModelWithResponseStream` and of
//! whatever operation Bedrock adds later; failed calls too. The four token counts beside the bodies are the only source
//! of token numbers: they are disjoint, and what the bodies repeat is never added. Both deliveries of a call carry the
//! same record and give the same observation.
//!
//! Read: the bare record, an event of CloudWatch Logs (`message`), a row of Logs Insights (`@message`), the envelope of
//! a subscription (`logEvents`), a line of an exported log group (time, then the record), and arrays of these. A record
//! without a readable time takes that of the event or object around it. Tags of ours: `bedrock.guardrail` (`intervened`
//! or `none`; absent without a sign of a guardrail) and `bedrock.performance`; all others are the caller's
//! `requestMetadata`.
//!
//! Not metered, because Bedrock writes no record: batch jobs, `ApplyGuardrail`, `CountTokens`, asynchronous and
//! bidirectional invocations, and all traffic of the `bedrock-mantle` endpoint. Set aside as known non-calls: the
//! permission check that Bedrock leaves when logging is switched on, and subscription control messages. Bodies that
//! were too large for the record lie under `data/` and are not read.
//!
//! Promises: no prompt, completion or tool argument leaves this folder; no body is ever required; a field that is
//! absent stays absent.

mod body;
mod config;
mod metrics;
mod normalize;
mod record;
#[cfg(test)]
mod tests;

pub use config::BedrockConfig;
pub use metrics::{BedrockMetrics, METRICS_NAMESPACE};

use super::LogFormat;
use crate::model::{Normalized, RecordRef};

/// The invocation log as a [`LogFormat`].
#[derive(Clone, Debug, Default)]
pub struct BedrockLog {
    config: BedrockConfig,
}

impl BedrockLog {
    /// A reader of records from the place that `config` describes.
    #[must_use]
    pub const fn new(config: BedrockConfig) -> Self {
        Self { config }
    }
}

impl LogFormat for BedrockLog {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn wants(&self, key: &str) -> bool {
        record::is_log_key(key)
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        normalize::normalize(&self.config, record, at, out);
    }
}
