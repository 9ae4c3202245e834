//! What a call costs: dated rates, looked up by platform, model, scope, tier, mode, bucket and context, multiplied
//! exactly. A bucket without a rate stays without a cost: nothing is ever borrowed from another platform, scope, tier,
//! date or bucket, and an unknown price is never 0. Pure: no clock, no I/O, no float.

mod book;
mod list;
mod price;
mod rate;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;

pub use book::PriceBook;
pub use price::{CostLine, PriceQuery, Priced};
pub use rate::{Bucket, Layer, Mode, PriceError, Rate, RateScope};
