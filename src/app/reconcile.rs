//! `polymeter reconcile`: bills and logs against what was metered.

use super::StoreOptions;
use super::report::{Opened, ReportOutput, in_form, open};
use super::report_files::Sheets;
use crate::clock::{Clock, SystemClock};
use crate::finance::bill::ReconcileAsk;
use crate::query::{CallsAsk, reconcile_bills, reconcile_calls as match_calls};

/// Writes a month's bills against what was metered.
///
/// # Errors
/// There is no store or no bill, or the report can't be made or written.
pub async fn reconcile(options: StoreOptions, ask: ReconcileAsk, output: ReportOutput) -> anyhow::Result<()> {
    output.check()?;
    let Opened { engine, view, in_force, .. } = open(&options).await?;
    let commitments = &in_force.terms.commitments;
    let report = reconcile_bills(&engine, &view, commitments, ask, SystemClock.now()).await?;
    let sheets = || Sheets::of(report.facts(), report.grid());
    output.write(&in_form(output.format, || report.table(), || report.json(), || report.whole_grid(), sheets)?)
}

/// Writes calls of one kind of witness against those of another.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn reconcile_calls(options: StoreOptions, ask: CallsAsk, output: ReportOutput) -> anyhow::Result<()> {
    output.check()?;
    let Opened { view, in_force, .. } = open(&options).await?;
    let report = match_calls(&view, &in_force.rules, ask).await?;
    let sheets = || {
        let counts = report.counts().into_iter().map(|(name, n)| (name.to_owned(), n.to_string()));
        let notes = report.notes.iter().map(|note| ("!".to_owned(), note.clone()));
        Sheets::of(notes.chain(counts).collect(), report.grid())
    };
    output.write(&in_form(output.format, || report.table(), || report.json(), || report.grid(), sheets)?)
}
