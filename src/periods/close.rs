//! Closing a month, and opening the latest one again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Changes, Moment, PeriodError, Periods, log, rows};
use crate::finance::ask::Ask;
use crate::finance::calendar::{CALENDAR, Month};
use crate::finance::chargeback::Report;
use crate::finance::period::{Books, Closed, ClosedFile, ClosedSource, ClosedTotal, Entry, Reopened};
use crate::ledger::View;
use crate::model::Timestamp;
use crate::query::{OtherPrices, other_prices};
use crate::sheet::sha256;
use crate::store::Store;

/// Told as a close goes on: what is done, and how many calls are copied.
pub type Progress<'a> = &'a mut (dyn FnMut(&str, u64) + Send);

/// What is closed, by whom.
#[derive(Clone, Debug)]
pub struct CloseRequest {
    /// The month and its zone; also what the report that is looked at first is grouped by.
    pub ask: Ask,
    /// Who closes.
    pub by: String,
    /// What they say about it.
    pub note: String,
    /// The texts of prices and rules, as they are kept.
    pub rules: Vec<u8>,
}

/// What a close would close.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The month, with what is posted in it.
    pub report: Report,
    /// What changed of earlier months.
    changes: Arc<Changes>,
    /// Entries of the log that this was made from.
    seen: usize,
}

impl Periods {
    /// Whether a month may be closed now, and what would be closed: the report and what changed of earlier months.
    ///
    /// # Errors
    /// It may not, or the store fails.
    pub async fn plan(&self, ask: &Ask, moment: Moment<'_>) -> Result<Planned, PeriodError> {
        let entries = log::read(&self.store).await?;
        let seen = entries.len();
        let books = Books::new(entries);
        books.may_close(ask.month, ask.zone, moment.now)?;
        let other = other_prices(&self.engine, moment.live, self.engine.rules(), ask.interval()).await?;
        if other.calls > 0 {
            let OtherPrices { calls, examples } = other;
            return Err(PeriodError::OtherPrices { month: ask.month, calls, examples });
        }
        let report = self.chargeback(ask.clone(), super::Basis::Posted, moment).await?;
        let changes = self.changes(books.closed(), moment.live).await?;
        Ok(Planned { report, changes, seen })
    }

    /// Closes a month. Only the last step, an entry in the log, makes it so.
    ///
    /// # Errors
    /// It may not be closed, or the store fails; then nothing is closed.
    pub async fn close(
        &self,
        request: CloseRequest,
        Planned { report, changes, seen }: Planned,
        moment: Moment<'_>,
        progress: Progress<'_>,
    ) -> Result<Closed, PeriodError> {
        let entries = log::read(&self.store).await?;
        let known = entries.len();
        // What is posted was told by the log as it was: a close or reopening since then makes it another.
        if known != seen {
            return Err(PeriodError::Overtaken);
        }
        let CloseRequest { ask, by, note, rules } = request;
        Books::new(entries).may_close(ask.month, ask.zone, moment.now)?;
        // Numbered, so that what an interrupted or undone close left is never mixed with this one.
        let folder = format!("periods/{}-{:06}-{}", ask.month, known + 1, moment.now.0);
        let place = self.store.within(&folder)?;
        let calls = rows::copy(&self.engine, moment.live, ask.interval(), &place, &mut |calls| {
            progress("copying calls", calls)
        })
        .await?;
        progress("keeping corrections", calls);
        self.keep_changes(&changes, &folder).await?;
        self.store.keep(&format!("{folder}/rules.json"), rules, true).await?;
        let interval = ask.interval();
        let closed = Closed {
            month: ask.month,
            time_zone: ask.zone,
            from: interval.from.to_string(),
            to: interval.to.to_string(),
            closed_at: moment.now.to_string(),
            by,
            note,
            polymeter: env!("CARGO_PKG_VERSION").to_owned(),
            calendar: CALENDAR.to_owned(),
            rules_version: report.rules_version.clone(),
            prices_version: report.prices_version.clone(),
            tables: versions(moment.live),
            files: hashed(&self.store, &folder).await?,
            folder,
            calls,
            totals: totals(&report),
            corrected_calls: changes.counts(),
            sources: report.sources.iter().map(ClosedSource::from).collect(),
            set_aside: report.set_aside.clone(),
            complete_to: moment.complete_to.clone(),
            accepted: report.warnings.iter().map(|warning| warning.text.clone()).collect(),
        };
        let counted: u64 = closed.totals.iter().map(|total| total.calls).sum();
        if counted != calls {
            let detail = format!("{calls} calls were copied, the report counts {counted}");
            return Err(PeriodError::Damaged { object: closed.folder, detail });
        }
        log::append(&self.store, known, &Entry::Closed(Box::new(closed.clone()))).await?;
        Ok(closed)
    }

    /// Opens the latest closed month again. What was closed stays in the store and in the log.
    ///
    /// # Errors
    /// It may not be opened, or the store fails.
    pub async fn reopen(
        &self,
        month: Month,
        by: String,
        reason: String,
        now: Timestamp,
    ) -> Result<Closed, PeriodError> {
        let entries = log::read(&self.store).await?;
        let known = entries.len();
        let closed = Books::new(entries).may_reopen(month)?.clone();
        let entry = Entry::Reopened(Reopened { month, at: now.to_string(), by, reason });
        log::append(&self.store, known, &entry).await?;
        Ok(closed)
    }

    /// Every close and reopening, in their order.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn entries(&self) -> Result<Vec<Entry>, PeriodError> {
        log::read(&self.store).await
    }
}

fn versions(live: &View) -> BTreeMap<String, u64> {
    let tables = [live.calls.table(), live.archive.table(), live.quarantine.table(), live.metrics.table()];
    tables.map(|table| (table.name().to_owned(), table.version())).into()
}

/// The sums of the month by currency; those of calls without a price are on the line of none.
fn totals(report: &Report) -> Vec<ClosedTotal> {
    let told = |cost: Option<rust_decimal::Decimal>| cost.map(|cost| cost.normalize().to_string());
    // The last total of several is the one in the report's currency, of all calls together.
    let own = if report.totals.len() > 1 && report.currency.is_some() {
        report.totals.len() - 1
    } else {
        report.totals.len()
    };
    let total = |total: &crate::finance::chargeback::Total| ClosedTotal {
        currency: total.currency.clone(),
        calls: total.figures.calls,
        cost: told(total.figures.cost),
        list_cost: told(total.figures.list_cost),
    };
    report.totals.iter().take(own).map(total).collect()
}

async fn hashed(store: &Store, folder: &str) -> Result<Vec<ClosedFile>, PeriodError> {
    let mut files = Vec::new();
    for (path, bytes) in store.below(folder).await? {
        let name = format!("{folder}/{path}");
        let Some(found) = store.read(&name).await? else { continue };
        files.push(ClosedFile { path, bytes, sha256: sha256(&found) });
    }
    Ok(files)
}
