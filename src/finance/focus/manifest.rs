//! What stands beside an export: what is in it, what is not, and what it was made from.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::check::{Sums, sums};
use super::columns::FocusVersion;
use super::line::Charge;
use super::row::FocusRow;
use super::words;
use crate::model::Timestamp;
use crate::pricing::Bucket;
use crate::sheet::sha256;

/// Usage that has no price, and so no row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnpricedUsage {
    /// Who served it.
    pub platform: String,
    /// Canonical model; `None` where it is not known.
    pub model: Option<String>,
    /// What was counted.
    pub bucket: Bucket,
    /// How many.
    pub quantity: Decimal,
    /// Calls in it.
    pub calls: u64,
}

/// What stands beside an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The file it stands beside.
    pub file: Option<String>,
    /// The month, in UTC.
    pub month: Option<String>,
    /// False for a month that goes on: more will come.
    pub ended: bool,
    /// `day` or `hour`.
    pub granularity: &'static str,
    /// Version of FOCUS.
    pub version: FocusVersion,
    /// First instant of any row, and the first behind all.
    pub period: Option<(Timestamp, Timestamp)>,
    /// Rows in the file.
    pub rows: usize,
    /// By currency.
    pub sums: BTreeMap<String, Sums>,
    /// By unit.
    pub consumed: BTreeMap<String, Decimal>,
    /// Versions of the price books that rows name.
    pub price_books: Vec<String>,
    /// Version of the texts of prices and rules.
    pub rules_version: String,
    /// Version of the price book that usage was priced with.
    pub prices_version: String,
    /// Version of the table that was read.
    pub table_version: Option<String>,
    /// What has no row.
    pub unpriced: Vec<UnpricedUsage>,
    /// Calls of which only some buckets have a price.
    pub partial_calls: u64,
    /// Calls that were answered, and nobody tells their tokens.
    pub uncounted_calls: u64,
    /// Calls on capacity that no commitment of the price files describes.
    pub capacity_calls_without_price: u64,
    /// Rows that correct closed months.
    pub corrections: usize,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of a file that was written from these rows.
    #[must_use]
    pub fn of(rows: &[FocusRow], version: FocusVersion, file: &[u8]) -> Self {
        let from = rows.iter().map(|row| row.line.period.from).min();
        let to = rows.iter().map(|row| row.line.period.to).max();
        let mut books: Vec<String> = rows.iter().map(|row| row.line.price_book.clone()).collect();
        books.sort();
        books.dedup();
        let mut consumed = BTreeMap::new();
        // Payments and unused capacity consume nothing.
        let used = |row: &&FocusRow| !matches!(row.line.charge, Charge::Purchase { .. } | Charge::Unused { .. });
        for row in rows.iter().filter(used) {
            *consumed.entry(words::measure(row.line.bucket).consumed.to_owned()).or_default() += row.line.quantity;
        }
        let sha256 = sha256(file);
        let (period, sums) = (from.zip(to), sums(rows));
        let corrections = rows.iter().filter(|row| row.line.correction.is_some()).count();
        let (rows, price_books) = (rows.len(), books);
        Self { version, period, rows, sums, consumed, price_books, corrections, sha256, ..Self::default() }
    }

    /// What is in the file and what is not, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let plain = |number: &Decimal| number.normalize().to_string();
        let mut text = format!("FOCUS {}, {} rows, SHA-256 {}\n", self.version.as_str(), self.rows, self.sha256);
        for (currency, sums) in &self.sums {
            text.push_str(&format!(
                "  {currency}: list {}, contracted {}, effective {}, billed {}\n",
                plain(&sums.list),
                plain(&sums.contracted),
                plain(&sums.effective),
                plain(&sums.billed)
            ));
        }
        let facts = [
            (!self.ended, "the month goes on: more will come".to_owned()),
            (self.corrections > 0, format!("{} rows correct closed months", self.corrections)),
            (self.partial_calls > 0, format!("{} calls are exported with their priced part only", self.partial_calls)),
            (self.uncounted_calls > 0, format!("of {} answered calls nobody tells the tokens", self.uncounted_calls)),
            (
                self.capacity_calls_without_price > 0,
                format!("{} calls ran on capacity that no [[commitment]] describes", self.capacity_calls_without_price),
            ),
        ];
        for (_, fact) in facts.iter().filter(|(holds, _)| *holds) {
            text.push_str(&format!("  ! {fact}\n"));
        }
        for usage in &self.unpriced {
            text.push_str(&format!(
                "  ! no price, so no row: {} {} {} of {} ({} calls)\n",
                plain(&usage.quantity),
                usage.bucket,
                usage.model.as_deref().unwrap_or("(unknown)"),
                usage.platform,
                usage.calls
            ));
        }
        text
    }

    /// As JSON; decimals as text, so that no reader makes floats of them.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |number: &Decimal| number.normalize().to_string();
        let sums: BTreeMap<&str, Value> = self
            .sums
            .iter()
            .map(|(currency, sums)| {
                let sums = json!({
                    "BilledCost": text(&sums.billed),
                    "ContractedCost": text(&sums.contracted),
                    "EffectiveCost": text(&sums.effective),
                    "ListCost": text(&sums.list),
                });
                (currency.as_str(), sums)
            })
            .collect();
        let unpriced: Vec<Value> = self
            .unpriced
            .iter()
            .map(|usage| {
                json!({
                    "platform": usage.platform, "model": usage.model, "bucket": usage.bucket.as_str(),
                    "quantity": text(&usage.quantity), "calls": usage.calls,
                })
            })
            .collect();
        let consumed: BTreeMap<&str, String> = self.consumed.iter().map(|(unit, n)| (unit.as_str(), text(n))).collect();
        let manifest = json!({
            "file": self.file,
            "month": self.month,
            "month_ended": self.ended,
            "granularity": self.granularity,
            "rules_version": self.rules_version,
            "prices_version": self.prices_version,
            "uncounted_calls": self.uncounted_calls,
            "capacity_calls_without_price": self.capacity_calls_without_price,
            "corrections": self.corrections,
            "focus_version": self.version.as_str(),
            "validated_by_official_rules": self.version.is_validated(),
            "time_zone": "UTC",
            "period_start": self.period.map(|(from, _)| from.to_string()),
            "period_end": self.period.map(|(_, to)| to.to_string()),
            "rows": self.rows,
            "sums": sums,
            "consumed": consumed,
            "price_books": self.price_books,
            "table_version": self.table_version,
            "unpriced": unpriced,
            "partial_calls": self.partial_calls,
            "sha256": self.sha256,
        });
        format!("{manifest:#}\n")
    }
}
