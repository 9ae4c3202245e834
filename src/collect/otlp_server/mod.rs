//! The OTLP receiver: gRPC and HTTP, protobuf and JSON, gzip and zstd. It knows the protocol's answers, not what spans
//! mean: what was decoded goes to a [`Sink`], and a request is answered only after the sink has kept it.

mod grpc;
mod http;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::Semaphore;

pub use grpc::serve_grpc;
pub use http::serve_http;

/// Largest request after decompression, as the specification recommends.
pub const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Requests that are worked on at once; more are told to come back.
const MAX_CONCURRENT: usize = 128;
/// When a client should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// What was kept of a request that was kept in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Items that can never be accepted.
    pub rejected: u64,
    /// Why, without content.
    pub message: String,
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
    /// Keeps a request; returns only after it is durable.
    async fn keep(&self, export: Export) -> Result<Kept, SinkError>;

    /// Decodes the JSON form of a request.
    ///
    /// # Errors
    /// What is wrong with it, without content.
    fn decode_json(&self, signal: Signal, body: &[u8]) -> Result<Export, String>;
}

/// A sink with its limits.
#[derive(Clone)]
pub struct Receiver {
    sink: Arc<dyn Sink>,
    slots: Arc<Semaphore>,
}

impl Receiver {
    /// A receiver in front of `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, slots: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }

    async fn keep(&self, export: Export) -> Result<Kept, SinkError> {
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(SinkError::Unavailable("too many requests at once".to_owned()));
        };
        self.sink.keep(export).await
    }
}
