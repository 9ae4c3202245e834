//! What a call costs: dated rates, looked up by platform, model, scope, tier, mode, bucket and context, multiplied
//! exactly. A bucket without a rate stays without a cost: nothing is ever borrowed from another platform, scope, tier,
//! date or bucket, and an unknown price is never 0. Pure: no clock, no I/O, no float.

mod book;
mod commitment;
mod contract;
mod diff;
mod exchange;
mod explain;
mod key;
mod list;
mod price;
mod rate;
mod read;
mod version;
mod what_if;

#[cfg(test)]
mod allocation_cases;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use book::PriceBook;
pub use commitment::{Commitment, HourCost, HourShare, UNUSED, Unused, Weights, share_out};
pub use contract::{Contract, Terms};
pub use diff::{Added, BookDiff, Changed, ContractChange, Ended, contract_line, diff, one_line};
pub use exchange::{Converted, Exchange, ExchangeRate};
pub use explain::{Difference, ExplainedLine, Key, NearRate, PriceExplained, Unpriced};
pub use key::{Bucket, Layer, Mode, RateScope};
pub use price::{CostLine, PriceQuery, Priced, disjoint};
pub use rate::{PriceError, Rate};
pub use read::{Located, PriceFile, Prices, Reading, assemble, read_file};
pub use what_if::{Assumed, Elsewhere, NotComparable, WhatIf};
