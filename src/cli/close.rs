//! `polymeter close`, `reopen` and `periods`.

use clap::{Args, Subcommand};

use super::store::Place;
use crate::app::{self, CloseOptions};
use crate::finance::ask::Ask;

#[derive(Debug, Args)]
#[command(
    after_help = "Shows the chargeback of the month and asks. From then on every report of the month is made of what was closed, byte by byte the same, whatever arrives later, whatever prices and rules become. What changes of it is posted as corrections in the month after it. The first close decides the time zone of all months; they are closed in their order.\n\nExamples:\n  polymeter close --month 2026-10 --tz Europe/Berlin --dry-run\n  polymeter close --month 2026-10 --tz Europe/Berlin --by team,cost_center --who controller@example.com --yes\n  polymeter report chargeback --month 2026-10 --tz Europe/Berlin --restated     # what the ledger says today"
)]
pub(super) struct Close {
    /// The month, for example 2026-10.
    #[arg(long, value_name = "YYYY-MM")]
    month: String,
    /// Time zone of the month.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Columns that the report to look at is grouped by; any other report can be made later.
    #[arg(long, default_value = "team")]
    by: String,
    /// Currency of its amounts (ISO 4217) [default: `currency` of [prices], else that of each price]
    #[arg(long)]
    currency: Option<String>,
    /// Who closes it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    who: String,
    /// What there is to say about it.
    #[arg(long, default_value = "")]
    note: String,
    /// Close without asking, with what the report warns of.
    #[arg(long)]
    yes: bool,
    /// Only look.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Only the latest closed month can be opened: the corrections of those before it are posted in it. What was closed stays in the store, and the log of `polymeter periods` tells who opened it and why.\n\nExample:\n  polymeter reopen --month 2026-10 --reason 'contract EA-4711 was missing'"
)]
pub(super) struct Reopen {
    /// The month, for example 2026-10.
    #[arg(long, value_name = "YYYY-MM")]
    month: String,
    /// Why; it is kept in the log.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Who opens it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    who: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
pub(super) enum Periods {
    /// What was closed and opened again, when, by whom.
    List {
        /// Everything that is written down of each, as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Whether every file and report of the closed months is as it was, by SHA-256.
    Verify(Place),
}

impl Close {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let ask = Ask::new(&self.month, &self.by, Some(&self.tz), self.currency.as_deref())?;
        let Self { who: by, note, yes, dry_run, place, .. } = self;
        app::close(place.read()?.0, CloseOptions { ask, by, note, yes, dry_run }).await
    }
}

impl Reopen {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        app::reopen(self.place.read()?.0, self.month.parse()?, self.who, self.reason).await
    }
}

impl Periods {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { json, place } => app::periods_list(place.read()?.0, json).await,
            Self::Verify(place) => app::periods_verify(place.read()?.0).await,
        }
    }
}
