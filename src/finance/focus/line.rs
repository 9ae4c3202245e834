//! What an export is made from: sums of priced usage, one price each.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::model::Interval;
use crate::pricing::{Bucket, CostLine, Mode, Rate};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// Its id.
    pub id: String,
    /// Its name; the id where there is none.
    pub name: Option<String>,
    /// `Account`, `Subscription`, `Project`, `Workspace`, `Organization`.
    pub kind: String,
}

/// What served the usage: an inference profile, a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// Its name; the id where there is none.
    pub name: Option<String>,
    /// `Model Deployment`, `Inference Profile`.
    pub kind: String,
}

/// Capacity that is paid by the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commitment {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `Reservation`, `Provisioned Throughput`.
    pub kind: String,
}

/// How it is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Charge {
    /// By what was used.
    #[default]
    OnDemand,
    /// Capacity that was used: what was paid for it is spread over the rows of its use.
    Used {
        /// The capacity.
        of: Commitment,
        /// Its part of what was paid.
        effective_cost: Decimal,
    },
    /// Capacity that nobody used.
    Unused {
        /// The capacity.
        of: Commitment,
        /// Its part of what was paid.
        effective_cost: Decimal,
    },
    /// The payment for capacity.
    Purchase {
        /// The capacity.
        of: Commitment,
    },
    /// A difference that is no price times a quantity: of a correction, or of what the ledger rounded.
    Difference {
        /// At list price.
        list_cost: Decimal,
        /// Under the contract.
        cost: Decimal,
    },
}

/// Why a row belongs to a month that is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Correction {
    /// The line or month that it corrects.
    pub of: String,
    /// `late_data`, `price_change`, `mapping_fix`, `allocation_fix`, `invoice_true_up`.
    pub reason: String,
    /// A day of the open month that it is posted in.
    pub posted: NaiveDate,
}

/// A sum of usage with one price: of an hour or a day, an account, a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageLine {
    /// When, in UTC.
    pub period: Interval,
    /// Who served and billed, by the OpenTelemetry name.
    pub platform: String,
    /// Who pays: payer account, enrollment, organization.
    pub billing_account: Party,
    /// Account, subscription, project, workspace.
    pub sub_account: Option<Party>,
    /// Region that was called, and its name; `None` for direct APIs.
    pub region: Option<(String, Option<String>)>,
    /// What served it.
    pub resource: Option<Resource>,
    /// Canonical model.
    pub model: String,
    /// Who made it.
    pub publisher: Option<String>,
    /// What was counted; `Hour` for capacity.
    pub bucket: Bucket,
    /// Scope of the price row: `global`, `geo:us`, `in_region`, `*`.
    pub scope: String,
    /// Tier of the price row.
    pub tier: String,
    /// Mode of the price row.
    pub mode: Mode,
    /// Context threshold of the price row.
    pub context_over: Option<u64>,
    /// How many; negative only in a correction, for what it takes back.
    pub quantity: Decimal,
    /// List price of one; `None` where only a contract prices it.
    pub list_unit_price: Option<Decimal>,
    /// Price of one under the contract, or at list without one.
    pub unit_price: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// Calls in it.
    pub calls: u64,
    /// The price row.
    pub price_row_id: String,
    /// Version of the price book.
    pub price_book: String,
    /// Team, feature, environment, cost center and other tags.
    pub tags: BTreeMap<String, String>,
    /// How shared cost was split; `None` where it was not.
    pub allocation: Option<String>,
    /// The invoice, provisional or issued.
    pub invoice: Option<String>,
    /// True once the bill said the same.
    pub reconciled: bool,
    /// How it is paid.
    pub charge: Charge,
    /// For a month that is closed.
    pub correction: Option<Correction>,
}

impl UsageLine {
    /// This line, filled in with one bucket of a priced call; `rate` is the list row that the bucket names. `None` where
    /// the bucket has no price: it has no row, and belongs into the [`Manifest`](super::Manifest).
    #[must_use]
    pub fn priced(&self, of: &CostLine, rate: Option<&Rate>) -> Option<Self> {
        of.cost?;
        let unit_price = of.contract_price.or(of.unit_price)?;
        let row = of.rate_id.as_deref().or(of.contract_id.as_deref()).unwrap_or_default();
        let mut line = Self {
            bucket: of.bucket,
            quantity: Decimal::from(of.quantity),
            list_unit_price: of.unit_price,
            unit_price,
            price_row_id: match of.contract_id.as_deref() {
                Some(contract) if contract != row => format!("{row}+{contract}"),
                _ => row.to_owned(),
            },
            scope: "*".to_owned(),
            tier: "standard".to_owned(),
            ..self.clone()
        };
        if let Some(rate) = rate {
            (line.scope, line.tier, line.mode) = (rate.scope.to_string(), rate.tier.clone(), rate.mode);
            line.context_over = rate.context_over;
        }
        Some(line)
    }
}
