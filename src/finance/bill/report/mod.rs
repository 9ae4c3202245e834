//! A month's bills against what was metered, as a report: what was asked, the findings, and sums that are both sides' own.
//!
//! Every amount of both sides is in exactly one finding. The report is held against sums of both sides that were asked for
//! without any group, and is not made if a digit differs.

mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::reconcile::{Finding, Metered, Options, Outcome, Period, Reason, Reconciliation, Tolerance, reconcile};
use super::{BillLine, Category};
use crate::finance::calendar::{Month, Zone};
use crate::model::{Interval, Timestamp};
use crate::pricing::PriceBook;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileAsk {
    /// The month, in UTC as bills are.
    pub month: Month,
    /// Only this platform.
    pub platform: Option<String>,
    /// Each account by itself.
    pub account: bool,
    /// Each day by itself.
    pub day: bool,
    /// Each kind of token by itself.
    pub bucket: bool,
    /// What counts as the same.
    pub tolerance: Tolerance,
}

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// Not a part of a key.
    #[error("'{0}' is nothing to compare by; there are platform, account, model, day and bucket")]
    By(String),
    /// Not a tolerance.
    #[error("'{0}' is no tolerance; write a share as 0.1% or an amount as 5")]
    Tolerance(String),
    /// There is no bill.
    #[error("there is no bill for {0}{1}; take one in with `polymeter bill import`")]
    NoBill(Month, String),
    /// Sums differ: a mistake of the program.
    #[error(
        "the findings add up to {findings} {currency} {side}, which has {whole}: the report is wrong and was not made"
    )]
    Differs {
        /// `metered` or `billed`.
        side: &'static str,
        /// Currency.
        currency: String,
        /// Sum of the findings.
        findings: Decimal,
        /// Sum of the side.
        whole: Decimal,
    },
}

impl ReconcileAsk {
    /// Everything by itself, with the usual tolerances.
    #[must_use]
    pub fn month(month: Month) -> Self {
        Self { month, platform: None, account: true, day: true, bucket: true, tolerance: Tolerance::default() }
    }

    /// Compares by these only: names with commas.
    ///
    /// # Errors
    /// A name that is none.
    pub fn by(mut self, names: &str) -> Result<Self, ReconcileError> {
        (self.account, self.day, self.bucket) = (false, false, false);
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "account" => self.account = true,
                "day" => self.day = true,
                "bucket" => self.bucket = true,
                // Always: sums of different models or bills say nothing.
                "platform" | "model" => {}
                other => return Err(ReconcileError::By(other.to_owned())),
            }
        }
        Ok(self)
    }

    /// With how much counts of tokens may differ: `0.1%` or `5`.
    ///
    /// # Errors
    /// It is no number.
    pub fn tokens(mut self, text: &str) -> Result<Self, ReconcileError> {
        (self.tolerance.quantity, self.tolerance.quantity_share) = tolerance(text)?;
        Ok(self)
    }

    /// With how much costs may differ: `0.5%` or `5`.
    ///
    /// # Errors
    /// It is no number.
    pub fn cost(mut self, text: &str) -> Result<Self, ReconcileError> {
        (self.tolerance.cost, self.tolerance.cost_share) = tolerance(text)?;
        self.tolerance.price_share = self.tolerance.cost_share;
        Ok(self)
    }

    /// The month in UTC.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.month.interval(Zone::UTC)
    }
}

/// An amount and a share.
fn tolerance(text: &str) -> Result<(Decimal, Decimal), ReconcileError> {
    let wrong = || ReconcileError::Tolerance(text.to_owned());
    let (number, share) = match text.trim().strip_suffix('%') {
        Some(number) => (number, true),
        None => (text.trim(), false),
    };
    let number: Decimal = number.trim().parse().map_err(|_| wrong())?;
    if number < Decimal::ZERO {
        return Err(wrong());
    }
    Ok(if share { (Decimal::ZERO, number / Decimal::ONE_HUNDRED) } else { (number, Decimal::ZERO) })
}

/// Both sides of a month, and what to know about them.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    /// What was metered, by day.
    pub metered: Vec<Metered>,
    /// The bills' lines.
    pub billed: Vec<BillLine>,
    /// Money of the metered side, by currency, asked for by itself.
    pub metered_cost: BTreeMap<String, Decimal>,
    /// Money of the bills, by currency, asked for by itself.
    pub billed_cost: BTreeMap<String, Decimal>,
    /// Calls that were answered, and nobody tells their tokens.
    pub uncounted_calls: u64,
    /// Calls on capacity, which have no cost of their own.
    pub allocated_calls: u64,
    /// Calls that cost something else by the prices in force than in the ledger.
    pub other_prices: u64,
    /// Now.
    pub now: Timestamp,
}

/// A rate that the bill contradicts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleRate {
    /// Who bills.
    pub platform: String,
    /// Canonical model.
    pub model: Option<String>,
    /// What is counted.
    pub bucket: Option<crate::pricing::Bucket>,
    /// Price of one in the price book.
    pub book: Decimal,
    /// Price of one that the bill comes to.
    pub billed: Decimal,
    /// Keys that say so.
    pub keys: u64,
}

/// The report.
#[derive(Clone, Debug)]
pub struct ReconcileReport {
    /// What was asked.
    pub ask: ReconcileAsk,
    /// What was found.
    pub result: Reconciliation,
    /// Rates that the bill contradicts.
    pub stale: Vec<StaleRate>,
    /// What to know first.
    pub warnings: Vec<String>,
}

impl ReconcileReport {
    /// Compares both sides.
    ///
    /// # Errors
    /// There is no bill, or the sums are not both sides'.
    pub fn new(ask: ReconcileAsk, sides: Sides, book: &PriceBook) -> Result<Self, ReconcileError> {
        if sides.billed.is_empty() {
            let on = ask.platform.as_ref().map(|platform| format!(" of {platform}")).unwrap_or_default();
            return Err(ReconcileError::NoBill(ask.month, on));
        }
        let warnings = warnings(&ask, &sides);
        let (metered, billed) = coarser(&ask, sides.metered, sides.billed);
        let options = Options { tolerance: ask.tolerance, book: Some(book), ..Options::default() };
        let mut result = reconcile(&metered, &billed, &options);
        if !ask.day {
            for finding in &mut result.findings {
                if let Period::Day(day) = finding.key.period {
                    finding.key.period = Period::month_of(day);
                }
            }
        }
        held(&result, &sides.metered_cost, "metered", |(metered, _)| *metered)?;
        held(&result, &sides.billed_cost, "billed", |(_, billed)| *billed)?;
        let stale = stale(&result.findings);
        Ok(Self { ask, result, stale, warnings })
    }

    /// What both sides should have had the same, and have not.
    pub fn differences(&self) -> impl Iterator<Item = &Finding> {
        self.result.differences().filter(|finding| !is_no_usage(finding))
    }

    /// Credits, taxes and the like: lines of bills that no record stands behind.
    pub fn without_records(&self) -> impl Iterator<Item = &Finding> {
        self.result.differences().filter(|finding| is_no_usage(finding))
    }
}

const fn is_no_usage(finding: &Finding) -> bool {
    matches!(finding.reason, Some(Reason::Category(category)) if !matches!(category, Category::Usage))
}

/// Takes out of both sides what is not compared by.
fn coarser(ask: &ReconcileAsk, mut metered: Vec<Metered>, mut billed: Vec<BillLine>) -> (Vec<Metered>, Vec<BillLine>) {
    let whole = ask.interval();
    for row in &mut metered {
        row.account = row.account.take().filter(|_| ask.account);
        // Hours of capacity and tokens have no sum.
        row.bucket = row.bucket.filter(|bucket| ask.bucket || *bucket == crate::pricing::Bucket::Hour);
        row.from = if ask.day { row.from } else { whole.from };
    }
    for line in &mut billed {
        line.account = line.account.take().filter(|_| ask.account);
        line.bucket = line.bucket.filter(|bucket| ask.bucket || *bucket == crate::pricing::Bucket::Hour);
        line.period = if ask.day { line.period } else { whole };
    }
    (metered, billed)
}

fn warnings(ask: &ReconcileAsk, sides: &Sides) -> Vec<String> {
    let mut all = Vec::new();
    let on: BTreeSet<&str> = sides.billed.iter().map(|line| line.platform.as_str()).collect();
    let without: BTreeSet<&str> =
        sides.metered.iter().map(|row| row.platform.as_str()).filter(|platform| !on.contains(platform)).collect();
    if !without.is_empty() {
        let names = without.into_iter().collect::<Vec<_>>().join(", ");
        all.push(format!("there is no bill of {names} for {}: what was metered there is metered_only", ask.month));
    }
    if sides.now < ask.interval().to {
        all.push(format!("{} has not ended in UTC: both sides go on", ask.month));
    }
    let counts = [
        (sides.uncounted_calls, "calls were answered, and nobody tells their tokens: they are in no figure"),
        (
            sides.allocated_calls,
            "calls ran on capacity that is paid by the hour: their tokens are not billed one by one",
        ),
        (
            sides.other_prices,
            "calls cost something else by the prices in force than in the ledger: `polymeter resettle` tells which; the \
             difference is a figure without bucket",
        ),
    ];
    all.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    all
}

/// The sums of the findings are those of a side.
fn held(
    result: &Reconciliation,
    whole: &BTreeMap<String, Decimal>,
    side: &'static str,
    of: impl Fn(&(Decimal, Decimal)) -> Decimal,
) -> Result<(), ReconcileError> {
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for ((_, currency), amounts) in &result.totals.cost {
        *sums.entry(currency).or_default() += of(amounts);
    }
    let currencies: BTreeSet<&str> = sums.keys().copied().chain(whole.keys().map(String::as_str)).collect();
    for currency in currencies {
        let (findings, whole) =
            (sums.get(currency).copied().unwrap_or_default(), whole.get(currency).copied().unwrap_or_default());
        if findings != whole {
            return Err(ReconcileError::Differs { side, currency: currency.to_owned(), findings, whole });
        }
    }
    Ok(())
}

fn stale(findings: &[Finding]) -> Vec<StaleRate> {
    let mut rates: BTreeMap<_, u64> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.prices.stale) {
        if let (Some(billed), Some(book)) = (finding.prices.billed, finding.prices.book) {
            let key = &finding.key;
            *rates.entry((key.platform.clone(), key.model.clone(), key.bucket, book, billed)).or_default() += 1;
        }
    }
    rates
        .into_iter()
        .map(|((platform, model, bucket, book, billed), keys)| StaleRate {
            platform,
            model,
            bucket,
            book,
            billed,
            keys,
        })
        .collect()
}

/// The outcomes in the order that they are told.
pub(super) const OUTCOMES: [Outcome; 4] = Outcome::ALL;
