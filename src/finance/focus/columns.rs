//! The columns of an export, by version: name, kind and where the value comes from.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::line::Charge;
use super::row::{FocusRow, commitment};
use super::words;
use crate::model::Timestamp;

/// Version of FOCUS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FocusVersion {
    /// 1.2 of May 2025: what AWS and Azure export, and the only one that can be validated offline.
    #[default]
    V1_2,
    /// 1.3 of December 2025; its columns, not validated.
    V1_3,
    /// 1.4 of June 2026; its columns, not validated.
    V1_4,
}

impl FocusVersion {
    /// `1.2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
            Self::V1_4 => "1.4",
        }
    }

    /// True if the official validator can check it offline.
    #[must_use]
    pub const fn is_validated(self) -> bool {
        matches!(self, Self::V1_2)
    }
}

impl std::str::FromStr for FocusVersion {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::V1_2, Self::V1_3, Self::V1_4].into_iter().find(|version| version.as_str() == text).ok_or(())
    }
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A decimal number.
    Decimal,
    /// An instant in UTC.
    Instant,
    /// A flat JSON object.
    Json,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Text; of a JSON column, its text.
    Text(String),
    /// A decimal number.
    Decimal(Decimal),
    /// An instant.
    Instant(Timestamp),
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the format.
    pub name: &'static str,
    /// What stands in it.
    pub kind: Kind,
    /// Takes the value out of a row.
    pub get: fn(&FocusRow) -> Cell,
}

/// The columns of a version, in the order of the file.
#[must_use]
pub fn columns(version: FocusVersion) -> Vec<Column> {
    let own = |column: &&Column| match column.name {
        "ProviderName" | "PublisherName" => version < FocusVersion::V1_4,
        "ServiceProviderName" | "HostProviderName" => version > FocusVersion::V1_2,
        _ => true,
    };
    ALL.iter().filter(own).copied().collect()
}

const fn column(name: &'static str, kind: Kind, get: fn(&FocusRow) -> Cell) -> Column {
    Column { name, kind, get }
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn some(value: Option<&str>) -> Cell {
    value.map_or(Cell::Null, text)
}

/// A difference has no price, and so nothing that a price is for.
fn priced(row: &FocusRow, cell: Cell) -> Cell {
    if row.is_difference() { Cell::Null } else { cell }
}

fn category(row: &FocusRow) -> &'static str {
    match row.line.charge {
        Charge::Purchase { .. } => "Purchase",
        Charge::Difference { .. } if row.line.correction.is_none() => "Adjustment",
        _ => "Usage",
    }
}

/// Ordinary use: not a payment, not capacity that nobody used.
fn consumed(row: &FocusRow) -> bool {
    let rounding = row.is_difference() && row.line.correction.is_none();
    !rounding && !matches!(row.line.charge, Charge::Purchase { .. } | Charge::Unused { .. })
}

fn provider(row: &FocusRow) -> &str {
    words::service(&row.line.platform).1
}

fn described(row: &FocusRow) -> String {
    let line = &row.line;
    let service = words::service(&line.platform).0;
    let what = words::told(line.bucket);
    match &line.charge {
        Charge::OnDemand => format!("{} {what} on {service}", line.model),
        Charge::Used { of, .. } => format!("{} {what} used of {} on {service}", line.model, of.name),
        Charge::Unused { of, .. } => format!("{} {what} of {} on {service} that nobody used", line.model, of.name),
        Charge::Purchase { of } => format!("Payment for {} on {service}", of.name),
        Charge::Difference { .. } => match &line.correction {
            Some(correction) => format!("Correction of {} for {} on {service}", correction.of, line.model),
            None => format!("Digits of {} on {service} that the ledger rounded", line.model),
        },
    }
}

fn tags(row: &FocusRow) -> Cell {
    let map: Map<String, Value> =
        row.line.tags.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    text(Value::Object(map).to_string())
}

fn status(row: &FocusRow) -> Cell {
    match row.line.charge {
        Charge::Used { .. } => text("Used"),
        Charge::Unused { .. } => text("Unused"),
        _ => Cell::Null,
    }
}

fn publisher(row: &FocusRow) -> Cell {
    // It may not be null; where the maker is not known, who sells it stands for it, and `x_ModelPublisher` is null.
    text(row.line.publisher.as_deref().map_or_else(|| provider(row).to_owned(), words::publisher))
}

fn in_hours(row: &FocusRow) -> Cell {
    commitment(&row.line).map_or(Cell::Null, |_| Cell::Decimal(row.line.quantity))
}

const ALL: &[Column] = &[
    column("BilledCost", Kind::Decimal, |row| Cell::Decimal(row.billed_cost)),
    column("BillingAccountId", Kind::Text, |row| text(&row.line.billing_account.id)),
    column("BillingAccountName", Kind::Text, |row| {
        let account = &row.line.billing_account;
        text(account.name.as_ref().unwrap_or(&account.id))
    }),
    column("BillingAccountType", Kind::Text, |row| text(&row.line.billing_account.kind)),
    column("BillingCurrency", Kind::Text, |row| text(&row.line.currency)),
    column("BillingPeriodEnd", Kind::Instant, |row| Cell::Instant(row.billing_end)),
    column("BillingPeriodStart", Kind::Instant, |row| Cell::Instant(row.billing_start)),
    column("ChargeCategory", Kind::Text, |row| text(category(row))),
    column("ChargeClass", Kind::Text, |row| some(row.line.correction.as_ref().map(|_| "Correction"))),
    column("ChargeDescription", Kind::Text, |row| text(described(row))),
    column("ChargeFrequency", Kind::Text, |row| {
        text(match category(row) {
            "Purchase" => "Recurring",
            "Adjustment" => "One-Time",
            _ => "Usage-Based",
        })
    }),
    column("ChargePeriodEnd", Kind::Instant, |row| Cell::Instant(row.line.period.to)),
    column("ChargePeriodStart", Kind::Instant, |row| Cell::Instant(row.line.period.from)),
    column("CommitmentDiscountCategory", Kind::Text, |row| some(commitment(&row.line).map(|_| "Usage"))),
    column("CommitmentDiscountId", Kind::Text, |row| some(commitment(&row.line).map(|of| of.id.as_str()))),
    column("CommitmentDiscountName", Kind::Text, |row| some(commitment(&row.line).map(|of| of.name.as_str()))),
    column("CommitmentDiscountQuantity", Kind::Decimal, in_hours),
    column("CommitmentDiscountStatus", Kind::Text, status),
    column("CommitmentDiscountType", Kind::Text, |row| some(commitment(&row.line).map(|of| of.kind.as_str()))),
    column("CommitmentDiscountUnit", Kind::Text, |row| some(commitment(&row.line).map(|_| "Hours"))),
    column("ConsumedQuantity", Kind::Decimal, |row| {
        if consumed(row) { Cell::Decimal(row.line.quantity) } else { Cell::Null }
    }),
    column("ConsumedUnit", Kind::Text, |row| {
        if consumed(row) { text(words::measure(row.line.bucket).consumed) } else { Cell::Null }
    }),
    column("ContractedCost", Kind::Decimal, |row| Cell::Decimal(row.contracted_cost)),
    column("ContractedUnitPrice", Kind::Decimal, |row| priced(row, Cell::Decimal(row.contracted_unit_price))),
    column("EffectiveCost", Kind::Decimal, |row| Cell::Decimal(row.effective_cost)),
    column("HostProviderName", Kind::Text, |row| some(words::host(&row.line.platform))),
    column("InvoiceId", Kind::Text, |row| some(row.line.invoice.as_deref())),
    column("InvoiceIssuerName", Kind::Text, |row| text(provider(row))),
    column("ListCost", Kind::Decimal, |row| Cell::Decimal(row.list_cost)),
    column("ListUnitPrice", Kind::Decimal, |row| priced(row, Cell::Decimal(row.list_unit_price))),
    column("PricingCategory", Kind::Text, |row| {
        let covered = matches!(row.line.charge, Charge::Used { .. } | Charge::Unused { .. });
        priced(row, text(if covered { "Committed" } else { "Standard" }))
    }),
    column("PricingCurrency", Kind::Text, |row| text(&row.line.currency)),
    column("PricingCurrencyContractedUnitPrice", Kind::Decimal, |row| {
        priced(row, Cell::Decimal(row.contracted_unit_price))
    }),
    column("PricingCurrencyEffectiveCost", Kind::Decimal, |row| Cell::Decimal(row.effective_cost)),
    column("PricingCurrencyListUnitPrice", Kind::Decimal, |row| priced(row, Cell::Decimal(row.list_unit_price))),
    column("PricingQuantity", Kind::Decimal, |row| priced(row, Cell::Decimal(row.pricing_quantity))),
    column("PricingUnit", Kind::Text, |row| priced(row, text(words::measure(row.line.bucket).priced))),
    column("ProviderName", Kind::Text, |row| text(provider(row))),
    column("PublisherName", Kind::Text, publisher),
    column("RegionId", Kind::Text, |row| some(row.line.region.as_ref().map(|(id, _)| id.as_str()))),
    column("RegionName", Kind::Text, |row| {
        some(row.line.region.as_ref().map(|(id, name)| name.as_ref().unwrap_or(id).as_str()))
    }),
    column("ResourceId", Kind::Text, |row| some(row.line.resource.as_ref().map(|of| of.id.as_str()))),
    column("ResourceName", Kind::Text, |row| {
        some(row.line.resource.as_ref().map(|of| of.name.as_ref().unwrap_or(&of.id).as_str()))
    }),
    column("ResourceType", Kind::Text, |row| some(row.line.resource.as_ref().map(|of| of.kind.as_str()))),
    column("ServiceCategory", Kind::Text, |_| text("AI and Machine Learning")),
    column("ServiceName", Kind::Text, |row| text(words::service(&row.line.platform).0)),
    column("ServiceProviderName", Kind::Text, |row| text(provider(row))),
    column("ServiceSubcategory", Kind::Text, |_| text("Generative AI")),
    column("SkuId", Kind::Text, |row| text(row.sku_id())),
    column("SkuMeter", Kind::Text, |row| {
        // A difference is about tokens of all kinds.
        text(if row.is_difference() { "Tokens" } else { words::measure(row.line.bucket).meter })
    }),
    column("SkuPriceDetails", Kind::Json, |row| priced(row, text(row.sku_price_details()))),
    column("SkuPriceId", Kind::Text, |row| priced(row, text(row.sku_price_id()))),
    column("SubAccountId", Kind::Text, |row| some(row.line.sub_account.as_ref().map(|of| of.id.as_str()))),
    column("SubAccountName", Kind::Text, |row| {
        some(row.line.sub_account.as_ref().map(|of| of.name.as_ref().unwrap_or(&of.id).as_str()))
    }),
    column("SubAccountType", Kind::Text, |row| some(row.line.sub_account.as_ref().map(|of| of.kind.as_str()))),
    column("Tags", Kind::Json, tags),
    column("x_AllocationMethod", Kind::Text, |row| text(row.line.allocation.as_deref().unwrap_or("direct"))),
    column("x_CallCount", Kind::Decimal, |row| Cell::Decimal(Decimal::from(row.line.calls))),
    column("x_CorrectionOf", Kind::Text, |row| some(row.line.correction.as_ref().map(|of| of.of.as_str()))),
    column("x_CorrectionReason", Kind::Text, |row| some(row.line.correction.as_ref().map(|of| of.reason.as_str()))),
    column("x_CostBasis", Kind::Text, |row| text(if row.line.reconciled { "reconciled" } else { "estimated" })),
    // Where no list has a price, the contract's stands in the list columns too, and this says so.
    column("x_ListPriceBasis", Kind::Text, |row| {
        text(if row.line.list_unit_price.is_some() { "list" } else { "contract" })
    }),
    column("x_ModelCanonical", Kind::Text, |row| text(&row.line.model)),
    column("x_ModelPublisher", Kind::Text, |row| some(row.line.publisher.as_deref())),
    column("x_PriceBookVersion", Kind::Text, |row| text(&row.line.price_book)),
    column("x_PriceRowId", Kind::Text, |row| text(&row.line.price_row_id)),
];
