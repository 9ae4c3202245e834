//! One line of a bill.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use crate::model::Interval;
use crate::pricing::Bucket;
use crate::sheet::Place;

/// What a line charges for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// What was used, also where a reservation covers it.
    #[default]
    Usage,
    /// A reservation, a commitment or a fee, used or not.
    Purchase,
    /// A price cut that stands as a line of its own.
    Discount,
    /// Credits.
    Credit,
    /// Money back.
    Refund,
    /// Taxes.
    Tax,
    /// A support plan.
    Support,
    /// Rounding and everything else that is no usage.
    Adjustment,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Usage,
        Self::Purchase,
        Self::Discount,
        Self::Credit,
        Self::Refund,
        Self::Tax,
        Self::Support,
        Self::Adjustment,
    ];

    /// The word in reports and columns.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Purchase => "purchase",
            Self::Discount => "discount",
            Self::Credit => "credit",
            Self::Refund => "refund",
            Self::Tax => "tax",
            Self::Support => "support",
            Self::Adjustment => "adjustment",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Category {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|category| category.as_str() == text).ok_or(())
    }
}

/// One line of a bill. `None` where the bill does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BillLine {
    /// Where it stands.
    pub place: Place,
    /// Who bills, by the OpenTelemetry name.
    pub platform: String,
    /// The account that used it: AWS account, Azure resource, OpenAI project, Anthropic workspace.
    pub account: Option<String>,
    /// Region of the usage.
    pub region: Option<String>,
    /// Canonical model; `None` also where the meter's name is not known.
    pub model: Option<String>,
    /// What was counted.
    pub bucket: Option<Bucket>,
    /// `in_region`, `geo`, `global`, where the meter's name says it.
    pub scope: Option<String>,
    /// `standard`, `batch`, `flex`, `priority`, `provisioned`, where the meter's name says it.
    pub tier: Option<String>,
    /// Threshold of the context that the line is for, where the bill says it.
    pub context_over: Option<u64>,
    /// The meter as the bill names it.
    pub usage_type: String,
    /// The unit as the bill names it.
    pub unit: String,
    /// From the first instant to the first behind, UTC.
    pub period: Interval,
    /// How many tokens, images or requests, the block of the unit (1K, 1M) multiplied in.
    pub quantity: Option<Decimal>,
    /// The bill's own price of one.
    pub unit_price: Option<Decimal>,
    /// What it costs, with at most twelve fraction digits, as amounts are kept.
    pub cost: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// What it charges for.
    pub category: Category,
    /// The bill's own key of the price.
    pub sku: Option<String>,
}
