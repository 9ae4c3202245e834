//! Exchange rates: what turns a sum of one currency into another, in reports and never per call. A rate is never derived
//! from its inverse or from a third currency: a report can name the row it used.

use rust_decimal::Decimal;

use super::price::exact_product;
use crate::model::Timestamp;

/// One dated rate: `rate` units of `to` for one of `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeRate {
    /// ISO 4217.
    pub from: String,
    /// ISO 4217.
    pub to: String,
    /// Units of `to` for one of `from`.
    pub rate: Decimal,
    /// First instant of its validity; `None` for ever before.
    pub valid_from: Option<Timestamp>,
    /// First instant after its validity; `None` for ever after.
    pub valid_to: Option<Timestamp>,
    /// When it became known.
    pub recorded_at: Timestamp,
    /// Where it comes from: the bank, the invoice; month average or day.
    pub source: String,
}

/// A converted sum and the rate it was converted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted<'a> {
    /// The sum in the other currency, exact; round it once, in the report.
    pub amount: Decimal,
    /// Its rate; `None` where both currencies are the same.
    pub rate: Option<&'a ExchangeRate>,
}

/// All exchange rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange(Vec<ExchangeRate>);

impl Exchange {
    /// A table of these rates; their order does not matter.
    #[must_use]
    pub const fn new(rates: Vec<ExchangeRate>) -> Self {
        Self(rates)
    }

    /// Every rate.
    #[must_use]
    pub fn rates(&self) -> &[ExchangeRate] {
        &self.0
    }

    /// True if there is a rate at any time.
    #[must_use]
    pub fn knows(&self, from: &str, to: &str) -> bool {
        from == to || self.0.iter().any(|rate| rate.from == from && rate.to == to)
    }

    /// The rate at an instant: of several the one with the later start, then the later recorded.
    #[must_use]
    pub fn rate(&self, from: &str, to: &str, at: Timestamp) -> Option<&ExchangeRate> {
        let holds = |rate: &&ExchangeRate| {
            rate.from == from
                && rate.to == to
                && rate.valid_from.is_none_or(|start| at >= start)
                && rate.valid_to.is_none_or(|end| at < end)
        };
        self.0.iter().filter(holds).max_by_key(|rate| (rate.valid_from, rate.recorded_at))
    }

    /// A sum in another currency, exact; `None` without a rate.
    #[must_use]
    pub fn convert(&self, sum: Decimal, from: &str, to: &str, at: Timestamp) -> Option<Converted<'_>> {
        if from == to {
            return Some(Converted { amount: sum, rate: None });
        }
        let rate = self.rate(from, to, at)?;
        Some(Converted { amount: exact_product(sum.normalize(), rate.rate)?, rate: Some(rate) })
    }
}
