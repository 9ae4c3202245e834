//! Our own checks of an export, for what the official validator can't see: it skips every rule about price times
//! quantity, and most about nulls.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::columns::{Cell, FocusVersion, columns};
use super::line::Charge;
use super::row::{FocusRow, commitment, exact_product};

/// Sums of the four costs, in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// At list price.
    pub list: Decimal,
    /// Under the contract.
    pub contracted: Decimal,
    /// With payments for capacity spread.
    pub effective: Decimal,
    /// As the invoice is expected.
    pub billed: Decimal,
}

/// Sums of the rows, by currency.
#[must_use]
pub fn sums(rows: &[FocusRow]) -> BTreeMap<String, Sums> {
    let mut all: BTreeMap<String, Sums> = BTreeMap::new();
    for row in rows {
        let sums = all.entry(row.line.currency.clone()).or_default();
        sums.list += row.list_cost;
        sums.contracted += row.contracted_cost;
        sums.effective += row.effective_cost;
        sums.billed += row.billed_cost;
    }
    all
}

/// Columns that no ordinary row may leave empty.
const NEVER_NULL: [&str; 25] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "x_PriceRowId",
];

/// Columns that a difference, which has no price, leaves empty.
const OF_A_PRICE: [&str; 6] =
    ["ContractedUnitPrice", "ListUnitPrice", "PricingQuantity", "PricingUnit", "SkuPriceId", "x_PriceRowId"];

/// What is wrong with these rows: empty if nothing is. `expected` are the sums of the report or table that the export
/// was made from, by currency: contracted and list cost of on-demand usage, corrections included.
#[must_use]
pub fn check(rows: &[FocusRow], expected: Option<&BTreeMap<String, Sums>>) -> Vec<String> {
    let mut found = Vec::new();
    let columns = columns(FocusVersion::V1_2);
    let mut sku_of: BTreeMap<String, String> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (at, row) in rows.iter().enumerate() {
        let mut say = |what: String| found.push(format!("row {}: {what}", at + 1));
        let products = [
            ("ListCost", row.list_unit_price, row.list_cost),
            ("ContractedCost", row.contracted_unit_price, row.contracted_cost),
        ];
        for (name, price, cost) in products.into_iter().filter(|_| !row.is_difference()) {
            if exact_product(price, row.pricing_quantity) != Some(cost.normalize()) {
                say(format!("{name} {cost} is not {price} × {}", row.pricing_quantity));
            }
            if price < Decimal::ZERO {
                say(format!("the price of {name} is negative"));
            }
        }
        let needed = |name: &str| NEVER_NULL.contains(&name) && !(row.is_difference() && OF_A_PRICE.contains(&name));
        for column in columns.iter().filter(|column| needed(column.name)) {
            let cell = (column.get)(row);
            if cell == Cell::Null || cell == Cell::Text(String::new()) {
                say(format!("{} is null", column.name));
            }
        }
        let period = row.line.period;
        let inside = row.billing_start <= period.from && period.from < row.billing_end;
        match &row.line.correction {
            None if !inside => say("the charge is outside its billing period".to_owned()),
            None if row.line.quantity < Decimal::ZERO && !row.is_difference() => {
                say("the quantity is negative".to_owned())
            }
            Some(correction) if correction.of.is_empty() => say("the correction does not say of what".to_owned()),
            _ => {}
        }
        let (sku, price) = (row.sku_id(), row.sku_price_id());
        if !row.is_difference() && sku_of.entry(price.clone()).or_insert_with(|| sku.clone()) != &sku {
            say(format!("SkuPriceId {price} has two SkuIds"));
        }
        let key: Vec<String> =
            columns.iter().filter(|column| in_key(column.name)).map(|c| format!("{:?}", (c.get)(row))).collect();
        if !seen.insert(key) {
            say("another row has the same key".to_owned());
        }
    }
    capacity(rows, &mut found);
    if let Some(expected) = expected {
        compare(&sums(rows), expected, &mut found);
    }
    found
}

/// What tells rows apart; figures do not, but for the price, which may change within a day.
fn in_key(name: &str) -> bool {
    let figure = name.ends_with("Cost") || name.ends_with("Quantity");
    !figure && !matches!(name, "x_CallCount" | "x_CostBasis")
}

/// What was paid for capacity in a month is what its rows of use bear.
fn capacity(rows: &[FocusRow], found: &mut Vec<String>) {
    let mut pools: BTreeMap<_, (Decimal, Decimal, bool)> = BTreeMap::new();
    for row in rows {
        let Some(of) = commitment(&row.line) else { continue };
        let pool = pools.entry((row.billing_start, &of.id, &row.line.currency)).or_default();
        match row.line.charge {
            Charge::Purchase { .. } => {
                pool.1 += row.billed_cost;
                pool.2 = true;
            }
            _ => pool.0 += row.effective_cost,
        }
    }
    for ((start, id, _), (used, paid, bought)) in pools {
        // Capacity that was paid for in an earlier month has no payment in this one.
        if bought && used != paid {
            found.push(format!("capacity {id} from {start}: rows of use bear {used}, {paid} was paid"));
        }
    }
}

fn compare(sums: &BTreeMap<String, Sums>, expected: &BTreeMap<String, Sums>, found: &mut Vec<String>) {
    let currencies: BTreeSet<&String> = sums.keys().chain(expected.keys()).collect();
    for currency in currencies {
        let (own, other) = (sums.get(currency).copied(), expected.get(currency).copied());
        let (own, other) = (own.unwrap_or_default(), other.unwrap_or_default());
        let pairs = [
            ("ListCost", own.list, other.list),
            ("ContractedCost", own.contracted, other.contracted),
            ("EffectiveCost", own.effective, other.effective),
            ("BilledCost", own.billed, other.billed),
        ];
        for (name, own, other) in pairs.into_iter().filter(|(_, own, other)| own != other) {
            found.push(format!("{currency}: the file's {name} is {own}, the report's {other}"));
        }
    }
}
