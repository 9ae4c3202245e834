//! A whole export: rows, held against the ledger before anybody sees them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::check::{Sums, check, sums};
use super::columns::FocusVersion;
use super::correction::CorrectionLine;
use super::csv::write_csv;
use super::line::{Charge, UsageLine};
use super::manifest::{Manifest, UnpricedUsage};
use super::row::{FocusError, FocusRow, rows};
use crate::finance::calendar::{Month, Zone};
use crate::model::{HOUR_US, Interval, Timestamp};

/// More mistakes than these are not listed.
const LISTED: usize = 10;

/// What an export is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FocusAsk {
    /// The month, in UTC as bills are.
    pub month: Month,
    /// One row for each hour instead of each day.
    pub hourly: bool,
    /// Version of FOCUS.
    pub version: FocusVersion,
    /// Who pays, by platform; where none is named, the account of the usage.
    pub billing_accounts: BTreeMap<String, String>,
    /// A month that goes on may be exported as far as it is.
    pub partial: bool,
}

impl FocusAsk {
    /// The whole month by days, in the version that can be validated.
    #[must_use]
    pub const fn month(month: Month) -> Self {
        let version = FocusVersion::V1_2;
        Self { month, hourly: false, version, billing_accounts: BTreeMap::new(), partial: false }
    }

    /// The row's period that an instant is in.
    #[must_use]
    pub const fn period(&self, at: Timestamp) -> Interval {
        let length = if self.hourly { HOUR_US } else { 24 * HOUR_US };
        let from = at.floor(length);
        Interval { from, to: from.plus(length) }
    }

    /// The usual name of a file with this ending.
    #[must_use]
    pub fn file_name(&self, ending: &str) -> String {
        format!("focus-{}.{ending}", self.month)
    }

    /// The month in UTC.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.month.interval(Zone::UTC)
    }
}

/// What of the ledger an export shows, in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSums {
    /// At list price; of calls that only a contract prices, their cost.
    pub list: Decimal,
    /// Under the contract.
    pub cost: Decimal,
}

/// What an export is made from: one moment of the ledger.
#[derive(Clone, Debug, Default)]
pub struct ExportInputs {
    /// Usage that is paid by what was used, one line for each price.
    pub usage: Vec<UsageLine>,
    /// Capacity: payments, and what was used and not used of it.
    pub capacity: Vec<UsageLine>,
    /// What capacity cost, by currency.
    pub capacity_cost: BTreeMap<String, Decimal>,
    /// Differences to closed months.
    pub corrections: Vec<CorrectionLine>,
    /// Sums of the ledger by currency, asked for without any group.
    pub ledger: BTreeMap<String, LedgerSums>,
    /// What has no price.
    pub unpriced: Vec<UnpricedUsage>,
    /// Calls of which only some buckets have a price.
    pub partial_calls: u64,
    /// Calls that were answered, and nobody tells their tokens.
    pub uncounted_calls: u64,
    /// Calls on capacity that no commitment of the price files describes.
    pub capacity_calls_without_price: u64,
    /// Version of the texts of prices and rules.
    pub rules_version: String,
    /// Version of the price book.
    pub prices_version: String,
    /// Version of the table that was read.
    pub table_version: String,
    /// Now.
    pub now: Timestamp,
}

/// Why there is no export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FocusRefusal {
    /// The month goes on.
    #[error("{0} has not ended in UTC; export it when it has, or say that a part will do (--partial, or partial=true)")]
    NotEnded(Month),
    /// The price book in force says another cost than the ledger.
    #[error(
        "{calls} calls of {month} cost something else by the prices in force than in the ledger, for example {}: the ledger \
         was settled by other prices; `polymeter resettle --from {month}-01` shows the difference and applies them", .examples.join(", ")
    )]
    OtherPrices {
        /// The month.
        month: Month,
        /// How many.
        calls: u64,
        /// Some of their ids.
        examples: Vec<String>,
    },
    /// A line can't be a row.
    #[error(transparent)]
    Row(#[from] FocusError),
    /// The checks found something: a mistake of the program.
    #[error("the export was not made, because its checks found {}: {}", .0.len(), .0.iter().take(LISTED).cloned().collect::<Vec<_>>().join("; "))]
    Checks(Vec<String>),
    /// A number does not fit the file.
    #[error("{0} has more than 26 digits before or 12 behind the point; write CSV instead")]
    Digits(String),
    /// The file could not be made.
    #[error("the Parquet file could not be made: {0}")]
    File(String),
}

/// Rows that passed every check, and what stands beside them.
#[derive(Clone, Debug)]
pub struct FocusExport {
    /// What was asked.
    pub ask: FocusAsk,
    /// Sorted by key.
    pub rows: Vec<FocusRow>,
    about: Manifest,
}

impl FocusExport {
    /// Makes rows and holds them against the ledger.
    ///
    /// # Errors
    /// The month goes on, a line can't be a row, or a check found something.
    pub fn new(ask: FocusAsk, inputs: ExportInputs) -> Result<Self, FocusRefusal> {
        let ended = inputs.now >= ask.interval().to;
        if !ended && !ask.partial {
            return Err(FocusRefusal::NotEnded(ask.month));
        }
        let posted: NaiveDate = ask.interval().from.day();
        let corrections: Vec<UsageLine> = inputs
            .corrections
            .iter()
            .map(|line| line.usage_line(posted, &ask.billing_accounts, &inputs.prices_version))
            .collect();
        let mut found = Vec::new();
        let mut all = parts("usage", rows(&inputs.usage)?, &expected(&inputs.ledger), &mut found);
        all.extend(parts("corrections", rows(&corrections)?, &corrected(&inputs.corrections), &mut found));
        let capacity = rows(&inputs.capacity)?;
        capacity_sums(&capacity, &inputs.capacity_cost, &mut found);
        all.extend(capacity);
        // Sorted again by what the file shows first, so that it reads as one.
        all.sort_by(|a, b| {
            (a.billing_start, a.line.period, &a.line.platform).cmp(&(b.billing_start, b.line.period, &b.line.platform))
        });
        found.extend(check(&all, None));
        if !found.is_empty() {
            return Err(FocusRefusal::Checks(found));
        }
        let about = Manifest {
            month: Some(ask.month.to_string()),
            ended,
            granularity: if ask.hourly { "hour" } else { "day" },
            version: ask.version,
            rules_version: inputs.rules_version,
            prices_version: inputs.prices_version,
            table_version: Some(inputs.table_version),
            unpriced: inputs.unpriced,
            partial_calls: inputs.partial_calls,
            uncounted_calls: inputs.uncounted_calls,
            capacity_calls_without_price: inputs.capacity_calls_without_price,
            ..Manifest::default()
        };
        Ok(Self { ask, rows: all, about })
    }

    /// The file as CSV.
    #[must_use]
    pub fn csv(&self) -> String {
        write_csv(&self.rows, self.ask.version)
    }

    /// The usual name of the file with this ending.
    #[must_use]
    pub fn file_name(&self, ending: &str) -> String {
        self.ask.file_name(ending)
    }

    /// What stands beside a file with these bytes.
    #[must_use]
    pub fn manifest(&self, file: &str, bytes: &[u8]) -> Manifest {
        let of = Manifest::of(&self.rows, self.ask.version, bytes);
        Manifest {
            file: Some(file.to_owned()),
            period: of.period,
            rows: of.rows,
            sums: of.sums,
            consumed: of.consumed,
            price_books: of.price_books,
            sha256: of.sha256,
            corrections: of.corrections,
            ..self.about.clone()
        }
    }
}

fn expected(ledger: &BTreeMap<String, LedgerSums>) -> BTreeMap<String, Sums> {
    let sums =
        |sums: &LedgerSums| Sums { list: sums.list, contracted: sums.cost, effective: sums.cost, billed: sums.cost };
    ledger.iter().map(|(currency, of)| (currency.clone(), sums(of))).collect()
}

fn corrected(lines: &[CorrectionLine]) -> BTreeMap<String, Sums> {
    let mut all: BTreeMap<String, Sums> = BTreeMap::new();
    for line in lines {
        let sums = all.entry(line.currency.clone()).or_default();
        sums.list += line.list_cost;
        for sum in [&mut sums.contracted, &mut sums.effective, &mut sums.billed] {
            *sum += line.cost;
        }
    }
    all
}

/// The rows, held against what they have to add up to.
fn parts(what: &str, rows: Vec<FocusRow>, expected: &BTreeMap<String, Sums>, found: &mut Vec<String>) -> Vec<FocusRow> {
    let own = sums(&rows);
    let zero = Sums::default();
    for currency in own.keys().chain(expected.keys().filter(|currency| !own.contains_key(*currency))) {
        let (a, b) = (own.get(currency).unwrap_or(&zero), expected.get(currency).unwrap_or(&zero));
        let pairs = [
            ("ListCost", a.list, b.list),
            ("ContractedCost", a.contracted, b.contracted),
            ("EffectiveCost", a.effective, b.effective),
            ("BilledCost", a.billed, b.billed),
        ];
        let differ = pairs.into_iter().filter(|(_, a, b)| a != b);
        found.extend(differ.map(|(name, a, b)| format!("{name} of {what} is {a} {currency}, the ledger says {b}")));
    }
    rows
}

/// What was paid for capacity is what its hours cost, and what its use bears.
fn capacity_sums(rows: &[FocusRow], cost: &BTreeMap<String, Decimal>, found: &mut Vec<String>) {
    let mut own: BTreeMap<&str, (Decimal, Decimal)> = BTreeMap::new();
    for row in rows {
        let sums = own.entry(&row.line.currency).or_default();
        match row.line.charge {
            Charge::Purchase { .. } => sums.0 += row.billed_cost,
            _ => sums.1 += row.effective_cost,
        }
    }
    for currency in
        cost.keys().map(String::as_str).chain(own.keys().copied().filter(|currency| !cost.contains_key(*currency)))
    {
        let (paid, borne) = own.get(currency).copied().unwrap_or_default();
        let hours = cost.get(currency).copied().unwrap_or_default();
        if paid != hours || borne != hours {
            found.push(format!("capacity cost {hours} {currency}, rows say {paid} paid and {borne} used or unused"));
        }
    }
}
