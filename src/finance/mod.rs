//! Reports in money: months in a time zone, chargeback with exact totals, and why a month differs from another. Pure.

pub mod ask;
pub mod calendar;
pub mod chargeback;
pub mod grid;
mod terms;
pub mod variance;

pub use terms::Terms;
