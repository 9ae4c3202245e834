//! The OTLP receiver: gRPC and HTTP, protobuf and JSON, gzip and zstd. It knows the protocol's answers, not what spans
//! mean: what was decoded goes to a [`Sink`], and a request is answered only after the sink has kept it.
//!
//! Both transports take the same way (`exchange`), so that both have the same limits, and each listener understands both.
//! gRPC's framing of one message is done here (`grpc`): a codec of tonic would decompress and decode before the byte
//! budget is asked, and answer what is too large with a status that clients retry.

mod access;
mod exchange;
mod grpc;
mod http;
mod limits;
mod listen;
mod refusal;
mod salvage;
mod shape;
mod weight;

use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

pub use access::{Access, TokenSource};
pub use limits::{Gate, Limits, MAX_REQUEST_BYTES};
pub use listen::serve;

use crate::model::Flaws;

/// A decoded export request.
#[derive(Debug)]
pub enum Export {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Metrics.
    Metrics(ExportMetricsServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
}

/// The three kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `/v1/traces`
    Traces,
    /// `/v1/metrics`
    Metrics,
    /// `/v1/logs`
    Logs,
}

impl Signal {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// Short name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// What was kept of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Items that can never be accepted.
    pub rejected: u64,
    /// Why, and what was mended in what was accepted, without content; empty where there is nothing to tell.
    pub message: String,
}

impl Kept {
    /// True where a client should hear more than that its request was kept.
    pub(crate) const fn is_worth_telling(&self) -> bool {
        self.rejected > 0 || !self.message.is_empty()
    }
}

/// Why a request was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// Not now: the client should send it again.
    Unavailable(String),
}

/// Where decoded requests go.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Keeps a request, of which `flaws` could not be taken as it was sent; returns only after it is durable.
    async fn keep(&self, export: Export, flaws: Flaws) -> Result<Kept, SinkError>;

    /// Decodes the JSON form of a request. What can't be read of it is left out or mended, and counted in `flaws`.
    ///
    /// # Errors
    /// What is wrong with it, without content.
    fn decode_json(&self, signal: Signal, body: &[u8], flaws: &mut Flaws) -> Result<Export, String>;
}

/// A sink, who may send to it, and the limits that it shares with other receivers. Cloning shares it.
#[derive(Clone)]
pub struct Receiver {
    sink: Arc<dyn Sink>,
    access: Arc<Access>,
    gate: Arc<Gate>,
}

impl Receiver {
    /// A receiver in front of `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, access: Access, gate: Arc<Gate>) -> Self {
        Self { sink, access: Arc::new(access), gate }
    }
}
