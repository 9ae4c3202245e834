//! `polymeter reconcile`.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::report::Output;
use super::store::{Place, instant};
use crate::app;
use crate::finance::bill::{CallOptions, ReconcileAsk};
use crate::finance::calendar::Month;
use crate::model::{Interval, SECOND_US, Timestamp};
use crate::query::{CallsAsk, Speakers};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Reconcile {
    #[command(subcommand)]
    level: Option<Level>,
    #[command(flatten)]
    bills: Bills,
}

#[derive(Debug, Subcommand)]
enum Level {
    /// Call by call: what gateway and application say against the provider's own log.
    #[command(
        after_help = "Names every call that only one side has, that one side has twice, or whose tokens differ, with its ids. Calls are paired by the provider's ids where both sides tell one, else by platform, model, tokens and time, with a confidence in percent. Each side is settled by itself first: a call with several records is one call. Sides: gateway, client, provider_log, provider_usage, or source=NAME, with commas.\n\nExamples:\n  polymeter reconcile calls --from 2026-10-01 --to 2026-10-02\n  polymeter reconcile calls --from 2026-10-01 --to 2026-11-01 --left source=litellm --right source=bedrock-log --format csv --out calls.csv"
    )]
    Calls(Box<Calls>),
}

#[derive(Debug, Args)]
struct Bills {
    /// The month, for example 2026-10, in UTC as bills are.
    #[arg(long, value_name = "YYYY-MM", required = true)]
    month: Option<Month>,
    /// Only this platform, for example aws.bedrock.
    #[arg(long)]
    platform: Option<String>,
    /// How much counts may differ: a share, or so many.
    #[arg(long, value_name = "SHARE|COUNT", default_value = "0.1%")]
    tolerance_tokens: String,
    /// How much costs may differ: a share, or so much.
    #[arg(long, value_name = "SHARE|AMOUNT", default_value = "0.5%")]
    tolerance_cost: String,
    /// What is compared by itself, with commas; platform and model always are.
    #[arg(long, default_value = "account,model,day,bucket")]
    by: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Calls {
    /// First instant of the calls (UTC), for example 2026-10-01 or 2026-10-01T12:00:00Z.
    #[arg(long, value_parser = instant)]
    from: Timestamp,
    /// First instant behind them.
    #[arg(long, value_parser = instant)]
    to: Timestamp,
    /// One side.
    #[arg(long, default_value = "gateway,client", value_parser = Speakers::parse)]
    left: Speakers,
    /// The other.
    #[arg(long, default_value = "provider_log,provider_usage", value_parser = Speakers::parse)]
    right: Speakers,
    /// Only this platform.
    #[arg(long)]
    platform: Option<String>,
    /// So many seconds two clocks may be apart, until their usual difference is known.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=3600))]
    window: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

impl Reconcile {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if let Some(Level::Calls(calls)) = self.level {
            let Calls { from, to, left, right, platform, window, output, place } = *calls;
            if to <= from {
                anyhow::bail!("--to must lie behind --from");
            }
            let options = CallOptions { window_us: i64::from(window) * SECOND_US };
            let ask = CallsAsk { within: Interval { from, to }, left, right, platform, options };
            return app::reconcile_calls(place.read()?.0, ask, output.into()).await;
        }
        let bills = self.bills;
        let month = bills.month.context("which month? give --month 2026-10")?;
        let ask = ReconcileAsk { platform: bills.platform, ..ReconcileAsk::month(month) };
        let ask = ask.by(&bills.by)?.tokens(&bills.tolerance_tokens)?.cost(&bills.tolerance_cost)?;
        app::reconcile(bills.place.read()?.0, ask, bills.output.into()).await
    }
}
