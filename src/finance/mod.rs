//! What finance does with the settled calls. Pure: no clock, no I/O, no float in money.

pub mod bill;
pub mod focus;
pub mod forecast;
