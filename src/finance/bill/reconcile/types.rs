//! What a reconciliation is asked and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::super::Category;
use crate::model::{MINUTE_US, Timestamp};
use crate::pricing::{Bucket, CostLine, PriceBook};
use crate::sheet::Place;

/// A sum of metered calls: of an hour, or of a UTC day where the bill's days are UTC days too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Who bills.
    pub platform: String,
    /// Account, as the bill names it.
    pub account: Option<String>,
    /// Canonical model.
    pub model: Option<String>,
    /// What was counted.
    pub bucket: Option<Bucket>,
    /// Start of the hour or day.
    pub from: Timestamp,
    /// How many; `None` where some call does not say.
    pub quantity: Option<Decimal>,
    /// Their cost; `None` where some of it is not known.
    pub cost: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Calls in it.
    pub calls: u64,
}

impl Metered {
    /// This row, filled in with one bucket of a priced call.
    #[must_use]
    pub fn bucket(&self, of: &CostLine) -> Self {
        let cost = of.cost.map(|cost| cost.0);
        Self { bucket: Some(of.bucket), quantity: Some(Decimal::from(of.quantity)), cost, ..self.clone() }
    }
}

/// How much two figures may differ and still be the same. Either bound is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Tokens, or what else is counted.
    pub quantity: Decimal,
    /// Part of the larger quantity.
    pub quantity_share: Decimal,
    /// Money, in its currency.
    pub cost: Decimal,
    /// Part of the larger cost.
    pub cost_share: Decimal,
    /// Part of the larger price of one.
    pub price_share: Decimal,
}

impl Tolerance {
    /// None at all.
    pub const EXACT: Self = Self {
        quantity: Decimal::ZERO,
        quantity_share: Decimal::ZERO,
        cost: Decimal::ZERO,
        cost_share: Decimal::ZERO,
        price_share: Decimal::ZERO,
    };

    fn close(a: Decimal, b: Decimal, absolute: Decimal, share: Decimal) -> bool {
        let difference = (a - b).abs();
        difference <= absolute || difference <= share * a.abs().max(b.abs())
    }

    /// Whether two quantities are the same.
    #[must_use]
    pub fn same_quantity(&self, a: Decimal, b: Decimal) -> bool {
        Self::close(a, b, self.quantity, self.quantity_share)
    }

    /// Whether two amounts are the same.
    #[must_use]
    pub fn same_cost(&self, a: Decimal, b: Decimal) -> bool {
        Self::close(a, b, self.cost, self.cost_share)
    }

    /// Whether two prices are the same.
    #[must_use]
    pub fn same_price(&self, a: Decimal, b: Decimal) -> bool {
        Self::close(a, b, Decimal::ZERO, self.price_share)
    }
}

impl Default for Tolerance {
    /// 0.1 % of tokens, 0.5 % of money or a cent, 0.5 % of a price.
    fn default() -> Self {
        Self {
            quantity: Decimal::ZERO,
            quantity_share: Decimal::new(1, 3),
            cost: Decimal::new(1, 2),
            cost_share: Decimal::new(5, 3),
            price_share: Decimal::new(5, 3),
        }
    }
}

/// How to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What counts as the same.
    pub tolerance: Tolerance,
    /// The bill's days start so many minutes before UTC's (east of Greenwich: positive). Then `Metered` must be hours.
    pub bill_offset_minutes: i32,
    /// To hold the bill's prices against.
    pub book: Option<&'a PriceBook>,
}

impl Options<'_> {
    /// The day of the bill that an instant is in.
    pub(super) fn day(&self, at: Timestamp) -> NaiveDate {
        at.plus(i64::from(self.bill_offset_minutes) * MINUTE_US).day()
    }
}

/// What a figure is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A day of the bill.
    Day(NaiveDate),
    /// A month, by its first day.
    Month(NaiveDate),
}

impl Period {
    pub(crate) fn month_of(day: NaiveDate) -> Self {
        Self::Month(day.with_day(1).unwrap_or(day))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => write!(f, "{day}"),
            Self::Month(day) => write!(f, "{}", day.format("%Y-%m")),
        }
    }
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Who bills.
    pub platform: String,
    /// Account; `None` for all together, or where it is not known.
    pub account: Option<String>,
    /// Canonical model; `None` where it is not known.
    pub model: Option<String>,
    /// Day or month.
    pub period: Period,
    /// What was counted; `None` for all together, or where it is not known.
    pub bucket: Option<Bucket>,
}

/// Where an amount ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Both sides say the same.
    Match,
    /// The bill has nothing of it.
    MeteredOnly,
    /// Nothing of it was metered.
    BilledOnly,
    /// Both have it, but not the same.
    Mismatch,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Match, Self::MeteredOnly, Self::BilledOnly, Self::Mismatch];

    /// The word in reports and columns.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::MeteredOnly => "metered_only",
            Self::BilledOnly => "billed_only",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why it is not a match, as far as the figures tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Counts differ, the price of one does not: calls that one side lacks or has twice.
    Quantity,
    /// Counts are the same, the price is not: a stale rate, a missing contract, another tier.
    Price,
    /// Both differ.
    QuantityAndPrice,
    /// The amounts differ; one side has no counts to say more.
    Cost,
    /// Days differ, their sum does not: the two sides cut days elsewhere.
    Shifted,
    /// The two sides are in different currencies.
    Currency,
    /// What was metered has no price.
    Unpriced,
    /// There is no figure that both sides have.
    Incomparable,
    /// The model is not known.
    UnknownModel,
    /// What the line counts is not known.
    UnknownMeter,
    /// No usage: a tax, a credit.
    Category(Category),
}

impl Reason {
    /// The word in reports and columns.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quantity => "quantity",
            Self::Price => "price",
            Self::QuantityAndPrice => "quantity_and_price",
            Self::Cost => "cost",
            Self::Shifted => "shifted",
            Self::Currency => "currency",
            Self::Unpriced => "unpriced",
            Self::Incomparable => "incomparable",
            Self::UnknownModel => "unknown_model",
            Self::UnknownMeter => "unknown_meter",
            Self::Category(category) => category.as_str(),
        }
    }
}

/// One side's figures for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// How many; `None` where some row does not say, or they are of different kinds.
    pub quantity: Option<Decimal>,
    /// By currency: what is known of the cost.
    pub cost: BTreeMap<String, Decimal>,
    /// False where some row has no cost.
    pub cost_complete: bool,
    /// Rows or lines in it.
    pub rows: u64,
    /// Calls in it; 0 for a bill.
    pub calls: u64,
}

impl Amounts {
    /// The only currency and the amount in it.
    #[must_use]
    pub fn single(&self) -> Option<(&str, Decimal)> {
        let mut all = self.cost.iter();
        all.next().filter(|_| all.next().is_none()).map(|(currency, cost)| (currency.as_str(), *cost))
    }
}

/// Prices of one, where they can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Billed cost by billed quantity.
    pub billed: Option<Decimal>,
    /// Metered cost by metered quantity.
    pub metered: Option<Decimal>,
    /// What the price book says for such a call at the start of the period.
    pub book: Option<Decimal>,
    /// The bill's price is not the book's.
    pub stale: bool,
}

/// One key and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was compared.
    pub key: Key,
    /// Where its amounts end.
    pub outcome: Outcome,
    /// Why; `None` for a match, and where a side simply lacks it.
    pub reason: Option<Reason>,
    /// What was metered.
    pub metered: Option<Amounts>,
    /// What was billed.
    pub billed: Option<Amounts>,
    /// Prices of one.
    pub prices: Prices,
    /// The bill's lines, as far as there are few.
    pub places: Vec<Place>,
    /// The meters of these lines, as the bill names them.
    pub meters: BTreeSet<String>,
}

/// Sums per outcome. Those of all outcomes are the sums of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By outcome and currency: metered and billed.
    pub cost: BTreeMap<(Outcome, String), (Decimal, Decimal)>,
    /// By outcome: metered and billed quantities of what was counted.
    pub quantity: BTreeMap<Outcome, (Decimal, Decimal)>,
    /// By outcome: how many keys.
    pub keys: BTreeMap<Outcome, u64>,
}

impl Totals {
    pub(super) fn of(findings: &[Finding]) -> Self {
        let mut totals = Self::default();
        for finding in findings {
            *totals.keys.entry(finding.outcome).or_default() += 1;
            let (metered, billed) = totals.quantity.entry(finding.outcome).or_default();
            *metered += finding.metered.as_ref().and_then(|side| side.quantity).unwrap_or_default();
            *billed += finding.billed.as_ref().and_then(|side| side.quantity).unwrap_or_default();
            for (currency, cost) in finding.metered.iter().flat_map(|side| &side.cost) {
                totals.cost.entry((finding.outcome, currency.clone())).or_default().0 += *cost;
            }
            for (currency, cost) in finding.billed.iter().flat_map(|side| &side.cost) {
                totals.cost.entry((finding.outcome, currency.clone())).or_default().1 += *cost;
            }
        }
        totals
    }

    /// Metered and billed money in a currency, all outcomes together.
    #[must_use]
    pub fn all(&self, currency: &str) -> (Decimal, Decimal) {
        let of = self.cost.iter().filter(|((_, other), _)| other == currency);
        of.fold(Default::default(), |(metered, billed), (_, (m, b))| (metered + *m, billed + *b))
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Every key, those that match too.
    pub findings: Vec<Finding>,
    /// Sums.
    pub totals: Totals,
    /// Where less was compared than the key promises.
    pub notes: BTreeSet<String>,
}

impl Reconciliation {
    /// What is no match.
    pub fn differences(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome != Outcome::Match)
    }
}
