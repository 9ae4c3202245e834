//! `polymeter bill`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::store::Place;
use crate::app::{self, BillOptions};
use crate::finance::bill::Format;
use crate::finance::calendar::Month;

#[derive(Debug, Subcommand)]
pub(super) enum Bill {
    /// Take in a provider's bill, to hold it against what was metered.
    #[command(
        after_help = "Formats: aws-cur2 (AWS Data Exports, CUR 2.0), azure (a cost export, actual or amortized), openai (pages of /v1/organization/costs) and anthropic (pages of /v1/organizations/cost_report). CSV, gzip, Parquet, JSON and JSON lines are read; files of one command are one bill. A mistake in any of them is told with file and line, and nothing is taken in. The same bill again changes nothing; a newer one of the same account and month needs --replace. The lines are the table bill_lines.\n\nWhat a meter counts is read from its name; a line whose name is not known stays visible, and --meters names it (CSV: meter,model,bucket,scope,tier).\n\nThe last line of standard output is a JSON summary.\n\nExamples:\n  polymeter bill import s3://my-exports/cur/data/BILLING_PERIOD=2026-10/\n  polymeter bill import az://exports/costs/2026-10/part_1_0001.csv.gz --replace\n  polymeter bill import openai-costs.json anthropic-costs.json --month 2026-10"
    )]
    Import(Import),
    /// Which bills there are, and which of them hold.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Files, folders, s3://bucket/prefix or az://container/prefix.
    #[arg(required = true)]
    locations: Vec<String>,
    /// Whose export: aws-cur2, azure, openai, anthropic or auto.
    #[arg(long, default_value = "auto", value_parser = format)]
    format: Named,
    /// Only lines of this month (UTC).
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Your own words about meters.
    #[arg(long, value_name = "FILE")]
    meters: Option<PathBuf>,
    /// Take the place of an older bill of the same accounts and months.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Place,
}

/// A format, or none for `auto`.
#[derive(Clone, Copy, Debug)]
struct Named(Option<Format>);

fn format(text: &str) -> Result<Named, String> {
    match text {
        "auto" => Ok(Named(None)),
        text => text
            .parse()
            .map(|format| Named(Some(format)))
            .map_err(|()| "write aws-cur2, azure, openai, anthropic or auto".to_owned()),
    }
}

impl Bill {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Import(import) => {
                let Import { locations, format, month, meters, replace, place } = import;
                let options = BillOptions { locations, format: format.0, month, meters, replace };
                app::bill_import(place.read()?.0, options).await
            }
            Self::List { json, place } => app::bill_list(place.read()?.0, json).await,
        }
    }
}
