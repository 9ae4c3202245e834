//! `polymeter report`: a month in money, from one moment of the store, as a table or a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::report_files::{parquet, xlsx};
use super::{StoreOptions, existing_store, rules};
use crate::access::Caller;
use crate::clock::{Clock, SystemClock};
use crate::finance::ask::Ask;
use crate::finance::calendar::Month;
use crate::ledger::View;
use crate::pipeline::load_view;
use crate::query::{Engine, Ledger, Limits, chargeback, variance};

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// For people.
    Table,
    /// With a header line.
    Csv,
    /// One document.
    Json,
    /// For spreadsheets.
    Xlsx,
    /// For other engines.
    Parquet,
}

/// Where a report goes and in which form.
#[derive(Clone, Debug)]
pub struct ReportOutput {
    /// Its form.
    pub format: ReportFormat,
    /// A file; standard output without one.
    pub out: Option<PathBuf>,
}

/// Writes the chargeback of a month.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn report_chargeback(options: StoreOptions, ask: Ask, output: ReportOutput) -> anyhow::Result<()> {
    output.check()?;
    let (engine, view, in_force) = open(&options).await?;
    let now = SystemClock.now();
    let caller = Caller::anyone();
    let ledger = Ledger { engine: &engine, view: &view, caller: &caller };
    let report = chargeback(ledger, ask, &in_force.terms, Default::default(), now).await?;
    let bytes = match output.format {
        ReportFormat::Table => report.table().into_bytes(),
        ReportFormat::Json => pretty(&report.json())?,
        ReportFormat::Csv => report.whole_grid().csv().into_bytes(),
        ReportFormat::Parquet => parquet(&report.whole_grid())?,
        ReportFormat::Xlsx => {
            let mut about: Vec<(String, String)> =
                report.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let warnings = report.warnings.iter().map(|warning| (format!("! {}", warning.code), warning.text.clone()));
            about.splice(0..0, warnings);
            let mut lines = report.line_grid();
            lines.rows.extend(report.total_grid().rows);
            xlsx(&about, &lines)?
        }
    };
    output.write(&bytes)
}

/// Writes why a month differs from another.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn report_variance(
    options: StoreOptions,
    ask: Ask,
    against: Month,
    output: ReportOutput,
) -> anyhow::Result<()> {
    output.check()?;
    let (engine, view, _) = open(&options).await?;
    let caller = Caller::anyone();
    let ledger = Ledger { engine: &engine, view: &view, caller: &caller };
    let report = variance(ledger, ask, against).await?;
    let bytes = match output.format {
        ReportFormat::Table => report.table().into_bytes(),
        ReportFormat::Json => pretty(&report.json())?,
        ReportFormat::Csv => report.grid().csv().into_bytes(),
        ReportFormat::Parquet => parquet(&report.grid())?,
        ReportFormat::Xlsx => {
            let title = format!("{} against {} ({})", report.ask.month, report.against, report.ask.zone);
            let parts = "difference = volume + mix + price + new + ended".to_owned();
            xlsx(&[("variance".to_owned(), title), ("parts".to_owned(), parts)], &report.grid())?
        }
    };
    output.write(&bytes)
}

async fn open(options: &StoreOptions) -> anyhow::Result<(Engine, View, rules::InForce)> {
    let store = existing_store(&options.data).await?;
    let in_force = rules::in_force(&store, &options.said).await?;
    let view = load_view(&store, &in_force.rules, SystemClock.now()).await?;
    // Nobody else waits, and a month may have many users.
    let limits = Limits { rows: 1_000_000, time: Duration::from_secs(600), ..Limits::default() };
    Ok((Engine::new(limits, in_force.rules.clone())?, view, in_force))
}

fn pretty(value: &serde_json::Value) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl ReportOutput {
    /// Before anything is computed.
    fn check(&self) -> anyhow::Result<()> {
        if self.out.is_none() && matches!(self.format, ReportFormat::Xlsx | ReportFormat::Parquet) {
            bail!("this format is a file; say where with --out FILE");
        }
        Ok(())
    }

    /// A file is there whole or not at all.
    fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(out) = &self.out else { return Ok(std::io::stdout().lock().write_all(bytes)?) };
        let unwritable = || format!("{} can't be written", out.display());
        let name = out.file_name().with_context(unwritable)?.to_string_lossy();
        let part = out.parent().unwrap_or(Path::new("")).join(format!(".{name}.{}.part", std::process::id()));
        let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, out));
        if written.is_err() {
            // The error that counts is the first one.
            let _ = std::fs::remove_file(&part);
        }
        written.with_context(unwritable)
    }
}
