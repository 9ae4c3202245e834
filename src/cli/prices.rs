//! `polymeter prices`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::store::{Place, instant};
use crate::app::{self, PriceQuestion};
use crate::clock::{Clock, SystemClock};
use crate::model::{Timestamp, Usage};

#[derive(Debug, Subcommand)]
pub(super) enum Prices {
    /// Check price files and tell every mistake with file, line and what to write instead. Needs no store, changes nothing.
    #[command(
        after_help = "A CSV file has one row for each price:\n  platform,model,unit,amount,per,currency,valid_from\n  openai,gpt-4o,input,2.50,1M,USD,2026-10-01\n\nA TOML file may hold [[price]], [[contract]], [[commitment]] and [[exchange]]; docs/finance.md shows each.\n\nExamples:\n  polymeter prices check prices.csv contracts.toml\n  polymeter prices check --currency EUR prices.csv rates.toml"
    )]
    Check {
        /// Files, read together.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Currency of the reports: then every other one must have an exchange rate.
        #[arg(long)]
        currency: Option<String>,
    },
    /// Show the price of a call, or of calls like this, line by line: quantity, price, factor, row, where it comes from.
    #[command(
        after_help = "Prices are those of --config, else those that the store keeps, else the bundled list. What has no price says which rates nearly fit and what differs.\n\nExamples:\n  polymeter prices explain --platform openai --model gpt-4o\n  polymeter prices explain --platform aws.bedrock --model claude-sonnet-4 --region eu-central-1 --scope geo:eu --at 2026-10-01\n  polymeter prices explain --platform azure.ai.openai --model gpt-4o --scope global --account sub-1 --input-tokens 1000 --output-tokens 200\n  polymeter prices explain --call $(polymeter sql --format csv \"SELECT call_id FROM calls ORDER BY cost DESC LIMIT 1\" | tail -1)"
    )]
    Explain(Box<Explain>),
    /// Show what changes from one price file to another, or between versions that the store keeps.
    #[command(
        after_help = "Each side is a file, or a version (its name, the start of it, or `current`); versions are listed in rules/current.json of the store.\n\nExamples:\n  polymeter prices diff prices.csv new-prices.csv\n  polymeter prices diff current new-prices.csv"
    )]
    Diff {
        /// Before.
        old: String,
        /// After.
        new: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// This call, by its `call_id`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["platform", "model"], required_unless_present = "platform")]
    call: Option<String>,
    /// Who bills: openai, anthropic, azure.ai.openai, aws.bedrock, gcp.vertex_ai, …
    #[arg(long, requires = "model")]
    platform: Option<String>,
    /// Model, under any name that is known.
    #[arg(long, requires = "platform")]
    model: Option<String>,
    /// Region that is called.
    #[arg(long)]
    region: Option<String>,
    /// Where it may run: in_region, geo:eu, global.
    #[arg(long)]
    scope: Option<String>,
    /// Tier as served: standard, batch, flex, priority, provisioned.
    #[arg(long)]
    tier: Option<String>,
    /// When (UTC), for example 2026-10-01 [default: now]
    #[arg(long, value_parser = instant)]
    at: Option<Timestamp>,
    /// Billing account, for contracts.
    #[arg(long)]
    account: Option<String>,
    /// Tell the cost in this currency too.
    #[arg(long)]
    currency: Option<String>,
    /// Input tokens, those of caches included.
    #[arg(long)]
    input_tokens: Option<u64>,
    /// Input tokens read from a cache.
    #[arg(long)]
    cache_read_tokens: Option<u64>,
    /// Input tokens written to a cache.
    #[arg(long)]
    cache_write_tokens: Option<u64>,
    /// Output tokens, reasoning included.
    #[arg(long)]
    output_tokens: Option<u64>,
    #[command(flatten)]
    place: Place,
}

impl Prices {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check { files, currency } => app::prices_check(&files, currency.as_deref()),
            Self::Diff { old, new, place } => app::prices_diff(place.read()?.0, &old, &new).await,
            Self::Explain(explain) => explain.run().await,
        }
    }
}

impl Explain {
    async fn run(self) -> anyhow::Result<()> {
        let (options, _) = self.place.read()?;
        if let Some(call) = self.call {
            return app::prices_explain_call(options, &call, self.currency.as_deref()).await;
        }
        let question = PriceQuestion {
            platform: self.platform.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            region: self.region,
            scope: self.scope,
            tier: self.tier,
            account: self.account,
            at: self.at.unwrap_or_else(|| SystemClock.now()),
            currency: self.currency,
            usage: Usage {
                input: self.input_tokens,
                cache_read: self.cache_read_tokens,
                cache_write: self.cache_write_tokens,
                output: self.output_tokens,
                ..Usage::default()
            },
        };
        app::prices_explain(options, question).await
    }
}
