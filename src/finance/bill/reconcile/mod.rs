//! The bill against what was metered: every amount of money and every token of both sides ends in exactly one of
//! match, metered only, billed only, mismatch, per platform, account, model, day and bucket, and the four add up to
//! both sides.
//!
//! What is compared is only as fine as both sides know it, and said so:
//! - by month where the bill has a line of the model that covers more than a day;
//! - all accounts together where a line of the model on that day names none, or bill and records have no account of the
//!   platform in common;
//! - all buckets together where one side never tells them; one-hour cache writes with the others where only one side does.
//!
//! Lines whose model is not known are never paired. Taxes, credits, refunds, purchases and support are billed only and
//! carry their category as the reason; a discount that names its model lowers the model's cost.

mod group;
mod types;
mod verdict;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use super::BillLine;

pub use types::{
    Amounts, Finding, Key, Metered, Options, Outcome, Period, Prices, Reason, Reconciliation, Tolerance, Totals,
};

/// Compares what was metered with what was billed. The findings are sorted by key; their order and content do not
/// depend on the order of the rows.
#[must_use]
pub fn reconcile(metered: &[Metered], billed: &[BillLine], options: &Options<'_>) -> Reconciliation {
    let grouped = group::group(metered, billed, options);
    let mut findings = verdict::judge(grouped.pairs, options);
    verdict::mark_shifted(&mut findings, &options.tolerance);
    findings.sort_by(|a, b| (&a.key, a.outcome, a.reason).cmp(&(&b.key, b.outcome, b.reason)));
    let totals = Totals::of(&findings);
    Reconciliation { findings, totals, notes: grouped.notes }
}
