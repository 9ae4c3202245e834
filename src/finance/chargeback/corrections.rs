//! Corrections of closed months on the report of the month that they are posted in: beside its lines, never among them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::report::minor_digits;
use super::{Figures, Report, ReportError, Summed, exact_sum};
use crate::finance::calendar::Month;
use crate::finance::grid::{Cell, Grid, Kind};
use crate::finance::period::Reason;
use crate::model::{round_together, rounded};
use crate::pricing::Exchange;

/// Sums of calls of a closed month that differ from what was posted.
#[derive(Clone, Debug)]
pub struct Corrected {
    /// The closed month.
    pub of: Month,
    /// Why.
    pub reason: Reason,
    /// As it was posted, by group and currency.
    pub before: Vec<Summed>,
    /// As it is.
    pub after: Vec<Summed>,
}

/// What is added to or taken from a group for a closed month. Differences have a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The closed month.
    pub of: Month,
    /// Why.
    pub reason: Reason,
    /// Values of the report's columns; `None` for nobody.
    pub keys: Vec<Option<String>>,
    /// Currency of the costs; `None` where no call has a price.
    pub currency: Option<String>,
    /// Calls.
    pub calls: i64,
    /// Input tokens.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Cost at list price.
    pub list_cost: Decimal,
    /// Cost at the contract's price.
    pub cost: Decimal,
    /// What is posted, rounded together with the other corrections.
    pub amount: Option<Decimal>,
}

impl Report {
    /// With corrections of closed months. Amounts are rounded once for each currency, apart from those of the lines.
    ///
    /// # Errors
    /// Exact arithmetic has an end.
    pub fn with_corrections(mut self, corrected: &[Corrected]) -> Result<Self, ReportError> {
        let mut all = Vec::new();
        for one in corrected {
            all.extend(differences(one)?);
        }
        self.correction_totals = self.round(&mut all)?;
        self.corrections = all;
        Ok(self)
    }

    fn round(&self, all: &mut [Correction]) -> Result<BTreeMap<String, Decimal>, ReportError> {
        let (rates, at) = (Exchange::new(self.exchange.clone()), self.ask.month.middle(self.ask.zone));
        let mut exact: BTreeMap<String, BTreeMap<String, Decimal>> = BTreeMap::new();
        for (number, line) in all.iter().enumerate() {
            let Some(own) = &line.currency else { continue };
            let (unit, amount) = match &self.currency {
                Some(to) if to != own => {
                    let converted = rates.convert(line.cost, own, to, at);
                    let no_rate = || ReportError::Exchange { from: own.clone(), to: to.clone() };
                    (to, converted.ok_or_else(no_rate)?.amount)
                }
                _ => (own, line.cost),
            };
            exact.entry(unit.clone()).or_default().insert(format!("{number:09}"), amount);
        }
        let mut totals = BTreeMap::new();
        for (currency, parts) in exact {
            let digits = minor_digits(&currency);
            for (key, amount) in round_together(&parts, digits)? {
                let line = key.parse::<usize>().ok().and_then(|number| all.get_mut(number));
                line.ok_or(ReportError::TooLarge)?.amount = Some(amount);
            }
            let sum = parts.values().try_fold(Decimal::ZERO, |sum, part| exact_sum(sum, *part));
            totals.insert(currency, rounded(sum.ok_or(ReportError::TooLarge)?, digits));
        }
        Ok(totals)
    }

    /// The corrections, with the columns of the report.
    #[must_use]
    pub fn correction_grid(&self) -> Grid {
        let by = self.ask.by.iter().map(|column| (column.name(), Kind::Text));
        let figures = [
            ("calls", Kind::Count),
            ("input_tokens", Kind::Count),
            ("output_tokens", Kind::Count),
            ("list_cost", Kind::Money),
            ("cost", Kind::Money),
            ("currency", Kind::Text),
            ("amount", Kind::Money),
        ];
        let mut grid =
            Grid::new([("correction_of", Kind::Text), ("reason", Kind::Text)].into_iter().chain(by).chain(figures));
        for line in &self.corrections {
            let mut row = vec![Cell::Text(line.of.to_string()), Cell::Text(line.reason.as_str().to_owned())];
            let keys = line.keys.iter().zip(&self.ask.by);
            row.extend(keys.map(|(key, column)| Cell::from(Some(key.as_deref().unwrap_or_else(|| column.nobody())))));
            row.extend([line.calls, line.input_tokens, line.output_tokens].map(Cell::Change));
            row.extend([Cell::Money(line.list_cost.normalize()), Cell::Money(line.cost.normalize())]);
            row.extend([Cell::from(line.currency.as_deref()), Cell::from(line.amount)]);
            grid.rows.push(row);
        }
        grid
    }

    /// What is posted for each currency: the month and the corrections.
    #[must_use]
    pub fn posted(&self) -> BTreeMap<String, Decimal> {
        let mut posted: BTreeMap<String, Decimal> = BTreeMap::new();
        let whole = self.currency.is_some() && self.totals.len() > 1;
        for total in &self.totals {
            let of_report = total.currency.is_none();
            if let (Some(amount), true) = (total.amount, of_report || !whole) {
                let unit = self.currency.as_ref().or(total.currency.as_ref());
                *posted.entry(unit.cloned().unwrap_or_default()).or_default() += amount;
            }
        }
        for (currency, amount) in &self.correction_totals {
            *posted.entry(currency.clone()).or_default() += amount;
        }
        posted
    }

    /// The corrections for people; nothing where there are none.
    pub(super) fn told_corrections(&self) -> String {
        if self.corrections.is_empty() {
            return String::new();
        }
        let mut grid = self.correction_grid();
        let width = grid.columns.len();
        for (currency, amount) in &self.correction_totals {
            let mut row = vec![Cell::None; width - 2];
            if let Some(first) = row.first_mut() {
                *first = Cell::Text("TOTAL".to_owned());
            }
            row.extend([Cell::Text(currency.clone()), Cell::Money(*amount)]);
            grid.rows.push(row);
        }
        let posted: Vec<String> = self.posted().iter().map(|(unit, amount)| format!("{amount} {unit}")).collect();
        format!(
            "\nCorrections of closed months, posted in this one:\n{}\nPosted with them: {}\n",
            grid.table(self.correction_totals.len()),
            posted.join(" and ")
        )
    }

    /// The corrections as JSON.
    pub(super) fn corrections_json(&self) -> Value {
        let amounts = |sums: &BTreeMap<String, Decimal>| {
            let sums =
                sums.iter().map(|(currency, amount)| json!({"currency": currency, "amount": amount.to_string()}));
            sums.collect::<Vec<_>>()
        };
        json!({
            "lines": self.correction_grid().json(),
            "totals": amounts(&self.correction_totals),
            "posted": amounts(&self.posted()),
        })
    }
}

type Key = (bool, Option<String>, Vec<(bool, Option<String>)>);

fn key(line: &Summed) -> Key {
    let keys = line.keys.iter().map(|key| (key.is_none(), key.clone())).collect();
    (line.currency.is_none(), line.currency.clone(), keys)
}

/// What was posted is taken back and what holds is posted; what cancels is no line.
///
/// # Errors
/// Exact arithmetic has an end.
pub fn differences(corrected: &Corrected) -> Result<Vec<Correction>, ReportError> {
    let mut groups: BTreeMap<Key, (Figures, Figures)> = BTreeMap::new();
    for line in &corrected.before {
        let own = &mut groups.entry(key(line)).or_default().0;
        *own = own.plus(&line.figures).ok_or(ReportError::TooLarge)?;
    }
    for line in &corrected.after {
        let own = &mut groups.entry(key(line)).or_default().1;
        *own = own.plus(&line.figures).ok_or(ReportError::TooLarge)?;
    }
    let mut lines = Vec::new();
    for ((_, currency, keys), (before, after)) in groups {
        let count = |of: fn(&Figures) -> u64| {
            let signed = |count| i64::try_from(count).map_err(|_| ReportError::TooLarge);
            Ok::<i64, ReportError>(signed(of(&after))? - signed(of(&before))?)
        };
        let money = |of: fn(&Figures) -> Option<Decimal>| {
            exact_sum(of(&after).unwrap_or_default(), -of(&before).unwrap_or_default()).ok_or(ReportError::TooLarge)
        };
        let line = Correction {
            of: corrected.of,
            reason: corrected.reason,
            keys: keys.into_iter().map(|(_, key)| key).collect(),
            currency,
            calls: count(|figures| figures.calls)?,
            input_tokens: count(|figures| figures.input_tokens)?,
            output_tokens: count(|figures| figures.output_tokens)?,
            list_cost: money(|figures| figures.list_cost)?,
            cost: money(|figures| figures.cost)?,
            amount: None,
        };
        let nothing = [line.calls, line.input_tokens, line.output_tokens] == [0; 3]
            && line.list_cost.is_zero()
            && line.cost.is_zero();
        if !nothing {
            lines.push(line);
        }
    }
    Ok(lines)
}
