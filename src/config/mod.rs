//! The configuration file: TOML, every key known, every error told at once.

mod access;
mod budgets;
mod kafka;
mod read;
mod receivers;
mod rule_files;
mod source;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use access::{AccessConfig, ListenConfig};
pub use budgets::{AlertTarget, AlertTargetKind, Budgets, UrlSource};
pub use receivers::{OTLP, ReceiverConfig};
pub use rule_files::{Compiled, Recorded, RuleText, Said, compile, read_prices};

use crate::ledger::Retention;
use crate::pipeline::{Sweeps, UsageReports};
use crate::sources::anthropic::ReportConfig;
use crate::sources::azure::AzureConfig;
use crate::sources::bedrock::BedrockConfig;
use crate::sources::openai::UsageConfig;
use crate::sources::otlp::OtlpConfig;
use crate::sources::vertex::VertexConfig;
use crate::store::Access;
use crate::telemetry::LogFormat;

/// Default data location.
pub const DEFAULT_DATA: &str = "./polymeter-data";
/// Default address of the HTTP API.
pub const DEFAULT_HTTP: &str = "127.0.0.1:8080";
/// Default address of the PostgreSQL wire.
pub const DEFAULT_PG: &str = "127.0.0.1:5433";
/// Default address of OTLP over gRPC.
pub const DEFAULT_OTLP_GRPC: &str = "127.0.0.1:4317";
/// Default address of OTLP over HTTP.
pub const DEFAULT_OTLP_HTTP: &str = "127.0.0.1:4318";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where data lies: a path, `s3://bucket/prefix` or `az://container/prefix`.
    pub data: String,
    /// Name of this process among those that share the data; it owns one journal.
    pub writer: String,
    /// The HTTP API.
    pub http: ListenConfig,
    /// The PostgreSQL wire.
    pub pg: ListenConfig,
    /// Who may ask.
    pub access: AccessConfig,
    /// The OTLP receiver that is there without any configuration.
    pub otlp: ReceiverConfig,
    /// Further OTLP receivers.
    pub receivers: Vec<ReceiverConfig>,
    /// Time between two settles when nothing is late.
    pub settle_every: Duration,
    /// How far the horizon stays behind now.
    pub hot: Duration,
    /// Observations to keep in memory; with more the horizon moves closer to now.
    pub hot_rows: usize,
    /// Whether this process takes the settle role when it is free.
    pub settles: bool,
    /// How long observations are kept; `None` for ever.
    pub keep_observations: Option<Duration>,
    /// How long calls are kept; `None` for ever.
    pub keep_calls: Option<Duration>,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Log filter, for example `warn,polymeter=debug`.
    pub log_level: String,
    /// Where polymeter's own traces go; none by default.
    pub traces_endpoint: Option<String>,
    /// Followed sources.
    pub sources: Vec<SourceConfig>,
    /// Prices, and who pays.
    pub said: Said,
    /// What may be spent, and who is told.
    pub budgets: Budgets,
}

/// A followed source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// Unique name; it is shown in `witnesses`.
    pub name: String,
    /// Where its records lie: a path, `s3://bucket/prefix`, `az://container/prefix`,
    /// `gs://bucket/prefix`, `cloudwatch://group` or `kafka://brokers/topic`.
    pub location: String,
    /// Pause between two listings.
    pub poll_every: Duration,
    /// What its records are.
    pub format: FormatConfig,
    /// How they come.
    pub transport: Transport,
    /// How its place is reached.
    pub access: Access,
    /// How often objects are listed.
    pub sweeps: Sweeps,
}

/// How records of a source come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In files and objects; with a queue, which says what was written.
    Objects {
        /// URL of the queue.
        queue: Option<String>,
    },
    /// In a log group of CloudWatch.
    LogGroup {
        /// Its name.
        group: String,
        /// How far back the first look goes.
        back: Duration,
        /// Whether calls are shown by Live Tail too.
        live_tail: bool,
    },
    /// As messages of Kafka.
    #[cfg(feature = "kafka")]
    Kafka(crate::store::KafkaTopic),
    /// As metrics of CloudWatch.
    CloudWatchMetrics {
        /// How far back the first look goes.
        back: Duration,
        /// How old a minute must be to be final.
        delay: Duration,
    },
    /// As usage reports of a provider.
    UsageReports(UsageReports),
    /// As metrics of Azure Monitor.
    AzureMonitor {
        /// Ids of the resources.
        resources: Vec<String>,
        /// How far back the first look goes.
        back: Duration,
        /// How old a minute must be to be final.
        delay: Duration,
    },
}

/// What the records of a source are.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatConfig {
    /// Bedrock invocation logs.
    Bedrock(BedrockConfig),
    /// Metrics of the namespace `AWS/Bedrock`.
    BedrockMetrics(BedrockConfig),
    /// Azure diagnostics.
    Azure(AzureConfig),
    /// Files of OTLP/JSON requests.
    Otlp(OtlpConfig),
    /// Request-response logs of Vertex AI.
    Vertex(VertexConfig),
    /// OpenAI's usage and costs.
    OpenAiUsage(UsageConfig),
    /// Anthropic's usage and costs.
    AnthropicUsage(ReportConfig),
}

impl Default for Config {
    fn default() -> Self {
        let address = |text: &str| text.parse().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            data: DEFAULT_DATA.to_owned(),
            writer: "serve".to_owned(),
            http: ListenConfig::at(address(DEFAULT_HTTP)),
            pg: ListenConfig::at(address(DEFAULT_PG)),
            access: AccessConfig::default(),
            otlp: ReceiverConfig {
                grpc: Some(address(DEFAULT_OTLP_GRPC)),
                http: Some(address(DEFAULT_OTLP_HTTP)),
                ..ReceiverConfig::named(OTLP)
            },
            receivers: Vec::new(),
            settle_every: Duration::from_secs(60),
            hot: Duration::from_secs(15 * 60),
            hot_rows: 250_000,
            settles: true,
            // Thirteen months: a closed year can be computed again.
            keep_observations: Some(Duration::from_secs(400 * 86_400)),
            keep_calls: None,
            log_format: LogFormat::Text,
            log_level: "warn,polymeter=info".to_owned(),
            traces_endpoint: None,
            sources: Vec::new(),
            said: Said::default(),
            budgets: Budgets::default(),
        }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {}", listed(problems))]
pub struct ConfigError {
    file: String,
    problems: Vec<String>,
}

/// One problem in the line, several below it.
fn listed(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        all => all.iter().fold(format!("{} problems", all.len()), |text, problem| format!("{text}\n  - {problem}")),
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// The file can't be read, or all that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(Some(path), |_| {})
    }

    /// Reads a file, if there is one, lets `change` have the last word, and checks the whole.
    ///
    /// # Errors
    /// The file can't be read, or all that is wrong in it or with it.
    pub fn load_with(path: Option<&Path>, change: impl FnOnce(&mut Self)) -> Result<Self, ConfigError> {
        let file = path.map_or_else(|| "options".to_owned(), |path| path.display().to_string());
        let text = path.map(std::fs::read_to_string).transpose();
        let text = text.map_err(|error| ConfigError { file: file.clone(), problems: vec![error.to_string()] })?;
        let folder = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
        read::read(&text.unwrap_or_default(), folder, change).map_err(|problems| ConfigError { file, problems })
    }

    /// All OTLP receivers.
    pub fn all_receivers(&self) -> impl Iterator<Item = &ReceiverConfig> {
        std::iter::once(&self.otlp).chain(&self.receivers)
    }

    /// What the Azure deployments of all sources are.
    #[must_use]
    pub fn azure_deployments(&self) -> AzureConfig {
        let mut azure = AzureConfig::default();
        for source in &self.sources {
            if let FormatConfig::Azure(one) = &source.format {
                azure.deployments.extend(one.deployments.clone());
            }
        }
        azure
    }

    /// What is kept for how long.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention { archive: self.keep_observations, ledger: self.keep_calls, ..Retention::default() }
    }

    /// Reads text; files that it names lie in the working directory.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        read::read(text, Path::new(""), |_| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid_and_has_a_second_receiver() {
        let config = Config::parse(include_str!("../../deploy/polymeter.example.toml")).unwrap();
        let names: Vec<_> = config.all_receivers().map(|receiver| receiver.name.as_str()).collect();
        assert_eq!(names, [OTLP, "eu-gateway"]);
    }
}
