//! Who pays what for a month: the sums of the ledger by some of its columns, to the last digit, with what the figures leave
//! out on page one.
//!
//! - **Exact.** `cost` is the sum of the ledger. The lines are held against an ungrouped sum of the same moment of the
//!   ledger: [`Report::new`] refuses to make a report that differs in a digit.
//! - **Rounded once.** `amount` is what is posted. The total of each currency is rounded, half to even, to the smallest unit
//!   of the currency, and the lines by largest remainder, so that they add up to it.
//! - **Currencies** are never added, unless the report names the exchange rate that turns them into one. The rate is that
//!   of the middle of the month.
//! - **Shared cost** goes on by the declared split rules that hold at the start of the month, in amounts: what was there is
//!   what arrives.
//! - What nobody is named for is `(unattributed)`. What has no price has no cost and is never 0.

mod corrections;
mod report;
mod show;
#[cfg(test)]
mod tests;
mod warn;

pub use corrections::{Corrected, Correction, differences};
pub use report::{Inputs, Line, Moved, Report, ReportError, Total};
pub use warn::Warning;

use rust_decimal::Decimal;

use crate::model::Timestamp;

/// A sum with every digit, or nothing: the library would cut digits where there are too many.
pub(super) fn exact_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    // A zero brings digits that a sum need not keep.
    let (a, b) = (a.normalize(), b.normalize());
    a.checked_add(b).filter(|sum| sum.is_zero() || sum.scale() >= a.scale().max(b.scale()))
}

/// A sum of what is known of two amounts; `None` beyond exact arithmetic.
pub(super) fn known_sum(a: Option<Decimal>, b: Option<Decimal>) -> Option<Option<Decimal>> {
    match (a, b) {
        (Some(a), Some(b)) => exact_sum(a, b).map(Some),
        (one, other) => Some(one.or(other)),
    }
}

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls.
    pub calls: u64,
    /// Input tokens, those of caches included.
    pub input_tokens: u64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to a cache.
    pub cache_write_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Cost at list price.
    pub list_cost: Option<Decimal>,
    /// Cost at the contract's price; `None` where no call has one.
    pub cost: Option<Decimal>,
    /// Calls without a price.
    pub unpriced_calls: u64,
    /// Calls whose cost is that of a part of their tokens.
    pub partial_calls: u64,
    /// Calls whose money is on the hours of a commitment.
    pub allocated_calls: u64,
    /// Calls whose tokens were estimated.
    pub estimated_calls: u64,
    /// The cost of those.
    pub estimated_cost: Option<Decimal>,
    /// Calls that were answered, and nobody tells their tokens.
    pub uncounted_calls: u64,
    /// Calls whose witnesses disagree.
    pub conflicts: u64,
}

impl Figures {
    /// Both together; `None` beyond exact arithmetic.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            calls: self.calls.checked_add(other.calls)?,
            input_tokens: self.input_tokens.checked_add(other.input_tokens)?,
            cache_read_tokens: self.cache_read_tokens.checked_add(other.cache_read_tokens)?,
            cache_write_tokens: self.cache_write_tokens.checked_add(other.cache_write_tokens)?,
            output_tokens: self.output_tokens.checked_add(other.output_tokens)?,
            list_cost: known_sum(self.list_cost, other.list_cost)?,
            cost: known_sum(self.cost, other.cost)?,
            unpriced_calls: self.unpriced_calls.checked_add(other.unpriced_calls)?,
            partial_calls: self.partial_calls.checked_add(other.partial_calls)?,
            allocated_calls: self.allocated_calls.checked_add(other.allocated_calls)?,
            estimated_calls: self.estimated_calls.checked_add(other.estimated_calls)?,
            estimated_cost: known_sum(self.estimated_cost, other.estimated_cost)?,
            uncounted_calls: self.uncounted_calls.checked_add(other.uncounted_calls)?,
            conflicts: self.conflicts.checked_add(other.conflicts)?,
        })
    }
}

/// Sums of the ledger for one group and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summed {
    /// Values of the columns; `None` for nobody.
    pub keys: Vec<Option<String>>,
    /// ISO 4217; `None` for calls without a price.
    pub currency: Option<String>,
    /// The sums.
    pub figures: Figures,
}

/// Calls without a price, or with only a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Who bills.
    pub platform: Option<String>,
    /// Model, canonical or as asked for.
    pub model: Option<String>,
    /// `unpriced` or `partial`.
    pub status: String,
    /// Calls.
    pub calls: u64,
    /// Their input tokens.
    pub input_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
}

/// What a source delivered for the month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSeen {
    /// Its name.
    pub source: String,
    /// Records.
    pub records: u64,
    /// The latest start of a call.
    pub last_event: Timestamp,
    /// When something was read last.
    pub last_read: Timestamp,
}
