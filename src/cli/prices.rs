//! `polymeter prices`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::store::{Place, instant};
use crate::app::{self, PriceQuestion, PriceUpdate};
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
    /// Write the rows of the price book in force, for other programs.
    #[command(
        after_help = "csv has the form of a price file, without contracts; json has all of it, decimals are text. Prices are those of --config, else those that the store keeps, else the bundled list.\n\nExamples:\n  polymeter prices list --platform openai --format csv > openai.csv\n  polymeter prices list --model gpt-4o"
    )]
    List {
        /// Only this platform.
        #[arg(long)]
        platform: Option<String>,
        /// Only this model, by its canonical name.
        #[arg(long)]
        model: Option<String>,
        /// Form of the rows.
        #[arg(long, default_value = "json")]
        format: Rows,
        #[command(flatten)]
        place: Place,
    },
    /// Append rows of a public catalogue of list prices to a file of your own. Nothing is fetched by itself.
    #[command(
        after_help = "Reads the price data of genai-prices (data.json) or of LiteLLM (model_prices_and_context_window.json), a file or URL that you name; without --from it says which bundled list is in use. Shows what changes and asks. Rows are only appended, each with its source; a row of your own stays, and what differs from it is listed. What contradicts a price that holds holds from today.\n\nExamples:\n  polymeter prices update\n  polymeter prices update --from model_prices_and_context_window.json --into imported.csv --config polymeter.toml --dry-run\n  polymeter prices update --from data.json --into imported.csv --platform openai --platform anthropic --yes"
    )]
    Update {
        /// File or URL of a catalogue.
        #[arg(long, value_name = "FILE|URL", requires = "into")]
        from: Option<String>,
        /// File to append to; made where it is not there.
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
        /// Only this platform; may be given several times.
        #[arg(long)]
        platform: Vec<String>,
        /// Append without asking.
        #[arg(long)]
        yes: bool,
        /// Only show what would be appended.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
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

/// Form of listed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Rows {
    /// One document; decimals are text.
    Json,
    /// As a price file.
    Csv,
}

/// Form of an explained price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    Text,
    /// One document; decimals are text.
    Json,
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
    /// Form of the answer.
    #[arg(long, default_value = "text")]
    format: Form,
    #[command(flatten)]
    place: Place,
}

impl Prices {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check { files, currency } => app::prices_check(&files, currency.as_deref()),
            Self::Diff { old, new, place } => app::prices_diff(place.read()?.0, &old, &new).await,
            Self::List { platform, model, format, place } => {
                let csv = format == Rows::Csv;
                app::prices_list(place.read()?.0, platform.as_deref(), model.as_deref(), csv).await
            }
            Self::Update { from, into, platform, yes, dry_run, place } => {
                let into = into.unwrap_or_default();
                let update = PriceUpdate { from, into, platforms: platform, yes, dry_run };
                app::prices_update(place.read()?.0, update).await
            }
            Self::Explain(explain) => explain.run().await,
        }
    }
}

impl Explain {
    async fn run(self) -> anyhow::Result<()> {
        let as_json = self.format == Form::Json;
        let (options, _) = self.place.read()?;
        if let Some(call) = self.call {
            return app::prices_explain_call(options, &call, self.currency.as_deref(), as_json).await;
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
        app::prices_explain(options, question, as_json).await
    }
}
