//! `polymeter report`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::store::Place;
use crate::app::{self, ReportFormat, ReportOutput};
use crate::finance::ask::{Ask, AskError};
use crate::finance::calendar::Month;
use crate::finance::what_if::Target;
use crate::periods::Basis;

#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// Who pays what for a month (showback is the same), with totals that are the ledger to the last digit.
    #[command(
        visible_alias = "showback",
        after_help = "What the figures leave out (no price, nobody to pay, a month that goes on) stands first. `cost` is the exact sum of the ledger; `amount` is rounded once for each total, so that the lines add up to it. With --currency, sums are converted by the [[exchange]] rate of the price files that holds in the middle of the month.\n\nColumns: team, feature, cost_center, environment, service, platform, publisher, model, account, region, deployment, principal, user_id, gateway, operation, tier, resource.\n\nExamples:\n  polymeter report chargeback --month 2026-10 --by team\n  polymeter report chargeback --month 2026-10 --by team,model --tz Europe/Berlin --currency EUR --format xlsx --out october.xlsx\n  polymeter report chargeback --month 2026-10 --by cost_center --format csv | grep ^line"
    )]
    Chargeback {
        #[command(flatten)]
        question: Question,
        /// Currency of the amounts (ISO 4217) [default: `currency` of [prices], else that of each price]
        #[arg(long)]
        currency: Option<String>,
        /// Of a closed month what the ledger says today, not what was closed; of an open one without corrections.
        #[arg(long)]
        restated: bool,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// What the calls of a month would have cost elsewhere: on another cloud, or under another contract.
    #[command(
        after_help = "Every call is priced again with its own counts, at its own time. What can't be compared in full is listed with its reason and cost; compared and not compared together are the ledger. A contract holds with its platforms in the place of all others there, for every account; before its first day its first terms are taken.\n\nThe same for each call, in SQL: SELECT call_id, cost, cost_elsewhere, difference, assumed, why_not FROM what_if(platform => 'aws.bedrock', from => '2026-10-01', to => '2026-11-01')\n\nExamples:\n  polymeter report what-if --month 2026-10 --platform aws.bedrock\n  polymeter report what-if --month 2026-10 --contract EA-4712 --by team,model\n  polymeter report what-if --month 2026-10 --contract offer.toml --format xlsx --out offer.xlsx"
    )]
    WhatIf {
        #[command(flatten)]
        elsewhere: Box<WhereElse>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// What may be spent in a month, what was spent and is expected to.
    #[command(
        after_help = "Budgets are the [[budget]] of a configuration; `polymeter serve` tells the [[alert]] receivers when a threshold is reached. Days to come are expected to cost the mean of the same weekdays of the last 28 days.\n\nstate: ok; threshold_reached; expected_over: the amount will be reached before the month ends; over.\n\nExamples:\n  polymeter report budgets --config polymeter.toml\n  polymeter report budgets --config polymeter.toml --month 2026-10 --format csv"
    )]
    Budgets {
        /// The month, for example 2026-10 [default: that of now, in the time zone of each budget]
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<String>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Why a month cost more or less than another: volume, mix and price, adding up to the difference.
    #[command(
        after_help = "volume: more or fewer tokens at the other month's average. mix: a larger share of dearer or cheaper models. price: another average price per token of the same model on the same platform. new and ended: what only one month has.\n\nExample:\n  polymeter report variance --month 2026-10 --against 2026-09 --by team"
    )]
    Variance {
        #[command(flatten)]
        question: Question,
        /// The month it is held against [default: the one before]
        #[arg(long, value_name = "YYYY-MM")]
        against: Option<String>,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct WhereElse {
    /// The month, for example 2026-10.
    #[arg(long, value_name = "YYYY-MM")]
    month: String,
    /// Columns to group by, with commas.
    #[arg(long, default_value = "platform,model")]
    by: String,
    /// Time zone of the month; bills of providers are in UTC.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Who would bill: aws.bedrock, azure.ai.openai, openai, gcp.vertex_ai, …
    #[arg(long)]
    platform: Option<String>,
    /// A contract by its contract_id, or a file with one.
    #[arg(long, value_name = "ID|FILE")]
    contract: Option<String>,
    /// Billing account there, for contracts that tell accounts apart.
    #[arg(long)]
    account: Option<String>,
    /// Another model.
    #[arg(long)]
    model: Option<String>,
    /// Where the calls may run: in_region, geo:eu, global.
    #[arg(long)]
    scope: Option<String>,
    /// Region that would be called.
    #[arg(long)]
    region: Option<String>,
    /// Tier: standard, batch, flex, priority.
    #[arg(long)]
    tier: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Question {
    /// The month, for example 2026-10.
    #[arg(long, value_name = "YYYY-MM")]
    month: String,
    /// Columns to group by, with commas.
    #[arg(long, default_value = "team")]
    by: String,
    /// Time zone of the month; bills of providers are in UTC.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// Form of the report; xlsx and parquet need --out.
    #[arg(long, default_value = "table")]
    format: Form,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// Comma-separated; the column `kind` tells lines, totals and warnings apart.
    Csv,
    /// One document; decimals are text.
    Json,
    /// For spreadsheets.
    Xlsx,
    /// For other engines; money is an exact decimal.
    Parquet,
}

impl From<Output> for ReportOutput {
    fn from(output: Output) -> Self {
        let format = match output.format {
            Form::Table => ReportFormat::Table,
            Form::Csv => ReportFormat::Csv,
            Form::Json => ReportFormat::Json,
            Form::Xlsx => ReportFormat::Xlsx,
            Form::Parquet => ReportFormat::Parquet,
        };
        Self { format, out: output.out }
    }
}

impl Question {
    fn ask(&self, currency: Option<&str>) -> Result<Ask, AskError> {
        Ask::new(&self.month, &self.by, Some(&self.tz), currency)
    }
}

impl Report {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Chargeback { question, currency, restated, output, place } => {
                let ask = question.ask(currency.as_deref())?;
                let basis = if restated { Basis::Restated } else { Basis::Posted };
                app::report_chargeback(place.read()?.0, ask, basis, output.into()).await
            }
            Self::Budgets { month, output, place } => {
                let month = month.map(|month| month.parse::<Month>()).transpose()?;
                let (options, config) = place.read()?;
                let plans = config.map(|config| config.budgets.plans).unwrap_or_default();
                app::report_budgets(options, &plans, month, output.into()).await
            }
            Self::WhatIf { elsewhere, output, place } => {
                let WhereElse { month, by, tz, platform, contract, account, model, scope, region, tier } = *elsewhere;
                let ask = Ask::new(&month, &by, Some(&tz), None)?;
                let target = Target { platform, contract, account, model, scope, region, tier }.checked()?;
                app::report_what_if(place.read()?.0, ask, target, output.into()).await
            }
            Self::Variance { question, against, output, place } => {
                let ask = question.ask(None)?;
                let against: Month = against.map_or(Ok(ask.month.previous()), |month| month.parse())?;
                if against == ask.month {
                    return Err(AskError::SameMonth.into());
                }
                app::report_variance(place.read()?.0, ask, against, output.into()).await
            }
        }
    }
}
