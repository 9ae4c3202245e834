//! `polymeter report`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::store::Place;
use crate::app::{self, ReportFormat, ReportOutput};
use crate::finance::ask::{Ask, AskError};
use crate::finance::calendar::Month;
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
