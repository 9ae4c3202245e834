//! `polymeter prices`: check files before they hold, compare them, and show how a price comes about.

mod explain;
mod list;
mod update;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};

pub use explain::{PriceQuestion, prices_explain, prices_explain_call};
pub use list::prices_list;
pub use update::{PriceUpdate, prices_update};

use super::rules::{self, listed};
use super::{StoreOptions, existing_store};
use crate::clock::{Clock, SystemClock};
use crate::config::{Compiled, Recorded, RuleText, compile};
use crate::finance::grid::plain;
use crate::model::Timestamp;
use crate::pricing::{
    Commitment, Contract, ContractChange, ExchangeRate, Layer, contract_line, diff, one_line, overridden,
};

/// So many rows of a kind are shown; more are counted.
const SHOWN: usize = 200;

fn text_of(path: &Path) -> anyhow::Result<RuleText> {
    let bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8; save it as UTF-8", path.display()))?;
    Ok(RuleText { name: path.display().to_string(), text })
}

fn compiled(texts: &[RuleText], currency: Option<&str>, recorded: &Recorded) -> anyhow::Result<Compiled> {
    compile(texts, &[], currency, recorded).map_err(|problems| anyhow!("{}", listed(&problems)))
}

/// Checks price files together and says what they hold.
///
/// # Errors
/// Every mistake, with file and line.
pub fn prices_check(files: &[std::path::PathBuf], currency: Option<&str>) -> anyhow::Result<()> {
    let texts = files.iter().map(|file| text_of(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let found = compiled(&texts, currency, &Recorded { now: SystemClock.now(), ..Recorded::default() })?;
    let book = &found.prices.book;
    let own = book.rates().filter(|rate| rate.layer == Layer::Operator).count();
    let mut text = format!(
        "{} file(s) are right: {own} price(s), {} contract row(s), {} commitment(s), {} exchange rate(s), beside {} bundled \
         price(s)\n",
        files.len(),
        book.contracts().count(),
        found.prices.commitments.len(),
        found.prices.exchange.rates().len(),
        book.len() - own
    );
    let hidden = overridden(book);
    if !hidden.is_empty() {
        let _ = writeln!(text, "{} bundled price(s) differ from yours and do not hold:", hidden.len());
        for (own, bundled) in hidden.iter().take(SHOWN) {
            let _ = writeln!(text, "  yours    {}\n  bundled  {}", plain(&one_line(own)), plain(&one_line(bundled)));
        }
    }
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// The contracts of a file, checked.
///
/// # Errors
/// Every mistake, with file and line.
pub fn contracts_of(file: &Path) -> anyhow::Result<Vec<Contract>> {
    let recorded = Recorded { now: SystemClock.now(), ..Recorded::default() };
    let found = compiled(&[text_of(file)?], None, &recorded)?;
    Ok(found.prices.book.contracts().cloned().collect())
}

/// Shows what changes from one price file or kept version to another.
///
/// # Errors
/// One of them is not there, or has mistakes.
pub async fn prices_diff(options: StoreOptions, old: &str, new: &str) -> anyhow::Result<()> {
    let (old, new) = (side(&options, old).await?, side(&options, new).await?);
    // Rows that both have are one row, whenever each side was written.
    let before = compiled(&old, None, &Recorded { now: Timestamp::EARLIEST, unplaced: true, ..Recorded::default() })?;
    let known = before.known.iter().map(|(row, at)| (row.clone(), *at)).collect();
    let after = compiled(&new, None, &Recorded { now: SystemClock.now(), before: known, unplaced: true })?;
    Ok(std::io::stdout().lock().write_all(told(&before, &after).as_bytes())?)
}

/// A file, or the price files of a kept version.
async fn side(options: &StoreOptions, name: &str) -> anyhow::Result<Vec<RuleText>> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(vec![text_of(path)?]);
    }
    let looks_like_a_file = path.extension().is_some_and(|end| end == "csv" || end == "toml");
    if looks_like_a_file {
        return Ok(vec![text_of(path)?]);
    }
    let store = existing_store(&options.data).await?;
    Ok(rules::version(&store, name).await?.prices)
}

fn told(before: &Compiled, after: &Compiled) -> String {
    let changes = diff(&before.prices.book, &after.prices.book);
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(text, "{} {title}:", lines.len());
            for line in lines.iter().take(SHOWN) {
                let _ = writeln!(text, "  {}", plain(line));
            }
            if lines.len() > SHOWN {
                let _ = writeln!(text, "  and {} more", lines.len() - SHOWN);
            }
        }
    };
    let added = changes.added.iter().map(|added| {
        let percent = added.percent().map(|percent| format!(" ({percent:+} %)")).unwrap_or_default();
        let replaces = added.replaces.as_ref().map(|old| format!("; before: {}", one_line(old))).unwrap_or_default();
        format!("{}{percent}{replaces}", one_line(&added.rate))
    });
    section("added", added.collect());
    section("ended", changes.ended.iter().map(|ended| one_line(&ended.rate)).collect());
    let changed = changes.changed.iter().map(|changed| {
        format!(
            "{}; before: {}; differs in {}",
            one_line(&changed.new),
            one_line(&changed.old),
            changed.columns.join(", ")
        )
    });
    section("changed in place", changed.collect());
    section("removed", changes.removed.iter().map(one_line).collect());
    let contract = |change: &ContractChange| match (&change.old, &change.new) {
        (None, Some(new)) => format!("added: {}", contract_line(new)),
        (Some(old), None) => format!("removed: {}", contract_line(old)),
        (Some(old), Some(new)) => format!("{}; before: {}", contract_line(new), contract_line(old)),
        (None, None) => String::new(),
    };
    section("contract row(s)", changes.contracts.iter().map(contract).collect());
    let (old, new) = (before.prices.exchange.rates(), after.prices.exchange.rates());
    let same = |a: &ExchangeRate, b: &ExchangeRate| {
        (&a.from, &a.to, a.rate, a.valid_from, a.valid_to) == (&b.from, &b.to, b.rate, b.valid_from, b.valid_to)
    };
    let mut exchange = Vec::new();
    for (sign, rates, others) in [("added", new, old), ("removed", old, new)] {
        for rate in rates.iter().filter(|rate| !others.iter().any(|other| same(rate, other))) {
            exchange.push(format!("{sign}: 1 {} = {} {} ({})", rate.from, rate.rate, rate.to, rate.source));
        }
    }
    section("exchange rate(s)", exchange);
    let commitments = |compiled: &Compiled| -> Vec<Commitment> {
        let undated = |one: &Commitment| Commitment { recorded_at: Timestamp::default(), ..one.clone() };
        compiled.prices.commitments.iter().map(undated).collect()
    };
    if commitments(before) != commitments(after) {
        text.push_str("the commitments differ\n");
    }
    if text.is_empty() {
        text.push_str("both say the same\n");
    } else if !changes.only_appends() {
        text.push_str(
            "rows were changed or removed: what was priced with them can't be computed again from this file; end a row with \
             valid_to and add its successor instead\n",
        );
    }
    text
}
