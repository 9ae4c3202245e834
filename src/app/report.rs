//! `polymeter report`: a month in money, from one moment of the store, as a table or a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::report_files::{Sheets, parquet, xlsx};
use super::whole_files::write_whole;
use super::{StoreOptions, existing_store, prices, rules};
use crate::clock::{Clock, SystemClock};
use crate::finance::ask::Ask;
use crate::finance::budget::{self, Plan};
use crate::finance::calendar::Month;
use crate::finance::chargeback::Report;
use crate::finance::grid::{Grid, pretty};
use crate::finance::what_if::Target;
use crate::ledger::View;
use crate::periods::{Basis, Moment, PeriodError, Periods};
use crate::pipeline::load_view;
use crate::pricing::Contract;
use crate::query::{Engine, Limits, budget_status, variance, what_if};
use crate::settle;
use crate::store::Store;

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

impl ReportFormat {
    /// Its name, and the ending of its files.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Table => "txt",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Xlsx => "xlsx",
            Self::Parquet => "parquet",
        }
    }
}

/// Where a report goes and in which form.
#[derive(Clone, Debug)]
pub struct ReportOutput {
    /// Its form.
    pub format: ReportFormat,
    /// A file; standard output without one.
    pub out: Option<PathBuf>,
}

/// Writes the chargeback of a month: of a closed one the very bytes that were written first.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn report_chargeback(
    options: StoreOptions,
    ask: Ask,
    basis: Basis,
    output: ReportOutput,
) -> anyhow::Result<()> {
    output.check()?;
    let Opened { store, engine, view, in_force } = open(&options).await?;
    let periods = periods_of(&store, &engine);
    let none = BTreeMap::new();
    let moment = Moment { live: &view, terms: &in_force.terms, complete_to: &none, now: SystemClock.now() };
    let write = |report: &Report| chargeback_in(report, output.format);
    let bytes = periods.written(ask, basis, moment, output.format.name(), write).await?;
    output.write(&bytes)
}

/// A chargeback in a form.
pub(super) fn chargeback_in(report: &Report, format: ReportFormat) -> Result<Vec<u8>, PeriodError> {
    let sheets = || {
        let warnings = report.warnings.iter().map(|warning| (format!("! {}", warning.code), warning.text.clone()));
        let facts = report.facts().into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut lines = report.line_grid();
        lines.rows.extend(report.total_grid().rows);
        let mut sheets = Sheets::of(warnings.chain(facts).collect(), lines);
        let corrections = report.correction_grid();
        if !corrections.rows.is_empty() {
            sheets.grids.push(("Corrections", corrections));
        }
        sheets
    };
    let written = in_form(format, || report.table(), || report.json(), || report.whole_grid(), sheets);
    written.map_err(|error| PeriodError::Form(error.into()))
}

/// A report in a form; the others are not made.
pub(super) fn in_form(
    format: ReportFormat,
    table: impl FnOnce() -> String,
    document: impl FnOnce() -> Value,
    rows: impl FnOnce() -> Grid,
    sheets: impl FnOnce() -> Sheets,
) -> anyhow::Result<Vec<u8>> {
    Ok(match format {
        ReportFormat::Table => table().into_bytes(),
        ReportFormat::Json => pretty(&document()).into_bytes(),
        ReportFormat::Csv => rows().csv().into_bytes(),
        ReportFormat::Parquet => parquet(&rows())?,
        ReportFormat::Xlsx => xlsx(&sheets())?,
    })
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
    let Opened { engine, view, .. } = open(&options).await?;
    let report = variance(&engine, &view, ask, against).await?;
    let sheets = || {
        let title = format!("{} against {} ({})", report.ask.month, report.against, report.ask.zone);
        let parts = "difference = volume + mix + price + new + ended".to_owned();
        Sheets::of(vec![("variance".to_owned(), title), ("parts".to_owned(), parts)], report.grid())
    };
    output.write(&in_form(output.format, || report.table(), || report.json(), || report.grid(), sheets)?)
}

/// Writes what the calls of a month would have cost elsewhere. The contract is one of the price files in force, or in a file
/// of its own.
///
/// # Errors
/// There is no store or no such contract, or the report can't be made or written.
pub async fn report_what_if(
    options: StoreOptions,
    ask: Ask,
    mut target: Target,
    output: ReportOutput,
) -> anyhow::Result<()> {
    output.check()?;
    let named = target
        .contract
        .clone()
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "toml" || end == "csv"));
    let own = named.map(|file| only_contract(Path::new(&file))).transpose()?;
    let Opened { mut engine, view, .. } = open(&options).await?;
    if let Some((id, contracts)) = own {
        let mut with = settle::Rules::clone(engine.rules());
        with.prices = with.prices.with_contracts(contracts)?;
        engine = engine.with_rules(Arc::new(with));
        target.contract = Some(id);
    }
    let report = what_if(&engine, &view, ask, target, SystemClock.now()).await?;
    let sheets = || {
        let title = format!("{} ({}), with {}", report.ask.month, report.ask.zone, report.target.told());
        let parts = "compared and not compared together are the ledger".to_owned();
        Sheets::of(vec![("what if".to_owned(), title), ("read".to_owned(), parts)], report.grid())
    };
    output.write(&in_form(output.format, || report.table(), || report.json(), || report.grid(), sheets)?)
}

/// Writes how budgets stand.
///
/// # Errors
/// There is no store, or the report can't be made or written.
pub async fn report_budgets(
    options: StoreOptions,
    plans: &[Plan],
    month: Option<Month>,
    output: ReportOutput,
) -> anyhow::Result<()> {
    output.check()?;
    if plans.is_empty() {
        bail!(
            "there is no [[budget]] in the configuration; give one with --config, deploy/polymeter.example.toml shows how"
        );
    }
    let Opened { engine, view, in_force, .. } = open(&options).await?;
    let now = SystemClock.now();
    let mut statuses = Vec::new();
    for plan in plans {
        statuses.push(budget_status(&engine, &view, plan, month, &in_force.terms, now).await?);
    }
    let (grid, document) = (|| budget::grid(&statuses), || budget::report_json(&statuses, now));
    let sheets = || Sheets::of(vec![("made_at".to_owned(), now.to_string())], grid());
    output.write(&in_form(output.format, || grid().table(0), document, grid, sheets)?)
}

/// The contract of a file that holds one.
fn only_contract(file: &Path) -> anyhow::Result<(String, Vec<Contract>)> {
    let contracts = prices::contracts_of(file)?;
    let ids: BTreeSet<&str> = contracts.iter().map(|contract| contract.contract_id.as_str()).collect();
    match ids.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Ok(((*only).to_owned(), contracts)),
        [] => bail!("{} holds no [[contract]]", file.display()),
        several => bail!("{} holds several contracts ({}); keep one", file.display(), several.join(", ")),
    }
}

/// Nobody else waits, and a month may have many users.
fn limits() -> Limits {
    Limits { rows: 1_000_000, time: Duration::from_secs(600), answer_bytes: 1 << 30, ..Limits::default() }
}

/// A store at one moment.
pub(super) struct Opened {
    pub store: Store,
    pub engine: Engine,
    pub view: View,
    pub in_force: rules::InForce,
}

pub(super) async fn open(options: &StoreOptions) -> anyhow::Result<Opened> {
    let store = existing_store(&options.data).await?;
    let in_force = rules::in_force(&store, &options.said).await?;
    let view = load_view(&store, &in_force.rules, SystemClock.now()).await?;
    let engine = Engine::new(limits(), in_force.rules.clone())?.with_terms(Arc::clone(&in_force.terms));
    Ok(Opened { engine, store, view, in_force })
}

/// The months of a store.
pub(super) fn periods_of(store: &Store, engine: &Engine) -> Periods {
    Periods::new(store.clone(), engine.clone(), Arc::new(rules::pinned))
}

impl ReportOutput {
    /// Before anything is computed.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.out.is_none() && matches!(self.format, ReportFormat::Xlsx | ReportFormat::Parquet) {
            bail!("this format is a file; say where with --out FILE");
        }
        Ok(())
    }

    /// A file is there whole or not at all.
    pub(super) fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(out) = &self.out else { return Ok(std::io::stdout().lock().write_all(bytes)?) };
        write_whole(&[(out, bytes)])
    }
}
