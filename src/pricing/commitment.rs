//! Provisioned throughput (Azure PTU, Bedrock provisioned throughput): capacity that is paid by the hour, used or not.
//!
//! The money is on the hours ([`Commitment::hours`]), never on the calls: a call with the tier `provisioned` has the cost
//! status `allocated` and no cost of its own, so that nothing is counted twice. Each hour is then allocated by the
//! declared rule ([`Commitment::allocate`]):
//! - the weighted tokens of a team are the sum of its tokens times the weight of their bucket;
//! - its share is its weighted tokens divided by the capacity of the hour, or by all weighted tokens where these are more;
//! - the rest is `(unused)`, always a line of its own, and stays there, is spread over the users, or is charged to an owner.
//!
//! The parts of an hour, as rows, have twelve fraction digits and are its cost, to the last one (largest remainder). A month
//! is the sum of the exact shares of its hours, rounded once: a [`ShareSum`](crate::model::ShareSum) of
//! [`Commitment::shares`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::book::PriceBook;
use super::key::{Bucket, Mode, RateScope};
use super::price::{Finder, PriceQuery, exact_product};
use crate::model::{Call, HOUR_US, MONEY_SCALE, Money, Pattern, SplitError, Timestamp, Usage, split};

/// The line of capacity that nobody used.
pub const UNUSED: &str = "(unused)";

/// What becomes of capacity that nobody used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unused {
    /// It stays on its own line.
    #[default]
    Keep,
    /// It is spread over the users, by weighted tokens; without any it stays.
    Spread,
    /// It is charged to this one.
    Owner(String),
}

/// How much of the capacity a token of each bucket takes. A bucket without a weight has that of `input` or `output`,
/// whichever it is a part of; these have 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights(BTreeMap<Bucket, Decimal>);

impl Weights {
    /// These weights.
    #[must_use]
    pub const fn new(weights: BTreeMap<Bucket, Decimal>) -> Self {
        Self(weights)
    }

    /// The declared ones.
    pub fn declared(&self) -> impl Iterator<Item = (Bucket, Decimal)> {
        self.0.iter().map(|(bucket, weight)| (*bucket, *weight))
    }

    /// The weight of one bucket; 0 for what is no token.
    #[must_use]
    pub fn of(&self, bucket: Bucket) -> Decimal {
        let whole = match bucket {
            Bucket::Input
            | Bucket::CacheRead
            | Bucket::CacheWrite5m
            | Bucket::CacheWrite1h
            | Bucket::AudioInput
            | Bucket::ImageInput => Some(Bucket::Input),
            Bucket::Output | Bucket::AudioOutput => Some(Bucket::Output),
            Bucket::Image | Bucket::Request | Bucket::SearchUnit | Bucket::Hour => None,
        };
        let own = self.0.get(&bucket).copied();
        own.or_else(|| whole.map(|whole| self.0.get(&whole).copied().unwrap_or(Decimal::ONE))).unwrap_or_default()
    }

    /// The weighted tokens of disjoint counts.
    #[must_use]
    pub fn weigh(&self, counts: &BTreeMap<Bucket, u64>) -> Decimal {
        counts.iter().map(|(bucket, count)| self.of(*bucket) * Decimal::from(*count)).sum()
    }
}

/// Capacity that is paid by the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commitment {
    /// Identity, named by its rows.
    pub commitment_id: String,
    /// Who bills.
    pub platform: String,
    /// Billing account that it belongs to; `None` for any.
    pub account: Option<Pattern>,
    /// Canonical models that it serves; `None` for any.
    pub model: Option<Pattern>,
    /// Deployments that it serves; `None` for any.
    pub deployment: Option<Pattern>,
    /// Where it runs.
    pub scope: RateScope,
    /// Units of capacity bought (PTUs, model units).
    pub units: Decimal,
    /// Price of one unit for an hour and its currency; `None` for the price book's `hour` row.
    pub hourly: Option<(Decimal, String)>,
    /// Weighted tokens that all units together serve in an hour; 0 where it is not known: then nothing is ever unused.
    pub capacity: Decimal,
    /// What a token takes of it.
    pub weights: Weights,
    /// What becomes of the rest.
    pub unused: Unused,
    /// First hour; a full one.
    pub valid_from: Timestamp,
    /// First hour after it; `None` while it runs.
    pub valid_to: Option<Timestamp>,
    /// When it became known.
    pub recorded_at: Timestamp,
    /// Where it comes from: the order, the paper.
    pub source: String,
}

/// One hour of a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourCost {
    /// Its start.
    pub hour: Timestamp,
    /// Units times list price; `None` without one.
    pub list_cost: Option<Money>,
    /// Units times the price that was agreed; `None` for unpriced, never 0 for it.
    pub cost: Option<Money>,
    /// ISO 4217.
    pub currency: Option<Arc<str>>,
    /// Rows that it was computed from; empty where the commitment has its own price.
    pub rate_ids: Vec<Arc<str>>,
}

/// A part of an hour's cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourShare {
    /// Who pays, or `(unused)`.
    pub key: String,
    /// Its weighted tokens; for `(unused)` the capacity that was left.
    pub weighted: Decimal,
    /// Its part of the cost, with twelve fraction digits at most.
    pub cost: Money,
}

impl Commitment {
    /// Whether it serves a call: one of tier `provisioned`, in its time, of its platform, account, model and deployment.
    #[must_use]
    pub fn serves(&self, call: &Call) -> bool {
        let is = |pattern: &Option<Pattern>, text: &Option<String>| {
            pattern.as_ref().is_none_or(|pattern| text.as_ref().is_some_and(|text| pattern.matches(text)))
        };
        call.tier.as_deref() == Some("provisioned")
            && call.platform.as_deref() == Some(self.platform.as_str())
            && is(&self.account, &call.account)
            && is(&self.model, &call.model)
            && is(&self.deployment, &call.deployment)
            && self.valid_from <= call.ts
            && self.valid_to.is_none_or(|end| call.ts < end)
    }

    /// Its hours from `from` until before `to`, with what each costs, used or not.
    #[must_use]
    pub fn hours(&self, book: &PriceBook, from: Timestamp, to: Timestamp) -> Vec<HourCost> {
        let end = self.valid_to.map_or(to, |end| end.min(to));
        let first = self.valid_from.max(from.plus(HOUR_US - 1).floor(HOUR_US));
        std::iter::successors(Some(first), |hour| Some(hour.plus(HOUR_US)))
            .take_while(|hour| *hour < end)
            .map(|hour| self.hour(book, hour))
            .collect()
    }

    fn hour(&self, book: &PriceBook, hour: Timestamp) -> HourCost {
        let times = |price: Decimal| exact_product(price, self.units).map(Money);
        if let Some((price, currency)) = &self.hourly {
            let cost = times(*price);
            return HourCost {
                hour,
                list_cost: None,
                cost,
                currency: Some(currency.as_str().into()),
                rate_ids: vec![],
            };
        }
        // A price for the very model, else one for all.
        let own = self.model.as_ref().filter(|model| model.is_exact()).map(Pattern::as_str);
        let priced = own.map(|model| self.list_hour(book, hour, model)).filter(|priced| priced.cost.is_some());
        priced.unwrap_or_else(|| self.list_hour(book, hour, "*"))
    }

    /// The price book's price of an hour.
    fn list_hour(&self, book: &PriceBook, hour: Timestamp, model: &str) -> HourCost {
        let usage = Usage::default();
        let (scope, geo, region) = match &self.scope {
            RateScope::Any => (None, None, None),
            RateScope::Global => (Some("global"), None, None),
            RateScope::Geo(name) => (Some("geo"), Some(name.as_str()), None),
            RateScope::InRegion => (Some("in_region"), None, None),
            RateScope::Region(name) => (Some("in_region"), None, Some(name.as_str())),
        };
        let query = PriceQuery {
            platform: Some(&self.platform),
            account: self.account.as_ref().map(Pattern::as_str),
            model: Some(model),
            scope,
            geo,
            region,
            mode: Some(Mode::Provisioned),
            ..PriceQuery::new(hour, &usage)
        };
        let finder = Finder::new(book, &query);
        let found = finder.find(Bucket::Hour);
        let times = |price: Decimal| exact_product(price, self.units).map(Money);
        let list = found.as_ref().and_then(|found| found.list);
        let agreed = found.as_ref().and_then(|found| found.agreed);
        let ids = [list.map(|row| &row.row_id), agreed.map(|agreed| &agreed.row_id)];
        HourCost {
            hour,
            list_cost: list.and_then(|row| times(row.unit_price)),
            cost: found.as_ref().and_then(|found| times(found.unit_price)),
            currency: found.as_ref().map(|found| Arc::clone(found.currency)),
            rate_ids: ids.into_iter().flatten().map(Arc::clone).collect(),
        }
    }

    /// Who pays how much of an hour, as weights: for a [`ShareSum`](crate::model::ShareSum) over many hours, rounded once.
    #[must_use]
    pub fn shares(&self, weighted: &BTreeMap<String, Decimal>) -> BTreeMap<String, Decimal> {
        weights(self.capacity, weighted, &self.unused)
    }

    /// Allocates the cost of one hour by the weighted tokens of each user in it. The parts are the whole.
    ///
    /// # Errors
    /// A negative count of weighted tokens, or numbers beyond 38 digits.
    pub fn allocate(&self, cost: Money, weighted: &BTreeMap<String, Decimal>) -> Result<Vec<HourShare>, SplitError> {
        let digits = u32::from(MONEY_SCALE.unsigned_abs());
        let parts = share_out(cost.0, digits, self.capacity, weighted, &self.unused)?;
        let sum: Decimal = weighted.values().sum();
        let left = (self.capacity - sum).max(Decimal::ZERO);
        let share = |(key, cost): (String, Decimal)| {
            let used = weighted.get(&key).copied().unwrap_or_default();
            HourShare { weighted: if key == UNUSED { left } else { used }, key, cost: Money(cost) }
        };
        Ok(parts.into_iter().map(share).collect())
    }
}

/// Shares `cost` out by weighted tokens over `capacity`, with `(unused)` as a line of its own.
///
/// # Errors
/// A negative count of weighted tokens, or numbers beyond 38 digits.
pub fn share_out(
    cost: Decimal,
    digits: u32,
    capacity: Decimal,
    weighted: &BTreeMap<String, Decimal>,
    unused: &Unused,
) -> Result<BTreeMap<String, Decimal>, SplitError> {
    let mut parts = split(cost, digits, &weights(capacity, weighted, unused))?;
    parts.entry(UNUSED.to_owned()).or_insert_with(|| Decimal::new(0, digits));
    Ok(parts)
}

/// Who pays how much of an hour.
fn weights(capacity: Decimal, weighted: &BTreeMap<String, Decimal>, unused: &Unused) -> BTreeMap<String, Decimal> {
    let sum: Decimal = weighted.values().sum();
    let left = (capacity - sum).max(Decimal::ZERO);
    let mut weights = weighted.clone();
    match unused {
        Unused::Spread if sum > Decimal::ZERO => {}
        Unused::Owner(owner) if left + sum > Decimal::ZERO => {
            *weights.entry(owner.clone()).or_default() += left;
        }
        // Neither capacity nor use is known: the hour is paid all the same.
        Unused::Owner(owner) => drop(weights.insert(owner.clone(), Decimal::ONE)),
        Unused::Keep | Unused::Spread if left + sum > Decimal::ZERO => drop(weights.insert(UNUSED.to_owned(), left)),
        Unused::Keep | Unused::Spread => drop(weights.insert(UNUSED.to_owned(), Decimal::ONE)),
    }
    weights
}
