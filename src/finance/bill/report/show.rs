//! The forms of a reconciliation: for people, as a grid, as JSON.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::reconcile::{Amounts, Finding, Outcome};
use super::{OUTCOMES, ReconcileReport};
use crate::finance::grid::{Cell, Grid, Kind, plain};

/// More meters and places of one finding are not told.
const TOLD: usize = 3;

const COLUMNS: [(&str, Kind); 20] = [
    ("outcome", Kind::Text),
    ("reason", Kind::Text),
    ("platform", Kind::Text),
    ("account", Kind::Text),
    ("model", Kind::Text),
    ("period", Kind::Text),
    ("bucket", Kind::Text),
    ("metered_quantity", Kind::Money),
    ("billed_quantity", Kind::Money),
    ("currency", Kind::Text),
    ("metered_cost", Kind::Money),
    ("billed_cost", Kind::Money),
    ("difference", Kind::Money),
    ("metered_price", Kind::Money),
    ("billed_price", Kind::Money),
    ("book_price", Kind::Money),
    ("stale_rate", Kind::Text),
    ("bill_lines", Kind::Count),
    ("meters", Kind::Text),
    ("places", Kind::Text),
];

/// What a terminal has room for.
const SHOWN: [&str; 13] = [
    "outcome",
    "reason",
    "platform",
    "account",
    "model",
    "period",
    "bucket",
    "metered_quantity",
    "billed_quantity",
    "currency",
    "metered_cost",
    "billed_cost",
    "places",
];

impl ReconcileReport {
    /// Every finding, those that match too.
    #[must_use]
    pub fn grid(&self) -> Grid {
        grid(self.result.findings.iter())
    }

    /// Sums of each outcome; those of all are the sums of both sides.
    #[must_use]
    pub fn totals(&self) -> Grid {
        let mut grid = Grid::new([
            ("outcome", Kind::Text),
            ("keys", Kind::Count),
            ("metered_quantity", Kind::Money),
            ("billed_quantity", Kind::Money),
            ("currency", Kind::Text),
            ("metered_cost", Kind::Money),
            ("billed_cost", Kind::Money),
            ("difference", Kind::Money),
        ]);
        let totals = &self.result.totals;
        let mut currencies: Vec<&String> = totals.cost.keys().map(|(_, currency)| currency).collect();
        currencies.sort();
        currencies.dedup();
        let mut all: BTreeMap<&str, (Decimal, Decimal)> = BTreeMap::new();
        let (mut keys, mut counts) = (0, (Decimal::ZERO, Decimal::ZERO));
        for outcome in OUTCOMES {
            let of = totals.keys.get(&outcome).copied().unwrap_or(0);
            let (metered, billed) = totals.quantity.get(&outcome).copied().unwrap_or_default();
            (keys, counts) = (keys + of, (counts.0 + metered, counts.1 + billed));
            let mut costs: Vec<(&str, (Decimal, Decimal))> = Vec::new();
            for currency in &currencies {
                let cost = totals.cost.get(&(outcome, (*currency).clone())).copied().unwrap_or_default();
                let sum = all.entry(currency).or_default();
                *sum = (sum.0 + cost.0, sum.1 + cost.1);
                costs.push((currency, cost));
            }
            row(&mut grid, outcome.as_str(), of, (metered, billed), &costs);
        }
        let all: Vec<(&str, (Decimal, Decimal))> = all.into_iter().collect();
        row(&mut grid, "TOTAL", keys, counts, &all);
        grid
    }

    /// Rates that the bill contradicts.
    #[must_use]
    pub fn stale_grid(&self) -> Grid {
        let mut grid = Grid::new([
            ("platform", Kind::Text),
            ("model", Kind::Text),
            ("bucket", Kind::Text),
            ("book_price", Kind::Money),
            ("billed_price", Kind::Money),
            ("keys", Kind::Count),
        ]);
        grid.rows.extend(self.stale.iter().map(|rate| {
            vec![
                Cell::Text(rate.platform.clone()),
                Cell::from(rate.model.as_deref()),
                Cell::from(rate.bucket.map(crate::pricing::Bucket::as_str)),
                Cell::Money(rate.book),
                Cell::Money(rate.billed),
                Cell::Count(rate.keys),
            ]
        }));
        grid
    }

    /// For people: sums first, then what differs. What matches is only counted.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("Bills against what was metered, {} (UTC)\n\n", self.ask.month);
        for warning in &self.warnings {
            text.push_str(&format!("  ! {}\n", plain(warning)));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.totals().table(1));
        let differ = narrowed(grid(self.differences()));
        if differ.rows.is_empty() {
            text.push_str("\nNothing differs.\n");
        } else {
            text.push_str(&format!("\nWhat differs ({}):\n{}", differ.rows.len(), differ.table(0)));
        }
        if !self.stale.is_empty() {
            text.push_str("\nRates of the price book that the bill contradicts (price of one):\n");
            text.push_str(&self.stale_grid().table(0));
        }
        let others = narrowed(grid(self.without_records()));
        if !others.rows.is_empty() {
            text.push_str("\nLines of the bill that no record stands behind:\n");
            text.push_str(&others.table(0));
        }
        if !self.result.notes.is_empty() {
            text.push_str("\nCompared less finely:\n");
            self.result.notes.iter().for_each(|note| text.push_str(&format!("  {}\n", plain(note))));
        }
        text
    }

    /// One document; decimals are text.
    #[must_use]
    pub fn json(&self) -> Value {
        let tolerance = &self.ask.tolerance;
        let share = |number: &Decimal| number.normalize().to_string();
        json!({
            "month": self.ask.month.to_string(),
            "platform": self.ask.platform,
            "by": {"account": self.ask.account, "day": self.ask.day, "bucket": self.ask.bucket},
            "tolerance": {
                "tokens": share(&tolerance.quantity), "tokens_share": share(&tolerance.quantity_share),
                "cost": share(&tolerance.cost), "cost_share": share(&tolerance.cost_share),
            },
            "warnings": self.warnings,
            "totals": self.totals().json(),
            "findings": self.grid().json(),
            "stale_rates": self.stale_grid().json(),
            "notes": self.result.notes,
        })
    }

    /// Everything in one grid, told apart by the column `kind`: `finding`, `total`, `warning`, `note`.
    #[must_use]
    pub fn whole_grid(&self) -> Grid {
        let mut whole = Grid::new([("kind", Kind::Text)].into_iter().chain(COLUMNS));
        for cells in self.grid().rows {
            whole.rows.push(std::iter::once(Cell::Text("finding".to_owned())).chain(cells).collect());
        }
        let totals = self.totals();
        for cells in &totals.rows {
            let find = |name: &str| {
                let at = totals.columns.iter().position(|(known, _)| known == name)?;
                cells.get(at).cloned()
            };
            let rest = COLUMNS.iter().map(|(name, _)| find(name).unwrap_or(Cell::None));
            whole.rows.push(std::iter::once(Cell::Text("total".to_owned())).chain(rest).collect());
        }
        let said = self.warnings.iter().map(|text| ("warning", text));
        for (kind, text) in said.chain(self.result.notes.iter().map(|text| ("note", text))) {
            let rest =
                COLUMNS.iter().map(|(name, _)| if *name == "reason" { Cell::Text(text.clone()) } else { Cell::None });
            whole.rows.push(std::iter::once(Cell::Text(kind.to_owned())).chain(rest).collect());
        }
        whole
    }

    /// What to know first, by name: for a sheet of its own.
    #[must_use]
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts: Vec<(String, String)> =
            self.warnings.iter().map(|warning| ("!".to_owned(), warning.clone())).collect();
        facts.push(("month".to_owned(), format!("{} (UTC)", self.ask.month)));
        let totals = self.totals();
        for cells in totals.json() {
            facts.push(("total".to_owned(), cells.to_string()));
        }
        facts.extend(self.result.notes.iter().map(|note| ("compared less finely".to_owned(), note.clone())));
        facts
    }
}

fn row(
    grid: &mut Grid,
    name: &str,
    keys: u64,
    (metered, billed): (Decimal, Decimal),
    costs: &[(&str, (Decimal, Decimal))],
) {
    let amount = |number: Decimal| Cell::Money(number.normalize());
    for (at, (currency, (own, bill))) in costs.iter().enumerate() {
        // Counts stand once.
        let first = at == 0;
        let once = |number: Decimal| if first { amount(number) } else { Cell::None };
        grid.rows.push(vec![
            Cell::Text(name.to_owned()),
            if first { Cell::Count(keys) } else { Cell::None },
            once(metered),
            once(billed),
            Cell::Text((*currency).to_owned()),
            amount(*own),
            amount(*bill),
            amount(*own - *bill),
        ]);
    }
}

fn grid<'a>(findings: impl Iterator<Item = &'a Finding>) -> Grid {
    let mut grid = Grid::new(COLUMNS);
    for finding in findings {
        let none = Amounts::default();
        let (metered, billed) = (finding.metered.as_ref().unwrap_or(&none), finding.billed.as_ref().unwrap_or(&none));
        let mut currencies: Vec<Option<&String>> = metered.cost.keys().chain(billed.cost.keys()).map(Some).collect();
        currencies.sort();
        currencies.dedup();
        if currencies.is_empty() {
            currencies.push(None);
        }
        for (at, currency) in currencies.into_iter().enumerate() {
            grid.rows.push(cells(finding, metered, billed, currency, at == 0));
        }
    }
    grid
}

fn cells(finding: &Finding, metered: &Amounts, billed: &Amounts, currency: Option<&String>, first: bool) -> Vec<Cell> {
    let key = &finding.key;
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = |number: Option<Decimal>| Cell::from(number.map(|number| number.normalize()));
    let once = |amount: Option<Decimal>| if first { number(amount) } else { Cell::None };
    let cost = |side: &Amounts| currency.and_then(|currency| side.cost.get(currency).copied());
    let (own, bill) = (cost(metered), cost(billed));
    let apart = own.or(bill).map(|_| own.unwrap_or_default() - bill.unwrap_or_default());
    let listed = |all: Vec<String>| {
        let more = if all.len() > TOLD { format!(" and {} more", all.len() - TOLD) } else { String::new() };
        let some = all.into_iter().take(TOLD).collect::<Vec<_>>().join("; ");
        if some.is_empty() { Cell::None } else { Cell::Text(format!("{some}{more}")) }
    };
    vec![
        text(finding.outcome.as_str()),
        Cell::from(finding.reason.map(super::super::reconcile::Reason::as_str)),
        text(&key.platform),
        Cell::from(key.account.as_deref()),
        Cell::from(key.model.as_deref()),
        Cell::Text(key.period.to_string()),
        Cell::from(key.bucket.map(crate::pricing::Bucket::as_str)),
        once(finding.metered.as_ref().and_then(|side| side.quantity)),
        once(finding.billed.as_ref().and_then(|side| side.quantity)),
        Cell::from(currency.map(String::as_str)),
        number(own),
        number(bill),
        number(apart),
        once(finding.prices.metered),
        once(finding.prices.billed),
        once(finding.prices.book),
        if finding.prices.stale { text("stale") } else { Cell::None },
        if finding.outcome == Outcome::MeteredOnly { Cell::None } else { Cell::Count(billed.rows) },
        listed(finding.meters.iter().cloned().collect()),
        listed(finding.places.iter().map(ToString::to_string).collect()),
    ]
}

/// The columns that a terminal has room for.
fn narrowed(grid: Grid) -> Grid {
    let keep: Vec<usize> = grid
        .columns
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| SHOWN.contains(&name.as_str()))
        .map(|(at, _)| at)
        .collect();
    let columns = grid.columns.iter().enumerate().filter(|(at, _)| keep.contains(at)).map(|(_, column)| column.clone());
    let rows = grid.rows.iter().map(|row| keep.iter().filter_map(|at| row.get(*at).cloned()).collect());
    Grid { columns: columns.collect(), rows: rows.collect() }
}
