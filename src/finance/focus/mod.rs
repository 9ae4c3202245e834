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

mod capacity;
mod check;
mod columns;
mod correction;
mod csv;
mod export;
#[cfg(test)]
mod export_tests;
mod line;
mod manifest;
mod party;
mod row;
#[cfg(test)]
mod tests;
mod words;

pub use capacity::{Capacity, CapacityLines};
pub use check::{Sums, check, sums};
pub use columns::{Cell, Column, FocusVersion, Kind, columns};
pub use correction::CorrectionLine;
pub use csv::write_csv;
pub use export::{ExportInputs, FocusAsk, FocusExport, FocusRefusal, LedgerSums};
pub use line::{Charge, Commitment, Correction, Party, Resource, UsageLine};
pub use manifest::{Manifest, UnpricedUsage};
pub use party::{accounts, resource};
pub use row::{FocusError, FocusRow, rows};
