//! `polymeter export`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::store::Place;
use crate::app;
use crate::finance::calendar::Month;
use crate::finance::focus::{FocusAsk, FocusVersion};
use crate::periods::FocusForm;

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// A month as FOCUS, the open format of cost and usage, with a manifest of what is in it and what is not.
    #[command(
        after_help = "One row for each day (or hour), account, price, resource and tags; the month is one of UTC, as bills are. Before anything is written, every row and every sum is checked: price times quantity is cost, the sums are the ledger's to the last digit, no two rows have the same key. Usage without a price has no row: it is in the manifest. The same month exported twice has the same bytes.\n\nVersion 1.2 can be validated with the official validator; the columns of 1.3 and 1.4 are offered and not validated.\n\nExamples:\n  polymeter export focus --month 2026-10 --out ./focus/\n  polymeter export focus --month 2026-10 --out october.parquet --granularity hour\n  polymeter export focus --month 2026-10 --out ./focus/ --billing-account aws.bedrock=999900001111"
    )]
    Focus(Focus),
}

#[derive(Debug, Args)]
pub(super) struct Focus {
    /// The month, for example 2026-10.
    #[arg(long, value_name = "YYYY-MM")]
    month: Month,
    /// Folder, or file to write; the manifest gets the same name with .manifest.json.
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// Form of the file [default: by its ending, else csv]
    #[arg(long)]
    format: Option<Form>,
    /// Length of a row.
    #[arg(long, default_value = "day")]
    granularity: Granularity,
    /// Version of FOCUS: 1.2, 1.3 or 1.4.
    #[arg(long, default_value = "1.2", value_parser = version)]
    focus_version: FocusVersion,
    /// Who pays for a platform [default: the account of the usage]
    #[arg(long, value_name = "PLATFORM=ID", value_parser = pair)]
    billing_account: Vec<(String, String)>,
    /// Also a month that has not ended, as far as it is.
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Comma-separated.
    Csv,
    /// Exact decimals in columns.
    Parquet,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Granularity {
    /// A UTC day.
    Day,
    /// An hour.
    Hour,
}

fn version(text: &str) -> Result<FocusVersion, String> {
    text.parse().map_err(|()| "write 1.2, 1.3 or 1.4".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(platform, id)| !platform.is_empty() && !id.is_empty());
    pair.map(|(platform, id)| (platform.to_owned(), id.to_owned()))
        .ok_or_else(|| "write it as aws.bedrock=999900001111".to_owned())
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Focus(focus) = self;
        let ask = FocusAsk {
            hourly: matches!(focus.granularity, Granularity::Hour),
            version: focus.focus_version,
            billing_accounts: focus.billing_account.into_iter().collect::<BTreeMap<_, _>>(),
            partial: focus.partial,
            ..FocusAsk::month(focus.month)
        };
        let format = focus.format.map(|form| match form {
            Form::Csv => FocusForm::Csv,
            Form::Parquet => FocusForm::Parquet,
        });
        app::export_focus(focus.place.read()?.0, ask, format, &focus.out).await
    }
}
