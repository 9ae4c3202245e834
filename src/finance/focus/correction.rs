//! What a closed month would say otherwise by now, as rows of the open month.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::line::{Charge, Correction, UsageLine};
use super::party;
use crate::finance::calendar::{Month, Zone};

/// A difference to a closed month: what it says now minus what it said when it was closed. Never a new price times a
/// quantity: late usage, another price and a moved cost center all are just sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrectionLine {
    /// Who bills.
    pub platform: String,
    /// Canonical model; `None` where it is not known.
    pub model: Option<String>,
    /// Who made the model.
    pub publisher: Option<String>,
    /// Account of the usage.
    pub account: Option<String>,
    /// Region that was called.
    pub region: Option<String>,
    /// Team, feature, environment, cost center and other tags.
    pub tags: BTreeMap<String, String>,
    /// More (or fewer) tokens than were closed.
    pub tokens: Decimal,
    /// More (or less) at list price.
    pub list_cost: Decimal,
    /// More (or less) under the contract.
    pub cost: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// The closed month.
    pub of: Month,
    /// The closed line, where it is one; else the month is named.
    pub line: Option<String>,
    /// `late_data`, `price_change`, `mapping_fix`, `allocation_fix`, `invoice_true_up`.
    pub reason: String,
}

impl CorrectionLine {
    /// As a line of an export of the month that `posted` is a day of.
    #[must_use]
    pub fn usage_line(&self, posted: NaiveDate, billing: &BTreeMap<String, String>, version: &str) -> UsageLine {
        let (billing_account, sub_account) = party::accounts(&self.platform, self.account.as_deref(), billing);
        UsageLine {
            period: self.of.interval(Zone::UTC),
            platform: self.platform.clone(),
            billing_account,
            sub_account,
            region: self.region.clone().map(|region| (region, None)),
            model: self.model.clone().unwrap_or_else(|| crate::finance::ask::UNKNOWN.to_owned()),
            publisher: self.publisher.clone(),
            quantity: self.tokens,
            currency: self.currency.clone(),
            price_book: version.to_owned(),
            tags: self.tags.clone(),
            charge: Charge::Difference { list_cost: self.list_cost, cost: self.cost },
            correction: Some(Correction {
                of: self.line.clone().unwrap_or_else(|| self.of.to_string()),
                reason: self.reason.clone(),
                posted,
            }),
            ..UsageLine::default()
        }
    }
}
