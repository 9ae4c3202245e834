//! FOCUS: the open format of cost and usage, for the systems that finance already has.
//!
//! - One row per period, account, price, resource and tags; never per call. Rows of the same key are one row, and their
//!   order is that of their keys: the same usage gives the same bytes.
//! - List, contracted, effective and billed cost are four columns: list comes from the price list, contracted from the
//!   contract, effective spreads what was paid for capacity, billed is what the invoice is expected to say. Price times
//!   quantity is cost, exactly, on every row; corrections too, which are a reversal and a new charge.
//! - Usage without a price has no row: its cost may not be null there, and 0 would be a lie. It is in the [`Manifest`].
//! - Version 1.2 passes the official validator but for its known defects; the column sets of 1.3 and 1.4 are offered,
//!   but can't be validated offline.

mod check;
mod columns;
mod csv;
mod line;
mod manifest;
mod row;
#[cfg(test)]
mod tests;
mod words;

pub use check::{Sums, check, sums};
pub use columns::{Cell, Column, FocusVersion, Kind, columns};
pub use csv::write_csv;
pub use line::{Charge, Commitment, Correction, Party, Resource, UsageLine};
pub use manifest::{Manifest, UnpricedUsage};
pub use row::{FocusError, FocusRow, rows};
