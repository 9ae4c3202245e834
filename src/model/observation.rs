//! What one source said about one model call.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Outcome, RecordId, Timestamp, Usage, UsageStatus};

/// Free key/value pairs that a caller, gateway or operator attached to a call.
pub type Tags = BTreeMap<String, String>;

/// Who speaks. The order is the precedence for tokens and status: the provider's own usage record before its request
/// log, then the gateway, then the client; a context span and a placeholder never speak for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Witness {
    /// The provider's usage record (Azure `AzureOpenAIRequestUsage`).
    ProviderUsage,
    /// The provider's request log (Bedrock invocation log, Azure `RequestResponse`).
    ProviderLog,
    /// A gateway or proxy in between (API Management, LiteLLM, Envoy, …).
    Gateway,
    /// The application or its SDK.
    #[default]
    Client,
    /// A span around calls (workflow, agent, tool, server): never a call, kept for ancestry and attribution.
    Context,
    /// A row that stands for a request without saying how it went (Azure's empty 200 beside a 429).
    Placeholder,
    /// Something that looks like a call but never reached a provider (a gateway's cache hit, mock or rejection).
    NotACall,
}

impl Witness {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::ProviderUsage, "provider_usage"),
        (Self::ProviderLog, "provider_log"),
        (Self::Gateway, "gateway"),
        (Self::Client, "client"),
        (Self::Context, "context"),
        (Self::Placeholder, "placeholder"),
        (Self::NotACall, "not_a_call"),
    ];

    /// The column value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(witness, _)| *witness == self).map_or("client", |(_, name)| name)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Witness {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(witness, _)| *witness).ok_or(())
    }
}

/// What one source said about one model call (one log record, one span), normalised; never changed afterwards.
/// `None` means that the record does not say. Ids are lower-case where they are hex or Azure resource paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Deterministic from the record itself: a second delivery has the same id.
    pub observation_id: RecordId,
    /// Name of the configured source.
    pub source: String,
    /// Form of the record, for example `bedrock.invocation_log`, `azure.request_response`, `otlp.litellm`.
    pub dialect: String,
    /// Who speaks.
    pub witness: Witness,
    /// When polymeter read it.
    pub observed_at: Timestamp,
    /// Start of the call.
    pub ts: Timestamp,
    /// True where `ts` is not in the record but taken from the object that held it.
    pub ts_assumed: bool,

    /// Bedrock `requestId`, Azure `correlationId`, `request-id` headers.
    pub provider_request_id: Option<String>,
    /// `chatcmpl-…`, `msg_…`: the id in the provider's answer.
    pub response_id: Option<String>,
    /// Id that a gateway gave to its own request (API Management correlation id, LiteLLM call id).
    pub gateway_request_id: Option<String>,
    /// Lower-case hex.
    pub trace_id: Option<String>,
    /// Lower-case hex.
    pub span_id: Option<String>,
    /// Lower-case hex.
    pub parent_span_id: Option<String>,
    /// What retries and fallbacks of one request share.
    pub chain_id: Option<String>,

    /// OpenTelemetry `gen_ai.provider.name` value of who served and billed it.
    pub platform: Option<String>,
    /// Model as the caller named it (id, ARN, alias, deployment).
    pub request_model: Option<String>,
    /// Model that the answer names.
    pub response_model: Option<String>,
    /// Version beside the model name, where the platform keeps one (Azure `modelVersion`).
    pub model_version: Option<String>,
    /// Azure deployment.
    pub deployment: Option<String>,
    /// Region that was called.
    pub region: Option<String>,
    /// Region that ran the call.
    pub served_region: Option<String>,
    /// Cloud account or subscription.
    pub account: Option<String>,
    /// Resource path, lower-case.
    pub resource: Option<String>,
    /// `chat`, `text_completion`, `embeddings`, `rerank`, `image`, or the provider's own word.
    pub operation: Option<String>,
    /// Whether the answer was streamed.
    pub streaming: Option<bool>,
    /// `standard`, `priority`, `flex`, `batch`, `provisioned`.
    pub tier: Option<String>,

    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Numeric HTTP status.
    pub http_status: Option<u16>,
    /// The provider's or client's error code or class.
    pub error_code: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,

    /// Token counts.
    pub usage: Usage,
    /// How far they can be trusted.
    pub usage_status: UsageStatus,

    /// Whole duration as this witness saw it, milliseconds.
    pub duration_ms: Option<f64>,
    /// Time to the first token as this witness saw it, milliseconds.
    pub ttft_ms: Option<f64>,

    /// `service.name` of the caller.
    pub service: Option<String>,
    /// Deployment environment.
    pub environment: Option<String>,
    /// Team, where the record names one.
    pub team: Option<String>,
    /// Feature or application part.
    pub feature: Option<String>,
    /// Cost centre.
    pub cost_center: Option<String>,
    /// IAM ARN, Entra object id, key alias.
    pub principal: Option<String>,
    /// End user.
    pub user_id: Option<String>,
    /// Conversation or session.
    pub session_id: Option<String>,
    /// Name of the gateway that saw the call.
    pub gateway: Option<String>,
    /// Everything else that the caller attached.
    pub tags: Tags,
}

impl Observation {
    /// True for witnesses that stand for a call by themselves.
    #[must_use]
    pub const fn is_call(&self) -> bool {
        !matches!(self.witness, Witness::Context | Witness::NotACall)
    }
}
