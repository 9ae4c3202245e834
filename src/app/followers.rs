//! What a configured source becomes: a format, a transport, a task.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{FormatConfig, SourceConfig, Transport};
use crate::journal::Journal;
use crate::pipeline::{
    AzureMonitorTail, Follow, Ingest, LogGroupTail, MetricsTail, ObjectsTail, QueueTail, Reaching, Station,
    UsageReportsTail,
};
use crate::sources::LogFormat;
use crate::sources::anthropic::AnthropicUsage;
use crate::sources::azure::{AzureDiagnostics, METRICS as AZURE_METRICS};
use crate::sources::bedrock::{BedrockLog, BedrockMetrics, METRICS_NAMESPACE};
use crate::sources::openai::OpenAiUsage;
use crate::sources::otlp::OtlpSpans;
use crate::sources::vertex::VertexLog;
use crate::telemetry::SourceBoard;

/// The source as something to follow, and where it takes its records.
#[must_use]
pub fn follower(
    source: &SourceConfig,
    journal: &Journal,
    clock: &Arc<dyn Clock>,
    board: &SourceBoard,
) -> (Box<dyn Follow>, Station) {
    let ingest = Ingest {
        source: source.name.as_str().into(),
        format: format(&source.format),
        journal: journal.clone(),
        clock: Arc::clone(clock),
    };
    let station = Station { ingest, board: board.clone() };
    let (own, access) = (station.clone(), source.access.clone());
    let follow: Box<dyn Follow> = match &source.transport {
        Transport::Objects { queue } => {
            let tail = ObjectsTail::new(own, source.location.clone(), access.clone(), source.sweeps);
            match queue {
                Some(url) => Box::new(QueueTail::new(tail, url.clone(), access, source.poll_every)),
                None => Box::new(tail),
            }
        }
        Transport::LogGroup { group, back, live_tail } => {
            Box::new(LogGroupTail::new(own, group, access.aws, source.poll_every, *back).live(*live_tail))
        }
        #[cfg(feature = "kafka")]
        Transport::Kafka(topic) => {
            Box::new(crate::pipeline::KafkaTail::new(own, topic.clone(), access.azure, source.poll_every))
        }
        Transport::CloudWatchMetrics { back, delay } => {
            let reaching = Reaching { poll_every: source.poll_every, back: *back, delay: *delay };
            let wants = BedrockMetrics::wants_series;
            Box::new(MetricsTail::new(own, METRICS_NAMESPACE, &source.location, wants, access.aws, reaching))
        }
        Transport::UsageReports(asked) => Box::new(UsageReportsTail::new(own, asked.clone(), source.poll_every)),
        Transport::AzureMonitor { resources, back, delay } => {
            let reaching = Reaching { poll_every: source.poll_every, back: *back, delay: *delay };
            Box::new(AzureMonitorTail::new(own, resources.clone(), &AZURE_METRICS, access.azure, reaching))
        }
    };
    (follow, station)
}

/// The normalizer of a kind of records.
fn format(config: &FormatConfig) -> Arc<dyn LogFormat> {
    match config {
        FormatConfig::Bedrock(config) => Arc::new(BedrockLog::new(config.clone())),
        FormatConfig::BedrockMetrics(config) => Arc::new(BedrockMetrics::new(config.clone())),
        FormatConfig::Azure(config) => Arc::new(AzureDiagnostics::new(config.clone())),
        FormatConfig::Otlp(config) => Arc::new(OtlpSpans::new(config.clone())),
        FormatConfig::Vertex(config) => Arc::new(VertexLog::new(config.clone())),
        FormatConfig::OpenAiUsage(config) => Arc::new(OpenAiUsage::new(config.clone())),
        FormatConfig::AnthropicUsage(config) => Arc::new(AnthropicUsage::new(config.clone())),
    }
}
