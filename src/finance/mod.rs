//! What finance does with the settled calls: months in a time zone, chargeback with exact totals and why a month differs
//! from another, the providers' bills, the FOCUS export, the forecast of a budget, and what the
//! calls would have cost elsewhere. Pure: no clock, no I/O, no float in
//! money.

pub mod ask;
pub mod bill;
pub mod budget;
pub mod calendar;
pub mod capacity;
pub mod chargeback;
pub mod focus;
pub mod forecast;
pub mod grid;
pub mod period;
mod terms;
pub mod variance;
pub mod what_if;

pub use terms::Terms;
