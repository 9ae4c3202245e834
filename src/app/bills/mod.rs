//! `polymeter bill`: takes the providers' bills in, whole or not at all, and tells which there are.

mod parquet_text;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rust_decimal::Decimal;
use serde_json::json;

use super::{StoreOptions, rules};
use crate::clock::{Clock, SystemClock};
use crate::finance::bill::read::Names;
use crate::finance::bill::{BillLine, Format, Meters};
use crate::finance::calendar::Month;
use crate::finance::grid::{Cell, Grid, Kind, plain};
use crate::ledger::{BillAbout, BillImport, Bills, Covered, newest};
use crate::model::fingerprint;
use crate::query::{bill_batch, bill_month};
use crate::store::Store;

/// What to take in.
#[derive(Clone, Debug, Default)]
pub struct BillOptions {
    /// Files, folders, `s3://` and `az://` prefixes: together one bill.
    pub locations: Vec<String>,
    /// Whose export; told from each file by default.
    pub format: Option<Format>,
    /// Only lines of this month.
    pub month: Option<Month>,
    /// The operator's own table of meters.
    pub meters: Option<PathBuf>,
    /// Take the place of bills of the same accounts and months.
    pub replace: bool,
}

/// Why an import does not go on.
enum Refusal {
    Taken(String),
    Failed(crate::ledger::LedgerError),
}

impl From<crate::ledger::LedgerError> for Refusal {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Failed(error)
    }
}

/// Takes a bill in; the last line of standard output is a JSON summary.
///
/// # Errors
/// A file has a mistake, an older bill is in the way, or the store fails. Nothing was taken in then.
pub async fn bill_import(store: StoreOptions, options: BillOptions) -> anyhow::Result<()> {
    // A bill may come before the first call.
    let opened = Store::open(&store.data).await?;
    let in_force = rules::in_force(&opened, &store.said).await?;
    let meters = meters(options.meters.as_ref())?;
    let names = Names { catalog: &in_force.rules.catalog, meters: &meters };
    let files = read::read_all(&options.locations, options.format, names).await?;
    let month = options.month.map(|month| month.to_string());
    let (mut lines, mut others, mut rounded) = (Vec::new(), 0_u64, 0_u64);
    let mut skipped: BTreeMap<String, (u64, BTreeMap<String, Decimal>)> = BTreeMap::new();
    let mut names = Vec::new();
    for file in files {
        names.push(file.name);
        rounded += file.bill.rounded;
        for (service, left) in file.bill.skipped {
            let sum = skipped.entry(service).or_default();
            sum.0 += left.lines;
            for (currency, cost) in left.cost {
                *sum.1.entry(currency).or_default() += cost;
            }
        }
        for line in file.bill.lines {
            if month.as_ref().is_none_or(|month| *month == bill_month(&line)) {
                lines.push((file.format.as_str(), line));
            } else {
                others += 1;
            }
        }
    }
    if lines.is_empty() {
        let of = month.map(|month| format!(" of {month}")).unwrap_or_default();
        let services: Vec<&str> = skipped.keys().map(String::as_str).collect();
        bail!("there is no line about models{of} in it; lines about something else: {}", services.join(", "));
    }
    // A refund of the month before does not make this the bill of that month.
    let usage = lines.iter().filter(|(_, line)| line.category.as_str() == "usage");
    let mut covers: BTreeSet<Covered> = usage.map(|(format, line)| covered(format, line)).collect();
    if covers.is_empty() {
        covers = lines.iter().map(|(format, line)| covered(format, line)).collect();
    }
    let now = SystemClock.now();
    let about = BillAbout {
        bill_id: bill_id(&lines),
        imported_at: now.to_string(),
        files: names,
        covers,
        lines: u64::try_from(lines.len())?,
    };
    let batch = bill_batch(&about.bill_id, now, &lines)?;
    let mut superseded: Vec<String> = Vec::new();
    let added = Bills::new(&opened)
        .add(&about, &batch, |imports| decide(imports, &about, options.replace, &mut superseded))
        .await;
    let added = added.map_err(|refusal| match refusal {
        Refusal::Taken(text) => anyhow!(text),
        Refusal::Failed(error) => anyhow!(error),
    })?;
    let unknown = lines.iter().filter(|(_, line)| line.category.as_str() == "usage" && line.model.is_none()).count();
    let skipped: BTreeMap<String, serde_json::Value> =
        skipped.into_iter().map(|(service, (lines, cost))| (service, json!({"lines": lines, "cost": cost}))).collect();
    let summary = json!({
        "bill_id": about.bill_id, "new": added, "files": about.files.len(), "lines": about.lines,
        "months": about.covers.iter().map(|covered| &covered.month).collect::<BTreeSet<_>>(),
        "accounts": about.covers.iter().map(|covered| &covered.account).collect::<BTreeSet<_>>(),
        "cost": costs(&lines), "supersedes": superseded, "unknown_models": unknown, "rounded": rounded,
        "other_months": others, "skipped": skipped,
    });
    let mut out = std::io::stdout().lock();
    if !added {
        writeln!(out, "this bill is there already; nothing was changed")?;
    }
    for bill in &superseded {
        writeln!(out, "takes the place of bill {bill}")?;
    }
    Ok(writeln!(out, "{summary}")?)
}

fn meters(file: Option<&PathBuf>) -> anyhow::Result<Meters> {
    let Some(file) = file else { return Ok(Meters::default()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    Meters::read(&file.display().to_string(), &text).map_err(|problems| anyhow!("{}", rules::listed(&problems)))
}

fn covered(format: &str, line: &BillLine) -> Covered {
    let account = line.account.clone().unwrap_or_default();
    Covered { format: format.to_owned(), account, month: bill_month(line) }
}

/// A hash of what the lines say, wherever they lay and in whatever order.
fn bill_id(lines: &[(&str, BillLine)]) -> String {
    let mut said: Vec<String> = lines
        .iter()
        .map(|(format, line)| {
            let line = BillLine { place: crate::sheet::Place::default(), ..line.clone() };
            format!("{format} {line:?}")
        })
        .collect();
    said.sort_unstable();
    fingerprint(said.iter().map(String::as_bytes)).to_string()
}

/// Whether to go on: not with what is there already, nor over an older bill that nobody said to replace.
fn decide(
    imports: &[Arc<BillImport>],
    about: &BillAbout,
    replace: bool,
    superseded: &mut Vec<String>,
) -> Result<bool, Refusal> {
    superseded.clear();
    let newest = newest(imports);
    let holding: BTreeSet<u64> = about.covers.iter().filter_map(|covered| newest.get(covered).copied()).collect();
    let older: Vec<&Arc<BillImport>> = imports.iter().filter(|import| holding.contains(&import.number)).collect();
    if older.iter().any(|import| import.about.bill_id == about.bill_id) && older.len() == 1 {
        return Ok(false);
    }
    if let Some(first) = older.first().filter(|_| !replace) {
        let both = first.about.covers.intersection(&about.covers).next();
        let what =
            both.map(|covered| format!("account '{}' in {}", covered.account, covered.month)).unwrap_or_default();
        return Err(Refusal::Taken(format!(
            "there is a bill of {what} already: {} of {}, {} lines from {}. Give --replace if this one takes its place, or \
             import all parts of a bill together",
            first.about.bill_id,
            first.about.imported_at,
            first.about.lines,
            first.about.files.first().map_or("", String::as_str)
        )));
    }
    superseded.extend(older.iter().map(|import| import.about.bill_id.clone()));
    Ok(true)
}

fn costs(lines: &[(&str, BillLine)]) -> BTreeMap<String, Decimal> {
    let mut costs: BTreeMap<String, Decimal> = BTreeMap::new();
    for (_, line) in lines {
        *costs.entry(line.currency.clone()).or_default() += line.cost;
    }
    costs.into_iter().map(|(currency, cost)| (currency, cost.normalize())).collect()
}

/// Tells which bills there are, the oldest first.
///
/// # Errors
/// The store fails.
pub async fn bill_list(store: StoreOptions, as_json: bool) -> anyhow::Result<()> {
    let imports = Bills::new(&super::existing_store(&store.data).await?).imports().await?;
    let newest = newest(&imports);
    let mut out = std::io::stdout().lock();
    let mut grid = Grid::new([
        ("bill_id", Kind::Text),
        ("imported_at", Kind::Text),
        ("format", Kind::Text),
        ("account", Kind::Text),
        ("month", Kind::Text),
        ("lines_of_bill", Kind::Count),
        ("holds", Kind::Text),
        ("file", Kind::Text),
    ]);
    for import in &imports {
        for covered in &import.about.covers {
            let holds = newest.get(covered) == Some(&import.number);
            let text = |text: &str| Cell::Text(plain(text));
            grid.rows.push(vec![
                text(&import.about.bill_id),
                text(&import.about.imported_at),
                text(&covered.format),
                text(&covered.account),
                text(&covered.month),
                Cell::Count(import.about.lines),
                text(if holds { "yes" } else { "superseded" }),
                text(import.about.files.first().map_or("", String::as_str)),
            ]);
        }
    }
    if as_json {
        writeln!(out, "{}", json!(grid.json()))?
    } else {
        write!(out, "{}", grid.table(0))?
    }
    Ok(())
}
