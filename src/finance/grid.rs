//! A report as a grid of typed cells: what every form of it (table, CSV, JSON, XLSX, Parquet) is written from, so that all
//! of them say the same.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Count,
    /// An exact decimal.
    Money,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing: not known, which is not 0.
    None,
    /// Text.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A difference of whole numbers.
    Change(i64),
    /// An exact decimal, with the digits it is shown with.
    Money(Decimal),
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::None, |text| Self::Text(text.to_owned()))
    }
}

impl From<Option<Decimal>> for Cell {
    fn from(amount: Option<Decimal>) -> Self {
        amount.map_or(Self::None, Self::Money)
    }
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => plain(text),
            Self::Count(count) => count.to_string(),
            Self::Change(change) => change.to_string(),
            Self::Money(amount) => amount.to_string(),
        }
    }
}

/// Columns by name, and rows of as many cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// Name and kind of each column.
    pub columns: Vec<(String, Kind)>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// A grid without rows.
    #[must_use]
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Kind)>) -> Self {
        let columns = columns.into_iter().map(|(name, kind)| (name.to_owned(), kind));
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    /// RFC 4180 with a header line. Text that a spreadsheet would take for a formula gets an apostrophe in front: names of
    /// teams and features come from whoever calls.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = line(self.columns.iter().map(|(name, _)| name.clone()));
        for row in &self.rows {
            csv.push_str(&line(row.iter().map(|cell| match cell {
                Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
                Cell::Text(text) => text.clone(),
                cell => cell.shown(),
            })));
        }
        csv
    }

    /// One object for each row; decimals are text, so that no reader makes floats of them.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        let value = |cell: &Cell| match cell {
            Cell::None => Value::Null,
            Cell::Text(text) => json!(text),
            Cell::Count(count) => json!(count),
            Cell::Change(change) => json!(change),
            Cell::Money(amount) => json!(amount.to_string()),
        };
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|((name, _), cell)| (name.clone(), value(cell)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// For people: columns aligned, numbers to the right, a line above the last `totals` rows.
    #[must_use]
    pub fn table(&self, totals: usize) -> String {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (name, _))| {
                let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
                cells.chain([name.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let shown = |cells: &[String]| {
            let padded = cells.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, kind)), width)| {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *kind == Kind::Text { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
            });
            format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        let names: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
        let mut text = shown(&names);
        text.push_str(&format!("{rule}\n"));
        for (at, row) in rows.iter().enumerate() {
            if totals > 0 && at > 0 && at + totals == rows.len() {
                text.push_str(&format!("{rule}\n"));
            }
            text.push_str(&shown(row));
        }
        text
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    });
    format!("{}\r\n", quoted.collect::<Vec<_>>().join(","))
}

/// A document as bytes that are looked at and kept: indented, with a line end.
#[must_use]
pub fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

/// Text for a terminal: whoever calls names teams, and must not steer it.
#[must_use]
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new([("team", Kind::Text), ("calls", Kind::Count), ("cost", Kind::Money)]);
        let money = |text: &str| Cell::Money(text.parse().unwrap());
        grid.rows.push(vec![Cell::Text("=cmd(\"x\"),1".into()), Cell::Count(12), money("0.10")]);
        grid.rows.push(vec![Cell::None, Cell::Count(3), Cell::None]);
        grid.rows.push(vec![Cell::Text("\u{1b}[2J".into()), Cell::Count(15), money("-123456789012345.123456789012")]);
        grid
    }

    #[test]
    fn every_form_keeps_every_digit_and_nothing_is_a_formula() {
        let csv = grid().csv();
        assert!(csv.starts_with("team,calls,cost\r\n\"'=cmd(\"\"x\"\"),1\",12,0.10\r\n,3,\r\n"), "{csv}");
        assert!(csv.ends_with(",15,-123456789012345.123456789012\r\n"), "{csv}");
        let json = grid().json();
        assert_eq!(json[0], json!({"team": "=cmd(\"x\"),1", "calls": 12, "cost": "0.10"}));
        assert_eq!(json[1]["cost"], Value::Null);
    }

    #[test]
    fn a_table_is_aligned_and_steers_no_terminal() {
        let table = grid().table(1);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[1], lines[4]);
        assert!(lines[5].starts_with("\\u{1b}[2J") && lines[5].ends_with(".123456789012"), "{table}");
        assert!(!table.contains('\u{1b}'));
    }
}
