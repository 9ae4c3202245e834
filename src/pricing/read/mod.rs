//! Price files that people edit: TOML or CSV, checked line by line. Pure: text in; rows out, or every mistake.
//!
//! # Forms
//! A TOML file holds any of these lists; names above them (`currency = "USD"`, `per = "1M"`, `recorded_at`, `source`, …)
//! hold for every row that does not say otherwise:
//!
//! ```toml
//! currency = "USD"
//! per = "1M"
//! source = "EA 4711, appendix B"
//!
//! [[price]]                       # a list price; wins over the bundled list
//! platform = "azure.ai.openai"
//! model = "gpt-4o"
//! scope = "global"                # *, global, geo:eu, in_region, in_region:eu-west-1
//! valid_from = 2026-04-01
//! rates = { input = 2.50, cache_read = 1.25, output = 10.00 }   # or: unit = "input", amount = 2.50
//!
//! [[contract]]                    # a factor on the list price, or prices of its own
//! contract_id = "EA-4711"
//! platform = "azure.ai.openai"
//! account = "sub-*"
//! factor = 0.85                   # or: rates = { … }, or: unit and amount
//!
//! [[commitment]]                  # capacity paid by the hour
//! commitment_id = "ptu-eu"
//! platform = "azure.ai.openai"
//! deployment = "chat-ptu"
//! units = 100
//! amount = 1.00                   # for one unit and hour; without it the price book's row for `hour` holds
//! capacity = 9000000              # weighted tokens that all units serve in an hour
//! weights = { output = 4, cache_read = 0 }
//! unused = "keep"                 # keep, spread, owner:platform-team
//! valid_from = 2026-10-01
//!
//! [[exchange]]
//! from = "EUR"
//! to = "USD"
//! rate = 1.08
//! valid_from = 2026-10-01
//! ```
//!
//! A CSV file is one of these lists, with the same names as columns: with a column `contract_id` contracts, with
//! `commitment_id` commitments (weights as `weight_output`, …), with `from` and `to` exchange rates, else prices. Comma or
//! semicolon; numbers have a decimal point.
//!
//! # Rules
//! - Dates are UTC, start inclusive, end exclusive: a price for all of 2026 has `valid_to = 2027-01-01`.
//! - A row that starts later ends an open one of the same key. Two rows of the same key and the same `recorded_at` must not
//!   contradict each other: not start together, and not overlap where the earlier one names its end.
//! - A correction of the past is a row of the same key and start with a later `recorded_at`.

mod assemble;
mod rows;
#[cfg(test)]
mod tests;
mod words;
mod write;

pub use assemble::{Located, PriceFile, Prices, assemble};
pub use write::{COLUMNS, write_csv};

use super::key::Layer;
use crate::model::Timestamp;
use crate::sheet::{Fields, Place, Problem, Row, Sheet, nearest, read_csv, read_toml};

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// Layer of its `[[price]]` rows.
    pub layer: Layer,
    /// When rows that do not say it became known.
    pub recorded_at: Timestamp,
    /// Platforms beside the known ones that may have prices.
    pub platforms: &'a [&'a str],
}

impl Reading<'_> {
    /// An operator's file.
    #[must_use]
    pub const fn operator(recorded_at: Timestamp) -> Self {
        Self { layer: Layer::Operator, recorded_at, platforms: &[] }
    }
}

/// A list of rows: what it is called, what its rows may hold and must hold.
struct Table {
    name: &'static str,
    names: &'static [&'static str],
    required: &'static [&'static str],
}

const PRICE: Table = Table {
    name: "price",
    names: &[
        "platform",
        "model",
        "snapshot",
        "scope",
        "tier",
        "mode",
        "unit",
        "context_over",
        "per",
        "amount",
        "currency",
        "valid_from",
        "valid_to",
        "recorded_at",
        "source",
        "source_ref",
        "note",
        "row_id",
        "rates.",
    ],
    required: &["platform", "model", "unit", "per", "amount", "currency"],
};

const CONTRACT: Table = Table {
    name: "contract",
    names: &[
        "contract_id",
        "platform",
        "account",
        "model",
        "scope",
        "tier",
        "mode",
        "factor",
        "unit",
        "per",
        "amount",
        "currency",
        "valid_from",
        "valid_to",
        "recorded_at",
        "source",
        "source_ref",
        "note",
        "row_id",
        "rates.",
    ],
    required: &["contract_id", "platform"],
};

const COMMITMENT: Table = Table {
    name: "commitment",
    names: &[
        "commitment_id",
        "platform",
        "account",
        "model",
        "deployment",
        "scope",
        "units",
        "amount",
        "currency",
        "capacity",
        "unused",
        "valid_from",
        "valid_to",
        "recorded_at",
        "source",
        "weights.",
        "weight_input",
        "weight_cache_read",
        "weight_cache_write_5m",
        "weight_cache_write_1h",
        "weight_output",
        "weight_audio_input",
        "weight_audio_output",
        "weight_image_input",
    ],
    required: &["commitment_id", "platform", "units", "valid_from"],
};

const EXCHANGE: Table = Table {
    name: "exchange",
    names: &["from", "to", "rate", "valid_from", "valid_to", "recorded_at", "source"],
    required: &["from", "to", "rate"],
};

/// What may stand above all lists of a TOML file.
const TOP: [&str; 9] =
    ["platform", "currency", "per", "valid_from", "valid_to", "recorded_at", "source", "source_ref", "note"];

/// Reads a file, TOML or CSV by the end of its name.
///
/// # Errors
/// Every mistake that the file shows by itself; [`assemble`] finds those between rows and between files.
pub fn read_file(file: &str, text: &str, reading: &Reading<'_>) -> Result<PriceFile, Vec<Problem>> {
    let name = file.to_ascii_lowercase();
    let (mut read, mut problems) = (PriceFile::default(), Vec::new());
    if name.ends_with(".toml") {
        let sheet = read_toml(file, text)?;
        Fields::new(file, &sheet.top, None, &mut problems).known(&TOP);
        for (name, rows) in &sheet.tables {
            let Some(table) = [&PRICE, &CONTRACT, &COMMITMENT, &EXCHANGE].into_iter().find(|table| table.name == name)
            else {
                let hint =
                    format!("did you mean '{}'?", nearest(name, &["price", "contract", "commitment", "exchange"]));
                let line = rows.first().map_or(1, |row| row.line);
                problems.push(place(file, line).problem(format!("there is no list '{name}'"), hint));
                continue;
            };
            for row in rows {
                Fields::new(file, row, None, &mut problems).known(table.names);
                read.take(table, file, row, Some(&sheet.top), reading, &mut problems);
            }
        }
    } else if name.ends_with(".csv") {
        let sheet = read_csv(file, text)?;
        let has = |column: &str| sheet.columns.iter().any(|name| name == column);
        let table = match (has("contract_id"), has("commitment_id"), has("from") && has("to")) {
            (true, _, _) => &CONTRACT,
            (_, true, _) => &COMMITMENT,
            (_, _, true) => &EXCHANGE,
            _ => &PRICE,
        };
        columns(file, &sheet, table, &mut problems);
        if problems.is_empty() {
            for row in sheet.tables.values().flatten() {
                read.take(table, file, row, None, reading, &mut problems);
            }
        }
    } else {
        problems.push(place(file, 1).problem("the name ends neither in .toml nor in .csv", "name it so"));
    }
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// The columns of a CSV file are wrong once, not on every line.
fn columns(file: &str, sheet: &Sheet, table: &Table, problems: &mut Vec<Problem>) {
    let at = place(file, sheet.top.line);
    let names: Vec<&str> = table.names.iter().copied().filter(|name| !name.ends_with('.')).collect();
    for column in sheet.columns.iter().filter(|column| !names.contains(&column.as_str())) {
        let hint = format!("did you mean '{}'?", nearest(column, &names));
        problems.push(at.problem(format!("there is no column '{column}' for a {}", table.name), hint));
    }
    for name in table.required.iter().filter(|name| !sheet.columns.iter().any(|column| column == *name)) {
        problems.push(at.problem(format!("the column '{name}' is missing"), format!("add {name}")));
    }
}

fn place(file: &str, line: usize) -> Place {
    Place { file: file.to_owned(), line }
}

impl PriceFile {
    fn take(
        &mut self,
        table: &Table,
        file: &str,
        row: &Row,
        top: Option<&Row>,
        reading: &Reading<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let at = place(file, row.line);
        let fields = &mut Fields::new(file, row, top, problems);
        let located = |row| Located { row, place: at.clone() };
        match table.name {
            "contract" => self
                .contracts
                .extend(rows::contracts(fields, reading).into_iter().map(|row| Located { row, place: at.clone() })),
            "commitment" => {
                self.commitments.extend(rows::commitment(fields, reading).map(|row| Located { row, place: at.clone() }))
            }
            "exchange" => {
                self.exchange.extend(rows::exchange(fields, reading).map(|row| Located { row, place: at.clone() }))
            }
            _ => self.rates.extend(rows::prices(fields, reading).into_iter().map(located)),
        }
    }
}
