//! `polymeter maintain`, `audit`, `resettle`: work on the settled tables by hand, also beside a running server.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ask::agreed;
use super::rules::InForce;
use super::{HOT_US, StoreOptions, existing_store, rules};
use crate::clock::{Clock, SystemClock};
use crate::ledger::{Retention, UpkeepReport};
use crate::model::{HOUR_US, Interval, Timestamp};
use crate::pipeline::{Audit, PipelineError, Portion, Settler, Tables};
use crate::settle::Rules;
use crate::store::Store;

/// How long to wait for a server to hand the settle role over.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long another holder may show no sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// Rows that are settled at once.
const SETTLE_ROWS: usize = 250_000;

async fn open(options: &StoreOptions, retention: Retention) -> anyhow::Result<(Store, Settler, InForce)> {
    let store = existing_store(&options.data).await?;
    let in_force = rules::in_force(&store, &options.said).await?;
    let tables = Tables::open(&store).await?;
    let settler = Settler::new(&store, tables, retention, LEASE);
    Ok((store, settler, in_force))
}

async fn take_role(settler: &mut Settler) -> anyhow::Result<()> {
    let mut tables = settler.tables.clone();
    settler.role.demand(&mut tables, PATIENCE).await?;
    settler.tables = tables;
    Ok(())
}

async fn give_back(settler: &mut Settler) -> anyhow::Result<()> {
    let mut tables = settler.tables.clone();
    Ok(settler.role.release(&mut tables).await?)
}

/// Settles what the journal holds and does all upkeep that is due, whatever the traffic.
///
/// # Errors
/// There is no store, or it fails.
pub async fn maintain(options: StoreOptions, retention: Retention) -> anyhow::Result<()> {
    let (store, mut settler, InForce { rules, version, .. }) = open(&options, retention).await?;
    rules::keep_version(&store, &version, SystemClock.now()).await?;
    take_role(&mut settler).await?;
    let report = settle_and_tidy(&mut settler, &rules).await;
    give_back(&mut settler).await?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report?)?;
    Ok(writeln!(out)?)
}

async fn settle_and_tidy(settler: &mut Settler, rules: &Arc<Rules>) -> Result<UpkeepReport, PipelineError> {
    // Up to what is there now: with traffic there is always more.
    let heads = settler.journal_heads().await?;
    while !settler.covers(&heads).await? {
        let now = SystemClock.now();
        let Portion::Settled(_) = settler.settle_portion(SETTLE_ROWS, now, HOT_US, rules, false).await? else { break };
    }
    settler.upkeep(SystemClock.now(), usize::MAX).await
}

/// Computes a range again from the archive and compares it with the ledger.
///
/// # Errors
/// There is no store, it fails, or the two differ.
pub async fn audit(options: StoreOptions, range: Interval, json: bool) -> anyhow::Result<()> {
    let (_, mut settler, InForce { rules, .. }) = open(&options, Retention::default()).await?;
    let range = bounded(&settler, range).await?;
    let progress = Progress::new("audited", range);
    let audit = settler.audit(range, &rules, SystemClock.now(), |at| progress.reach(at)).await?;
    progress.end();
    tell(&audit, json)?;
    if audit.differing > 0 {
        bail!(
            "{} call(s) of the ledger differ from what the archive says; `polymeter resettle` replaces them",
            audit.differing
        );
    }
    Ok(())
}

/// Computes a range again and, after asking, replaces what differs.
///
/// # Errors
/// There is no store, it fails, or nobody said yes.
pub async fn resettle(options: StoreOptions, range: Interval, json: bool, yes: bool) -> anyhow::Result<()> {
    let (store, mut settler, InForce { rules, version, .. }) = open(&options, Retention::default()).await?;
    let range = bounded(&settler, range).await?;
    let progress = Progress::new("compared", range);
    let planned = settler.audit(range, &rules, SystemClock.now(), |at| progress.reach(at)).await?;
    progress.end();
    tell(&planned, json)?;
    if planned.differing == 0 {
        return Ok(());
    }
    if !yes && !agreed("Replace them?")? {
        bail!("nothing was changed; say --yes to replace them");
    }
    // The very version that the calls were computed with: another would say that its rows became known later.
    rules::keep_version(&store, &version, SystemClock.now()).await?;
    take_role(&mut settler).await?;
    let progress = Progress::new("resettled", range);
    let done = settler.resettle(range, &rules, SystemClock.now(), |at| progress.reach(at)).await;
    progress.end();
    give_back(&mut settler).await?;
    writeln!(std::io::stderr(), "{} call(s) were replaced", done?.differing)?;
    Ok(())
}

/// The part of the range that the ledger may hold.
async fn bounded(settler: &Settler, range: Interval) -> anyhow::Result<Interval> {
    let files = [settler.tables.calls.table().files()?, settler.tables.archive.table().files()?];
    let mut days: Vec<_> = files.iter().flatten().filter_map(|file| day_start(file.day())).collect();
    days.sort_unstable();
    let (Some(first), Some(last)) = (days.first(), days.last()) else { bail!("the store holds no calls yet") };
    Ok(Interval { from: range.from.max(*first), to: range.to.min(last.plus(24 * HOUR_US)) })
}

fn day_start(day: &str) -> Option<Timestamp> {
    Timestamp::parse(&format!("{day}T00:00:00Z"))
}

fn tell(audit: &Audit, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, audit)?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "{} to {}: {} slices with calls", audit.from, audit.to, audit.slices)?;
    if audit.beyond_archive > 0 {
        writeln!(out, "{} slices are older than the archive and can't be computed again", audit.beyond_archive)?;
    }
    let Audit { ledger, computed, .. } = audit;
    writeln!(out, "{:<14} {:>20} {:>20} {:>20}", "", "ledger", "computed", "change")?;
    for (name, old, new) in [
        ("calls", ledger.calls, computed.calls),
        ("input_tokens", ledger.input_tokens, computed.input_tokens),
        ("output_tokens", ledger.output_tokens, computed.output_tokens),
    ] {
        writeln!(out, "{name:<14} {old:>20} {new:>20} {:>+20}", i128::from(new) - i128::from(old))?;
    }
    for (name, old, new) in [("cost", ledger.cost, computed.cost), ("list_cost", ledger.list_cost, computed.list_cost)]
    {
        let [old, new, change] = [old, new, new - old].map(|sum| sum.normalize());
        writeln!(out, "{name:<14} {old:>20} {new:>20} {change:>+20}")?;
    }
    writeln!(out, "{} call(s) differ", audit.differing)?;
    for difference in audit.differences.iter().take(20) {
        let columns = difference.columns.join(", ");
        writeln!(out, "  {} {} {:?} {columns}", difference.ts, difference.call_id, difference.change)?;
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere: the result is told anyway.
struct Progress {
    bar: ProgressBar,
    from: Timestamp,
}

impl Progress {
    fn new(what: &'static str, range: Interval) -> Self {
        let hours = u64::try_from((range.to.0 - range.from.0) / HOUR_US).unwrap_or(0);
        let bar = ProgressBar::new(hours);
        let style = ProgressStyle::with_template(&format!("{{bar:40}} {what} {{pos}}/{{len}} hours {{eta}}"));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, from: range.from }
    }

    fn reach(&self, at: Timestamp) {
        self.bar.set_position(u64::try_from((at.0 - self.from.0) / HOUR_US).unwrap_or(0));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
