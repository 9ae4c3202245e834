//! The command line.

mod access;
mod ask;
mod attribute;
mod bill;
mod close;
mod dashboards;
mod export;
mod prices;
mod reconcile;
mod report;
mod store;
mod texts;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{self, ImportKind, ImportOptions, ServeOptions};
use crate::config::{Config, DEFAULT_DATA};
use crate::finance::calendar::Month;
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
        after_help = "Examples:\n  polymeter import bedrock s3://my-logs/AWSLogs/\n  polymeter import azure ./insights-logs-requestresponse\n  polymeter import otlp traces.json\n  polymeter import vertex gs://my-exports/vertex/\n  polymeter import bedrock 'cloudwatch:///aws/bedrock/logs?region=us-east-1&from=2026-11-01&to=2026-11-08'\n\nA log group is read from two days ago unless `from` says otherwise; `role_arn`, `external_id` and `endpoint` can be given too.\nThe last line of standard output is a JSON summary."
    )]
    Import(Import),
    /// Ask with SQL: one statement, or a prompt with history and completion; works beside a running `serve`.
    #[command(
        after_help = "Tables: calls, observations, quarantine, provider_metrics, bill_lines.\n\nExamples:\n  polymeter sql \"SELECT model, sum(cost) FROM calls GROUP BY model\"\n  polymeter sql --format csv \"SELECT * FROM calls LIMIT 10\"\n  polymeter sql                    # a prompt; \\? tells what it can do\n  polymeter sql < statements.sql"
    )]
    Sql(ask::Sql),
    /// Watch what each platform and model does now: calls, failures, latency and spend a minute.
    #[command(
        after_help = "Asks a running `serve` over HTTP. Examples:\n  polymeter top\n  polymeter top --minutes 60 --once\n  POLYMETER_TOKEN=… polymeter top --url https://meter.internal:8080"
    )]
    Top(ask::Top),
    /// Show why a call is what it is: its spans and records, what joined or left out each, where every figure comes from.
    #[command(
        after_help = "Works beside a running `serve`, as long as the observations are kept.\n\nExamples:\n  polymeter explain --trace 4bf92f3577b34da6a3ce929d0e0e4736\n  polymeter explain --call $(polymeter sql --format csv \"SELECT call_id FROM calls WHERE conflict LIMIT 1\" | tail -1)"
    )]
    Explain(store::Explain),
    /// A month in money: who pays what, and why it differs from another month.
    #[command(subcommand)]
    Report(report::Report),
    /// Close a month: its reports stay as they are from then on, and what changes of it is posted as corrections.
    Close(close::Close),
    /// Open the latest closed month again.
    Reopen(close::Reopen),
    /// The closed months: list them, look whether they are as they were.
    #[command(subcommand)]
    Periods(close::Periods),
    /// Files for other systems of finance.
    #[command(subcommand)]
    Export(export::Export),
    /// The providers' bills.
    #[command(subcommand)]
    Bill(bill::Bill),
    /// Hold bills against what was metered, and logs against each other, call by call.
    #[command(
        after_help = "Every dollar and token of both sides ends in match, metered_only, billed_only or mismatch; the four add up to both sides. What a bill charges for one token is held against the price book: stale rates are named. Credits, taxes and support are lines that no record stands behind.\n\nExamples:\n  polymeter reconcile --month 2026-10\n  polymeter reconcile --month 2026-10 --platform aws.bedrock --by account,model --format xlsx --out october.xlsx\n  polymeter reconcile calls --from 2026-10-01 --to 2026-10-02"
    )]
    Reconcile(reconcile::Reconcile),
    /// Prices: check files, show how a price comes about, compare versions.
    #[command(subcommand)]
    Prices(prices::Prices),
    /// Who pays: test the rules.
    #[command(subcommand)]
    Attribute(attribute::Attribute),
    /// Users and tokens: make what a configuration keeps of them.
    #[command(subcommand)]
    Access(access::Access),
    /// Look at the journal.
    #[command(subcommand)]
    Journal(store::Journal),
    /// Look at records that could not be read, and take them in once they can.
    #[command(subcommand)]
    Quarantine(store::Quarantine),
    /// Compute calls again from the archived observations and compare them with the ledger.
    #[command(
        after_help = "Ends with an error if a call differs. Works beside a running `serve`.\n\nExample:\n  polymeter audit --from 2026-10-01 --to 2026-11-01"
    )]
    Audit(store::Range),
    /// Compute calls again with today's rules, prices and names, and replace those that change.
    #[command(
        after_help = "Says first what would change (calls, tokens, cost) and asks. Works beside a running `serve`.\n\nExample:\n  polymeter resettle --from 2026-10-01 --to 2026-11-01 --config polymeter.toml"
    )]
    Resettle(store::Resettle),
    /// Merge small files, apply the retention, write checkpoints and remove what is replaced, now.
    #[command(after_help = "`serve` does the same by itself, a little at a time. Prints a JSON summary.")]
    Maintain(store::Place),
    /// Write Grafana dashboards and alert rules, made from the named queries.
    #[command(
        after_help = "A dashboard is a small TOML file that names queries and says which of their columns each panel shows; docs/grafana.md tells how. Queries of your own are for the PostgreSQL data source: over HTTP a server answers only those that it has.\n\nExamples:\n  polymeter dashboards --out ./grafana --datasource postgres\n  polymeter dashboards --out ./grafana --datasource postgres --definitions ./my-boards --queries ./my-queries"
    )]
    Dashboards(dashboards::Dashboards),
    /// Check a configuration file and tell everything that is wrong with it.
    #[command(
        after_help = "Examples:\n  polymeter check-config polymeter.toml\n  polymeter check-config --live polymeter.toml    # says which source refuses what"
    )]
    CheckConfig {
        /// The file.
        file: PathBuf,
        /// Also ask every source once; nothing is taken in.
        #[arg(long)]
        live: bool,
    },
    /// Print every key of the configuration file, with what it means and its default.
    ConfigReference,
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  polymeter completions bash > ~/.local/share/bash-completion/completions/polymeter"
    )]
    Completions(texts::Completions),
    /// Print the manual page, or write one for each command.
    #[command(after_help = "Example:\n  polymeter man --out ~/.local/share/man/man1")]
    Man(texts::Man),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file (TOML); without one the defaults below hold.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
    /// Where data lies: a path, s3://bucket/prefix or az://container/prefix [default: ./polymeter-data]
    #[arg(long, env = "POLYMETER_DATA")]
    data: Option<String>,
    /// Name of this process among those that share the data, such as its pod's [default: serve]
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address of the PostgreSQL wire [default: 127.0.0.1:5433]
    #[arg(long)]
    pg: Option<SocketAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long)]
    otlp_grpc: Option<SocketAddr>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long)]
    otlp_http: Option<SocketAddr>,
    /// Let listeners without log-in or token listen where other machines can reach them.
    #[arg(long)]
    allow_unauthenticated: bool,
    /// Take in about 50,000 invented calls of the last 48 hours, then one a second.
    #[arg(long)]
    demo: bool,
    /// With --demo: also 10,000 invented calls of this month, for example to close it.
    #[arg(long, value_name = "YYYY-MM", requires = "demo")]
    demo_month: Option<Month>,
}

#[derive(Debug, Args)]
struct Import {
    /// What the records are.
    kind: Kind,
    /// Files, folders, s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or cloudwatch://GROUP?region=…&from=….
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
    /// Request-response logs of Vertex AI, exported from BigQuery or Cloud Logging as JSON lines.
    Vertex,
}

impl From<Kind> for ImportKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bedrock => Self::Bedrock,
            Kind::Azure => Self::Azure,
            Kind::Otlp => Self::Otlp,
            Kind::Vertex => Self::Vertex,
        }
    }
}

impl Cli {
    /// Threads for work that blocks. Each keeps memory for what it once did, and an import gives them all its work in turn;
    /// a server has sources that each keep one waiting.
    #[must_use]
    pub const fn blocking_threads(&self) -> usize {
        if self.is_import() { 12 } else { 512 }
    }

    /// Whether it is an import.
    #[must_use]
    pub const fn is_import(&self) -> bool {
        matches!(self.command, Command::Import(_))
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user, in one line with its causes.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => {
                let options = ServeOptions { demo: serve.demo, demo_month: serve.demo_month };
                app::serve(serve.config()?, options).await
            }
            Command::Import(import) => import.run().await,
            Command::Sql(sql) => sql.run().await,
            Command::Top(top) => top.run().await,
            Command::Explain(explain) => explain.run().await,
            Command::Report(report) => report.run().await,
            Command::Close(close) => close.run().await,
            Command::Reopen(reopen) => reopen.run().await,
            Command::Periods(periods) => periods.run().await,
            Command::Export(export) => export.run().await,
            Command::Bill(bill) => bill.run().await,
            Command::Reconcile(reconcile) => reconcile.run().await,
            Command::Prices(prices) => prices.run().await,
            Command::Attribute(attribute) => attribute.run().await,
            Command::Access(access) => access.run(),
            Command::Journal(journal) => journal.run().await,
            Command::Quarantine(quarantine) => quarantine.run().await,
            Command::Audit(range) => range.audit().await,
            Command::Resettle(resettle) => resettle.run().await,
            Command::Maintain(place) => place.maintain().await,
            Command::Dashboards(dashboards) => dashboards.run(),
            Command::CheckConfig { file, live } => {
                let config = Config::load(&file)?;
                writeln!(
                    std::io::stdout(),
                    "{} is valid: {} source(s), {} OTLP receiver(s), data in {}",
                    file.display(),
                    config.sources.len(),
                    config.all_receivers().filter(|receiver| receiver.addresses().next().is_some()).count(),
                    config.data
                )?;
                if live { app::check_live(&config).await } else { Ok(()) }
            }
            Command::ConfigReference => texts::config_reference(),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

impl Serve {
    fn config(self) -> anyhow::Result<Config> {
        let path = self.config.clone();
        let config = Config::load_with(path.as_deref(), |config| {
            config.data = self.data.unwrap_or(std::mem::take(&mut config.data));
            config.writer = self.writer.unwrap_or(std::mem::take(&mut config.writer));
            config.http.listen = self.http.or(config.http.listen);
            config.pg.listen = self.pg.or(config.pg.listen);
            config.otlp.grpc = self.otlp_grpc.or(config.otlp.grpc);
            config.otlp.http = self.otlp_http.or(config.otlp.http);
            if self.allow_unauthenticated {
                let receivers = std::iter::once(&mut config.otlp).chain(&mut config.receivers);
                receivers.for_each(|receiver| receiver.allow_unauthenticated = true);
                config.http.allow_unauthenticated = true;
                config.pg.allow_unauthenticated = true;
            }
        });
        Ok(config?)
    }
}

/// A configuration file, where one is given.
fn load(path: Option<&PathBuf>) -> anyhow::Result<Option<Config>> {
    Ok(path.map(|path| Config::load(path)).transpose()?)
}

impl Import {
    async fn run(self) -> anyhow::Result<()> {
        telemetry::init("warn", LogFormat::Text, None);
        let config = load(self.config.as_ref())?;
        // Without a configuration nobody said how long to keep what.
        let retention = config.as_ref().map(Config::retention).unwrap_or_default();
        let config = config.unwrap_or_default();
        let options = ImportOptions {
            kind: self.kind.into(),
            locations: self.locations,
            data: self.data,
            source: self.source,
            azure: config.azure_deployments(),
            retention,
            said: config.said,
        };
        let summary = app::import(options).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        Ok(())
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
