//! From lines to rows: same keys together, the arithmetic exact.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{Datelike, Months, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::line::{Charge, Commitment, Correction, UsageLine};
use super::words;
use crate::model::{Interval, Timestamp};
use crate::pricing::{Bucket, Mode};

/// Why a line can't be a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FocusError {
    /// More digits than a cost can keep.
    #[error("{0}: price times quantity has more digits than can be kept exactly")]
    TooFine(String),
    /// Nothing is taken back outside a correction.
    #[error("{0}: the quantity is negative, but it is no correction")]
    Negative(String),
    /// It must end after it starts, inside one month.
    #[error("{0}: the period is empty or reaches over the end of its month")]
    Period(String),
    /// Rows need an account, a currency and a price row.
    #[error("{0}: {1} is missing")]
    Missing(String, &'static str),
}

/// One row, in the terms of FOCUS. Decimals are exact; instants are UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FocusRow {
    /// The line it is made from, its quantity that of all lines with its key.
    pub line: UsageLine,
    /// First instant of the month that it is billed in.
    pub billing_start: Timestamp,
    /// First instant of the month after.
    pub billing_end: Timestamp,
    /// Quantity in the unit of the price.
    pub pricing_quantity: Decimal,
    /// List price of that unit.
    pub list_unit_price: Decimal,
    /// Contracted price of that unit.
    pub contracted_unit_price: Decimal,
    /// `list_unit_price × pricing_quantity`.
    pub list_cost: Decimal,
    /// `contracted_unit_price × pricing_quantity`.
    pub contracted_cost: Decimal,
    /// What was paid for capacity, spread over its use; contracted cost without any.
    pub effective_cost: Decimal,
    /// What the invoice is expected to say.
    pub billed_cost: Decimal,
}

/// Rows of these lines, sorted by key.
///
/// # Errors
/// The first line that can't be a row.
pub fn rows(lines: &[UsageLine]) -> Result<Vec<FocusRow>, FocusError> {
    let mut merged: BTreeMap<RowKey, UsageLine> = BTreeMap::new();
    for line in lines {
        check(line)?;
        match merged.entry(RowKey::of(line)) {
            Entry::Vacant(entry) => {
                entry.insert(line.clone());
            }
            Entry::Occupied(mut entry) => add(entry.get_mut(), line),
        }
    }
    // A correction that comes to nothing is none.
    let told = |line: &UsageLine| match line.charge {
        Charge::Difference { list_cost, cost } => !(list_cost.is_zero() && cost.is_zero() && line.quantity.is_zero()),
        _ => line.correction.is_none() || !line.quantity.is_zero(),
    };
    merged.into_values().filter(told).map(FocusRow::of).collect()
}

/// `a × b`, if it can be kept exactly.
pub(super) fn exact_product(a: Decimal, b: Decimal) -> Option<Decimal> {
    let (a, b) = (a.normalize(), b.normalize());
    let mantissa = a.mantissa().checked_mul(b.mantissa())?;
    let mut scale = a.scale() + b.scale();
    let mut mantissa = mantissa;
    while scale > 0 && mantissa % 10 == 0 {
        (mantissa, scale) = (mantissa / 10, scale - 1);
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

fn named(line: &UsageLine) -> String {
    format!("{} {} {} from {}", line.platform, line.model, line.bucket, line.period.from)
}

fn check(line: &UsageLine) -> Result<(), FocusError> {
    let missing = [
        (line.billing_account.id.is_empty(), "the billing account"),
        (line.currency.len() != 3, "the currency"),
        (line.platform.is_empty(), "the platform"),
        (line.model.is_empty(), "the model"),
    ];
    if let Some((_, what)) = missing.into_iter().find(|(missing, _)| *missing) {
        return Err(FocusError::Missing(named(line), what));
    }
    if line.quantity < Decimal::ZERO && line.correction.is_none() {
        return Err(FocusError::Negative(named(line)));
    }
    let last = Timestamp(line.period.to.0.saturating_sub(1)).day();
    let month = |day: NaiveDate| (day.year(), day.month());
    if line.period.to <= line.period.from || month(last) != month(line.period.from.day()) {
        return Err(FocusError::Period(named(line)));
    }
    Ok(())
}

fn add(sum: &mut UsageLine, line: &UsageLine) {
    sum.quantity += line.quantity;
    sum.calls += line.calls;
    sum.reconciled &= line.reconciled;
    match (&mut sum.charge, &line.charge) {
        (Charge::Used { effective_cost: sum, .. }, Charge::Used { effective_cost, .. })
        | (Charge::Unused { effective_cost: sum, .. }, Charge::Unused { effective_cost, .. }) => {
            *sum += *effective_cost;
        }
        (Charge::Difference { list_cost, cost }, Charge::Difference { list_cost: more_list, cost: more }) => {
            *list_cost += *more_list;
            *cost += *more;
        }
        _ => {}
    }
}

/// What a row is told from others by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey {
    period: Interval,
    accounts: (String, Option<String>),
    price: (String, String, Decimal, Option<Decimal>),
    place: (Option<String>, Option<String>),
    tags: Vec<(String, String)>,
    charge: (u8, Option<Commitment>),
    correction: Option<Correction>,
    other: (Option<String>, Option<String>, String, String),
}

impl RowKey {
    fn of(line: &UsageLine) -> Self {
        let kind = match &line.charge {
            Charge::OnDemand => 0,
            Charge::Used { .. } => 1,
            Charge::Unused { .. } => 2,
            Charge::Purchase { .. } => 3,
            Charge::Difference { .. } => 4,
        };
        Self {
            period: line.period,
            accounts: (line.billing_account.id.clone(), line.sub_account.as_ref().map(|party| party.id.clone())),
            price: (sku_price_id(line), line.price_row_id.clone(), line.unit_price, line.list_unit_price),
            place: (
                line.region.as_ref().map(|(id, _)| id.clone()),
                line.resource.as_ref().map(|resource| resource.id.clone()),
            ),
            tags: line.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            charge: (kind, commitment(line).cloned()),
            correction: line.correction.clone(),
            other: (line.allocation.clone(), line.invoice.clone(), line.currency.clone(), line.price_book.clone()),
        }
    }
}

/// The capacity that a line is about.
pub(super) const fn commitment(line: &UsageLine) -> Option<&Commitment> {
    match &line.charge {
        Charge::OnDemand | Charge::Difference { .. } => None,
        Charge::Used { of, .. } | Charge::Unused { of, .. } | Charge::Purchase { of } => Some(of),
    }
}

impl FocusRow {
    fn of(line: UsageLine) -> Result<Self, FocusError> {
        let too_fine = || FocusError::TooFine(named(&line));
        let measure = words::measure(line.bucket);
        let block = Decimal::from(10_u64.pow(measure.shift));
        let pricing_quantity = exact_product(line.quantity, Decimal::new(1, measure.shift)).ok_or_else(too_fine)?;
        let contracted_unit_price = exact_product(line.unit_price, block).ok_or_else(too_fine)?;
        let list = line.list_unit_price.unwrap_or(line.unit_price);
        let list_unit_price = exact_product(list, block).ok_or_else(too_fine)?;
        let list_cost = exact_product(list_unit_price, pricing_quantity).ok_or_else(too_fine)?;
        let contracted_cost = exact_product(contracted_unit_price, pricing_quantity).ok_or_else(too_fine)?;
        let (list_cost, contracted_cost) = match line.charge {
            Charge::Difference { list_cost, cost } => (list_cost, cost),
            _ => (list_cost, contracted_cost),
        };
        let (effective_cost, billed_cost) = match &line.charge {
            Charge::OnDemand | Charge::Difference { .. } => (contracted_cost, contracted_cost),
            Charge::Used { effective_cost, .. } | Charge::Unused { effective_cost, .. } => {
                (*effective_cost, Decimal::ZERO)
            }
            Charge::Purchase { .. } => (Decimal::ZERO, contracted_cost),
        };
        let billed = line.correction.as_ref().map_or_else(|| line.period.from.day(), |correction| correction.posted);
        let first = billed.with_day(1).unwrap_or(billed);
        let next = first.checked_add_months(Months::new(1)).unwrap_or(first);
        let midnight =
            |day: NaiveDate| Timestamp(day.and_hms_opt(0, 0, 0).map_or(0, |at| at.and_utc().timestamp_micros()));
        Ok(Self {
            billing_start: midnight(first),
            billing_end: midnight(next),
            pricing_quantity,
            list_unit_price,
            contracted_unit_price,
            list_cost,
            contracted_cost,
            effective_cost,
            billed_cost,
            line,
        })
    }

    /// True for a difference, which has no price.
    #[must_use]
    pub const fn is_difference(&self) -> bool {
        matches!(self.line.charge, Charge::Difference { .. })
    }

    /// True for capacity, whose rows are in hours.
    #[must_use]
    pub fn is_capacity(&self) -> bool {
        self.line.bucket == Bucket::Hour
    }

    /// `azure.ai.openai/gpt-4o`.
    #[must_use]
    pub fn sku_id(&self) -> String {
        sku_id(&self.line)
    }

    /// The price's name, the same in every month and for every account.
    #[must_use]
    pub fn sku_price_id(&self) -> String {
        sku_price_id(&self.line)
    }

    /// What makes the price another than the model's others, as flat JSON.
    pub(super) fn sku_price_details(&self) -> String {
        let line = &self.line;
        let (status, duration) = words::cache(line.bucket);
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let mut details = Map::new();
        details.insert("x_Model".to_owned(), Value::from(line.model.as_str()));
        details.insert("x_CacheStatus".to_owned(), text(status));
        details.insert("x_CacheDuration".to_owned(), text(duration));
        details.insert("x_ServiceTier".to_owned(), Value::from(tier(line)));
        details.insert("x_ContextOver".to_owned(), line.context_over.map_or(Value::Null, Value::from));
        details.insert("x_Scope".to_owned(), Value::from(line.scope.as_str()));
        details.insert("x_Modality".to_owned(), text(words::modality(line.bucket)));
        Value::Object(details).to_string()
    }
}

fn tier(line: &UsageLine) -> &str {
    match line.mode {
        Mode::Batch => "batch",
        Mode::Provisioned => "provisioned",
        Mode::Sync => &line.tier,
    }
}

fn sku_id(line: &UsageLine) -> String {
    format!("{}/{}", line.platform, line.model)
}

/// No version, contract or account is in it.
fn sku_price_id(line: &UsageLine) -> String {
    let over = line.context_over.map(|over| format!("/over-{over}")).unwrap_or_default();
    let purchase = if matches!(line.charge, Charge::Purchase { .. }) { "/purchase" } else { "" };
    let (platform, scope, model) = (&line.platform, &line.scope, &line.model);
    format!("{platform}/{scope}/{model}/{}/{}/{}{over}{purchase}", line.bucket, line.tier, line.mode)
}
