//! The command line.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{self, ImportKind, ImportOptions, ServeOptions, SqlFormat, SqlOptions};
use crate::config::{Config, DEFAULT_DATA, FormatConfig};
use crate::sources::azure::AzureConfig;
use crate::telemetry::{self, LogFormat};

/// Meters LLM calls across clouds: every call counted once, priced exactly, never lost.
#[derive(Debug, Parser)]
#[command(
    name = "polymeter",
    version,
    about,
    after_help = "Start with `polymeter serve --demo`, then open another terminal and try the commands that it prints."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take in OTLP and configured sources, and answer queries.
    Serve(Serve),
    /// Take in log files once; returns when their calls can be queried.
    #[command(
        after_help = "Examples:\n  polymeter import bedrock s3://my-logs/AWSLogs/\n  polymeter import azure ./insights-logs-requestresponse\n  polymeter import otlp traces.json\n\nThe last line of standard output is a JSON summary."
    )]
    Import(Import),
    /// Ask one SQL question; works beside a running `serve`.
    #[command(
        after_help = "Tables: calls, observations, quarantine, provider_metrics.\n\nExamples:\n  polymeter sql \"SELECT model, sum(cost) FROM calls GROUP BY model\"\n  polymeter sql --format csv \"SELECT * FROM calls LIMIT 10\""
    )]
    Sql(Sql),
    /// Check a configuration file and tell everything that is wrong with it.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file (TOML); without one the defaults below hold.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
    /// Where data lies: a path, s3://bucket/prefix or az://container/prefix [default: ./polymeter-data]
    #[arg(long, env = "POLYMETER_DATA")]
    data: Option<String>,
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long)]
    otlp_grpc: Option<SocketAddr>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long)]
    otlp_http: Option<SocketAddr>,
    /// Take in about 50,000 invented calls of the last 48 hours, then one a second.
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Args)]
struct Import {
    /// What the records are.
    kind: Kind,
    /// Files, folders, s3://bucket/prefix or az://container/prefix.
    #[arg(required = true)]
    locations: Vec<String>,
    /// Where data lies.
    #[arg(long, env = "POLYMETER_DATA", default_value = DEFAULT_DATA)]
    data: String,
    /// Name of the source, shown in `witnesses` [default: the kind]
    #[arg(long)]
    source: Option<String>,
    /// Configuration file, for attribution and Azure deployments.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Bedrock invocation logs, as S3 or CloudWatch hold them.
    Bedrock,
    /// Azure diagnostics: PT1H.json blobs, Event Hub envelopes.
    Azure,
    /// OTLP/JSON export requests, one a line.
    Otlp,
}

#[derive(Debug, Args)]
struct Sql {
    /// The statement.
    statement: String,
    /// Where data lies.
    #[arg(long, env = "POLYMETER_DATA", default_value = DEFAULT_DATA)]
    data: String,
    /// Form of the answer.
    #[arg(long, default_value = "table")]
    format: Form,
    /// Configuration file, for attribution.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// A JSON array of objects.
    Json,
    /// Comma-separated with a header line.
    Csv,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user, in one line with its causes.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => {
                let demo = serve.demo;
                app::serve(serve.config()?, ServeOptions { demo }).await
            }
            Command::Import(import) => import.run().await,
            Command::Sql(sql) => sql.run().await,
            Command::CheckConfig { file } => {
                let config = Config::load(&file)?;
                let mut out = std::io::stdout().lock();
                writeln!(
                    out,
                    "{} is valid: {} source(s), data in {}",
                    file.display(),
                    config.sources.len(),
                    config.data
                )?;
                Ok(())
            }
        }
    }
}

impl Serve {
    fn config(self) -> anyhow::Result<Config> {
        let mut config = self.config.map(|path| Config::load(&path)).transpose()?.unwrap_or_default();
        config.data = self.data.unwrap_or(config.data);
        config.http = self.http.unwrap_or(config.http);
        config.otlp_grpc = self.otlp_grpc.unwrap_or(config.otlp_grpc);
        config.otlp_http = self.otlp_http.unwrap_or(config.otlp_http);
        Ok(config)
    }
}

/// Attribution and deployments from a configuration file, where one is given.
fn shared(path: Option<PathBuf>) -> anyhow::Result<(BTreeMap<String, String>, AzureConfig)> {
    let Some(path) = path else { return Ok(Default::default()) };
    let config = Config::load(&path)?;
    let mut azure = AzureConfig::default();
    for source in config.sources {
        if let FormatConfig::Azure(one) = source.format {
            azure.deployments.extend(one.deployments);
        }
    }
    Ok((config.principals, azure))
}

impl Import {
    async fn run(self) -> anyhow::Result<()> {
        telemetry::init("warn", LogFormat::Text, None);
        let (principals, azure) = shared(self.config)?;
        let kind = match self.kind {
            Kind::Bedrock => ImportKind::Bedrock,
            Kind::Azure => ImportKind::Azure,
            Kind::Otlp => ImportKind::Otlp,
        };
        let options =
            ImportOptions { kind, locations: self.locations, data: self.data, source: self.source, principals, azure };
        let summary = app::import(options).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        Ok(())
    }
}

impl Sql {
    async fn run(self) -> anyhow::Result<()> {
        telemetry::init("warn", LogFormat::Text, None);
        let (principals, _) = shared(self.config)?;
        let format = match self.format {
            Form::Table => SqlFormat::Table,
            Form::Json => SqlFormat::Json,
            Form::Csv => SqlFormat::Csv,
        };
        app::sql(SqlOptions { statement: self.statement, data: self.data, format, principals }).await
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
