//! The settled fact: one model call, merged from all its observations, attributed and priced.

use std::fmt;
use std::str::FromStr;

use super::{Money, Outcome, RecordId, Tags, Timestamp, Usage, UsageStatus};

/// What is known about a call's cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CostStatus {
    /// Every counted bucket has a rate.
    Priced,
    /// Some counted bucket has no rate; the cost is that of the others.
    Partial,
    /// No rate, or no usage to apply one to: the cost is NULL.
    #[default]
    Unpriced,
    /// The money is on a commitment's own rows (provisioned throughput).
    Allocated,
}

impl CostStatus {
    /// The column value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priced => "priced",
            Self::Partial => "partial",
            Self::Unpriced => "unpriced",
            Self::Allocated => "allocated",
        }
    }
}

impl fmt::Display for CostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CostStatus {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Priced, Self::Partial, Self::Unpriced, Self::Allocated]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or(())
    }
}

/// One model call. Column names are the field names; token columns carry the suffix `_tokens`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Deterministic from the call's smallest observation id.
    pub call_id: RecordId,
    /// Start, UTC.
    pub ts: Timestamp,
    /// Who served and billed it.
    pub platform: Option<String>,
    /// Who made the model.
    pub publisher: Option<String>,
    /// Canonical model, NULL if unknown.
    pub model: Option<String>,
    /// Model as the caller named it.
    pub request_model: Option<String>,
    /// Model that the answer names.
    pub response_model: Option<String>,
    /// Azure deployment.
    pub deployment: Option<String>,
    /// Region that was called.
    pub region: Option<String>,
    /// Region that ran the call.
    pub served_region: Option<String>,
    /// `in_region`, `geo`, `global`.
    pub scope: Option<String>,
    /// Cloud account or subscription.
    pub account: Option<String>,
    /// Resource path.
    pub resource: Option<String>,
    /// `chat`, `embeddings`, …
    pub operation: Option<String>,
    /// Whether the answer was streamed.
    pub streaming: Option<bool>,
    /// Service tier.
    pub tier: Option<String>,

    /// How it ended.
    pub outcome: Outcome,
    /// Numeric HTTP status.
    pub http_status: Option<u16>,
    /// Error code or class.
    pub error_code: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,

    /// Token counts.
    pub usage: Usage,
    /// How far they can be trusted.
    pub usage_status: UsageStatus,

    /// Duration as the caller saw it, milliseconds.
    pub duration_ms: Option<f64>,
    /// Duration as the provider saw it, milliseconds.
    pub provider_duration_ms: Option<f64>,
    /// First token as the caller saw it, milliseconds.
    pub ttft_ms: Option<f64>,
    /// First token as the provider saw it, milliseconds.
    pub provider_ttft_ms: Option<f64>,

    /// `service.name` of the caller.
    pub service: Option<String>,
    /// Deployment environment.
    pub environment: Option<String>,
    /// Team.
    pub team: Option<String>,
    /// Feature.
    pub feature: Option<String>,
    /// Cost centre.
    pub cost_center: Option<String>,
    /// IAM ARN, Entra object id, key alias.
    pub principal: Option<String>,
    /// End user.
    pub user_id: Option<String>,
    /// Conversation or session.
    pub session_id: Option<String>,
    /// Gateway that saw the call.
    pub gateway: Option<String>,
    /// Tags of all witnesses.
    pub tags: Tags,

    /// Cost at list price, in `currency`.
    pub list_cost: Option<Money>,
    /// Cost at the contract's price, in `currency`.
    pub cost: Option<Money>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// What is known about the cost.
    pub cost_status: CostStatus,
    /// Price rows that the cost was computed from.
    pub rate_ids: Vec<String>,

    /// Names of the sources that saw it.
    pub witnesses: Vec<String>,
    /// Bedrock `requestId`, Azure `correlationId`, `request-id` headers.
    pub provider_request_id: Option<String>,
    /// Id in the provider's answer.
    pub response_id: Option<String>,
    /// Lower-case hex.
    pub trace_id: Option<String>,
    /// Lower-case hex.
    pub span_id: Option<String>,
    /// Shared by the attempts of one request.
    pub chain_id: Option<String>,
    /// Which attempt of its request it is, from 1: after failed ones only, those included that a gateway or SDK counts
    /// without describing them.
    pub attempt: Option<u16>,
    /// Witnesses disagree on tokens or status.
    pub conflict: bool,
    /// When the first witness was read.
    pub observed_at: Timestamp,
    /// When the row was computed.
    pub settled_at: Timestamp,
}
