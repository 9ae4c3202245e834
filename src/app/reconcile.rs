//! `polymeter reconcile`: bills and logs against what was metered.

use super::StoreOptions;
use super::report::{Opened, ReportFormat, ReportOutput, open, pretty};
use super::report_files::{parquet, xlsx};
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
    let (rules, commitments) = (&in_force.rules, &in_force.terms.commitments);
    let report = reconcile_bills(&engine, &view, rules, commitments, ask, SystemClock.now()).await?;
    let bytes = match output.format {
        ReportFormat::Table => report.table().into_bytes(),
        ReportFormat::Json => pretty(&report.json())?,
        ReportFormat::Csv => report.whole_grid().csv().into_bytes(),
        ReportFormat::Parquet => parquet(&report.whole_grid())?,
        ReportFormat::Xlsx => xlsx(&report.facts(), &report.grid())?,
    };
    output.write(&bytes)
}

/// Writes calls of one kind of witness against those of another.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn reconcile_calls(options: StoreOptions, ask: CallsAsk, output: ReportOutput) -> anyhow::Result<()> {
    output.check()?;
    let Opened { view, in_force, .. } = open(&options).await?;
    let report = match_calls(&view, &in_force.rules, ask).await?;
    let bytes = match output.format {
        ReportFormat::Table => report.table().into_bytes(),
        ReportFormat::Json => pretty(&report.json())?,
        ReportFormat::Csv => report.grid().csv().into_bytes(),
        ReportFormat::Parquet => parquet(&report.grid())?,
        ReportFormat::Xlsx => {
            let counts = report.counts().into_iter().map(|(name, n)| (name.to_owned(), n.to_string()));
            let about: Vec<(String, String)> =
                report.notes.iter().map(|note| ("!".to_owned(), note.clone())).chain(counts).collect();
            xlsx(&about, &report.grid())?
        }
    };
    output.write(&bytes)
}
