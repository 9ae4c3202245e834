//! A report in the forms that need no library of their own.

use serde_json::{Value, json};

use super::{Figures, Report};
use crate::finance::capacity::Capacity;
use crate::finance::grid::{Cell, Grid, Kind, plain};
use crate::pricing::ExchangeRate;

/// Columns behind those that the report is grouped by.
const FIGURES: [(&str, Kind); 12] = [
    ("calls", Kind::Count),
    ("input_tokens", Kind::Count),
    ("cache_read_tokens", Kind::Count),
    ("cache_write_tokens", Kind::Count),
    ("output_tokens", Kind::Count),
    ("unpriced_calls", Kind::Count),
    ("partial_calls", Kind::Count),
    ("commitment", Kind::Text),
    ("list_cost", Kind::Money),
    ("cost", Kind::Money),
    ("currency", Kind::Text),
    ("amount", Kind::Money),
];

fn figures(figures: &Figures, commitment: Option<&str>) -> [Cell; 10] {
    let exact = |amount: Option<rust_decimal::Decimal>| Cell::from(amount.map(|amount| amount.normalize()));
    [
        Cell::Count(figures.calls),
        Cell::Count(figures.input_tokens),
        Cell::Count(figures.cache_read_tokens),
        Cell::Count(figures.cache_write_tokens),
        Cell::Count(figures.output_tokens),
        Cell::Count(figures.unpriced_calls),
        Cell::Count(figures.partial_calls),
        Cell::from(commitment),
        exact(figures.list_cost),
        exact(figures.cost),
    ]
}

impl Report {
    /// The lines; values of nobody are `(unattributed)` or `(unknown)`.
    #[must_use]
    pub fn line_grid(&self) -> Grid {
        let by = self.ask.by.iter().map(|column| (column.name(), Kind::Text));
        let mut grid = Grid::new(by.chain(FIGURES));
        for line in &self.lines {
            let keys = line.keys.iter().zip(&self.ask.by);
            let mut row: Vec<Cell> =
                keys.map(|(key, column)| Cell::from(Some(key.as_deref().unwrap_or_else(|| column.nobody())))).collect();
            row.extend(figures(&line.figures, line.commitment.as_deref()));
            row.extend([Cell::from(line.currency.as_deref()), Cell::from(line.amount)]);
            grid.rows.push(row);
        }
        grid
    }

    /// The totals, in the columns of the lines.
    #[must_use]
    pub fn total_grid(&self) -> Grid {
        let mut grid = Grid { rows: Vec::new(), ..self.line_grid() };
        for total in &self.totals {
            let mut row = vec![Cell::None; self.ask.by.len()];
            if let Some(first) = row.first_mut() {
                *first = Cell::Text("TOTAL".to_owned());
            }
            row.extend(figures(&total.figures, None));
            let whole = total.currency.is_none().then_some(self.currency.as_deref()).flatten();
            row.extend([Cell::from(total.currency.as_deref().or(whole)), Cell::from(total.amount)]);
            grid.rows.push(row);
        }
        grid
    }

    /// Everything as one grid: the column `kind` tells warnings, lines, totals and parts of shared cost apart, so that
    /// whoever adds the lines up adds nothing else.
    #[must_use]
    pub fn whole_grid(&self) -> Grid {
        let (lines, totals) = (self.line_grid(), self.total_grid());
        let mut columns = vec![("kind".to_owned(), Kind::Text)];
        columns.extend(lines.columns);
        columns.extend([("amount_currency".to_owned(), Kind::Text), ("note".to_owned(), Kind::Text)]);
        let width = columns.len();
        let mut grid = Grid { columns, rows: Vec::new() };
        let text = |text: &str| Cell::Text(text.to_owned());
        let mut noted = |kind: &str, note: String| {
            let mut row = vec![Cell::None; width - 2];
            row.insert(0, text(kind));
            row.push(Cell::Text(note));
            grid.rows.push(row);
        };
        for warning in &self.warnings {
            noted("warning", format!("{}: {}", warning.code, warning.text));
        }
        for (name, value) in self.facts() {
            noted("about", format!("{name}: {value}"));
        }
        let unit = |currency: Option<&Cell>| {
            self.currency.as_deref().map_or_else(|| currency.cloned().unwrap_or(Cell::None), text)
        };
        for (kind, rows) in [("line", lines.rows), ("total", totals.rows)] {
            for mut row in rows {
                let currency = unit(row.iter().rev().nth(1));
                row.insert(0, text(kind));
                row.extend([currency, Cell::None]);
                grid.rows.push(row);
            }
        }
        let corrections = self.correction_grid();
        for (line, cells) in self.corrections.iter().zip(corrections.rows) {
            let mut row = vec![Cell::None; width];
            // The same names stand in both grids.
            let mut put = |name: &str, cell: Cell| {
                let at = grid.columns.iter().position(|(column, _)| column == name);
                if let Some(own) = at.and_then(|at| row.get_mut(at)) {
                    *own = cell;
                }
            };
            for (cell, (name, _)) in cells.into_iter().zip(&corrections.columns) {
                put(name, cell);
            }
            put("kind", text("correction"));
            put("amount_currency", unit(line.currency.as_deref().map(text).as_ref()));
            put("note", Cell::Text(format!("{} of {}", line.reason.as_str(), line.of)));
            grid.rows.push(row);
        }
        for moved in &self.shared {
            let at = self.ask.by.iter().position(|column| column.field() == Some(moved.field)).unwrap_or(0);
            for part in &moved.parts {
                for (who, amount) in [(&part.from, -part.amount), (&part.to, part.amount)] {
                    let mut row = vec![Cell::None; width];
                    for (place, cell) in [
                        (0, text("shared")),
                        (at + 1, text(who)),
                        (width - 3, Cell::Money(amount)),
                        (width - 2, text(&moved.currency)),
                        (width - 1, Cell::Text(format!("split {}: {} to {}", part.split_id, part.from, part.to))),
                    ] {
                        if let Some(own) = row.get_mut(place) {
                            *own = cell;
                        }
                    }
                    grid.rows.push(row);
                }
            }
        }
        grid
    }

    /// What the report is about and was made with.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let interval = self.ask.interval();
        let mut facts = vec![
            ("month", format!("{} in {}", self.ask.month, self.ask.zone)),
            ("from", interval.from.to_string()),
            ("to", interval.to.to_string()),
            ("made_at", self.made_at.to_string()),
            ("rules_version", self.rules_version.clone()),
            ("prices_version", self.prices_version.clone()),
        ];
        facts.extend(self.closed.iter().map(|closed| ("closed", closed.clone())));
        facts.extend(self.capacity.iter().map(|one| ("commitment", committed(one))));
        facts.extend(self.exchange.iter().map(|rate| ("exchange", told(rate))));
        let rounding = "amounts are rounded once, half to even, and handed out by largest remainder; cost is exact";
        facts.push(("rounding", rounding.to_owned()));
        facts
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let by: Vec<&str> = self.ask.by.iter().map(|column| column.name()).collect();
        let mut text = format!("Chargeback {} ({}) by {}\n\n", self.ask.month, self.ask.zone, by.join(", "));
        for warning in &self.warnings {
            text.push_str(&format!("  ! {}\n", warning.text));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        let (mut grid, totals) = (self.line_grid(), self.total_grid().rows);
        if grid.rows.is_empty() {
            text.push_str("There is no call in this month.\n");
        }
        let count = totals.len();
        grid.rows.extend(totals);
        if let (Some(currency), Some((name, _))) = (&self.currency, grid.columns.last_mut()) {
            *name = format!("amount ({currency})");
        }
        narrowed(&mut grid);
        text.push_str(&grid.table(count));
        for moved in &self.shared {
            text.push_str(&format!("\nShared cost, in {}:\n", moved.currency));
            for part in &moved.parts {
                let (from, to) = (plain(&part.from), plain(&part.to));
                text.push_str(&format!("  {} from {from} to {to} (rule {})\n", part.amount, plain(&part.split_id)));
            }
            let mut charged = Grid::new([(moved.field.as_str(), Kind::Text), ("charged", Kind::Money)]);
            for (who, amount) in &moved.charged {
                charged.rows.push(vec![Cell::Text(who.clone()), Cell::Money(*amount)]);
            }
            charged.rows.push(vec![Cell::Text("TOTAL".to_owned()), Cell::Money(moved.charged.values().sum())]);
            text.push_str(&charged.table(1));
        }
        text.push_str(&self.told_corrections());
        text.push('\n');
        for (name, value) in self.facts() {
            text.push_str(&format!("{name}: {}\n", plain(&value)));
        }
        text
    }

    /// As one JSON document; decimals are text.
    #[must_use]
    pub fn json(&self) -> Value {
        let interval = self.ask.interval();
        let with_nulls = |grid: Grid| {
            let mut rows = grid.json();
            for (row, line) in rows.iter_mut().zip(&self.lines) {
                for (column, key) in self.ask.by.iter().zip(&line.keys) {
                    if key.is_none() {
                        row[column.name()] = Value::Null;
                    }
                }
            }
            rows
        };
        let shared = |moved: &super::Moved| {
            let parts = moved.parts.iter().map(|part| {
                json!({"split_id": part.split_id, "from": part.from, "to": part.to,
                    "amount": part.amount.to_string(), "weight": part.weight.to_string()})
            });
            let charged = moved.charged.iter().map(|(who, amount)| (who.clone(), json!(amount.to_string())));
            json!({"field": moved.field.as_str(), "currency": moved.currency, "parts": parts.collect::<Vec<_>>(),
                "charged": charged.collect::<serde_json::Map<_, _>>()})
        };
        json!({
            "report": "chargeback",
            "month": self.ask.month.to_string(),
            "time_zone": self.ask.zone.to_string(),
            "from": interval.from.to_string(),
            "to": interval.to.to_string(),
            "by": self.ask.by.iter().map(|column| column.name()).collect::<Vec<_>>(),
            "currency": self.currency,
            "made_at": self.made_at.to_string(),
            "rules_version": self.rules_version,
            "prices_version": self.prices_version,
            "warnings": self.warnings.iter()
                .map(|warning| json!({"code": warning.code, "text": warning.text})).collect::<Vec<_>>(),
            "lines": with_nulls(self.line_grid()),
            "totals": self.totals.iter().zip(self.total_grid().json()).map(|(_, mut row)| {
                for column in &self.ask.by {
                    row.as_object_mut().map(|row| row.remove(column.name()));
                }
                row
            }).collect::<Vec<_>>(),
            "exchange": self.exchange.iter().map(|rate| json!({
                "from": rate.from, "to": rate.to, "rate": rate.rate.to_string(), "source": rate.source,
                "valid_from": rate.valid_from.map(|at| at.to_string()), "valid_to": rate.valid_to.map(|at| at.to_string()),
            })).collect::<Vec<_>>(),
            "shared": self.shared.iter().map(shared).collect::<Vec<_>>(),
            "closed": self.closed,
            "corrections": self.corrections_json(),
            "commitments": self.capacity.iter().map(|one| json!({
                "commitment_id": one.commitment_id, "platform": one.platform, "currency": one.currency,
                "hours": one.hours, "unpriced_hours": one.unpriced_hours, "cost": one.cost.to_string(),
                "unused_cost": one.idle.to_string(), "rule": one.rule,
            })).collect::<Vec<_>>(),
            "sources": self.sources.iter().map(|seen| json!({
                "source": seen.source, "records": seen.records,
                "last_event": seen.last_event.to_string(), "last_read": seen.last_read.to_string(),
            })).collect::<Vec<_>>(),
        })
    }
}

/// Columns in which nothing happened take no room on a terminal.
fn narrowed(grid: &mut Grid) {
    const OPTIONAL: [&str; 5] =
        ["cache_read_tokens", "cache_write_tokens", "unpriced_calls", "partial_calls", "commitment"];
    for name in OPTIONAL {
        let Some(at) = grid.columns.iter().position(|(column, _)| column == name) else { continue };
        if grid.rows.iter().all(|row| matches!(row.get(at), Some(Cell::Count(0) | Cell::None) | None)) {
            grid.columns.remove(at);
            grid.rows.iter_mut().filter(|row| at < row.len()).for_each(|row| {
                row.remove(at);
            });
        }
    }
}

fn committed(one: &Capacity) -> String {
    let currency = one.currency.as_deref().unwrap_or_default();
    format!(
        "{}: {} hours, {} {currency}, of it {} {currency} unused; {}",
        one.commitment_id, one.hours, one.cost, one.idle, one.rule
    )
}

fn told(rate: &ExchangeRate) -> String {
    format!("1 {} = {} {} ({})", rate.from, rate.rate, rate.to, rate.source)
}
