//! The providers' bills: read from their exports ([`read`]), held against what was metered ([`reconcile`]), and call by
//! call between two logs ([`match_calls`]).
//!
//! A log is an estimate of the bill. What differs is named, with both figures; nothing is corrected here, spread or
//! dropped, and the figures of the four outcomes add up to both sides.

mod calls;
mod line;
pub mod read;
mod reconcile;
mod report;

pub use calls::{
    CallFinding, CallMatch, CallOptions, CallVerdict, CallsReport, CallsSide, LoggedCall, MatchedBy, match_calls,
};
pub use line::{BillLine, Category};
pub use read::{Bill, Format, Meter, Meters, Skipped};
pub use reconcile::{
    Amounts, Finding, Key, Metered, Options, Outcome, Period, Prices, Reason, Reconciliation, Tolerance, Totals,
    reconcile,
};
pub use report::{ReconcileAsk, ReconcileError, ReconcileReport, Sides, StaleRate};
