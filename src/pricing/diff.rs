//! What changed between two price books: for a person to read before an import or an edited file is applied.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::book::PriceBook;
use super::contract::{Contract, Terms};
use super::key::Layer;
use super::rate::{Rate, short};
use crate::model::Timestamp;

/// Two books, compared row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BookDiff {
    /// New rows.
    pub added: Vec<Added>,
    /// Rows whose validity ends now, or earlier than before; nothing else about them changed.
    pub ended: Vec<Ended>,
    /// Rows that say something else under the same id: never by appending, so a person has to look.
    pub changed: Vec<Changed>,
    /// Rows that are gone: never by appending, so a person has to look.
    pub removed: Vec<Rate>,
    /// New, ended, changed and removed contract rows.
    pub contracts: Vec<ContractChange>,
}

/// A new row and what it takes the place of.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// The row.
    pub rate: Rate,
    /// The row of the old book that held for the same key when the new one starts.
    pub replaces: Option<Rate>,
}

/// A row that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The row, as it is now.
    pub rate: Rate,
    /// Its end before; `None` if it was open.
    pub was: Option<Timestamp>,
}

/// A row that says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub old: Rate,
    /// Now.
    pub new: Rate,
    /// Names of the columns that differ.
    pub columns: Vec<&'static str>,
}

/// What became of a contract row; `old` and `new` are both there if it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractChange {
    /// Before.
    pub old: Option<Contract>,
    /// Now.
    pub new: Option<Contract>,
}

impl Added {
    /// The new price of one unit against the old one, in per cent: `-20` for a fifth less. `None` where there was none, it
    /// was 0, or the currency changed.
    #[must_use]
    pub fn percent(&self) -> Option<Decimal> {
        let old = self.replaces.as_ref().filter(|old| old.currency == self.rate.currency)?;
        let (before, now) = (old.amount.checked_div(old.per)?, self.rate.amount.checked_div(self.rate.per)?);
        let ratio = now.checked_sub(before)?.checked_div(before)?;
        Some(ratio.checked_mul(Decimal::ONE_HUNDRED)?.round_dp(2).normalize())
    }
}

impl BookDiff {
    /// True if both books say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if rows were only added or ended, as an append-only book changes.
    #[must_use]
    pub fn only_appends(&self) -> bool {
        let gone = |change: &ContractChange| match (&change.old, &change.new) {
            (Some(old), Some(new)) => contract_without_end(old) != contract_without_end(new),
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.changed.is_empty() && self.removed.is_empty() && !self.contracts.iter().any(gone)
    }
}

/// What changed from `old` to `new`, every list in the order of row ids.
#[must_use]
pub fn diff(old: &PriceBook, new: &PriceBook) -> BookDiff {
    let by_id = |book: &'_ PriceBook| -> HashMap<String, Rate> {
        book.rates().map(|rate| (rate.row_id.clone(), rate.clone())).collect()
    };
    let (before, now) = (by_id(old), by_id(new));
    let mut diff = BookDiff::default();
    for (id, rate) in &now {
        match before.get(id) {
            None => diff.added.push(Added { rate: rate.clone(), replaces: replaced(old, rate) }),
            Some(same) if same == rate => {}
            Some(was) => {
                let columns = columns(was, rate);
                let earlier = rate.valid_to.is_some_and(|to| was.valid_to.is_none_or(|before| to < before));
                if columns == ["valid_to"] && earlier {
                    diff.ended.push(Ended { rate: rate.clone(), was: was.valid_to });
                } else {
                    diff.changed.push(Changed { old: was.clone(), new: rate.clone(), columns });
                }
            }
        }
    }
    diff.removed = before.into_iter().filter(|(id, _)| !now.contains_key(id)).map(|(_, rate)| rate).collect();
    diff.added.sort_by(|a, b| a.rate.row_id.cmp(&b.rate.row_id));
    diff.ended.sort_by(|a, b| a.rate.row_id.cmp(&b.rate.row_id));
    diff.changed.sort_by(|a, b| a.new.row_id.cmp(&b.new.row_id));
    diff.removed.sort_by(|a, b| a.row_id.cmp(&b.row_id));
    diff.contracts = contracts(old, new);
    diff
}

/// The row that held when this one starts.
fn replaced(old: &PriceBook, rate: &Rate) -> Option<Rate> {
    let start = rate.valid_from.unwrap_or(Timestamp(i64::MIN));
    let held = |other: &&Rate| other.same_key(rate) && other.valid_at(start);
    old.rows_of_model(&rate.model)
        .map(|row| &row.rate)
        .filter(held)
        .max_by_key(|other| (other.valid_from, other.recorded_at))
        .cloned()
}

fn columns(a: &Rate, b: &Rate) -> Vec<&'static str> {
    [
        (a.layer != b.layer, "layer"),
        (a.platform != b.platform, "platform"),
        (a.model != b.model, "model"),
        (a.snapshot != b.snapshot, "snapshot"),
        (a.scope != b.scope, "scope"),
        (a.tier != b.tier, "tier"),
        (a.mode != b.mode, "mode"),
        (a.bucket != b.bucket, "unit"),
        (a.context_over != b.context_over, "context_over"),
        (a.per != b.per, "per"),
        (a.amount != b.amount, "amount"),
        (a.currency != b.currency, "currency"),
        (a.valid_from != b.valid_from, "valid_from"),
        (a.valid_to != b.valid_to, "valid_to"),
        (a.recorded_at != b.recorded_at, "recorded_at"),
        (a.source != b.source, "source"),
        (a.source_ref != b.source_ref, "source_ref"),
        (a.note != b.note, "note"),
    ]
    .into_iter()
    .filter_map(|(differs, name)| differs.then_some(name))
    .collect()
}

fn contracts(old: &PriceBook, new: &PriceBook) -> Vec<ContractChange> {
    let by_id = |book: &'_ PriceBook| -> HashMap<String, Contract> {
        book.contracts().map(|contract| (contract.row_id.clone(), contract.clone())).collect()
    };
    let (mut before, now) = (by_id(old), by_id(new));
    let mut all: Vec<ContractChange> = now
        .into_iter()
        .map(|(id, new)| ContractChange { old: before.remove(&id), new: Some(new) })
        .filter(|change| change.old != change.new)
        .collect();
    all.extend(before.into_values().map(|old| ContractChange { old: Some(old), new: None }));
    let id = |change: &ContractChange| change.new.as_ref().or(change.old.as_ref()).map(|c| c.row_id.clone());
    all.sort_by_cached_key(id);
    all
}

fn contract_without_end(contract: &Contract) -> Contract {
    Contract { valid_to: None, ..contract.clone() }
}

/// Rows of the bundled list that can never hold as long as an operator's row for the same thing does: an import changes
/// them without any effect. Only pairs whose price differs, in the order of the operator's rows.
#[must_use]
pub fn overridden(book: &PriceBook) -> Vec<(Rate, Rate)> {
    let together = |a: &Rate, b: &Rate| {
        let starts_before = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        };
        starts_before(a.valid_from, b.valid_to) && starts_before(b.valid_from, a.valid_to)
    };
    let mut pairs = Vec::new();
    for own in book.rates().filter(|rate| rate.layer == Layer::Operator) {
        let hidden = |row: &&Rate| {
            let as_own = Rate { layer: Layer::Operator, ..(*row).clone() };
            row.layer == Layer::Bundled && as_own.same_key(own) && together(row, own)
        };
        let differs = |row: &&Rate| row.amount * own.per != own.amount * row.per || row.currency != own.currency;
        let rows = book.rows_of_model(&own.model).map(|row| &row.rate).filter(hidden).filter(differs);
        pairs.extend(rows.map(|row| (own.clone(), row.clone())));
    }
    pairs.sort_by(|a, b| (&a.0.row_id, &a.1.row_id).cmp(&(&b.0.row_id, &b.1.row_id)));
    pairs
}

/// A row in one line: what it is for, its price, its validity and where it comes from.
#[must_use]
pub fn one_line(rate: &Rate) -> String {
    let edition = rate.snapshot.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
    let over = rate.context_over.map(|over| format!(" over {over}")).unwrap_or_default();
    let from = rate.valid_from.map_or_else(|| "ever".to_owned(), short);
    let to = rate.valid_to.map_or_else(|| "now on".to_owned(), short);
    format!(
        "{} {}{edition} {} {} {} {}{over}: {} {} per {}, from {from} until {to}, {} ({})",
        rate.platform,
        rate.model,
        rate.scope,
        rate.tier,
        rate.mode,
        rate.bucket,
        rate.amount,
        rate.currency,
        rate.per,
        rate.source,
        rate.layer
    )
}

/// What a contract row says, in one line.
#[must_use]
pub fn contract_line(contract: &Contract) -> String {
    let what = match &contract.terms {
        Terms::Multiplier(factor) => format!("list price x {factor}"),
        Terms::Rate { bucket, amount, per, currency } => format!("{bucket} {amount} {currency} per {per}"),
    };
    let named = |pattern: &Option<crate::model::Pattern>| pattern.as_ref().map_or("all", |p| p.as_str()).to_owned();
    format!(
        "{} {} accounts {} models {}: {what}, from {} until {}",
        contract.contract_id,
        contract.platform,
        named(&contract.account),
        named(&contract.model),
        contract.valid_from.map_or_else(|| "ever".to_owned(), short),
        contract.valid_to.map_or_else(|| "now on".to_owned(), short),
    )
}
