//! `polymeter close`, `reopen` and `periods`: a month is closed after somebody has seen what is closed.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::ask::agreed;
use super::report::{Opened, chargeback_in, open, periods_of};
use super::{ReportFormat, StoreOptions};
use crate::clock::{Clock, SystemClock};
use crate::finance::ask::Ask;
use crate::finance::calendar::{Month, Zone};
use crate::finance::focus::FocusAsk;
use crate::finance::grid::{Cell, Grid, Kind, plain};
use crate::finance::period::{Closed, Entry};
use crate::periods::{Basis, CloseRequest, FocusForm, Moment};
use crate::sheet::sha256;

/// How a month is closed.
#[derive(Clone, Debug)]
pub struct CloseOptions {
    /// The month, its zone, and what the report to look at is grouped by.
    pub ask: Ask,
    /// Who closes.
    pub by: String,
    /// What they say about it.
    pub note: String,
    /// Nobody is asked.
    pub yes: bool,
    /// Nothing is closed.
    pub dry_run: bool,
}

/// Closes a month after showing what is closed.
///
/// # Errors
/// The month can't be closed, nobody said yes, or the store fails; then nothing is closed.
pub async fn close(options: StoreOptions, close: CloseOptions) -> anyhow::Result<()> {
    let Opened { store, engine, view, in_force } = open(&options).await?;
    let periods = periods_of(&store, &engine);
    let none = BTreeMap::new();
    let moment = Moment { live: &view, terms: &in_force.terms, complete_to: &none, now: SystemClock.now() };
    let CloseOptions { ask, by, note, yes, dry_run } = close;
    let planned = periods.plan(&ask, moment).await?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", planned.report.table())?;
    writeln!(out)?;
    if dry_run {
        writeln!(out, "{} was not closed: this was a look at it", ask.month)?;
        return Ok(());
    }
    let with = match planned.report.warnings.len() {
        0 => String::new(),
        warnings => format!(" with {warnings} warning(s)"),
    };
    if !yes && !agreed(&format!("Close {}{with}?", ask.month))? {
        bail!("{} was not closed; say --yes to close it with what the report warns of", ask.month);
    }
    let rules = serde_json::to_vec_pretty(&in_force.version)?;
    let bar = bar();
    let request = CloseRequest { ask: ask.clone(), by, note, rules };
    let closed =
        periods.close(request, planned, moment, &mut |what, calls| bar.set_message(format!("{what}: {calls}"))).await;
    bar.finish_and_clear();
    let closed = closed?;
    writeln!(
        out,
        "{} ({}) is closed: {} calls, by {}",
        closed.month,
        closed.time_zone,
        closed.calls,
        plain(&closed.by)
    )?;
    for (reason, calls) in &closed.corrected_calls {
        writeln!(out, "  corrections posted in it: {calls} calls of closed months ({reason})")?;
    }
    // What was looked at is what everybody gets from now on.
    let report = periods.chargeback(ask.clone(), Basis::Posted, moment).await?;
    for format in [ReportFormat::Table, ReportFormat::Csv, ReportFormat::Json] {
        let make = async { chargeback_in(&report, format) };
        let bytes = periods.kept(&closed, &ask.question(), format.name(), make).await?;
        writeln!(out, "  {}  chargeback by {}, {}", sha256(&bytes), by_of(&ask), format.name())?;
    }
    if closed.time_zone == Zone::UTC {
        // The month is closed, whatever comes of this.
        match periods.focus(&FocusAsk::month(closed.month), FocusForm::Csv, moment).await {
            Ok(file) => writeln!(out, "  {}  FOCUS by day, csv", file.sha256())?,
            Err(error) => writeln!(out, "  ! there is no FOCUS export: {error}")?,
        }
    }
    writeln!(out, "Next: polymeter report chargeback --month {} --tz {} --by …", closed.month, closed.time_zone)?;
    Ok(())
}

/// Opens the latest closed month again.
///
/// # Errors
/// It is not the latest closed one, or the store fails.
pub async fn reopen(options: StoreOptions, month: Month, by: String, reason: String) -> anyhow::Result<()> {
    let Opened { store, engine, .. } = open(&options).await?;
    let closed = periods_of(&store, &engine).reopen(month, by, reason, SystemClock.now()).await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{month} ({}) is open again; what was closed on {} stays in {}",
        closed.time_zone, closed.closed_at, closed.folder
    )?;
    Ok(())
}

/// Lists what was closed and reopened.
///
/// # Errors
/// There is no store, or its log can't be read.
pub async fn periods_list(options: StoreOptions, json: bool) -> anyhow::Result<()> {
    let Opened { store, engine, .. } = open(&options).await?;
    let entries = periods_of(&store, &engine).entries().await?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &entries)?;
        return Ok(writeln!(out)?);
    }
    if entries.is_empty() {
        return Ok(writeln!(out, "no month is closed yet; `polymeter close --month …` closes one")?);
    }
    let columns = ["month", "time_zone", "entry", "at", "by", "calls", "cost", "note"];
    let mut grid = Grid::new(columns.map(|name| (name, if name == "calls" { Kind::Count } else { Kind::Text })));
    for entry in entries {
        let text = |text: &str| Cell::Text(text.to_owned());
        grid.rows.push(match entry {
            Entry::Closed(closed) => vec![
                text(&closed.month.to_string()),
                text(&closed.time_zone.to_string()),
                text("closed"),
                text(&closed.closed_at),
                text(&closed.by),
                Cell::Count(closed.calls),
                text(&costs(&closed)),
                text(&closed.note),
            ],
            Entry::Reopened(one) => vec![
                text(&one.month.to_string()),
                Cell::None,
                text("reopened"),
                text(&one.at),
                text(&one.by),
                Cell::None,
                Cell::None,
                text(&one.reason),
            ],
        });
    }
    Ok(write!(out, "{}", grid.table(0))?)
}

/// Looks at every file and kept report of the closed months.
///
/// # Errors
/// Something is not as it was, or the store fails.
pub async fn periods_verify(options: StoreOptions) -> anyhow::Result<()> {
    let Opened { store, engine, .. } = open(&options).await?;
    let periods = periods_of(&store, &engine);
    let mut out = std::io::stdout().lock();
    let mut damaged = 0;
    for closed in periods.books().await?.closed() {
        let verdict = periods.verify(closed).await?;
        let state = if verdict.damaged.is_empty() { "as it was closed" } else { "DAMAGED" };
        writeln!(out, "{}: {state} ({} files, {} reports)", closed.month, verdict.files, verdict.reports)?;
        for line in &verdict.damaged {
            writeln!(out, "  {line}")?;
        }
        damaged += verdict.damaged.len();
    }
    if damaged > 0 {
        bail!("{damaged} object(s) of closed months are not as they were; bring them back from a backup");
    }
    Ok(())
}

fn costs(closed: &Closed) -> String {
    let costs =
        closed.totals.iter().filter_map(|total| Some(format!("{} {}", total.cost.as_ref()?, total.currency.as_ref()?)));
    costs.collect::<Vec<_>>().join(" and ")
}

fn by_of(ask: &Ask) -> String {
    ask.by.iter().map(|column| column.name()).collect::<Vec<_>>().join(",")
}

/// A spinner on a terminal, nothing elsewhere: the result is told anyway.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
